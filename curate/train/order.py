"""Which question comes when: a function of seed, epoch and rank alone, so that any place in it is found again.

An epoch is a list of blocks, the questions of one clip each. Clips are permuted over the whole split, and so are the
questions within a clip. Ranks get runs of that list that differ in length by one question at most; only clips at the
ends of runs are read by two ranks. Within its run a rank draws each question from a pool of clips, a clip as often as
it has questions left, and a clip that is used up makes room for the next: each clip is decoded once in an epoch, and a
batch holds questions of up to `pool` clips. What the shuffle does not do: questions of one clip come within a stretch
of about `pool` clips' questions, not anywhere in the epoch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from typing import NamedTuple

Item = tuple[int, int, int]  # set, clip in it, question of the clip


class Block(NamedTuple):
    """Questions `first .. last` of a clip, in the order of the set's `turn`-th permutation; turn -1 is its own."""

    set: int
    clip: int
    turn: int
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class Order:
    """
    Args:
        counts: of each set, the number of questions of each clip.
        weights: of each set, how often a question comes in an epoch.
        rank, world_size: which run of an epoch is this reader's.
        epochs: None goes on for ever.
        shuffle: False keeps the order of the sets; weights must be 1 then.
        pool: clips that questions are drawn from at a time.
    """

    counts: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    epochs: int | None = None
    shuffle: bool = True
    pool: int = 16

    def __post_init__(self) -> None:
        if not self.shuffle and set(self.weights) != {1.0}:
            raise ValueError(f"weights {self.weights} without a shuffle; sets that are read in order come once each")

    @cached_property
    def per_epoch(self) -> int:
        """Questions of an epoch, over all ranks."""
        return sum(map(self._wanted, range(len(self.counts))))

    def length(self, epoch: int, rank: int | None = None) -> int:
        """Questions of one epoch for one rank."""
        first, last = self._run(epoch, self.rank if rank is None else rank)
        return last - first

    def total(self, rank: int | None = None) -> int:
        """Questions of all epochs for one rank; their number must be finite."""
        assert self.epochs is not None
        return sum(self.length(epoch, rank) for epoch in range(self.epochs))

    def items(self, start: int = 0) -> Iterator[Item]:
        """This rank's questions from its `start`-th on, epoch after epoch."""
        for epoch in count() if self.epochs is None else range(self.epochs):
            length = self.length(epoch)
            if start >= length:
                start -= length
                if self.epochs is None and self.per_epoch == 0:
                    return
                continue
            yield from islice(self._epoch(epoch), start, None)
            start = 0

    def place(self, start: int) -> tuple[int, int]:
        """(epoch, questions of it already given) before this rank's `start`-th question."""
        epoch = 0
        while start and start >= self.length(epoch):
            start, epoch = start - self.length(epoch), epoch + 1
        return epoch, start

    def _wanted(self, index: int) -> int:
        num = sum(self.counts[index])
        return max(1, round(self.weights[index] * num)) if num else 0

    def _run(self, epoch: int, rank: int) -> tuple[int, int]:
        """Where a rank's run of an epoch begins and ends; the longer runs go round from epoch to epoch."""
        turn = (rank + epoch) % self.world_size
        return self.per_epoch * turn // self.world_size, self.per_epoch * (turn + 1) // self.world_size

    def _epoch(self, epoch: int) -> Iterator[Item]:
        blocks = [block for index in range(len(self.counts)) for block in self._blocks(index, epoch)]
        if self.shuffle:
            random.Random(f"blocks {self.seed} {epoch}").shuffle(blocks)
        blocks = _cut(blocks, *self._run(epoch, self.rank))
        if not self.shuffle:
            return (item for block in blocks for item in self._items(block))
        return self._pooled(blocks, random.Random(f"pool {self.seed} {epoch} {self.rank}"))

    def _blocks(self, index: int, epoch: int) -> list[Block]:
        """A set's questions of one epoch: a stretch of its permutations laid end to end, one whole at weight 1."""
        num, wanted = sum(self.counts[index]), self._wanted(index)
        first, last = epoch * wanted, (epoch + 1) * wanted
        blocks: list[Block] = []
        if not self.shuffle:
            return self._permuted(index, -1)
        for turn in range(first // num, -(-last // num)) if num else ():
            blocks += _cut(self._permuted(index, turn), first - turn * num, last - turn * num)
        return blocks

    def _permuted(self, index: int, turn: int) -> list[Block]:
        blocks = [Block(index, clip, turn, 0, num) for clip, num in enumerate(self.counts[index]) if num]
        if turn >= 0:
            random.Random(f"clips {self.seed} {index} {turn}").shuffle(blocks)
        return blocks

    def _items(self, block: Block) -> list[Item]:
        questions = list(range(self.counts[block.set][block.clip]))
        if block.turn >= 0:
            random.Random(f"questions {self.seed} {block.set} {block.turn} {block.clip}").shuffle(questions)
        return [(block.set, block.clip, question) for question in questions[block.first:block.last]]

    def _pooled(self, blocks: Sequence[Block], rng: random.Random) -> Iterator[Item]:
        waiting, pool, left = iter(blocks), [], 0
        while True:
            for block in islice(waiting, self.pool - len(pool)):
                pool.append(self._items(block))
                left += block.length
            if not pool:
                return
            at, index = rng.randrange(left), 0
            while at >= len(pool[index]):
                at, index = at - len(pool[index]), index + 1
            yield pool[index].pop()
            left -= 1
            if not pool[index]:
                del pool[index]


def _cut(blocks: Sequence[Block], first: int, last: int) -> list[Block]:
    """The questions `first .. last` of the blocks laid end to end."""
    out, at = [], 0
    for block in blocks:
        start, end = max(first - at, 0), min(last - at, block.length)
        if start < end:
            out.append(block._replace(first=block.first + start, last=block.first + end))
        at += block.length
    return out
