"""What is drawn when from sources that are mixed: counts from weights, their order, and which record a draw is of.

Everything is a function of names and numbers, exact, and can be asked for any place without what comes before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from hashlib import blake2b

ROUNDS = 6


def counts_of(total: int, weights: Sequence[float]) -> list[int]:
    """How many of `total` each source gives: within one of its weight's share, by the largest remainders.

    Args:
        weights: not negative, some above zero. Of equal remainders the first wins.

    Raises:
        ValueError: where no weight is above zero.

    >>> counts_of(10, [2, 1, 1])
    [5, 3, 2]
    """
    exact = [Fraction(str(weight)) for weight in weights]
    if not exact or min(exact) < 0 or not sum(exact):
        raise ValueError(f"weights {list(weights)}: expected numbers that are not negative, some above 0")
    shares = [total * weight / sum(exact) for weight in exact]
    counts = [math.floor(share) for share in shares]
    by_rest = sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i], i))
    for i in by_rest[:total - sum(counts)]:
        counts[i] += 1
    return counts


def interleaved(counts: Sequence[int], start: int = 0) -> Iterator[tuple[int, int]]:
    """(source, which of its draws) of every place from `start` on, so that every first part is mixed alike.

    After t of N places a source of n draws has given less than one more or fewer than t n / N. Draw k of a source may
    come from place floor(k N / n) on and must have come by place ceil((k + 1) N / n); the draw that must come soonest
    goes first, which meets all of these (Steiner and Yeomans, Level schedules for mixed-model assembly, 1993).

    >>> list(interleaved([2, 1]))
    [(0, 0), (0, 1), (1, 0)]
    """
    total = sum(counts)
    if start >= total:
        return
    period = total // math.gcd(*counts)  # the pattern comes again, with counts that are exact
    first = start - start % period
    given = [n * first // total for n in counts]
    for place in range(first, total):
        _, chosen = min((-(-(k + 1) * total // n), i) for i, (k, n) in enumerate(zip(given, counts))
                        if k < n and k * total // n <= place)
        if place >= start:
            yield chosen, given[chosen]
        given[chosen] += 1


class Permutation:
    """A shuffled order of `0 .. size - 1` that takes no memory: a balanced Feistel network over the next power of four,
    walked until it lands inside (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002).

    Args:
        name: whatever tells this order from others; the same name gives the same order on every machine.

    >>> sorted(Permutation(5, "any")[i] for i in range(5))
    [0, 1, 2, 3, 4]
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._keys = [blake2b(f"{number} {name}".encode(), digest_size=32).digest() for number in range(ROUNDS)]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} of {self.size}")
        while True:
            index = self._mixed(index)
            if index < self.size:
                return index

    def _mixed(self, index: int) -> int:
        mask = (1 << self._half) - 1
        left, right = index >> self._half, index & mask
        for key in self._keys:
            digest = blake2b(right.to_bytes(8, "big"), key=key, digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "big") & mask)
        return left << self._half | right


class Draws:
    """Which of `size` records the n-th draw of a source is: each comes once before any comes again, in another order
    every time."""

    def __init__(self, size: int, name: str) -> None:
        self.size, self._name = size, name
        self._turn, self._order = -1, Permutation(1, "")

    def __getitem__(self, draw: int) -> int:
        turn, index = divmod(draw, self.size)
        if turn != self._turn:
            self._turn, self._order = turn, Permutation(self.size, f"{self._name} {turn}")
        return self._order[index]
