"""Features of several views that are of one place: matched at key frames, held against all frames they share."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np

from curate.perception.multiview.cameras import Cameras
from curate.perception.multiview.config import ViewsConfig
from curate.perception.multiview.tracker import Described
from curate.perception.multiview.tracks import Tracks

FARTHEST = 0.75  # of descriptors of unit length
EARLY = 1.5  # wider epipolar limit of a single frame, whose features are a little off each


def matched_pairs(cameras: Cameras, tracks: Tracks, described: list[dict[int, Described]],
                  config: ViewsConfig) -> list[tuple[int, int]]:
    """Pairs of tracks of two views that are of one place, the most certain first.

    Args:
        described: of each view, key frame to features, whose ids are the view's own.
    """
    votes: Counter = Counter()
    for a, b in combinations(range(len(cameras)), 2):
        for frame in sorted(set(described[a]) & set(described[b])):
            for i, j in _mutual(cameras, a, described[a][frame], b, described[b][frame], config):
                pair = tracks.number(a, int(i)), tracks.number(b, int(j))
                if min(pair) >= 0:
                    votes[pair] += 1
    checked = []
    for (i, j), count in sorted(votes.items()):
        error = epipolar_over_time(cameras, tracks, i, j)
        if len(error) and np.median(error) < config.epipolar_px and np.mean(error < 2 * config.epipolar_px) > 0.8:
            checked.append((-count * len(error), i, j))
    return [(i, j) for _, i, j in sorted(checked)]


def _mutual(cameras: Cameras, a: int, first: Described, b: int, second: Described, config: ViewsConfig):
    """Nearest of each other among those that the epipolar geometry allows, and clearly nearer than the next place."""
    if len(first.ids) < 2 or len(second.ids) < 2:
        return
    allowed = cameras.epipolar_table(a, first.uv, b, second.uv)
    away = np.sqrt(np.maximum(2 - 2 * first.descriptors @ second.descriptors.T, 0))
    away = np.where(allowed < EARLY * config.epipolar_px, away, np.inf)
    best_b, best_a = away.argmin(1), away.argmin(0)
    for i in np.flatnonzero(best_a[best_b] == np.arange(len(best_b))):
        j = best_b[i]
        # the same place described twice is no rival
        row = away[i][second.ids != second.ids[j]].min(initial=np.inf)
        column = away[:, j][first.ids != first.ids[i]].min(initial=np.inf)
        if away[i, j] < FARTHEST and away[i, j] < config.ratio * min(row, column):
            yield first.ids[i], second.ids[j]


def epipolar_over_time(cameras: Cameras, tracks: Tracks, i: int, j: int) -> np.ndarray:
    """[n] px in the frames that both tracks are seen in."""
    frames, at_i, at_j = np.intersect1d(tracks.frames(i), tracks.frames(j), assume_unique=True, return_indices=True)
    if not len(frames):
        return np.zeros(0)
    return cameras.epipolar(int(tracks.view[i]), tracks.uv(i)[at_i], int(tracks.view[j]), tracks.uv(j)[at_j])


def group(tracks: Tracks, pairs: list[tuple[int, int]], num_views: int) -> list[list[int]]:
    """Tracks joined into places: pairs in order, a track of each view at most, and all pairs within a place held
    together by a pair of their own or through a track they share."""
    place: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    for i, j in pairs:
        a, b = place.get(i), place.get(j)
        if a is None and b is None:
            place[i] = place[j] = i
            members[i] = [i, j]
            continue
        if a is not None and b is not None:
            if a == b:
                continue
            joined = members[a] + members[b]
        else:
            joined = members[a] + [j] if b is None else members[b] + [i]
        views = [int(tracks.view[k]) for k in joined]
        if len(set(views)) < len(views):
            continue  # two tracks of one view: the earlier pair was the more certain one
        root = a if a is not None else b
        if a is not None and b is not None:
            del members[b]
        members[root] = joined
        for k in joined:
            place[k] = root
    return [sorted(found) for _, found in sorted(members.items())]
