"""What sources of recordings below a root folder have in common: which there are, their clips, the names of those."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.sources.base import BadInput, ClipSpec, check_inside, clip_key, reason_of
from curate.sources.config import ClipConfig
from curate.sources.cut import some_good, spans, too_short
from curate.sources.images import natural


@dataclass
class Look:
    """What planning must know of one recording. Of a bad one, what was known when it turned out bad names its clip.

    Attributes:
        digests: of all that its clips are made of; the clips' keys are made of them.
        num_frames: of the whole recording.
        params: of every clip, beside what all have.
    """

    digests: list[str] = field(default_factory=list)
    num_frames: int = 0
    params: dict[str, Any] = field(default_factory=dict)


class FolderSource(ABC):
    """A root folder with one recording or several: a kind says which there are, looks at one, and opens clips.

    Args:
        config: the source's settings, with `root`, `licence` and (but where `recordings` is overridden) `recordings`.
        clip: how recordings are cut.
    """

    kind: str

    def __init__(self, config: Any, clip: ClipConfig) -> None:
        self.config, self.clip = config, clip
        self.root = Path(config.root).expanduser()

    @abstractmethod
    def look(self, place: Path, found: Look) -> None:
        """Fills `found` of one recording: whatever makes its clips unusable comes to light here.

        Raises:
            BadInput, OSError: it is bad, and why.
        """

    def recordings(self) -> Iterable[Path]:
        """Folder or file of each recording, in a stable order.

        Raises:
            BadInput: where there is none.
        """
        if not self.root.is_dir():
            raise BadInput(f"{self.root}: no such folder (source.root)")
        if self.config.recordings is None:
            return [self.root]
        folders = sorted((p for p in glob(self.root, self.config.recordings) if p.is_dir()), key=natural)
        if not folders:
            raise BadInput(f"{self.root}: no folder matches recordings: {self.config.recordings!r}")
        return folders

    def plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        return some_good(self._plan(), str(self.root), self.clip.max_clips)

    def _plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        for place in self.recordings():
            uri, found = place.relative_to(self.root).as_posix(), self._unseen(place)
            try:
                self.look(place, found)
            except (BadInput, OSError) as error:
                yield self._spec(uri, 0, found.num_frames, found), reason_of(error, place)
                continue
            if reason := too_short(found.num_frames, self.clip):
                yield self._spec(uri, 0, found.num_frames, found), f"{place}: {reason}"
                continue
            for start, count in spans(found.num_frames, self.clip):
                yield from self._clips(uri, start, count, found)

    def _beside(self, place: Path, name: str, is_there: Callable[[Path], bool] = Path.is_file) -> Path | None:
        """A file of a recording: its own, else the one below the root that all share, or None.

        Raises:
            BadInput: where it leads out of the root.
        """
        found = next((path for path in (place / name, self.root / name) if is_there(path)), None)
        if found is not None:
            check_inside(found, self.root)
        return found

    def _unseen(self, place: Path) -> Look:
        """What is known before anything is looked at."""
        return Look()

    def _clips(self, uri: str, start: int, num_frames: int, found: Look) -> Iterator[ClipSpec]:
        """The clips of one span of frames."""
        yield self._spec(uri, start, num_frames, found)

    def _spec(self, uri: str, start: int, num_frames: int, found: Look) -> ClipSpec:
        content = content_of(found.digests)
        name = self.kind if uri == "." else uri.rsplit("/", 1)[-1]  # not the root's: it may be moved
        return ClipSpec(clip_key(uri, start, num_frames, found.digests), self.kind, uri, f"{name}-{content[:8]}", start,
                        num_frames, {"licence": self.config.licence, "sha256": content, **found.params})


def content_of(digests: list[str]) -> str:
    """One digest of all."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@contextmanager
def closed_on_error(*opened: Any) -> Iterator[None]:
    """Closes what was opened where the rest of opening fails; else it stays open, for whom it was opened."""
    try:
        yield
    except BaseException:
        for one in opened:
            one.close()
        raise


def planned_span(clip: ClipSpec, num_frames: int, place: Path) -> slice:
    """Frames of a recording that a clip is.

    Args:
        num_frames: that the recording has now.

    Raises:
        BadInput: where it has become shorter since it was planned.
    """
    span = slice(clip.start, clip.start + clip.num_frames)
    if span.stop > num_frames:
        raise BadInput(f"{place}: {num_frames} frames, expected at least {span.stop} as planned")
    return span


def glob(root: Path, pattern: str) -> list[Path]:
    """
    Raises:
        BadInput: where the pattern is not one below `root`.
    """
    try:
        return list(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{pattern!r}: not a pattern relative to {root}: {error}") from error
