"""What the sources of annotated recordings have in common: planning, cutting, checks of what files hold."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.sources.annotated.cuboids import Annotated, Track
from curate.sources.annotated.frames import AnnotatedFrames
from curate.sources.base import BadInput, ClipSpec, check_inside, clip_key, file_digest
from curate.sources.config_annotated import AnnotatedConfig
from curate.sources.folders import FolderSource, Look, planned_span
from curate.sources.images import ImageSequence, natural

MAX_FILE = 256 << 20
MAX_PLACES = 20_000_000  # objects times frames of a recording
GAP = 1.5  # of the median step


@dataclass
class Recording:
    """All frames of a recording, and the files that it was read from."""

    given: Annotated
    images: list[Path]  # one a frame; empty without pictures
    files: list[Path]
    viewpoint: str  # what the camera is, where there are no pictures


class AnnotatedSource(FolderSource):
    """A kind of annotated recording: which there are, and how one is read."""

    config: AnnotatedConfig

    @abstractmethod
    def places(self) -> list[Path]:
        """Folder or file of each recording, in a stable order. Raises BadInput where there is none."""

    @abstractmethod
    def read(self, place: Path) -> Recording:
        """One recording. Raises BadInput, which names the file, what was found and what was expected."""

    def recordings(self) -> Iterator[Path]:
        if not self.root.is_dir():
            raise BadInput(f"{self.root}: no such folder (source.root)")
        for place in self.places():
            check_inside(place, self.root)
            yield place

    def look(self, place: Path, found: Look) -> None:
        recording = self.read(place)
        found.digests = [file_digest(path) for path in recording.files]
        found.num_frames = len(recording.given.time_s)
        found.params = {"viewpoint": recording.viewpoint} if recording.viewpoint else {}

    def open(self, clip: ClipSpec) -> AnnotatedFrames:
        """
        Raises:
            BadInput: where the recording is no longer what was planned.
        """
        place = self.root / clip.uri
        check_inside(place, self.root)
        recording = self.read(place)
        given = recording.given
        cut = planned_span(clip, len(given.time_s), place)
        tracks = [Track(t.name, t.label, t.centre[cut], t.rotation[cut], t.size[cut], t.in_sight[cut])
                  for t in given.tracks
                  if t.annotated[cut].any()]
        part = Annotated(given.time_s[cut], given.poses[cut], tracks, given.up, given.up_world, given.camera)
        images = ImageSequence(recording.images[cut]) if recording.images else None
        if images is not None and (images.width, images.height) != (given.camera.width, given.camera.height):
            raise BadInput(f"{recording.images[clip.start]}: {images.width}x{images.height}, expected "
                           f"{given.camera.width}x{given.camera.height} as the recording's first")
        return AnnotatedFrames(clip, part, self.config, images)

    def _spec(self, uri: str, start: int, num_frames: int, found: Look) -> ClipSpec:
        settings = hashlib.sha256(self.config.model_dump_json(exclude={"root", "licence"}).encode()).hexdigest()
        recording = self.root.name if uri == "." else uri
        return ClipSpec(clip_key(uri, start, num_frames, [*found.digests, settings]), self.kind, uri, recording, start,
                        num_frames, {"licence": self.config.licence, "sha256": next(iter(found.digests), ""),
                                     **found.params})


def find(root: Path, pattern: str, what: str, folders: bool = False) -> list[Path]:
    """Files (or folders) below `root` by a glob, in natural order.

    Raises:
        BadInput: where none is there, or the pattern leads out of `root`.
    """
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise BadInput(f"{root}: {what} {pattern!r} leads out of it; expected a path relative to source.root")
    found = sorted((p for p in root.glob(pattern) if (p.is_dir() if folders else p.is_file())), key=natural)
    if not found:
        raise BadInput(f"{root / pattern}: no such {'folder' if folders else 'file'}, expected {what}")
    return found


def need(path: Path, what: str) -> Path:
    """
    Raises:
        BadInput: where the file is missing, empty or larger than anything of the kind.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file, expected {what}")
    if not 0 < path.stat().st_size <= MAX_FILE:
        raise BadInput(f"{path}: {path.stat().st_size} bytes, expected {what}, at most {MAX_FILE >> 20} MiB")
    return path


def check_box(values: Sequence[float], where: str) -> None:
    """Length, width, height first, then all else of a box.

    Raises:
        BadInput: where a number is not finite, or a side not positive.
    """
    if not np.isfinite(values).all():
        raise BadInput(f"{where}: a box with a number that is not finite ({', '.join(f'{v:g}' for v in values)})")
    if min(values[:3]) <= 0:
        raise BadInput(f"{where}: a box of {' x '.join(f'{v:g}' for v in values[:3])} m, expected positive sides")


def check_steps(time_s: np.ndarray, where: str, unit: str) -> None:
    """
    Raises:
        BadInput: where times do not increase, or leave out frames (a step of more than GAP times the median).
    """
    steps = np.diff(time_s)
    if len(steps) and steps.min() <= 0:
        i = int(np.argmin(steps))
        raise BadInput(f"{where}: {unit} {i + 1} is not after {unit} {i}, expected increasing times")
    median = float(np.median(steps)) if len(steps) else 0.0
    if len(steps) and steps.max() > GAP * median:
        i = int(np.argmax(steps))
        raise BadInput(f"{where}: a gap of {steps[i]:.3f} s after {unit} {i}, expected about {median:.3f} s; split the "
                       "recording there")


def rotation_of(wxyz: np.ndarray, where: str) -> np.ndarray:
    """[..., 3, 3] of quaternions [..., 4], which need not be of unit length to the last digit.

    Raises:
        BadInput: where one is not finite, or no rotation (its length is not 1 within a hundredth).
    """
    q = np.asarray(wxyz, float)
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    if not np.isfinite(q).all() or (np.abs(length - 1) > 0.01).any():
        raise BadInput(f"{where}: a quaternion of length {float(np.nan_to_num(length).ravel()[0]):.3g}, expected 1")
    w, x, y, z = np.moveaxis(q / length, -1, 0)
    rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


class TrackTable:
    """Boxes as they come, to tracks.

    Args:
        num_frames: of the recording.
    """

    def __init__(self, num_frames: int) -> None:
        self._num, self._tracks = num_frames, {}

    def add(self, name: str, label: str, frame: int, centre: np.ndarray, rotation: np.ndarray, size: np.ndarray,
            where: str, in_sight: bool = True) -> None:
        """
        Raises:
            BadInput: where an object comes twice in a frame, or is called another name than before.
        """
        if name not in self._tracks:
            if len(self._tracks) * self._num > MAX_PLACES:
                raise BadInput(f"{where}: {len(self._tracks) + 1} objects over {self._num} frames; expected at most "
                               f"{MAX_PLACES} places in all; split the recording")
            empty = np.full((self._num, 3), np.nan)
            self._tracks[name] = Track(name, label, empty, np.tile(np.eye(3), (self._num, 1, 1)), empty.copy(),
                                       np.zeros(self._num, bool))
        track = self._tracks[name]
        if track.label != label:
            raise BadInput(f"{where}: object {name} is {label!r} and was {track.label!r} before; ids must be stable")
        if np.isfinite(track.centre[frame]).all():
            raise BadInput(f"{where}: object {name} stands twice in frame {frame}; expected once")
        track.centre[frame], track.rotation[frame], track.size[frame] = centre, rotation, size
        track.in_sight[frame] = in_sight

    def tracks(self) -> list[Track]:
        return [self._tracks[name] for name in sorted(self._tracks)]

