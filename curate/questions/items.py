"""Choices as records of one size: what the audit needs to know of each, and the guesses that need nothing else.

The guesses are those of `guessers`, of many items at once, to the last tie.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from curate.questions.draw import stable_hash
from curate.questions.guessers import (
    COVER,
    COVER_SLACK,
    FORMS,
    LETTERS,
    NICE_RATIOS,
    NUMBERS,
    PLACES,
    Choice,
    coordinates,
    guess,
    known_answer,
    last_digit,
    num_decimals,
    num_digits,
    unit_pattern,
)
from curate.questions.words import OPTION_WORDS, QUESTION_WORDS, bag, stem

MOST = 5  # options of an item
NO_GUESS = 255
STATIC = (*LETTERS, *NUMBERS, *FORMS, *PLACES)  # guessers of a place each in `guess`
ITEM = np.dtype([("rank", "u8"), ("recording", "u8"), ("tie", "u8"), ("values", "f8", MOST),
                 ("guess", "u1", len(STATIC)), ("family", "u2"), ("answer", "u2"), ("num", "u1"), ("truth", "u1"),
                 ("unit", "u1", MOST), ("written", "u1", MOST), ("digit", "u1", MOST), ("numeric", "?"),
                 ("context", "u1"),
                 ("question", "u2", QUESTION_WORDS), ("words", "u2", (MOST, OPTION_WORDS))])


def hash_of(text: str) -> int:
    """64 bits that stand for a recording or a clip."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


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
    others = ~np.eye(k, dtype=bool)
    near = (np.abs(gap[..., None] - nice) < 0.06).any(-1) & others
    shared = np.zeros((num, k), int)
    pairs = list(combinations(range(k), 2))
    for i, j in pairs:
        again = np.zeros(num, bool)
        for a, b in pairs:
            if not {a, b} & {i, j}:
                again |= np.abs(gap[:, i, j] - gap[:, a, b]) < 0.03
        shared[:, i] += again
        shared[:, j] += again
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        over = values[:, None, :] / values[:, :, None]  # of the others to each
    covered = (over >= COVER[0] - COVER_SLACK) & (over <= COVER[1] + COVER_SLACK) & others
    spread = values.max(1, keepdims=True) - values.min(1, keepdims=True)
    off_mean = np.abs(values - _mean(values)) / np.where(spread > 0, spread, 1.0) / 2
    digits = np.array([[num_digits(o) for o in row] for row in options])
    units = [[unit_pattern(o) for o in row] for row in options]
    odd = np.array([[-row.count(u) for u in row] for row in units])
    place = (values[:, None, :] < values[:, :, None]).sum(-1)
    out = {"nearest to the mean": -np.abs(values - _mean(values)),
           "nearest to the median": -np.abs(values - np.median(values, 1)[:, None]),
           "nearest to the geometric mean": -np.abs(logs - _mean(logs)), "hub of nice ratios": near.sum(-1),
           "hub of shared ratios": shared, "cover of 0.25 to 1.75": covered.sum(-1) - off_mean, "most digits": digits,
           "fewest digits": -digits, "odd unit": odd}
    # the first of equal values has the rank
    return out | {f"rank {i + 1}": place == i for i in range(MOST)}


def items_of(choices: Sequence[Choice], ranks: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """Choices as ITEM records; `family`, `answer` and the values of categories count in the names that come along.

    Args:
        ranks: of the selection, one a choice.
    """
    items, names = np.zeros(len(choices), ITEM), {"": 0}
    items["guess"] = NO_GUESS
    if not choices:
        return items, list(names)
    columns: dict[str, list] = {name: [] for name in ("recording", "tie", "family", "answer", "num", "truth", "numeric",
                                                      "context", "question", "values", "words", "unit", "written",
                                                      "digit")}
    for c in choices:
        k = len(c.options)
        if not 1 <= k <= MOST:
            raise ValueError(f"question {c.id!r} has {k} options; expected 1 to {MOST}")
        numeric = c.numeric
        values = c.values if numeric else [names.setdefault(known_answer(v), len(names)) for v in c.values]
        forms = [form_codes(option) for option in c.options] if numeric else [(0, 0, 0)] * k
        unit, written, digit = zip(*forms, *[(0, 0, 0)] * (MOST - k))
        row = (hash_of(c.recording), stable_hash("tie", "", c.id), names.setdefault(c.family, len(names)),
               0 if numeric else values[c.truth], k, c.truth, numeric, context_of(c),
               bag(stem(c.question, c.options), QUESTION_WORDS),
               (*values, *[math.nan] * (MOST - k)),
               [*(bag(o, OPTION_WORDS) for o in c.options), *[(0,) * OPTION_WORDS] * (MOST - k)], unit, written, digit)
        for column, cell in zip(columns.values(), row):
            column.append(cell)
    items["rank"] = np.array(ranks, np.uint64)
    for name, column in columns.items():
        items[name] = np.array(column, ITEM[name].base)
    values = items["values"]
    for numeric, k in sorted({(c.numeric, len(c.options)) for c in choices}):
        at = np.flatnonzero((items["numeric"] == numeric) & (items["num"] == k))
        own = [choices[i] for i in at]
        ids, options = [c.id for c in own], [c.options for c in own]
        length = np.array([[len(o) for o in row] for row in options])
        for i, name in enumerate(list(LETTERS)[:k]):
            items["guess"][at, STATIC.index(name)] = i
        scores = {name: np.zeros((len(at), k), bool) for name in list(LETTERS)[k:]}
        if numeric:
            scores |= _number_scores(values[at, :k], options)
        scores |= {"longest": length, "shortest": -length}
        for name, score in scores.items():
            items["guess"][at, STATIC.index(name)] = _guess(score, name, ids)
        for name, guesser in () if numeric else PLACES.items():
            for i, c in zip(at.tolist(), own):
                if coordinates(c.options):
                    items["guess"][i, STATIC.index(name)] = guess(c, guesser, name)
    return items, list(names)


def context_of(c: Choice) -> int:
    """How an item's numbers are written, one byte for all its options: their units, and the most digits of any.

    Sizes go with it (a fast camera is measured to more digits), and it does not say which option is true.
    """
    if not c.numeric:
        return 0
    return stable_hash("context", *sorted(set(map(unit_pattern, c.options))), max(map(num_digits, c.options))) % 256


@lru_cache(1 << 14)
def form_codes(option: str) -> tuple[int, int, int]:
    """How a number is written, as bytes: its unit; unit, digits and decimals together; its last digit."""
    unit = unit_pattern(option)
    return (stable_hash("unit", unit) % 256,
            stable_hash("written", unit, num_digits(option), num_decimals(option)) % 256, last_digit(option))
