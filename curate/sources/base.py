"""What a source promises: clips to plan, frames to open. Every kind of input yields the same two types."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose

Scale = Literal["calibrated", "predicted", "assumed", "relative"]


class BadInput(Exception):
    """A clip or a file that cannot be used. The text names the file, what was found and what was expected."""


@dataclass(frozen=True)
class ClipSpec:
    """What to perceive: a bounded span of one recording. JSON-serialisable; holds no pixels.

    `key` is lower case hex without dots, unique, stable under moving the source's root.
    `uri` is relative to the source's root; `recording` identifies the source video for splits and audits.
    """

    key: str
    kind: str
    uri: str
    recording: str
    start: int
    num_frames: int
    params: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class View:
    """One camera of the rig, after rectification. `T_rig_view`: rig frame = view 0."""

    name: str
    camera: Intrinsics
    T_rig_view: Pose


class Frames(Protocol):
    """Pixels of one clip: lazy, windowed, N views, synchronous. Stereo is N = 2, left first, rectified."""

    views: tuple[View, ...]
    time_s: np.ndarray  # [T] seconds from the clip's first frame, strictly increasing, presentation time
    num_frames: int
    rig: StereoRig | None  # the rectified pair of views 0 and 1
    scale: Scale
    is_grey: bool
    given: dict[str, Any]  # parts the source knows: field name -> value with its accuracy ("poses": Pose, ...)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """One array [stop - start, H, W, 3] uint8 RGB for each view.

        Raises:
            BadInput: where the media cannot be decoded.
        """
        ...

    def close(self) -> None: ...


class Source(Protocol):
    kind: str

    def plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        """Every clip of this source in a stable order; `(clip, reason)` for one known bad before any work.

        Raises:
            BadInput: where nothing can be planned at all (no such folder, no clips, broken calibration).
        """
        ...

    def open(self, clip: ClipSpec) -> Frames: ...


def check_inside(path: Path, root: Path) -> None:
    """
    Raises:
        BadInput: where `path` leads out of `root`, by "..", or by a link on the way.
    """
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(os.path.realpath(root)):
        raise BadInput(f"{path}: leads out of {root} (to {real}); name a source.root that holds both, or copy the file")


def reason_of(error: Exception, path: Path) -> str:
    """Why a file cannot be planned, in one line: what a source says, or what the system says of reading it."""
    if isinstance(error, OSError):
        return f"{error.filename or path}: cannot be read: {error.strerror or error}"
    return str(error)


def file_digest(path: Path) -> str:
    """Size, first and last MiB: cheap on large media, and different where any header or length differs."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as f:
        digest.update(f.read(1 << 20))
        if size > 1 << 20:
            f.seek(max(size - (1 << 20), 1 << 20))
            digest.update(f.read())
    return digest.hexdigest()


def clip_key(uri: str, start: int, num_frames: int, digests: list[str]) -> str:
    """24 hex digits of the relative path, the span and the contents' digests."""
    text = "\0".join([uri, str(start), str(num_frames), *digests])
    return hashlib.sha256(text.encode()).hexdigest()[:24]
