"""True order of two objects' ways, the part with the highest speed, spans, and the length of the video."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.scene import SUB
from curate.synth.truth import Subject


def _seconds(case: Case, span: tuple[int, int]) -> np.ndarray:
    """Fine times [n] of a span, from the clip's start."""
    return np.arange(span[0] * SUB, span[1] * SUB + 1) / (case.truth.scene.fps * SUB)


def _speed(case: Case, subject: Subject, span: tuple[int, int]) -> np.ndarray:
    """[n] m/s on the fine grid."""
    path = case.truth.path(subject, span, fine=True)
    return np.linalg.norm(np.gradient(path, 1 / (case.truth.scene.fps * SUB), axis=0), axis=-1)


def event_order(case: Case) -> TrueAnswer:
    first = []
    for subject in case.asked:
        path = case.truth.path(subject, case.span, fine=True)
        far = np.linalg.norm(path - path[0], axis=-1) >= case.qa["extra"]["level_m"]
        if not far.any():
            return TrueAnswer(problem="one of them never gets so far")
        first.append(float(_seconds(case, case.span)[far.argmax()]))
    sooner = case.qa["extra"]["marks"][int(first[1] < first[0])]
    return TrueAnswer(category=sooner, text=f"{first[0]:.3f}, {first[1]:.3f} s")


def fastest_time(case: Case) -> TrueAnswer:
    extra = case.qa["extra"]
    speed = _speed(case, case.asked[0], case.span)
    at = int(speed.argmax() if extra["extreme"] == "fastest" else speed.argmin())
    frames = extra["part_frames"]
    part = min(int(np.searchsorted(np.array(frames[1:]), case.span[0] + at / SUB, side="left")), len(frames) - 2)
    if case.qa["dialect"] == "seconds":
        a, b = (f"{f / case.truth.scene.fps:.2f} s" for f in frames[part:part + 2])
    else:
        a, b = (f"frame {f}" for f in frames[part:part + 2])
    return TrueAnswer(category=f"from {a} to {b}", text=f"at {_seconds(case, case.span)[at]:.3f} s")


def event_span(case: Case) -> TrueAnswer:
    extra = case.qa["extra"]
    if extra["event"] == "closer":
        index = np.arange((case.truth.start + case.span[0]) * SUB, (case.truth.start + case.span[1]) * SUB + 1)
        place = case.truth.path(case.asked[0], case.span, fine=True)
        holds = np.linalg.norm(place - case.truth.scene.T_world_cam.translation[index], axis=-1) < extra["level"]
    else:
        holds = _speed(case, case.asked[0], case.span) > extra["level"]
    time = _seconds(case, case.span)[holds]
    if not len(time) or np.diff(np.flatnonzero(holds)).max(initial=1) > 1:
        return TrueAnswer(right=False, text="not one span")
    low, high = np.array(case.qa["target"]) / (case.truth.scene.fps if case.qa["dialect"] == "frames" else 1)
    both = min(high, time[-1]) - max(low, time[0])
    union = max(high, time[-1]) - min(low, time[0])
    return TrueAnswer(right=bool(both / union >= extra["least_iou"]), text=f"{time[0]:.3f} s to {time[-1]:.3f} s")


def video_duration(case: Case) -> TrueAnswer:
    return TrueAnswer((case.span[1] - case.span[0]) / case.truth.scene.fps)


ANSWERS = {"event_order": event_order, "fastest_time": fastest_time, "event_span": event_span,
           "video_duration": video_duration}
