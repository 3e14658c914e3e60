"""What the audit needs to know of every choice, kept on disk: blind guesses of many items at once, and their counts.

An item is a fixed record of some eighty bytes, so that a set of any size is gone through in blocks. The guesses are
those of `guessers`, to the last tie; counts are whole numbers, so that they are the same in every order of arrival.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from curate.questions.draw import stable_hash
from curate.questions.guessers import FORMS, LETTERS, NICE_RATIOS, NUMBERS, Choice, choice, num_digits, unit_pattern
from curate.questions.question import Question

MOST = 5  # options of an item
GUESSERS = (*LETTERS, *NUMBERS, *FORMS)  # a bit of `hits` each
ITEM = np.dtype([("rank", "u8"), ("recording", "u8"), ("tie", "u8"), ("values", "f8", MOST), ("hits", "u4"),
                 ("family", "u2"), ("answer", "u2"), ("num", "u1"), ("truth", "u1"), ("longest", "u1"),
                 ("shortest", "u1"), ("numeric", "?")])
GUESSED = np.dtype([("recording", "u8"), ("hits", "u4"), ("family", "u2")])
BLOCK = 1 << 15  # items in memory at once
BUCKET_BYTES = 8 << 20  # of guesses whose recordings are counted together
EXACT = 2.0**40  # probabilities are summed as whole numbers of this part


def _guess(scores: np.ndarray, name: str, ids: Sequence[str]) -> np.ndarray:
    """[N] index of the highest score [N, k]; ties broken by a hash of the item, never by position."""
    best = scores == scores.max(1, keepdims=True)
    count, picked = best.sum(1), best.argmax(1)
    for i in np.flatnonzero(count > 1):
        picked[i] = np.flatnonzero(best[i])[stable_hash("tie", name, ids[i]) % int(count[i])]
    return picked


def _mean(values: np.ndarray) -> np.ndarray:
    """[N, 1] of [N, k], summed from the first to the last."""
    total = values[:, 0]
    for column in values.T[1:]:
        total = total + column
    return (total / values.shape[1])[:, None]


def _number_scores(values: np.ndarray, options: list[tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Scores [N, k] of every guesser of `NUMBERS`; `values` [N, k]."""
    num, k = values.shape
    logs = np.array([[math.log(max(abs(v), 1e-9)) for v in row] for row in values.tolist()])
    gap = np.abs(logs[:, :, None] - logs[:, None, :])
    nice = np.array([math.log(r) for r in NICE_RATIOS])
    near = (np.abs(gap[..., None] - nice) < 0.06).any(-1) & ~np.eye(k, dtype=bool)
    shared = np.zeros((num, k), int)
    pairs = list(combinations(range(k), 2))
    for i, j in pairs:
        again = np.zeros(num, bool)
        for a, b in pairs:
            if not {a, b} & {i, j}:
                again |= np.abs(gap[:, i, j] - gap[:, a, b]) < 0.03
        shared[:, i] += again
        shared[:, j] += again
    digits = np.array([[num_digits(o) for o in row] for row in options])
    units = [[unit_pattern(o) for o in row] for row in options]
    odd = np.array([[-row.count(u) for u in row] for row in units])
    place = (values[:, None, :] < values[:, :, None]).sum(-1)
    out = {"nearest to the mean": -np.abs(values - _mean(values)),
           "nearest to the median": -np.abs(values - np.median(values, 1)[:, None]),
           "nearest to the geometric mean": -np.abs(logs - _mean(logs)), "hub of nice ratios": near.sum(-1),
           "hub of shared ratios": shared, "most digits": digits, "fewest digits": -digits, "odd unit": odd}
    # the first of equal values has the rank
    return out | {f"rank {i + 1}": place == i for i in range(MOST)}


