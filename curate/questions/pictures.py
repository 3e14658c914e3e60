"""Clips that look alike: perceptual hashes of their first frames, and which of them are near each other.

The hash is a difference hash (Krawetz 2013) in both directions: the picture shrunk to 9 × 9 cells by their means, a bit
for each cell that is brighter than its left, and than its upper neighbour. It stands a change of size, of compression
and of brightness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from curate.questions.items import hash_of

NUM_BYTES = 16
MOST_BITS = 6  # that differ between pictures of one scene
LEAST_CONTRAST = 2.0  # grey levels, deviation of the cells; a flatter picture has only noise to hash
MOST_IN_BAND = 2000  # pictures compared each with each; of more, each with its next in the order of hashes
NEIGHBOURS = 50
MOST_LISTED = 20  # groups
_ONES = np.array([value.bit_count() for value in range(256)])


def picture_hash(image: np.ndarray) -> bytes:
    """
    Args:
        image: [H, W, 3] uint8 RGB, or [H, W] grey.

    Returns:
        NUM_BYTES bytes; none of a picture too flat or too small (9 pixels) to have a hash.
    """
    grey = np.asarray(image, np.float32)
    grey = grey @ np.array([0.299, 0.587, 0.114], np.float32) if grey.ndim == 3 else grey
    if min(grey.shape) < 9:
        return b""
    rows, columns = (np.arange(9) * size // 9 for size in grey.shape)
    cells = np.add.reduceat(np.add.reduceat(grey, rows, 0, dtype=np.float64), columns, 1)
    cells = np.round(cells / np.outer(np.diff([*rows, grey.shape[0]]), np.diff([*columns, grey.shape[1]])), 3)
    if cells.std() < LEAST_CONTRAST:
        return b""
    across, down = cells[:8, 1:] > cells[:8, :-1], cells[1:, :8] > cells[:-1, :8]
    return np.packbits(np.concatenate([across.ravel(), down.ravel()])).tobytes()


class Pictures:
    """Hashes of a set's clips, 25 bytes each."""

    ROW = np.dtype([("hash", "u1", NUM_BYTES), ("recording", "u8"), ("split", "u1")])

    def __init__(self) -> None:
        self._rows = bytearray()
        self._splits: dict[str, int] = {}
        self._missing = 0

    def add(self, picture: bytes, recording: str, split: str) -> None:
        """Takes the next clip; `picture` as of `picture_hash`, b"" where there is none."""
        row = np.zeros(1, self.ROW)
        if picture:
            row["hash"] = np.frombuffer(picture, np.uint8)
        row["recording"] = hash_of(recording)
        row["split"] = self._splits.setdefault(split, len(self._splits)) if picture else 255
        self._rows += row.tobytes()
        self._missing += not picture

    def report(self, keys: Sequence[str]) -> dict[str, Any]:
        """Groups of clips of different recordings that look alike.

        Args:
            keys: of the clips, in the order they were added.

        Returns:
            {"compared", "groups", "clips": how many are in one, "across_splits": groups with clips in several splits,
            "listed": [[key, ...], ...] of the first groups}
        """
        rows = np.frombuffer(self._rows, self.ROW)
        known = np.flatnonzero(rows["split"] != 255)
        own = rows[known]
        groups = _groups(len(own), near_pairs(own["hash"], own["recording"]))
        listed = [[keys[known[i]] for i in group[:10]] for group in groups[:MOST_LISTED]]
        return {"compared": len(own), "groups": len(groups), "clips": sum(map(len, groups)),
                "across_splits": sum(len(np.unique(own["split"][group])) > 1 for group in groups), "listed": listed}


def near_pairs(hashes: np.ndarray, recordings: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (i, j) of different recordings whose hashes differ in at most MOST_BITS.

    Hashes that differ in so few bits agree in one at least of eight parts of 16 bits, so only those are compared.

    Args:
        hashes: [N, NUM_BYTES] uint8. recordings: [N].
    """
    bands = np.ascontiguousarray(hashes).view(">u2")
    for band in bands.T:
        order = np.lexsort((*hashes.T[::-1], band))
        starts = np.flatnonzero(np.r_[True, np.diff(band[order].astype(int)) != 0, True])
        for a, b in pairwise(starts.tolist()):
            for step in range(1, (b - a) if b - a <= MOST_IN_BAND else NEIGHBOURS + 1):
                first, second = order[a:b - step], order[a + step:b]
                differ = recordings[first] != recordings[second]
                first, second = first[differ], second[differ]
                near = _ONES[hashes[first] ^ hashes[second]].sum(1) <= MOST_BITS
                if near.any():
                    yield first[near], second[near]


def _groups(num: int, pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> list[list[int]]:
    """Connected groups of two or more, each in order, by their first."""
    parent = list(range(num))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for first, second in pairs:
        for i, j in zip(first.tolist(), second.tolist()):
            a, b = root(i), root(j)
            parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in range(num):
        groups.setdefault(root(i), []).append(i)
    return [group for group in groups.values() if len(group) > 1]
