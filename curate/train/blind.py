"""The guesser that sees no video: what is commonest among the training split's answers to questions of the family."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from curate.questions.draw import stable_hash
from curate.questions.forms import final_answer
from curate.questions.guessers import Choice, choice
from curate.questions.items import items_of
from curate.questions.learned import MOST_WHOLE, Learner
from curate.questions.units import UNITS

LETTERS = "ABCDE"


def blind_answers(known: Iterable[Mapping[str, Any]], asked: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Answers to questions from the answers to others alone.

    Of a choice, the option that is likeliest by its family's prior: how often its category is true, or the density of
    its size among true sizes (`curate.questions.learned`). Of a number, the median of its family in its unit. Of any
    other answer, the commonest one of its family.

    Args:
        known: records of questions with their answers, of the training split.
        asked: records to answer, of other recordings; their answers are not looked at.

    Returns:
        id -> answer, of every question asked.
    """
    known = list(known)
    chosen = _choices(known, asked)
    texts: dict[str, Counter] = {}
    numbers: dict[tuple[str, str], list[float]] = {}
    for record in known:
        if record["form"] == "numeric" and math.isfinite(record["value"]):
            numbers.setdefault((record["family"], record["unit"]), []).append(record["value"])
        elif record["form"] != "choice":
            texts.setdefault(record["family"], Counter())[final_answer(record)] += 1
    out = {}
    for record in asked:
        family, unit = record["family"], record["unit"]
        if record["id"] in chosen:
            out[record["id"]] = chosen[record["id"]]
        elif record["form"] == "numeric" and (family, unit) in numbers:
            middle = f"{np.median(numbers[family, unit]):.3g}"
            out[record["id"]] = UNITS[unit].text(middle) if unit in UNITS else middle
        elif family in texts:
            out[record["id"]] = max(sorted(texts[family]), key=texts[family].__getitem__)
        else:
            out[record["id"]] = ""
    return out


def _choices(known: Sequence[Mapping[str, Any]], asked: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """id -> letter of the likeliest option; ties, and families without a prior, by a hash of the question."""
    told = [item for item in map(_choice, known) if item is not None]
    open_ = [item for item in map(_choice, asked) if item is not None]
    items, _ = items_of([*told, *open_], [0] * (len(told) + len(open_)))  # together: one numbering of the categories
    families = np.array([item.family for item in (*told, *open_)])
    out = {}
    for family in sorted({item.family for item in open_}):
        own = families == family
        learner = Learner()
        if (own[:len(told)]).any():
            learner.count(items[:len(told)][own[:len(told)]])
            learner.settle()
        at = [i for i, item in enumerate(open_) if item.family == family]
        for i in at:
            row = items[len(told) + i:len(told) + i + 1]
            weights = _weights(learner, row) if learner.num_items else np.ones(int(row["num"][0]))
            best = np.flatnonzero(np.round(weights, 9) == np.round(weights.max(), 9))
            out[open_[i].id] = LETTERS[best[stable_hash("blind", open_[i].id) % len(best)]]
    return out


def _choice(record: Mapping[str, Any]) -> Choice | None:
    """Where a record does not say what its options are worth, their texts are categories."""
    extra = record.get("extra") or {}
    filled = {"option_values": record["options"], "recording": record.get("recording", record["id"])} | extra
    return choice({**record, "extra": filled})


def _weights(learner: Learner, row: np.ndarray) -> np.ndarray:
    """Chance of each option; alike where the options are not of the kind that the family's known ones are."""
    numeric = bool(row["numeric"][0])
    if (learner.kind == "category") == numeric or learner.kind == "mixed":
        return np.ones(int(row["num"][0]))
    values = row["values"][0, :int(row["num"][0])]
    if learner.kind == "count" and not ((values == np.round(values)) & (values >= 0) & (values < MOST_WHOLE)).all():
        return np.ones(len(values))
    return learner.weights(row)[0]
