"""Who is who after two objects were one patch: told by their colours, or left open.

Where two silhouettes have been one, a filter goes on with whichever fits its motion. Afterwards the colours of what was
seen clearly before and after say whether it was right. If they say no, the two are exchanged from there on; if they say
nothing, both are taken for new objects from there on: a question about a whole track must not hang on a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from curate.perception.ground.figures import Figure

if TYPE_CHECKING:
    from curate.perception.ground.tracker import Track

BY_FRAME = ("figures", "sightings", "colours", "shapes")
UPPER, LOWER = (0.15, 0.5), (0.55, 0.95)  # of the height: clothes without head and feet
NOISE = 12.0  # of 255: sigma of the mean colour of a part, from pose and light
MARGIN = 4.0  # of the two readings' log-likelihoods, to tell
CHANGED, FEWEST = 25.0, 4  # log-likelihood of other colours within a track; clear frames on either side
CLOSE = 0.4  # IoU of two silhouettes' expected boxes: one patch
APART_FRAMES = 4  # two meetings with fewer frames between them are one
OTHER_BREADTH = 1.35  # times the area of a silhouette of the same height: it was two
LOOKS = 12  # clear frames before and after


def colour_of(figure: Figure, image: np.ndarray) -> np.ndarray:
    """[6] mean RGB of the upper and of the lower part of a silhouette in a frame [H, W, 3]; nan where it has none."""
    x0, y0, x1, y1 = figure.box.astype(int)
    pixels, rows = image[y0:y1, x0:x1].astype(float), len(figure.crop)
    out = []
    for low, high in (UPPER, LOWER):
        part = np.s_[int(low * rows):max(int(high * rows), int(low * rows) + 1)]
        own = pixels[part][figure.crop[part]]
        out.append(own.mean(0) if len(own) else np.full(3, np.nan))
    return np.concatenate(out)


def settle(tracks: list[Track], meetings: dict[tuple[int, int], list[int]],
           partings: Sequence[tuple[int, int, int]] = ()) -> list[Track]:
    """Tracks with their identities checked after every meeting, in time's order.

    Args:
        meetings: pair of ids -> frames where the two are one patch.
        partings: (id, id of somebody new who came out of its patch, frame): one that had met nobody may have been two
            until then.
    """
    by_id = {track.id: track for track in tracks}
    for number, other, frame in sorted(partings, key=lambda parting: parting[2]):
        if other not in by_id or len(by_id[other].colours) < FEWEST:
            continue  # a leg, for a moment
        met = any(number in pair and frames[0] < frame for pair, frames in meetings.items())
        if number in by_id and not met and _was_two(by_id[number], frame):
            by_id[number] = _cut(by_id[number], frame - 1, number)
    events = sorted((end, begin, pair) for pair, frames in meetings.items() if set(pair) <= set(by_id)
                    for begin, end in _runs(frames))
    for (a, b), frames in meetings.items():  # what is one patch is split by guess, unless both ends are seen
        for frame in frames:
            for track in (by_id[i] for i in (a, b) if i in by_id):
                if frame in track.sightings and not track.sightings[frame].known.all():
                    del track.sightings[frame], track.figures[frame]
    next_id = max(by_id, default=0) + 1
    for end, begin, (a, b) in events:
        first, second = by_id[a], by_id[b]
        before = [_signature(t, [f for f in t.colours if f < begin][-LOOKS:]) for t in (first, second)]
        after = [_signature(t, [f for f in t.colours if f > end][:LOOKS]) for t in (first, second)]
        if any(s is None for s in before) or all(s is None for s in after):
            continue
        same = sum(_far(before[k], after[k]) for k in (0, 1) if after[k] is not None)
        other = sum(_far(before[1 - k], after[k]) for k in (0, 1) if after[k] is not None)
        if same <= other - MARGIN:
            continue
        tails = [_cut(track, end, 0) for track in (first, second)]
        if other <= same - MARGIN:
            _join(first, tails[1])
            _join(second, tails[0])
        else:
            for tail in tails:
                if tail.sightings:
                    tail.id = next_id
                    by_id[next_id], next_id = tail, next_id + 1
    waiting, kept = [by_id[i] for i in sorted(by_id)], []
    while waiting:
        track = waiting.pop(0)
        kept.append(track)
        if (end := _changes(track)) is not None:
            waiting.append(_cut(track, end, next_id))
            next_id += 1
    return [track for track in kept if track.sightings]


def _changes(track: Track) -> int | None:
    """Last clear frame before a track takes on other colours for good: it went over to somebody who was not followed.
    None where it never does."""
    frames = sorted(track.colours)
    colours = np.array([track.colours[f] for f in frames])
    # means: their difference is largest exactly at the change
    far = [_far(colours[max(k - LOOKS, 0):k].mean(0), colours[k:k + LOOKS].mean(0))
           for k in range(FEWEST, len(frames) - FEWEST + 1)]
    if not far or max(far) < CHANGED:
        return None
    return frames[FEWEST + int(np.argmax(far)) - 1]


def _was_two(track: Track, frame: int) -> bool:
    """Whether what was seen of a track before a frame has another colour or breadth than what was seen after it."""
    before = [f for f in track.colours if f < frame][-LOOKS:]
    after = [f for f in track.colours if f > frame][:LOOKS]
    if not before or not after:
        return False
    breadth = [np.median([track.figures[f].area / len(track.figures[f].crop) ** 2 for f in frames])
               for frames in (before, after)]
    far = _far(_signature(track, before), _signature(track, after))
    return bool(far > 2 * MARGIN or not 1 / OTHER_BREADTH < breadth[0] / breadth[1] < OTHER_BREADTH)


def touch(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes [4] are nearer to each other than half of the narrower one's breadth."""
    reach = min(a[2] - a[0], b[2] - b[0]) / 2
    return bool((np.maximum(a[:2], b[:2]) - np.minimum(a[2:], b[2:]) < reach).all())


def close(boxes: dict[int, np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of ids whose boxes [4] are one patch."""
    out = []
    for (a, p), (b, q) in combinations(sorted(boxes.items()), 2):
        shared = np.clip(np.minimum(p[2:], q[2:]) - np.maximum(p[:2], q[:2]), 0, None).prod()
        union = (p[2:] - p[:2]).prod() + (q[2:] - q[:2]).prod() - shared
        if shared > CLOSE * union:
            out.append((a, b))
    return out


def _runs(frames: list[int]) -> list[tuple[int, int]]:
    """(first, last) of meetings."""
    cuts = np.flatnonzero(np.diff(frames) > APART_FRAMES)
    return [(int(run[0]), int(run[-1])) for run in np.split(np.array(frames), cuts + 1)]


def _signature(track: Track, frames: list[int]) -> np.ndarray | None:
    return np.median([track.colours[f] for f in frames], axis=0) if frames else None


def _far(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (4 * NOISE**2))  # the difference of two has twice the variance


def _cut(track: Track, end: int, tail_id: int) -> Track:
    """Takes what comes after a frame off a track, and gives it."""
    tail = replace(track, id=tail_id)
    for name in BY_FRAME:
        of = getattr(track, name)
        later, before = ({f: v for f, v in of.items() if (f > end) == is_later} for is_later in (True, False))
        if name == "shapes" and not (later and before):
            continue  # the height of the other part is better than none
        setattr(tail, name, later)
        setattr(track, name, before)
    return tail


def _join(track: Track, tail: Track) -> None:
    for name in BY_FRAME:
        getattr(track, name).update(getattr(tail, name))
