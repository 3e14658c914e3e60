"""The true phases of distance and speed, from the true poses on the fine grid."""

from __future__ import annotations

import re
from itertools import groupby

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.scene import SUB

RATE_MPS, SWING = 0.1, 0.25
SHORTEST = re.compile(r"shorter than (?:(\d+\.\d) s|(\d+) steps)")


def _answer(case: Case, phases: list[str]) -> TrueAnswer:
    text = " ".join(f"({i}) {phase}" for i, phase in enumerate(phases, 1))
    if case.qa["form"] == "choice":
        return TrueAnswer(category=text, text=text)
    return TrueAnswer(right=list(case.qa["target"]) == phases, text=text)


def _step_s(case: Case) -> float:
    return 1 / (case.truth.scene.fps * SUB)


def distance_phases(case: Case) -> TrueAnswer:
    first, last = case.span
    index = np.arange((case.truth.start + first) * SUB, (case.truth.start + last) * SUB + 1)
    centre = case.truth.scene.T_world_cam.translation[index]
    distance = np.linalg.norm(case.truth.path(case.asked[0], case.span, fine=True) - centre, axis=-1)
    step = _step_s(case)
    words = ["grows" if rate > RATE_MPS else "shrinks" if rate < -RATE_MPS else "constant"
             for rate in np.diff(distance) / step]
    seconds, steps = SHORTEST.search(case.qa["question"]).groups()
    shortest = float(seconds) if seconds else int(steps) / case.truth.scene.fps
    long = [word for word, run in ((word, len(list(run))) for word, run in groupby(words)) if run * step >= shortest]
    return _answer(case, [word for word, _ in groupby(long)])


def speed_phases(case: Case) -> TrueAnswer:
    path = case.truth.path(case.asked[0], case.span, fine=True)
    speed = np.linalg.norm(np.diff(path, axis=0), axis=-1) / _step_s(case)
    least, phases, turn = SWING * speed.max(), [], [speed[0], speed[0]]  # turn: lowest and highest since the last phase
    for value in speed:
        turn = [min(turn[0], value), max(turn[1], value)]
        if value - turn[0] >= least and phases[-1:] != ["speeds up"]:
            phases.append("speeds up")
            turn = [value, value]
        elif turn[1] - value >= least and phases[-1:] != ["slows down"]:
            phases.append("slows down")
            turn = [value, value]
    return _answer(case, phases or ["constant"])


ANSWERS = {"procedural_change": distance_phases, "speed_phases": speed_phases}
