"""The true path in instructions, from the true poses at the frames where the question cuts it."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.scene import SUB

SHORT_M, BEND_DEG = 0.1, 15.0
NUMBER = re.compile(r"(\d+(?:\.\d+)?) ?(m|°)")


def _places(case: Case) -> np.ndarray:
    """[K + 1, 2] m, right and forward of the camera at the first cut."""
    frames = [case.truth.start + f for f in case.qa["extra"]["cuts_frame"]]
    start = case.truth.scene.camera(frames[0])
    if case.asked:
        own = [f - case.truth.start for f in frames]
        world = np.stack([case.truth.path(case.asked[0], (f, f))[0] for f in own])
    else:
        world = case.truth.scene.T_world_cam.translation[np.array(frames) * SUB]
    inside = (world - start.translation) @ start.rotation
    return inside[:, [0, 2]]


def _instructions(places: np.ndarray) -> list[tuple[str, float]]:
    """(words, number or nan) in order."""
    out, before = [], None
    for a, b in pairwise(places):
        right, forward = b - a
        length = math.hypot(right, forward)
        if length < SHORT_M:
            out.append(("stay", math.nan))
            continue
        if before is None:
            if abs(forward) >= abs(right):
                side = "forward" if forward > 0 else "backward"
            else:
                side = "right" if right > 0 else "left"
            out.append((f"move {side}", length))
        else:
            # clockwise as seen from above, with forward up and right to the right
            turn = math.degrees(math.atan2(before[1] * right - before[0] * forward,
                                           before[0] * right + before[1] * forward))
            straight = abs(turn) < BEND_DEG
            out.append(("go straight on", math.nan) if straight else (f"turn {'right' if turn > 0 else 'left'}",
                                                                      abs(turn)))
            out.append(("move", length))
        before = right, forward
    return out


def _read(text: str) -> list[tuple[str, float]]:
    """Instructions of a text, as `_instructions`."""
    out = []
    for part in text.split(", "):
        number = NUMBER.search(part)
        out.append((NUMBER.sub("", part).strip(), float(number[1]) if number else math.nan))
    return out


def _words(instructions: list[tuple[str, float]]) -> list[str]:
    return [words for words, _ in instructions]


def _length(instructions: list[tuple[str, float]]) -> float:
    return sum(number for words, number in instructions if words.startswith("move"))


def trajectory(case: Case) -> TrueAnswer:
    true, qa = _instructions(_places(case)), case.qa
    said = ", ".join(words if math.isnan(number) else f"{words} {number:.3f}" for words, number in true)
    if qa["form"] == "choice":
        fitting = [o for o in qa["options"] if _words(_read(o)) == _words(true)]
        best = min(fitting, key=lambda o: abs(math.log(_length(_read(o)) / _length(true))), default="")
        return TrueAnswer(category=best, text=said)
    stated = [part for text in qa["target"] for part in _read(text)]
    right = _words(stated) == _words(true) and all(
        math.isnan(a) or abs(a - b) <= allowed + 0.5 * _last_digit(text)
        for (_, a), (_, b), allowed, text in zip(stated, true, qa["extra"]["tolerance"], qa["target"]))
    return TrueAnswer(right=right, text=said)


def _last_digit(text: str) -> float:
    number = NUMBER.search(text)
    return 10.0 ** -len(number[1].partition(".")[2]) if number else 0.0


ANSWERS = {"object_trajectory": trajectory, "camera_trajectory": trajectory}
