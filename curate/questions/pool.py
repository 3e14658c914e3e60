"""All candidates of a set on disk, a few bytes each, so that the selection can look at the whole of them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from curate.questions.balance import Group, Limits

ROW = np.dtype([("rank", "u8"), ("group", "u4")])
BLOCK = 1 << 18  # rows in memory at once


class Pool:
    """Candidates on disk. Use as a context manager.

    Args:
        folder: where the temporary file goes; default: the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `__exit__`)
        self._codes: dict[Group, int] = {}
        self.counts: Counter = Counter()  # (family, form, answer) -> candidates

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, candidates: Iterable[tuple[str, str, str, int]]) -> None:
        """Takes (family, form, answer, rank) of candidates."""
        rows = [(rank, self._codes.setdefault((family, form, answer), len(self._codes)))
                for family, form, answer, rank in candidates]
        found = np.array(rows, ROW)
        codes, counts = np.unique(found["group"], return_counts=True)
        names = list(self._codes)
        for code, count in zip(codes.tolist(), counts.tolist()):
            self.counts[names[code]] += count
        self._file.write(found.tobytes())

    def kth_ranks(self, wanted: Mapping[tuple[str, ...], int], limits: Limits) -> dict[tuple[str, ...], int]:
        """The k-th smallest rank of each group, found 16 bits at a time without sorting.

        Args:
            wanted: (family, form, answer), or (family,) for all of a family -> k, 1 .. their number. No candidate may
                be in two of them.
            limits: candidates above these are not looked at.
        """
        target = np.full(len(self._codes), -1)  # a group's code -> place in `wanted`
        for place, name in enumerate(wanted):
            for group, code in self._codes.items():
                if group[:len(name)] == name:
                    target[code] = place
        most = np.array([min(limits.of(*group), 2**64 - 1) for group in self._codes], object)
        none = np.array([limit < 0 for limit in most])
        highest = np.array([max(limit, 0) for limit in most], np.uint64)
        state = {place: [k, 0] for place, k in enumerate(wanted.values())}  # k among those of the prefix
        for shift in (48, 32, 16, 0):
            counts = {place: np.zeros(1 << 16, np.int64) for place in state}
            for block in self._blocks():
                group = block["group"]
                block = block[~none[group] & (block["rank"] <= highest[group]) & (target[group] >= 0)]
                at = target[block["group"]]
                for place, (_, prefix) in state.items():
                    rank = block["rank"][at == place]
                    if shift < 48:
                        rank = rank[rank >> np.uint64(shift + 16) == np.uint64(prefix)]
                    digit = (rank >> np.uint64(shift)).astype(np.int64) & 0xFFFF
                    counts[place] += np.bincount(digit, minlength=1 << 16)
            for place, own in state.items():
                below = np.cumsum(counts[place])
                digit = int(np.searchsorted(below, own[0]))
                own[0] -= int(below[digit - 1]) if digit else 0
                own[1] = own[1] << 16 | digit
        return {name: state[place][1] for place, name in enumerate(wanted)}

    def _blocks(self) -> Iterator[np.ndarray]:
        end, at = self._file.seek(0, 2), 0
        while at < end:
            self._file.seek(at)
            block = np.frombuffer(self._file.read(BLOCK * ROW.itemsize), ROW)
            at += block.nbytes
            yield block
        self._file.seek(0, 2)