def items_of(choices: Sequence[Choice], ranks: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """Choices as ITEM records; `family`, `answer` and the values of categories count in the names that come along.

    Args:
        ranks: of the selection, one a choice.
    """
    items, names = np.zeros(len(choices), ITEM), {"": 0}
    values = np.full((len(choices), MOST), np.nan)
    for i, (c, rank) in enumerate(zip(choices, ranks)):
        if not 1 <= len(c.options) <= MOST:
            raise ValueError(f"question {c.id!r} has {len(c.options)} options; expected 1 to {MOST}")
        values[i, :len(c.values)] = c.values if c.numeric else [names.setdefault(v, len(names)) for v in c.values]
        recording = int.from_bytes(hashlib.blake2b(c.recording.encode(), digest_size=8).digest(), "little")
        answer = 0 if c.numeric else names[c.values[c.truth]]
        items[i] = (rank, recording, stable_hash("tie", "", c.id), 0, 0, names.setdefault(c.family, len(names)), answer,
                    len(c.options), c.truth, 0, 0, c.numeric)
    items["values"] = values
    for numeric, k in sorted({(c.numeric, len(c.options)) for c in choices}):
        at = np.flatnonzero((items["numeric"] == numeric) & (items["num"] == k))
        own = [choices[i] for i in at]
        ids, options = [c.id for c in own], [c.options for c in own]
        length = np.array([[len(o) for o in row] for row in options])
        scores = {name: np.broadcast_to(np.arange(k) == i, (len(at), k)) for i, name in enumerate(LETTERS)}
        if numeric:
            scores |= _number_scores(values[at, :k], options)
        scores |= {"longest": length, "shortest": -length}
        hits = np.zeros(len(at), np.uint32)
        for name, score in scores.items():
            guessed = _guess(score, name, ids)
            hits |= (guessed == items["truth"][at]).astype(np.uint32) << np.uint32(GUESSERS.index(name))
            if name in FORMS:
                items[name][at] = guessed
        items["hits"][at] = hits
    return items, list(names)


@dataclass
class FamilyTally:
    """What came of one family's items. `judged`: the guessers that may be held against them, none for too few items."""

    name: str
    num_items: int = 0
    num_recordings: int = 0
    chance: float = 0.0
    judged: list[str] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)
    design_effect: dict[str, float] = field(default_factory=dict)
    prior_chance: dict[str, float] = field(default_factory=dict)  # of those judged by the answer prior
    prior: dict[str, Any] | None = None  # {"answer", "right", "chance"} of the commonest answer always given


