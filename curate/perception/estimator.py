"""The estimator contract: a window of frames and fields in, fields with `valid` and `sigma` out.

Estimators hold no state of a clip. What one needs from its own last window (the last pose, live tracks) it
keeps in `window.carry[self.name]`, which must stay sparse: dense fields live for one window only.

Field names and shapes, n frames in the window, H x W of view 0:
    disparity   values [n, H, W] px (left minus right), sigma [n, H, W] px
    depth       values [n, H, W] metres, inf where unknown, sigma [n, H, W] metres
    flow        values [n, H, W, 2] px from frame i to i+1 (last entry of the window: zeros, invalid),
                sigma [n, H, W] px per axis
    camera      values: Pose T_world_cam of n frames; sigma [n, 6, 6] covariance of the motion from the frame
                before (rotation vector, translation, in the axes of the earlier camera; radians, metres;
                zeros for the clip's first frame); valid [n] bool; info["rig_step"] [n, 6], where there is one:
                by how much a radian of pan of the right camera, not known of, moves that motion
    motion      values [n, H, W] float32, the test statistic (chi-square per degree of freedom); valid;
                sigma None. moving = values > threshold stored in the field's `info["threshold"]`
    regions     values [n, H, W] int16 id of the region, 0 = none; ids are stable over the clip
    tracks      values: list of TrackPoints (perception/tracks), sparse
    labels      values: region id to (name, confidence 0..1), from all frames so far, sparse
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig


@dataclass
class Field:
    """One dense or sparse quantity over a window. `filled_by` is "name@version" of the estimator or the source."""

    values: Any
    valid: np.ndarray | None
    sigma: np.ndarray | None
    filled_by: str
    info: dict[str, Any] = field(default_factory=dict)


@dataclass
class Window:
    """Frames `start .. start + n` of a clip. `overlap` leading frames were in the window before."""

    start: int
    overlap: int
    is_last: bool
    images: list[np.ndarray]  # per view [n, H, W, 3] uint8 RGB
    grey: list[np.ndarray]  # per view [n, H, W] uint8
    time_s: np.ndarray  # [n]
    rig: StereoRig | None
    camera: Intrinsics
    seed: int  # from the clip's key
    fields: dict[str, Field] = field(default_factory=dict)
    carry: dict[str, Any] = field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True)
class Resources:
    cpu: float = 1.0
    gpu: float = 0.0
    memory_bytes: int = 1 << 30


class Estimator(Protocol):
    name: str
    version: str
    needs: tuple[str, ...]
    gives: tuple[str, ...]
    window: int  # frames it wants at once
    overlap: int  # leading frames it wants to see again
    resources: Resources
    # One that gives disparity needs two views unless it has `num_views = 1`. One that has `for_one_view()`, which
    # returns another estimator, is exchanged for that where there is one view alone.

    def setup(self) -> None: ...

    def run(self, window: Window) -> dict[str, Field]: ...
