"""What true answers about several marked objects have in common: true places, and marks that share an object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.synth.answers.base import Case
from curate.synth.scene import SUB
from curate.synth.truth import Subject

SAME = "two regions lie on the same object"


def shared(subjects: Sequence[Subject]) -> bool:
    """Whether two marks lie on one object; pieces of the still world are different things."""
    ids = [s.object_id for s in subjects if s.object_id]
    return len(set(ids)) < len(ids)


def place(case: Case, subject: Subject, frame: int) -> np.ndarray:
    """[3] m, world: where the reference point truly is."""
    return np.array(case.truth.path(subject, (frame, frame))[0], float)


def in_camera(case: Case, subject: Subject, frame: int) -> np.ndarray:
    """[3] m in the axes of the camera at a frame: right, down, forward."""
    return case.truth.scene.camera(case.truth.start + frame).inverse() @ place(case, subject, frame)


def camera_centre(case: Case, frame: int) -> np.ndarray:
    """[3] m, world."""
    return np.array(case.truth.scene.camera(case.truth.start + frame).translation, float)


def camera_path(case: Case, span: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [n, 3, 3] and centres [n, 3] m of the camera at every fine time step of a span."""
    first, last = ((case.truth.start + frame) * SUB for frame in span)
    poses = case.truth.scene.T_world_cam[np.arange(first, last + 1)]
    return np.asarray(poses.rotation), np.asarray(poses.translation)


def marks(case: Case) -> list[str]:
    """Names of the asked regions as the options write them, in the question's order."""
    return list(case.qa["extra"]["marks"])
