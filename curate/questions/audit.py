"""Do the options alone tell the answer? Two verdicts for every family of choices.

*Option leak*: a guesser that sees only the options is right more often than chance. It fails a run. Guessers of ratios
(rank, nearest to a mean, hub) and of form (letter, length, digits, unit) are scored against the chance of the
items they judge; where a form goes with the category itself ("left" is shorter than "backward"), against what the
family's own answer prior would give that guess.
*Answer prior*: how often the family's commonest answer is right. It is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from curate.questions.question import Question
from curate.questions.tally import FamilyTally, Tally

ALPHA = 0.01  # family-wise, after Holm
LEAST_EXCESS = 0.05
LEAST_ITEMS = 200


def binomial_tail(hits: int, num_items: int, chance: float) -> float:
    """Exact P(X ≥ hits) of a binomial.

    >>> binomial_tail(2, 2, 0.5)
    0.25
    """
    if hits <= 0:
        return 1.0
    if hits > num_items:
        return 0.0
    if chance >= 1:
        return 1.0
    if chance <= 0:
        return 0.0
    k = np.arange(hits, num_items + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, num_items + 1)))])
    terms = (log_factorial[num_items] - log_factorial[k] - log_factorial[num_items - k] + k * math.log(chance)
             + (num_items - k) * math.log1p(-chance))
    top = terms.max()
    return float(min(1.0, math.exp(top) * np.exp(terms - top).sum()))


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values.

    >>> holm([0.01, 0.04])
    [0.02, 0.04]
    """
    out, running = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[i]))
        out[i] = running
    return out


def audit(questions: Iterable[Question | Mapping[str, Any]]) -> dict[str, Any]:
    """
    Args:
        questions: all that would be written; forms other than "choice" are counted and passed over.

    Returns:
        as `report`.
    """
    with Tally() as tally:
        tally.ask(questions)
        return report(tally)


def report(tally: Tally) -> dict[str, Any]:
    """
    Returns:
        {"option_leak": "pass" | "fail" | "not judged", "families": [{"family", "items", "recordings", "verdict",
        "guessers": [...], "answer_prior": {...}}], "rules": {...}}; the family "all" takes every item together.
    """
    rows = [_family(family) for family in tally.families(LEAST_ITEMS)]
    _correct(rows)
    verdicts = [row["verdict"] for row in rows]
    overall = "fail" if "fail" in verdicts else "pass" if "pass" in verdicts else "not judged"
    return {"option_leak": overall, "families": rows,
            "rules": {"alpha": ALPHA, "least_excess": LEAST_EXCESS, "least_items": LEAST_ITEMS, "correction": "Holm",
                      "clustered_by": "recording"}}


def _family(family: FamilyTally) -> dict[str, Any]:
    return {"family": family.name, "items": family.num_items, "recordings": family.num_recordings,
            "verdict": "not judged", "guessers": [_judge(family, name) for name in family.judged],
            "answer_prior": family.prior}


def _judge(family: FamilyTally, name: str) -> dict[str, Any]:
    """Was a guesser right more often than chance? Where its form goes with the answer itself, chance is what the
    family's own answer prior gives its guesses."""
    hits, num_items = family.hits[name], family.num_items
    chance = max(family.chance, family.prior_chance.get(name, 0.0))
    effect = family.design_effect[name]
    p = binomial_tail(round(hits / effect), max(1, round(num_items / effect)), chance)
    return {"guesser": name, "right": hits / num_items, "chance": chance, "design_effect": effect, "p": p}


def _correct(rows: list[dict[str, Any]]) -> None:
    """Holm over every guesser of every judged family, then the verdicts."""
    tests = [t for row in rows for t in row["guessers"]]
    for test, p in zip(tests, holm([t["p"] for t in tests])):
        test["p_holm"] = p
        test["leak"] = p < ALPHA and test["right"] - test["chance"] >= LEAST_EXCESS
    for row in rows:
        if row["guessers"]:
            row["verdict"] = "fail" if any(t["leak"] for t in row["guessers"]) else "pass"
