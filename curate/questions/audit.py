"""Do the options alone tell the answer? Two verdicts for every family of choices.

*Option leak*: a guesser that sees only the options is right more often than chance. It fails a run. Guessers of ratios
(rank, nearest to a mean, hub) and of form (letter, length, digits, unit) are scored against the chance of the
items they judge; where a form goes with the category itself ("left" is shorter than "backward"), against what the
family's own answer prior would give that guess.
*Answer prior*: how often the family's commonest answer is right. It is reported.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.questions.draw import stable_hash
from curate.questions.question import Question

ALPHA = 0.01  # family-wise, after Holm
LEAST_EXCESS = 0.05
LEAST_ITEMS = 200
NICE_RATIOS = (2.0, 3.0, 3.6, 4.0, 5.0, 10.0)


@dataclass(frozen=True)
class Choice:
    """One item as a blind guesser sees it, and its truth."""

    id: str
    family: str
    options: tuple[str, ...]
    values: tuple[Any, ...]  # numbers or categories, as the options
    truth: int
    recording: str

    @property
    def numeric(self) -> bool:
        return all(isinstance(v, (int, float)) for v in self.values)


def choice(question: Question | Mapping[str, Any]) -> Choice | None:
    """The audited part of a question or of its `to_json()`; None where it has no options."""
    q = question if isinstance(question, Mapping) else vars(question)
    if q["form"] != "choice":
        return None
    return Choice(q["id"], q["family"], tuple(q["options"]), tuple(q["extra"]["option_values"]),
                  "ABCDE".index(q["letter"]), q["extra"]["recording"])


# A guesser gives each option a score; the highest is guessed, ties broken by a hash of the item, never by position.
Guesser = Callable[[Choice], "list[float]"]


def _log(value: float) -> float:
    return math.log(max(abs(value), 1e-9))


def _logs(c: Choice) -> list[float]:
    return [_log(v) for v in c.values]


def _nearest_to(mean: Callable[[tuple], float]) -> Guesser:
    return lambda c: [-abs(v - mean(c.values)) for v in c.values]


def _nearest_geometric(c: Choice) -> list[float]:
    logs = _logs(c)
    return [-abs(x - sum(logs) / len(logs)) for x in logs]


def _hub(c: Choice) -> list[float]:
    """How many others an option derives by a nice ratio."""
    logs = _logs(c)
    nice = [math.log(r) for r in NICE_RATIOS]
    return [sum(any(abs(abs(x - y) - r) < 0.06 for r in nice) for j, y in enumerate(logs) if j != i)
            for i, x in enumerate(logs)]


def _shared_ratio(c: Choice) -> list[float]:
    """How many ratios to others come again elsewhere in the set."""
    logs = _logs(c)
    gaps = {(i, j): abs(x - y) for i, x in enumerate(logs) for j, y in enumerate(logs) if i < j}
    return [sum(any(abs(g - h) < 0.03 for other, h in gaps.items() if other != pair and not set(other) & set(pair))
                for pair, g in gaps.items() if i in pair) for i in range(len(logs))]


def _rank(place: int) -> Guesser:
    return lambda c: [float(sorted(c.values).index(v) == place) for v in c.values]


def _letter(place: int) -> Guesser:
    return lambda c: [float(i == place) for i in range(len(c.options))]


def num_digits(option: str) -> int:
    """Significant digits of the first number written in an option; tens and hundreds count two at least."""
    match = re.search(r"\d[\d,]*(?:\.\d+)?", option)
    if not match:
        return 0
    digits = match[0].replace(",", "")
    if "." not in digits:
        return max(len(digits.strip("0") or "0"), min(2, len(digits)))
    return len(digits.replace(".", "").lstrip("0"))


def _unit(option: str) -> str:
    return re.sub(r"[-+−]?\d[\d,]*(?:\.\d+)?", "#", option)


def _odd_unit(c: Choice) -> list[float]:
    """Written otherwise than most: another unit, or none."""
    common = Counter(_unit(o) for o in c.options)
    return [-common[_unit(o)] for o in c.options]


LETTERS: dict[str, Guesser] = {f"letter {'ABCDE'[i]}": _letter(i) for i in range(5)}
NUMBERS: dict[str, Guesser] = {
    "nearest to the mean": _nearest_to(lambda v: sum(v) / len(v)),
    "nearest to the median": _nearest_to(lambda v: float(np.median(v))),
    "nearest to the geometric mean": _nearest_geometric,
    "hub of nice ratios": _hub,
    "hub of shared ratios": _shared_ratio,
    "most digits": lambda c: [num_digits(o) for o in c.options],
    "fewest digits": lambda c: [-num_digits(o) for o in c.options],
    "odd unit": _odd_unit,
    **{f"rank {i + 1}": _rank(i) for i in range(5)},
}
# The length of "100 m" goes with its size, as that of "left" with its category: judged against the answer prior.
FORMS: dict[str, Guesser] = {
    "longest": lambda c: [len(o) for o in c.options],
    "shortest": lambda c: [-len(o) for o in c.options],
}


def guess(item: Choice, guesser: Guesser, name: str = "") -> int:
    scores = guesser(item)
    best = [i for i, s in enumerate(scores) if s == max(scores)]
    return best[0] if len(best) == 1 else best[stable_hash("tie", name, item.id) % len(best)]


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
    _correct(rows)
    verdicts = [row["verdict"] for row in rows]
    overall = "fail" if "fail" in verdicts else "pass" if "pass" in verdicts else "not judged"
    return {"option_leak": overall, "families": rows,
            "rules": {"alpha": ALPHA, "least_excess": LEAST_EXCESS, "least_items": LEAST_ITEMS, "correction": "Holm",
                      "clustered_by": "recording"}}


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


def _correct(rows: list[dict[str, Any]]) -> None:
    """Holm over every guesser of every judged family, then the verdicts."""
    tests = [t for row in rows for t in row["guessers"]]
    for test, p in zip(tests, holm([t["p"] for t in tests])):
        test["p_holm"] = p
        test["leak"] = p < ALPHA and test["right"] - test["chance"] >= LEAST_EXCESS
    for row in rows:
        if row["guessers"]:
            row["verdict"] = "fail" if any(t["leak"] for t in row["guessers"]) else "pass"
