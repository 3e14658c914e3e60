"""Seeded draws that depend on their names alone: the same on every machine, in every order, in every version."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_BLOCK = struct.Struct("<8Q")


def stable_hash(*parts: object) -> int:
    """64 bits of blake2b over the parts' texts."""
    text = "\0".join(str(p) for p in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Draw:
    """A stream of uniform numbers named by its parts.

    >>> Draw("clip", 7).uniform() == Draw("clip", 7).uniform()
    True
    """

    def __init__(self, *parts: object) -> None:
        self._seed = "\0".join(map(str, parts)).encode()
        self._numbers: list[int] = []  # of the last block, the next at the end
        self._num_blocks = 0

    def _unit(self) -> float:
        if not self._numbers:
            block = hashlib.blake2b(self._seed + b"\0%d" % self._num_blocks).digest()
            self._num_blocks += 1
            self._numbers = list(_BLOCK.unpack(block)[::-1])
        return (self._numbers.pop() >> 11) / (1 << 53)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """In [low, high), with 53 random bits."""
        return low + (high - low) * self._unit()

    def integer(self, stop: int) -> int:
        """In 0..stop - 1."""
        return int(self._unit() * stop)

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self._unit() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = int(self._unit() * (i + 1))
            out[i], out[j] = out[j], out[i]
        return out
