"""The audit item by item, in memory: the readable reference of `curate.questions.tally`."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from curate.questions.audit import LEAST_ITEMS, binomial_tail
from curate.questions.draw import stable_hash
from curate.questions.guessers import (
    FORMS,
    LETTERS,
    NUMBERS,
    Choice,
    choice,
    guess,
    known_answer,
    last_digit,
    num_decimals,
    num_digits,
    unit_pattern,
)
from curate.questions.items import context_of
from curate.questions.learned import BIN, FOLDS, LEAST_OF_CONTEXT, LOWEST, NUM_BINS, WIDTHS, smooth
from curate.questions.question import Question

Scores = Callable[[Choice], "list[float]"]


def fold(c: Choice) -> int:
    return int.from_bytes(hashlib.blake2b(c.recording.encode(), digest_size=8).digest(), "little") % FOLDS


def design_effect(hits: np.ndarray, recordings: list[str]) -> float:
    """Variance of the hits' sum when whole recordings are drawn, over that of single items; at least 1.

    Args:
        hits: [N] 0 or 1. recordings: N names.
    """
    left = hits - hits.mean()
    within = float((left**2).sum())
    sums: dict[str, float] = defaultdict(float)
    for name, x in zip(recordings, left):
        sums[name] += float(x)
    if within <= 0 or len(sums) < 2:
        return 1.0
    return max(1.0, sum(s * s for s in sums.values()) / within * len(sums) / (len(sums) - 1))


def kind_of(items: list[Choice]) -> str:
    numeric = {c.numeric for c in items}
    if numeric == {True}:
        return "count" if all(v == round(v) and 0 <= v < 64 for c in items for v in c.values) else "number"
    return "category" if numeric == {False} else "mixed"


def _bin(value: float) -> int:
    return min(max(math.floor((math.log(max(abs(value), 1e-9)) - LOWEST) / BIN), 0), NUM_BINS - 1)


def _ratio(value: float, other: float) -> int:
    if (value < 0) != (other < 0):
        return 100
    over = round(math.log(max(abs(other), 1e-9)) - math.log(max(abs(value), 1e-9)), 9)
    return min(max(math.floor(over / 0.1 + 50), 0), 99)


def _sizes(items: list[Choice]) -> np.ndarray:
    out = np.zeros(NUM_BINS)
    for c in items:
        out[_bin(c.values[c.truth])] += 1
    return out


def width_of(items: list[Choice]) -> float:
    """Which smoothing makes the sizes of recordings held out likeliest."""
    parts = [[c for c in items if fold(c) == f] for f in range(FOLDS)]
    if sum(bool(p) for p in parts) < 2:
        at = [BIN * _bin(c.values[c.truth]) for c in items]
        return max(w for w in WIDTHS if w <= 1.06 * float(np.std(at)) * len(at) ** -0.2)  # Silverman's rule

    def likely(width: float) -> float:
        total = 0.0
        for f, part in enumerate(parts):
            density = smooth(_sizes([c for g, p in enumerate(parts) if g != f for c in p]), width)
            total += sum(math.log(density[_bin(c.values[c.truth])]) for c in part)
        return round(total, 6)
    return max(WIDTHS, key=likely)


def prior_of(items: list[Choice], kind: str, family: list[Choice]) -> Scores:
    """How often answers like an option are true among items, some of a family's; sizes by how numbers are written."""
    if kind == "number":
        densities = {}
        for context, count in Counter(map(context_of, family)).items():
            def fits(c: Choice, context: int = context, count: int = count) -> bool:
                return count < LEAST_OF_CONTEXT or context_of(c) == context
            width = width_of([c for c in family if fits(c)])
            densities[context] = smooth(_sizes([c for c in items if fits(c)]), width)
        return lambda c: [densities[context_of(c)][_bin(v)] for v in c.values]
    counts = Counter(c.values[c.truth] if c.numeric else known_answer(c.values[c.truth]) for c in items)
    return lambda c: [float(counts[v if c.numeric else known_answer(v)]) for v in c.values]


def prior_chance(items: list[Choice]) -> Callable[[Choice], np.ndarray]:
    """Chance of each option given how often answers like it are true in this family."""
    kind = kind_of(items)
    prior = prior_of(items, kind, items)

    def weigh(c: Choice) -> np.ndarray:
        weight = np.array(prior(c)) + (0.0 if kind == "number" else 0.5)
        return weight / weight.sum()
    return weigh


