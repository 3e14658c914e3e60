"""What came of a set's choices, counted: records on disk, gone through in blocks, so that a set may have any size.

Counts are whole numbers, so that they are the same in every order of arrival.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.questions.draw import stable_hash
from curate.questions.guessers import CLASS, FORMS, LETTERS, NUMBERS, PLACES, Choice, choice
from curate.questions.items import ITEM, MOST, NO_GUESS, STATIC, items_of
from curate.questions.learned import LEARNED, PRIOR, Learner
from curate.questions.question import Question
from curate.questions.words import MOST_ITEMS, classify

GUESSERS = (*STATIC, *LEARNED, PRIOR)  # a bit of `hits` each
GUESSED = np.dtype([("recording", "u8"), ("hits", "u8"), ("family", "u2"), ("answer", "u2")])
BLOCK = 1 << 15  # items in memory at once
MOST_NAMES = 60_000  # of families and categories; what comes beyond is counted in 256 classes
BUCKET_BYTES = 8 << 20  # of guesses whose recordings are counted together
EXACT = 2.0**40  # probabilities are summed as whole numbers of this part
WORDS = "bag of words"
OPPOSITES = (("left", "right"), ("forward", "backward"), ("up", "down"), ("closer", "farther"), ("toward", "away"),
             ("clockwise", "anticlockwise"), ("clockwise", "counterclockwise"), ("faster", "slower"),
             ("above", "below"), ("in front", "behind"), ("yes", "no"), ("increases", "decreases"),
             ("larger", "smaller"), ("before", "after"))


@dataclass(frozen=True)
class Count:
    """How often a guess was right, and by how much whole recordings of items count for less than single ones."""

    hits: int
    num_items: int
    design_effect: float = 1.0


@dataclass
class FamilyTally:
    """What came of one family's items.

    Args:
        judged: guessers of the options that may be held against them; none for too few items.
        read: guessers that show the answer prior.
        counts: guesser -> Count, of `judged`, of `read` and of WORDS.
        prior_chance: guesser -> chance that the family's answer prior gives its guesses, where that is looked at.
        answer: the commonest. answers: category -> items where it is true. pairs: (a, b) -> Count of a among both.
    """

    name: str
    kind: str = "mixed"
    num_items: int = 0
    num_recordings: int = 0
    chance: float = 0.0
    judged: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    counts: dict[str, Count] = field(default_factory=dict)
    prior_chance: dict[str, float] = field(default_factory=dict)
    answer: str = ""
    answers: dict[str, int] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Count] = field(default_factory=dict)


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
        own = np.array([self._code(name) for name in names])
        items = items.copy()
        items["family"], items["answer"] = own[items["family"]], own[items["answer"]]
        named = ~items["numeric"][:, None] & np.isfinite(items["values"])
        items["values"][named] = own[items["values"][named].astype(int)]
        self._file.write(items.tobytes())

    def _code(self, name: str) -> int:
        if name not in self._codes and len(self._codes) >= MOST_NAMES:  # 16 bits of a record hold it
            name = f"{CLASS}{stable_hash('answer', name) % 256:02x}"
        return self._codes.setdefault(name, len(self._codes))

    def keep(self, limits: Mapping[tuple[str, str], int]) -> None:
        """From now on items of (family, answer) above a rank do not count; -1 leaves none."""
        self._limits = {(self._code(f), self._code(a)): limit for (f, a), limit in limits.items()}

    def families(self, least_items: int) -> list[FamilyTally]:
        """Counts of every family, by name, and of all of them together ("all") at the end.

        Args:
            least_items: families with fewer are counted, their guessers are not judged.
        """
        names, learners, places = list(self._codes), {}, {}
        for block in self._blocks():
            for code, own in _by(block, "family"):
                learners.setdefault(code, Learner()).count(own)
                made = (own["guess"][:, [STATIC.index(name) for name in PLACES]] != NO_GUESS).all()
                places[code] = places.get(code, True) and bool(made)
        if not learners:
            return []
        out, sums, sample = {}, {}, {}
        for code, learner in learners.items():
            learner.settle()
            answers = learner.named(names)
            vague = sum(count for name, count in answers.items() if name.startswith(CLASS))
            out[code] = _family(names[code], learner, least_items, places[code], 2 * vague > learner.num_items)
            sums[code], sample[code] = np.zeros(len(GUESSERS), object), []
        together = _together(learners.values(), least_items)
        with _Buckets(self._folder, self._file.tell()) as buckets:
            for block in self._blocks():
                for code, own in _by(block, "family"):
                    chosen = own["tie"].astype(float) < 2.0**64 * MOST_ITEMS / out[code].num_items
                    sample[code].append(own[chosen])
                    for _, same in _by(own, "num"):
                        rows, chance = _hits(same, learners[code])
                        buckets.add(rows)
                        sums[code] += chance
            buckets.count(out, together, self._pairs(out))
        for code, tally in out.items():
            tally.prior_chance = {name: int(total) / EXACT / tally.num_items
                                  for name, total in zip(GUESSERS, sums[code]) if _by_prior(name, tally.kind)}
            tally.answer, tally.answers = learners[code].commonest(names), dict(learners[code].named(names))
            tally.counts[WORDS] = _read(np.concatenate(sample.pop(code)), tally)
        return [*sorted(out.values(), key=lambda f: f.name), together]

    def _pairs(self, families: Mapping[int, FamilyTally]) -> dict[int, list[tuple[str, str, int, int]]]:
        """Of each family of categories, the opposites that it may have, with their codes."""
        known = [(a, b, self._codes[a], self._codes[b]) for a, b in OPPOSITES if {a, b} <= set(self._codes)]
        return {code: known if tally.kind == "category" else [] for code, tally in families.items()}

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


def _by(items: np.ndarray, column: str) -> Iterator[tuple[int, np.ndarray]]:
    for value in np.unique(items[column]).tolist():
        yield value, items[items[column] == value]


def _by_prior(guesser: str, kind: str) -> bool:
    """Is chance for a guesser what the answer prior gives its guesses, where that is more? What is written goes with
    the answer's size or category; among counts, so does everything that depends on the numbers."""
    return (guesser in FORMS or guesser == PRIOR or guesser in LEARNED[1:]
            or (kind == "count" and (guesser in NUMBERS or guesser in LEARNED)))