class Tally:
    """Items on disk. Use as a context manager.

    Args:
        folder: where temporary files go; default: the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `__exit__`)
        self._codes: dict[str, int] = {}
        self._limits: dict[tuple[int, int], int] = {}
        self.answers: Counter = Counter()  # (family, answer) -> items, "" for numbers

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def ask(self, questions: Iterable[Question | Mapping[str, Any]]) -> None:
        """Takes the choices among questions."""
        block: list[Choice] = []
        for question in questions:
            if (item := choice(question)) is not None:
                block.append(item)
            if len(block) == 1000:
                self.add(*items_of(block, [0] * len(block)))
                block = []
        self.add(*items_of(block, [0] * len(block)))

    def add(self, items: np.ndarray, names: Sequence[str]) -> None:
        """Takes records and the names that they count in."""
        if not len(items):
            return
        own = np.array([self._codes.setdefault(name, len(self._codes)) for name in names])
        items = items.copy()
        items["family"], items["answer"] = own[items["family"]], own[items["answer"]]
        named = ~items["numeric"][:, None] & np.isfinite(items["values"])
        items["values"][named] = own[items["values"][named].astype(int)]
        known = list(self._codes)
        for pair, count in Counter(zip(items["family"].tolist(), items["answer"].tolist())).items():
            self.answers[known[pair[0]], known[pair[1]]] += count
        self._file.write(items.tobytes())

    def keep(self, limits: Mapping[tuple[str, str], int]) -> None:
        """From now on items of (family, answer) above a rank do not count."""
        self._limits = {(self._codes[f], self._codes[a]): limit for (f, a), limit in limits.items()}

    def kth_ranks(self, wanted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """The k-th smallest rank of each (family, answer), found 16 bits at a time without sorting.

        Args:
            wanted: (family, answer) -> k, 1 .. their number.
        """
        pairs = {(self._codes[f], self._codes[a]): [k, 0] for (f, a), k in wanted.items()}  # k among the prefix's
        for shift in (48, 32, 16, 0):
            counts = {pair: np.zeros(1 << 16, np.int64) for pair in pairs}
            for block in self._blocks():
                for (family, answer), (_, prefix) in pairs.items():
                    rank = block["rank"][(block["family"] == family) & (block["answer"] == answer)]
                    if shift < 48:
                        rank = rank[rank >> np.uint64(shift + 16) == np.uint64(prefix)]
                    digit = (rank >> np.uint64(shift)).astype(np.int64) & 0xFFFF
                    counts[family, answer] += np.bincount(digit, minlength=1 << 16)
            for pair, state in pairs.items():
                below = np.cumsum(counts[pair])
                digit = int(np.searchsorted(below, state[0]))
                state[0] -= int(below[digit - 1]) if digit else 0
                state[1] = state[1] << 16 | digit
        return {(f, a): pairs[self._codes[f], self._codes[a]][1] for f, a in wanted}

    def families(self, least_items: int) -> list[FamilyTally]:
        """Counts of every family, by name, and of all of them together ("all") at the end.

        Args:
            least_items: families with fewer are counted, their guessers are not judged.
        """
        names = list(self._codes)
        drawn: dict[int, _Counts] = {}
        with _Buckets(self._folder, self._file.tell()) as buckets, tempfile.TemporaryDirectory(
                prefix="curate-audit-", dir=self._folder) as folder:
            for block in self._blocks():
                buckets.add(block)
                for code in np.unique(block["family"]).tolist():
                    if code not in drawn:
                        drawn[code] = _Counts((Path(folder) / str(code)).open("w+b"))
                    drawn[code].add(block[block["family"] == code])
            if not drawn:
                return []
            out = {code: counts.tally(names[code], least_items) for code, counts in drawn.items()}
            everything = _Counts(None)
            for counts in drawn.values():
                everything.join(counts)
            together = everything.tally("all", least_items)
            buckets.count(out, together)
            for code, counts in drawn.items():
                counts.make_prior(out[code], names)
            for block in self._blocks():
                for code in np.unique(block["family"]).tolist():
                    drawn[code].add_prior(block[block["family"] == code])
            for code, counts in drawn.items():
                counts.finish_prior(out[code])
                counts.truths.close()
        return [*sorted(out.values(), key=lambda f: f.name), together]

    def _blocks(self) -> Iterator[np.ndarray]:
        """What was kept, some thousand items at a time."""
        end, at = self._file.seek(0, 2), 0
        while at < end:
            self._file.seek(at)
            block = np.frombuffer(self._file.read(BLOCK * ITEM.itemsize), ITEM)
            at += block.nbytes
            for (family, answer), limit in self._limits.items():
                over = (block["family"] == family) & (block["answer"] == answer)
                block = block[~(over if limit < 0 else over & (block["rank"] > np.uint64(limit)))]
            yield block
        self._file.seek(0, 2)


class _Buckets:
    """Guesses parted by recording, so that those of one recording are counted together, a part at a time."""

    def __init__(self, folder: Path | None, num_bytes: int) -> None:
        num = 1 + num_bytes // ITEM.itemsize * GUESSED.itemsize // BUCKET_BYTES
        self.files = [tempfile.TemporaryFile(dir=folder) for _ in range(min(num, 256))]  # noqa: SIM115 (as above)

    def __enter__(self) -> _Buckets:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files:
            file.close()

    def add(self, block: np.ndarray) -> None:
        rows = np.empty(len(block), GUESSED)
        for name in GUESSED.names:
            rows[name] = block[name]
        bucket = rows["recording"] % np.uint64(len(self.files))
        for index, file in enumerate(self.files):
            file.write(rows[bucket == index].tobytes())

    def count(self, families: dict[int, FamilyTally], together: FamilyTally) -> None:
        """Sets the number of recordings and the design effects."""
        sums: dict[tuple[str, str], np.ndarray] = {}
        for file in self.files:
            file.seek(0)
            rows = np.frombuffer(file.read(), GUESSED)
            for tally, own in [*((f, rows[rows["family"] == code]) for code, f in families.items()), (together, rows)]:
                _, index = np.unique(own["recording"], return_inverse=True)
                num = np.bincount(index)
                tally.num_recordings += len(num)
                for name in tally.judged:
                    hit = (own["hits"] >> np.uint32(GUESSERS.index(name))) & np.uint32(1)
                    right = np.bincount(index, hit, len(num)).astype(np.int64)
                    found = np.array([int(right @ right), int(right @ num), int(num @ num)], object)
                    sums[tally.name, name] = sums.get((tally.name, name), 0) + found
        for tally in (*families.values(), together):
            tally.design_effect = {name: design_effect(tally.num_items, tally.hits[name], *sums[tally.name, name])
                                   for name in tally.judged}


def design_effect(num: int, hits: int, right_right: int, right_num: int, num_num: int) -> float:
    """Variance of the hits' sum when whole recordings are drawn, over that of single items; at least 1.

    Args:
        num, hits: of all items. right_right, right_num, num_num: Σ r², Σ r n, Σ n² over recordings of n items with r
            hits each.
    """
    within = hits * (num - hits)  # times num
    between = num * num * right_right - 2 * num * hits * right_num + hits * hits * num_num  # times num²
    return max(1.0, between / (within * num)) if within else 1.0


class _Counts:
    """One family while it is gone through."""

    def __init__(self, truths: BinaryIO | None) -> None:
        self.truths = truths  # log of every true number
        self.kinds: Counter = Counter()  # (numeric, number of options) -> items
        self.categories: Counter = Counter()
        self.hits = np.zeros(len(GUESSERS), np.int64)
        self.sums = np.zeros(3, np.int64)  # of the prior: guessed right; prior of the longest, of the shortest

    def add(self, items: np.ndarray) -> None:
        self.kinds.update(zip(items["numeric"].tolist(), items["num"].tolist()))
        self.hits += [int((items["hits"] >> np.uint32(bit) & np.uint32(1)).sum()) for bit in range(len(GUESSERS))]
        true = items["values"][np.arange(len(items)), items["truth"]]
        self.truths.write(_logs(true[items["numeric"]]).tobytes())
        self.categories.update(true[~items["numeric"]].astype(int).tolist())

    def join(self, other: _Counts) -> None:
        self.kinds += other.kinds
        self.hits += other.hits

    def tally(self, name: str, least_items: int) -> FamilyTally:
        num, most = sum(self.kinds.values()), max(k for _, k in self.kinds)
        chance = math.fsum(count / k for (_, k), count in sorted(self.kinds.items())) / num
        judged = list(LETTERS)[:most]
        if {numeric for numeric, _ in self.kinds} == {True}:
            judged += [n for n in NUMBERS if not n.startswith("rank") or int(n[5:]) <= most]
        judged += FORMS if name != "all" else ()
        hits = dict(zip(GUESSERS, self.hits.tolist()))
        return FamilyTally(name, num, chance=chance, judged=judged if num >= least_items else [], hits=hits)

    def make_prior(self, family: FamilyTally, names: list[str]) -> None:
        self.numeric = not self.categories
        if self.numeric:
            self.truths.seek(0)
            self.prior = NumberPrior(np.frombuffer(self.truths.read()))
            answer = f"{math.exp(self.prior.centre):.3g}"
        else:
            self.prior = CategoryPrior(self.categories)
            answer = max(sorted(names[c] for c in self.categories),
                         key={names[c]: n for c, n in self.categories.items()}.__getitem__)
        family.prior = {"answer": answer, "right": 0.0, "chance": family.chance}

    def add_prior(self, items: np.ndarray) -> None:
        for k in np.unique(items["num"]).tolist():
            own = items[items["num"] == k]
            values, rows = own["values"][:, :k], np.arange(len(own))
            scores = self.prior.scores(values)
            best = scores == scores.max(1, keepdims=True)
            nth = (own["tie"] % best.sum(1).astype(np.uint64)).astype(int)
            guessed = (np.cumsum(best, 1) == (nth + 1)[:, None]).argmax(1)
            weight = self.prior.weights(values)
            weight = weight / weight.sum(1, keepdims=True)
            self.sums += [int((guessed == own["truth"]).sum()),
                          *(int(np.rint(weight[rows, own[name]] * EXACT).astype(np.int64).sum()) for name in FORMS)]

    def finish_prior(self, family: FamilyTally) -> None:
        family.prior["right"] = int(self.sums[0]) / family.num_items
        family.prior_chance = {name: int(total) / EXACT / family.num_items for name, total in zip(FORMS, self.sums[1:])}


def _logs(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.abs(values), 1e-9))


class NumberPrior:
    """How often a number is the truth, from all true ones: a smooth density of their logarithms."""

    def __init__(self, truths: np.ndarray) -> None:
        truths = np.sort(truths)
        self.centre = float(np.median(truths))
        width = max(float(np.std(truths)) * 1.06 * len(truths) ** -0.2, 0.05)  # Silverman's rule
        self.at = np.linspace(truths[0] - 4 * width, truths[-1] + 4 * width, 256)
        some = truths[:: max(1, len(truths) // 1000)]
        self.density = np.exp(-0.5 * ((self.at[:, None] - some) / width) ** 2).mean(1)

    def scores(self, values: np.ndarray) -> np.ndarray:
        return -np.abs(_logs(values) - self.centre)

    def weights(self, values: np.ndarray) -> np.ndarray:
        return np.interp(_logs(values), self.at, self.density, left=0.0, right=0.0) + 1e-6


class CategoryPrior:
    """How often a category is the truth."""

    def __init__(self, counts: Mapping[int, int]) -> None:
        self.counts = np.zeros(1 << 16)
        self.counts[list(counts)] = list(counts.values())

    def scores(self, values: np.ndarray) -> np.ndarray:
        return self.counts.take(values.astype(int), mode="clip")

    def weights(self, values: np.ndarray) -> np.ndarray:
        return self.scores(values) + 0.5
