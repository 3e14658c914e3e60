"""Tracks of all views in one table, sorted by track, their times brought to the reference camera's."""

from __future__ import annotations

import numpy as np

from curate.perception.multiview.tracker import ViewTracks

MIN_LENGTH = 3  # frames; shorter ones tell nothing


class Tracks:
    """
    Attributes:
        view: [N] of each track. start: [N + 1] where each begins in the tables of observations.
        frame: [M]. at: [M, 2] px. track: [M] of each observation.
        extent: [N] px, how far a track reaches in the picture (its 5 % to 95 % range, the larger of u and v).
    """

    def __init__(self, views: list[ViewTracks], view_time_s: np.ndarray) -> None:
        """
        Args:
            view_time_s: [V, T] when each view's frames were taken; positions are moved to those of view 0 along each
                track.
        """
        ids, frames, uv, view = [], [], [], []
        self._number: dict[tuple[int, int], int] = {}
        for v, one in enumerate(views):
            i, f, at = one.table()
            order = np.lexsort((f, i))
            i, f, at = i[order], f[order], at[order]
            length = np.bincount(i) if len(i) else np.zeros(0, int)
            long = length[i] >= MIN_LENGTH if len(i) else np.zeros(0, bool)
            i, f, at = i[long], f[long], at[long]
            at = _at_reference(i, f, at, view_time_s[v] - view_time_s[0], view_time_s[v])
            for number in np.unique(i):
                self._number[v, int(number)] = len(self._number)
            ids.append(np.array([self._number[v, int(k)] for k in i], int))
            frames.append(f)
            uv.append(at)
            view.append(np.full(len(np.unique(i)), v))
        self.track, self.frame = np.concatenate(ids), np.concatenate(frames).astype(int)
        self.at, self.view = np.concatenate(uv), np.concatenate(view).astype(int)
        num = len(self.view)
        self.start = np.searchsorted(self.track, np.arange(num + 1))
        self.extent = np.array([np.ptp(np.percentile(self.at[a:b], [5, 95], axis=0), axis=0).max()
                                for a, b in zip(self.start[:-1], self.start[1:])])

    def __len__(self) -> int:
        return len(self.view)

    def number(self, view: int, own_id: int) -> int:
        """Of a view's own id; -1 where that track was too short to be kept."""
        return self._number.get((view, own_id), -1)

    def frames(self, track: int) -> np.ndarray:
        return self.frame[self.start[track]:self.start[track + 1]]

    def uv(self, track: int) -> np.ndarray:
        return self.at[self.start[track]:self.start[track + 1]]

    def rows(self, tracks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows [m] of the observations of some tracks [n], and which of those [m] each is of."""
        counts = self.start[tracks + 1] - self.start[tracks]
        which = np.repeat(np.arange(len(tracks)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.start[tracks][which] + within, which


def _at_reference(ids, frames, uv, late_s: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Positions [M, 2] where each track was `late_s` [T] earlier, by its own mean velocity about the frame."""
    if not len(ids) or not np.abs(late_s).max() > 0:
        return uv
    at = time_s[frames]
    before, after = np.maximum(np.arange(len(ids)) - 1, 0), np.minimum(np.arange(len(ids)) + 1, len(ids) - 1)
    before = np.where(ids[before] == ids, before, np.arange(len(ids)))
    after = np.where(ids[after] == ids, after, np.arange(len(ids)))
    velocity = (uv[after] - uv[before]) / np.maximum(at[after] - at[before], 1e-6)[:, None]
    return uv - velocity * late_s[frames][:, None]
