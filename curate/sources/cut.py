"""Recordings to clips of a bounded number of frames; nothing is lost without a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from curate.sources.base import BadInput, ClipSpec
from curate.sources.config import ClipConfig


def spans(num_frames: int, clip: ClipConfig) -> list[tuple[int, int]]:
    """(start, num_frames) of each clip of a recording; every frame is in one, and few are in two.

    The recording is divided evenly, so that no short rest is left: 50 frames at `num_frames=48` become 25 and
    25. Where that would fall below `min_frames`, clips of `min_frames` overlap.

    Example:
        >>> spans(50, ClipConfig(num_frames=48, min_frames=8))
        [(0, 25), (25, 25)]
        >>> spans(50, ClipConfig(num_frames=48, min_frames=40))
        [(0, 40), (10, 40)]
    """
    count = -(-num_frames // clip.num_frames)
    if num_frames // count >= clip.min_frames or count == 1:
        edges = [i * num_frames // count for i in range(count + 1)]
        return [(a, b - a) for a, b in pairwise(edges)]
    return [(i * (num_frames - clip.min_frames) // (count - 1), clip.min_frames) for i in range(count)]


def too_short(num_frames: int, clip: ClipConfig) -> str | None:
    """Why a recording yields no clip, or None."""
    if num_frames >= clip.min_frames:
        return None
    return f"{num_frames} frames, expected at least {clip.min_frames} (clip.min_frames)"


def some_good(planned: Iterable[ClipSpec | tuple[ClipSpec, str]], where: str,
              max_clips: int | None) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
    """The plan, in order, up to `max_clips`.

    Raises:
        BadInput: where not one clip is good: there is nothing to do, and that is known before any work.
    """
    waiting: list[tuple[ClipSpec, str]] = []
    good = False
    for number, item in enumerate(planned):
        if max_clips is not None and number >= max_clips:
            break
        if not good and isinstance(item, tuple):
            waiting.append(item)
            continue
        if not good:
            good = True
            yield from waiting
        yield item
    if not good:
        if not waiting:
            raise BadInput(f"{where}: nothing found to plan")
        more = f" (and {len(waiting) - 1} more are bad)" if len(waiting) > 1 else ""
        raise BadInput(f"{waiting[0][1]}{more}; nothing else to do in {where}")
