"""What an answer earns in all: by the record's own metric, or as a weighted sum of rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from curate.rewards.plugins import rewards
from curate.rewards.record import Source, as_record
from curate.rewards.table import METRICS, SCORE
from curate.rewards.words import accuracy

# Weights by reward. MLLM-4D (arXiv 2603.00515): as its paper has them, half of the 0.3 for space and time to the camera
# and half to the objects, and as its published code has them.
PRESETS: dict[str, dict[str, float]] = {
    "score": {SCORE: 1.0},
    "accuracy-format": {SCORE: 0.9, "format": 0.1},
    "mllm4d-paper": {SCORE: 0.5, "format": 0.2, "st_camera": 0.15, "st_object": 0.15},
    "mllm4d-code": {SCORE: 0.6, "format_mllm4d": 0.2, "st_camera": 0.1, "st_object": 0.1},
}


def score(answer: Any, record: Source) -> float:
    """
    Args:
        answer: a model's text, with or without thinking and tags; of a chat message its content.
        record: a Question, its `to_json()`, its `rft` form, or the JSON text of one.

    Returns:
        0..1 by the record's metric (`METRICS`, or a plug-in of that name).

    Raises:
        ValueError: where the record has no truth of the kind its metric compares. Never for what the answer is.
    """
    known = as_record(record)
    metric = METRICS.get(known["metric"]) or rewards().get(known["metric"])
    if metric is None:
        raise ValueError(f"metric {known['metric']!r} is unknown; known: {', '.join(rewards())}")
    if known["answer_type"] == "choice" and known["metric"] == "mra":
        metric = accuracy  # a number asked as a choice: the option is what is right or wrong
    found = metric(answer, known)
    if found is None:
        raise ValueError(f"a record of family {known['family']!r} with answer_type {known['answer_type']!r} has no "
                         f"truth for the metric {known['metric']!r}: target is {_short(known['target'])}")
    return found


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else shown[:57] + "..."


def weights_of(preset: str | Mapping[str, float]) -> dict[str, float]:
    """
    Args:
        preset: name of `PRESETS`, name of one reward, or weights by reward.

    Raises:
        ValueError: on an unknown name or a weight that is not above zero.
    """
    known = rewards()
    if isinstance(preset, str):
        found = PRESETS.get(preset) or ({preset: 1.0} if preset in known else None)
        if found is None:
            raise ValueError(f"reward {preset!r} is neither a preset ({', '.join(PRESETS)}) nor a reward "
                             f"({', '.join(known)})")
        return dict(found)
    for name, weight in preset.items():
        if name != SCORE and name not in known:
            raise ValueError(f"reward {name!r} is unknown; known: {SCORE}, {', '.join(known)}")
        if not (isinstance(weight, (int, float)) and 0 < weight < math.inf):
            raise ValueError(f"the weight of {name!r} is {weight!r}; expected a number above zero")
    if not preset:
        raise ValueError("no reward is named; expected weights by reward, such as {'score': 0.9, 'format': 0.1}")
    return dict(preset)


def combine(answer: Any, record: Source, preset: str | Mapping[str, float] = SCORE) -> dict[str, float]:
    """
    Args:
        answer, record: as of `score`.
        preset: as of `weights_of`.

    Returns:
        "overall", the weighted mean, and each part by its name. A part that the record has no truth for (no centres)
        is 0 in the list and left out of the mean, sample by sample, so that every sample can earn 1.

    Raises:
        ValueError: as `score`, `weights_of`; and where no part has a truth to compare with.
    """
    weights, known, truth = weights_of(preset), rewards(), as_record(record)
    parts = {name: score(answer, truth) if name == SCORE else known[name](answer, truth) for name in weights}
    counted = {name: weights[name] for name, part in parts.items() if part is not None}
    if not counted:
        raise ValueError(f"a record of family {truth['family']!r} has no truth for {', '.join(weights)}")
    overall = sum(weight * parts[name] for name, weight in counted.items()) / sum(counted.values())
    return {"overall": overall, **{name: part or 0.0 for name, part in parts.items()}}
