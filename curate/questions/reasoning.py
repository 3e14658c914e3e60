"""What a training example thinks before it answers: the solver's steps within a length, and where things are in space.

Three tasks, each with its prompt:

    answer      the answer alone
    reason      the solver's steps, then the answer
    cold_start  the centres of the camera and of the objects at the first and the last frame, then steps and answer:
                what a model is shown before it is rewarded for saying so by itself (`curate.rewards`, st)

Every number is the solver's own. Coordinates are printed to the digits that their error supports; a place that is not
known is null.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.questions.config import ReasoningConfig
from curate.questions.draw import Draw

if TYPE_CHECKING:
    from curate.questions.config import QuestionsConfig
    from curate.questions.view import View

ANSWER, REASON, COLD_START = "answer", "reason", "cold_start"
TASKS = (ANSWER, REASON, COLD_START)
SHORT = 3  # sentences of a short thought
MAX_DECIMALS = 3  # millimetres
STATE_AXES = "metres, in the axes of the camera at {start} (x right, y down, z forward)"
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])")


# ---- what a record states ----

def task_of(question_id: str, config: QuestionsConfig) -> str:
    """The task of a question, by the recipe's shares and the question's id alone; "" where the recipe sets none."""
    shares = config.reasoning.tasks if isinstance(config.reasoning, ReasoningConfig) else {}
    if not shares:
        return ""
    place = Draw(question_id, config.seed, "task").uniform() * sum(shares.values())
    for task in TASKS:
        if (place := place - shares.get(task, 0.0)) < 0:
            return task
    return max(shares, key=lambda task: shares[task])  # the last rounding


def state_of(view: View, subjects: Sequence[int], last: int | None = None) -> dict[str, Any]:
    """Fields of a question's `extra`: where the camera and the objects asked about are.

    Args:
        last: the last frame that may be seen; default: the clip's.

    Returns:
        centres: {"camera": [[x, y, z], [x, y, z]], "R3": [[..], null]}, at the clip's first frame and the last, m, in
            the axes of the camera at the first; objects by the names of the question.
        centres_at: names of the two times. sigma_m: root mean square error of a coordinate.
        Empty where lengths are not known.
    """
    from curate.questions.gates import METRIC_SCALES

    if view.scene.scale not in METRIC_SCALES:
        return {}
    frames = view.clip[0], view.clip[1] if last is None else last
    found = {"camera": [view.centre(None, frame) for frame in frames]}
    for name, subject in zip(_names(view, subjects), subjects):
        found[name] = [view.centre(subject, frame) for frame in frames]
    known = [sigma for places in found.values() for place in places if place is not None for sigma in place[1]]
    return {"centres": {name: [place and _rounded(*place) for place in places] for name, places in found.items()},
            "centres_at": [view.at(frame) for frame in frames],
            "sigma_m": float(f"{math.sqrt(sum(s * s for s in known) / len(known)):.2g}")}


def _names(view: View, subjects: Sequence[int]) -> list[str]:
    """Objects as an answer may call them: "R3" where they are marked, else "object", or "object 1" and so on."""
    marks = [re.sub(r"[<>\[\]]", "", view.mark(subject)) for subject in subjects]
    if all(re.fullmatch(r"(?:R|obj_|region )\d+", mark) for mark in marks):
        return marks
    return ["object"] if len(subjects) == 1 else [f"object {i}" for i in range(1, len(subjects) + 1)]


def decimals_for(sigma: float) -> int:
    """Decimal places of a coordinate: rounding then moves it by no more than its 95 % half-width; 3 at most.

    >>> decimals_for(0.3), decimals_for(0.05), decimals_for(0.01), decimals_for(0.0)
    (0, 1, 2, 3)
    """
    return MAX_DECIMALS if sigma <= 0 else min(max(math.ceil(-math.log10(2 * 1.96 * sigma) - 1e-9), 0), MAX_DECIMALS)


def _rounded(place: np.ndarray, sigma: np.ndarray) -> list[float]:
    return [round(float(x), decimals_for(float(s))) + 0.0 for x, s in zip(place, sigma)]


# ---- what is written of it ----

def prompt(question: str, task: str, config: ReasoningConfig, extra: Mapping[str, Any]) -> str:
    """A question with what its task asks for.

    Args:
        extra: of the record; a cold start reads `centres` and `centres_at` from it.

    Raises:
        ValueError: on an unknown task.
    """
    think, answer = config.think, config.answer
    if task == ANSWER:
        return question
    if task == REASON:
        return (f"{question}\nFirst think step by step between <{think}> and </{think}>, then give only the final "
                f"answer between <{answer}> and </{answer}>.")
    if task != COLD_START:
        raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")
    start, end = extra["centres_at"]
    names = " and ".join(f'"{name}"' for name in extra["centres"])
    state = config.state_tag
    return (f"{question}\nFirst think step by step between <{think}> and </{think}>. Begin with where things are at "
            f"{start} and at {end}, as JSON between <{state}> and </{state}>: for each of {names} the two centres "
            f"[x, y, z] in {STATE_AXES.format(start=start)}, null where it cannot be known. Then give only the final "
            f"answer between <{answer}> and </{answer}>.")


def thought(steps: Sequence[str], task: str, config: ReasoningConfig, extra: Mapping[str, Any]) -> str:
    """What stands between the thinking tags.

    Args:
        steps: of the record, the last the conclusion.
    """
    said = " ".join(shortened(steps, config))
    if task != COLD_START:
        return said
    return f"<{config.state_tag}>{state_text(extra['centres'])}</{config.state_tag}> {said}".rstrip()


def state_text(centres: Mapping[str, Sequence[Sequence[float] | None]]) -> str:
    """Centres as JSON on one line."""
    return json.dumps({name: [None if p is None else [_plain(x) for x in p] for p in places]
                       for name, places in centres.items()})


def _plain(x: float) -> float | int:
    """A number without a ".0" that its error does not support."""
    return int(x) if float(x).is_integer() else x


def shortened(steps: Sequence[str], config: ReasoningConfig) -> list[str]:
    """The steps that fit, in their order: the conclusion always, and what leads up to it as far as there is room.

    A step is kept whole or not at all, and none is kept before one that is not: what remains is an argument's end. The
    spatial state of a cold start is no part of the length.
    """
    sentences = config.max_sentences or math.inf
    if config.length == "short":
        sentences = min(sentences, SHORT)
    characters = config.max_characters or math.inf
    kept: list[str] = []
    for step in reversed(steps):
        sentences -= num_sentences([step])
        characters -= len(step) + (1 if kept else 0)
        if kept and (sentences < 0 or characters < 0):
            break
        kept.append(step)
    return kept[::-1]


def num_sentences(steps: Iterable[str]) -> int:
    """
    >>> num_sentences(["It is 1.5 m away. <R1> is not.", "This is option B, 1.5 m."])
    3
    """
    return sum(len(_SENTENCE.split(step.strip())) for step in steps)