def _chance(kinds: Mapping[tuple[bool, int], int]) -> float:
    num = sum(kinds.values())
    return sum(count / k for (_, k), count in sorted(kinds.items())) / num


def _numbers(most: int) -> list[str]:
    return [n for n in NUMBERS if not n.startswith("rank") or int(n[5:]) <= most]


def _family(name: str, learner: Learner, least_items: int, places: bool, is_open: bool) -> FamilyTally:
    """
    Args:
        places: all its options are places. is_open: most of its answers are of no fixed vocabulary, so that how long
            they are cannot be told from what they say; then it is part of the answer prior.
    """
    most, kind = max(k for _, k in learner.kinds), learner.kind
    judged = list(LETTERS)[:most]
    if kind != "mixed":
        judged += [*(_numbers(most) if kind != "category" else ()), *(() if is_open else FORMS), *learner.guessers]
        judged += [PRIOR] if kind == "number" else []
    return FamilyTally(name, kind, learner.num_items,
                       read=[*(PLACES if places else ()), *(FORMS if is_open else ()), PRIOR],
                       chance=_chance(learner.kinds), judged=judged if learner.num_items >= least_items else [])


def _together(learners: Iterable[Learner], least_items: int) -> FamilyTally:
    kinds = sum((learner.kinds for learner in learners), Counter())
    num, most = sum(kinds.values()), max(k for _, k in kinds)
    judged = list(LETTERS)[:most] + (_numbers(most) if {numeric for numeric, _ in kinds} == {True} else [])
    return FamilyTally("all", "mixed", num, chance=_chance(kinds), judged=judged if num >= least_items else [])


