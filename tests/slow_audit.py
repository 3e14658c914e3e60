"""The audit item by item, in memory: the readable reference of `curate.questions.tally`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from curate.questions.audit import LEAST_ITEMS, binomial_tail
from curate.questions.guessers import FORMS, LETTERS, NUMBERS, Choice, Guesser, choice, guess
from curate.questions.question import Question


def _log(value: float) -> float:
    return math.log(max(abs(value), 1e-9))


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
    return max(1.0, sum(s * s for s in sums.values()) / within) if within > 0 else 1.0


def prior_chance(items: list[Choice]) -> Callable[[Choice], np.ndarray]:
    """Chance of each option given how often answers like it are true in this family."""
    if items[0].numeric:
        truths = np.sort([_log(c.values[c.truth]) for c in items])
        width = max(float(np.std(truths)) * 1.06 * len(truths) ** -0.2, 0.05)  # Silverman's rule
        centres = np.linspace(truths[0] - 4 * width, truths[-1] + 4 * width, 256)
        density = np.exp(-0.5 * ((centres[:, None] - truths[:: max(1, len(truths) // 1000)]) / width) ** 2).mean(1)

        def weigh(c: Choice) -> np.ndarray:
            logs = [_log(v) for v in c.values]
            return np.interp(logs, centres, density, left=0.0, right=0.0) + 1e-6
    else:
        counts = Counter(c.values[c.truth] for c in items)

        def weigh(c: Choice) -> np.ndarray:
            return np.array([counts[v] + 0.5 for v in c.values])
    return lambda c: weigh(c) / weigh(c).sum()


def _judge(name: str, items: list[Choice], guesser: Guesser,
           prior: Callable[[Choice], np.ndarray] | None) -> dict[str, Any]:
    guesses = [guess(c, guesser, name) for c in items]
    hits = np.array([float(g == c.truth) for g, c in zip(guesses, items)])
    chance = float(np.mean([1 / len(c.options) for c in items]))
    if prior is not None:
        chance = max(chance, float(np.mean([prior(c)[g] for g, c in zip(guesses, items)])))
    effect = design_effect(hits, [c.recording for c in items])
    p = binomial_tail(round(float(hits.sum()) / effect), max(1, round(len(items) / effect)), chance)
    return {"guesser": name, "right": float(hits.mean()), "chance": chance, "design_effect": effect, "p": p}


def _prior(items: list[Choice]) -> dict[str, Any]:
    """The commonest answer always given: a category, or the option nearest to the family's median."""
    if items[0].numeric:
        centre = float(np.median([_log(c.values[c.truth]) for c in items]))
        right = [guess(c, lambda c: [-abs(_log(v) - centre) for v in c.values]) == c.truth for c in items]
        answer = f"{math.exp(centre):.3g}"
    else:
        counts = Counter(c.values[c.truth] for c in items)
        right = [guess(c, lambda c: [counts[v] for v in c.values]) == c.truth for c in items]
        answer = max(sorted(counts), key=counts.__getitem__)
    return {"answer": answer, "right": float(np.mean(right)),
            "chance": float(np.mean([1 / len(c.options) for c in items]))}


def audit(questions: Iterable[Question | Mapping[str, Any]]) -> dict[str, Any]:
    """
    Args:
        questions: all that would be written; forms other than "choice" are counted and passed over.

    Returns:
        {"option_leak": "pass" | "fail" | "not judged", "families": [{"family", "items", "recordings", "verdict",
        "guessers": [...], "answer_prior": {...}}], "rules": {...}}; the family "all" takes every item together.
    """
    families: dict[str, list[Choice]] = defaultdict(list)
    for question in questions:
        if (item := choice(question)) is not None:
            families[item.family].append(item)
    rows = []
    for family in sorted(families):
        items = sorted(families[family], key=lambda c: c.id)
        rows.append(_family(family, items))
    everything = [c for family in sorted(families) for c in sorted(families[family], key=lambda c: c.id)]
    if everything:
        rows.append(_family("all", everything))
    return {"families": rows}


def _family(family: str, items: list[Choice]) -> dict[str, Any]:
    row: dict[str, Any] = {"family": family, "items": len(items), "recordings": len({c.recording for c in items}),
                           "verdict": "not judged", "guessers": [], "answer_prior": None}
    same_kind = len({c.numeric for c in items}) == 1
    most = max(len(c.options) for c in items)
    guessers = {n: (g, False) for n, g in list(LETTERS.items())[:most]}
    if same_kind and items[0].numeric:
        guessers |= {n: (g, False) for n, g in NUMBERS.items() if not n.startswith("rank") or int(n[5:]) <= most}
    if family != "all":
        guessers |= {n: (g, True) for n, g in FORMS.items()}
        row["answer_prior"] = _prior(items)
    if len(items) >= LEAST_ITEMS:
        prior = prior_chance(items) if family != "all" else None
        row["guessers"] = [_judge(n, items, g, prior if by_prior else None) for n, (g, by_prior) in guessers.items()]
    return row
