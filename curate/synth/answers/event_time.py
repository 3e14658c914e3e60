"""True times of events, from the true path on the fine grid; of what leaves the image, from the rendered frames."""

from __future__ import annotations

import math

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.scene import SUB

REST_M = 0.1


def _fine(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Object [n, 3] and camera [n, 3] in the world, m, and the time [n] s from the clip's start."""
    first, last = case.span
    index = np.arange((case.truth.start + first) * SUB, (case.truth.start + last) * SUB + 1)
    time = (index - case.truth.start * SUB) / (case.truth.scene.fps * SUB)
    return case.truth.path(case.asked[0], case.span, fine=True), case.truth.scene.T_world_cam.translation[index], time


def _first(is_so: np.ndarray, time: np.ndarray) -> float:
    return float(time[np.argmax(is_so)]) if is_so.any() else math.nan


def _time(case: Case) -> float:
    """nan where it does not happen."""
    place, camera, time = _fine(case)
    kind, level = case.qa["extra"]["event"], case.qa["extra"]["level_m"]
    moved, distance = np.linalg.norm(place - place[0], axis=-1), np.linalg.norm(place - camera, axis=-1)
    if kind == "reach":
        return _first(moved >= level, time)
    if kind == "nearer":
        return _first(distance <= level, time) if distance[0] > level else math.nan
    if kind == "farther":
        return _first(distance >= level, time) if distance[0] < level else math.nan
    if kind == "nearest":
        at = int(distance.argmin())
        return float(time[at]) if 0 < at < len(time) - 1 else math.nan
    if kind == "start":
        return _first(moved > REST_M, time)
    if kind == "stop":
        to_go = np.linalg.norm(place - place[-1], axis=-1)
        return float(time[np.flatnonzero(to_go > REST_M)[-1]]) if (to_go > REST_M).any() else math.nan
    assert kind == "gone", kind
    truth, scene = case.truth, case.truth.scene
    frames = [f for f in range(scene.num_frames - truth.start)
              if (case.renderer.geometry(truth.start + f)[1] == case.asked[0].object_id).any()]
    if not frames or frames[-1] == scene.num_frames - truth.start - 1:
        return math.nan
    return frames[-1] / scene.fps


def event_time(case: Case) -> TrueAnswer:
    time = _time(case)
    if math.isnan(time):
        return TrueAnswer(problem="it does not happen")
    if case.qa["form"] == "numeric":
        return TrueAnswer(time)
    edges = np.array(case.qa["extra"]["part_frames"]) / case.truth.scene.fps
    part = int(np.searchsorted(edges[1:-1], time, side="right"))
    if case.qa["dialect"] == "seconds":
        name = f"from {edges[part]:.2f} s to {edges[part + 1]:.2f} s"
    else:
        first, last = case.qa["extra"]["part_frames"][part:part + 2]
        name = f"from frame {first} to frame {last}"
    return TrueAnswer(category=name, text=f"{time:.3f} s")


def event_duration(case: Case) -> TrueAnswer:
    place, _, time = _fine(case)
    moved = np.linalg.norm(place - place[0], axis=-1)
    before, after = (_first(moved >= level, time) for level in case.qa["extra"]["levels_m"])
    return TrueAnswer(after - before, problem="" if after > before else "it does not happen")


ANSWERS = {"event_time": event_time, "event_duration": event_duration}