def _hits(items: np.ndarray, learner: Learner) -> tuple[np.ndarray, np.ndarray]:
    """GUESSED rows of items with one number of options; and for each guesser the sum of what the prior gives its
    guesses, in parts of EXACT."""
    rows = np.zeros(len(items), GUESSED)
    for name in ("recording", "family", "answer"):
        rows[name] = items[name]
    guessed = {name: items["guess"][:, i] for i, name in enumerate(STATIC)} | learner.guesses(items)
    weight, at, chance = learner.weights(items), np.arange(len(items)), np.zeros(len(GUESSERS), object)
    for bit, name in enumerate(GUESSERS):
        if name in guessed:
            guess = guessed[name]
            rows["hits"] |= (guess == items["truth"]).astype(np.uint64) << np.uint64(bit)
            if _by_prior(name, learner.kind):
                made = np.minimum(guess, weight.shape[1] - 1)  # of what this kind of item has no guess of, any
                chance[bit] = int(np.rint(weight[at, made] * EXACT).astype(np.int64).sum())
    return rows, chance


def _read(items: np.ndarray, tally: FamilyTally) -> Count:
    """What the classifier of words gets right of some of a family's items."""
    items = items[np.lexsort((items["recording"], items["tie"]))]
    most = int(items["num"].max()) if len(items) else MOST
    right = classify(items["question"], items["words"][:, :most], items["truth"].astype(int), items["num"].astype(int),
                     items["recording"], items["tie"])
    _, index = np.unique(items["recording"], return_inverse=True)
    return _clustered(index, right)


def _clustered(index: np.ndarray, right: np.ndarray) -> Count:
    """Count of hits [N] whose recordings are `index` [N]."""
    num = np.bincount(index)
    each = np.bincount(index, right, len(num)).astype(np.int64)
    return Count(int(right.sum()), len(right), design_effect(
        len(right), int(right.sum()), int(each @ each), int(each @ num), int(num @ num), len(num)))


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

    def add(self, rows: np.ndarray) -> None:
        bucket = rows["recording"] % np.uint64(len(self.files))
        for index, file in enumerate(self.files):
            file.write(rows[bucket == index].tobytes())

    def count(self, families: Mapping[int, FamilyTally], together: FamilyTally,
              pairs: Mapping[int, list[tuple[str, str, int, int]]]) -> None:
        """Sets the number of recordings, the counts, and those of opposites."""
        sums: dict[tuple, np.ndarray] = {}

        def add(key: tuple, hit: np.ndarray, index: np.ndarray) -> None:
            num = np.bincount(index)
            num = num[num > 0] if len(num) else num
            each = np.bincount(index, hit)[np.bincount(index) > 0].astype(np.int64)
            found = [int(num.sum()), int(each.sum()), int(each @ each), int(each @ num), int(num @ num), len(num)]
            sums[key] = sums.get(key, 0) + np.array(found, object)

        for file in self.files:
            file.seek(0)
            rows = np.frombuffer(file.read(), GUESSED)
            for code, tally in [*families.items(), (None, together)]:
                own = rows if code is None else rows[rows["family"] == code]
                _, index = np.unique(own["recording"], return_inverse=True)
                tally.num_recordings += len(np.unique(index))
                for name in dict.fromkeys([*tally.judged, *tally.read]):
                    add((code, name), (own["hits"] >> np.uint64(GUESSERS.index(name))) & np.uint64(1), index)
                for a, b, first, second in pairs.get(code, ()):
                    both = (own["answer"] == first) | (own["answer"] == second)
                    if both.any():
                        add((code, a, b), own["answer"][both] == first, index[both])
        for (code, *name), (num, hits, *squares) in sums.items():
            tally, count = together if code is None else families[code], Count(
                int(hits), int(num), design_effect(num, hits, *squares))
            if len(name) == 2:
                tally.pairs[tuple(name)] = count
            else:
                tally.counts[name[0]] = count


def design_effect(num: int, hits: int, right_right: int, right_num: int, num_num: int, recordings: int) -> float:
    """Variance of the hits' sum when whole recordings are drawn, over that of single items; at least 1.

    Args:
        num, hits: of all items. right_right, right_num, num_num: Σ r², Σ r n, Σ n² over recordings of n items with r
            hits each. recordings: their number.
    """
    within = hits * (num - hits)  # times num
    between = num * num * right_right - 2 * num * hits * right_num + hits * hits * num_num  # times num²
    between = between * recordings / (recordings - 1) if recordings > 1 else 0.0
    return max(1.0, float(between / (within * num))) if within else 1.0