def learned(items: list[Choice], kind: str) -> dict[str, Scores]:
    """The guessers that learn from items."""
    if kind == "category":
        return {"learned company": _company(items)}
    wrong = Counter(_ratio(c.values[c.truth], v) for c in items for i, v in enumerate(c.values) if i != c.truth)
    total = sum(wrong.values())

    def ratios(c: Choice) -> list[float]:
        return [sum(math.log((wrong[_ratio(v, w)] + 0.5) / (total + 0.5 * 101))
                    for j, w in enumerate(c.values) if j != i) for i, v in enumerate(c.values)]

    def by(form: Callable[[str], int]) -> Scores:
        true = Counter(form(c.options[c.truth]) for c in items)
        false = Counter(form(o) for c in items for i, o in enumerate(c.options) if i != c.truth)
        return lambda c: [math.log((true[form(o)] + 0.5) / (false[form(o)] + 0.5)) for o in c.options]
    return {"learned ratios": ratios, "learned unit": by(lambda o: stable_hash("unit", unit_pattern(o)) % 256),
            "learned writing": by(lambda o: stable_hash("written", unit_pattern(o), num_digits(o),
                                                        num_decimals(o)) % 256),
            "learned last digit": by(last_digit)}


def _company(items: list[Choice]) -> Scores:
    def kind(value: str) -> str:
        return known_answer(value)

    beside: Counter = Counter()
    for c in items:
        beside.update((kind(c.values[c.truth]), kind(v)) for i, v in enumerate(c.values) if i != c.truth)
    of, offered, total = Counter(), Counter(), sum(beside.values())
    for (truth, other), count in beside.items():
        of[truth] += count
        offered[other] += count

    def scores(c: Choice, most: int) -> list[float]:
        def log_chance(truth: str, other: str) -> float:
            expected = 5 * most * offered[kind(other)] / max(total, 1)
            return math.log((beside[kind(truth), kind(other)] + expected + 1e-3) / (of[kind(truth)] / max(most, 1) + 5))
        return [sum(log_chance(v, w) for j, w in enumerate(c.values) if j != i) for i, v in enumerate(c.values)]
    return lambda c: scores(c, _company.most)  # the family's, set by `_family`


def pick(c: Choice, scores: Scores) -> int:
    found = [round(float(s), 9) for s in scores(c)]
    best = [i for i, s in enumerate(found) if s == max(found)]
    return best[stable_hash("tie", "", c.id) % len(best)]


def _judge(name: str, items: list[Choice], guesses: list[int],
           weigh: Callable[[Choice], np.ndarray] | None) -> dict[str, Any]:
    hits = np.array([float(g == c.truth) for g, c in zip(guesses, items)])
    chance = float(np.mean([1 / len(c.options) for c in items]))
    if weigh is not None:
        chance = max(chance, float(np.mean([weigh(c)[g] for g, c in zip(guesses, items)])))
    effect = design_effect(hits, [c.recording for c in items])
    p = binomial_tail(round(float(hits.sum()) / effect), max(1, round(len(items) / effect)), chance)
    return {"guesser": name, "right": float(hits.mean()), "chance": chance, "design_effect": effect, "p": p}


def audit(questions: Iterable[Question | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows {"family", "items", "recordings", "guessers", "right"}; the last, "all", takes every item together."""
    families: dict[str, list[Choice]] = defaultdict(list)
    for question in questions:
        if (item := choice(question)) is not None:
            families[item.family].append(item)
    rows = [_family(name, families[name]) for name in sorted(families)]
    everything = [c for name in sorted(families) for c in families[name]]
    return [*rows, _family("all", everything)] if everything else []


def _family(name: str, items: list[Choice]) -> dict[str, Any]:
    kind = "mixed" if name == "all" else kind_of(items)
    most = max(len(c.options) for c in items)
    guesses = {n: [guess(c, g, n) for c in items] for n, g in list(LETTERS.items())[:most]}
    by_prior: set[str] = set()
    if all(c.numeric for c in items):
        numbers = [n for n in NUMBERS if not n.startswith("rank") or int(n[5:]) <= most]
        guesses |= {n: [guess(c, NUMBERS[n], n) for c in items] for n in numbers}
        by_prior |= set(numbers) if kind == "count" else set()
    row = {"family": name, "items": len(items), "recordings": len({c.recording for c in items}), "guessers": []}
    weigh = None
    if kind != "mixed":
        guesses |= {n: [guess(c, g, n) for c in items] for n, g in FORMS.items()}
        _company.most = most - 1
        others = [[c for c in items if fold(c) != f] for f in range(FOLDS)]
        knowing = [learned(own, kind) for own in others]
        for n in knowing[0]:
            guesses[n] = [pick(c, knowing[fold(c)][n]) for c in items]
        priors = [prior_of(own if all(others) else items, kind, items) for own in others]
        common = [pick(c, priors[fold(c)]) for c in items]
        row["right"] = float(np.mean([g == c.truth for g, c in zip(common, items)]))
        by_prior |= {*FORMS, *knowing[0]} - ({"learned ratios"} if kind == "number" else set())
        if kind == "number":
            guesses["size"] = common
            by_prior.add("size")
        weigh = prior_chance(items)
    if len(items) >= LEAST_ITEMS:
        row["guessers"] = [_judge(n, items, g, weigh if n in by_prior else None) for n, g in guesses.items()]
    return row
