"""Blind guessers, one item at a time: they see an item's options and nothing else. `tally` is the same for many items.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.questions.draw import stable_hash
from curate.questions.question import Question

NICE_RATIOS = (2.0, 3.0, 3.6, 4.0, 5.0, 10.0)
COVER = (0.25, 1.75)  # bounds of wrong options over the truth in published engines
COVER_SLACK = 0.01  # options are printed rounded
LONGEST_ANSWER = 48  # characters of a category
CLASS = "text "  # and two hex digits: answers of no fixed vocabulary


@dataclass(frozen=True)
class Choice:
    """One item as a blind guesser sees it, and its truth."""

    id: str
    family: str
    options: tuple[str, ...]
    values: tuple[Any, ...]  # numbers or categories, as the options
    truth: int
    recording: str
    question: str = ""  # its text, for guessers that read it too; with or without the options

    @property
    def numeric(self) -> bool:
        return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.values)


def choice(question: Question | Mapping[str, Any]) -> Choice | None:
    """The audited part of a question or of its `to_json()`; None where it has no options."""
    q = question if isinstance(question, Mapping) else vars(question)
    if q["form"] != "choice":
        return None
    return Choice(q["id"], q["family"], tuple(q["options"]), tuple(q["extra"]["option_values"]),
                  "ABCDE".index(q["letter"]), q["extra"]["recording"], q.get("question", ""))


def known_answer(value: Any) -> str:
    """A category as it is counted: its text, or for one that is of no fixed vocabulary (long, or with numbers other
    than that of a mark or of a step) one of 256 classes; "" for a number. So there are few, however large the set.

    >>> known_answer("left"), known_answer("<R2>"), known_answer("(54, 80)")
    ('left', '<R2>', 'text 7e')
    """
    if not isinstance(value, str):
        return ""
    numbers = re.findall(r"\d+", re.sub(r"\(\d\)", "", value))
    if len(value) <= LONGEST_ANSWER and len(numbers) <= 1 and all(len(n) <= 2 for n in numbers):
        return value
    return f"{CLASS}{stable_hash('answer', value) % 256:02x}"


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


def _cover(c: Choice) -> list[float]:
    """How many others lie within the known bounds of wrong options, were this one the truth; then nearest to the mean.
    """
    low, high = COVER[0] - COVER_SLACK, COVER[1] + COVER_SLACK
    mean, spread = sum(c.values) / len(c.values), max(c.values) - min(c.values) or 1.0
    covered = [sum(low <= w / v <= high for j, w in enumerate(c.values) if j != i) if v else 0
               for i, v in enumerate(c.values)]
    return [n - abs(v - mean) / spread / 2 for n, v in zip(covered, c.values)]


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


def last_digit(option: str) -> int:
    """The last digit that is not a padding zero of a whole number; 0 where there is none."""
    match = re.search(r"\d[\d,]*(?:\.\d+)?", option)
    digits = match[0].replace(",", "") if match else ""
    digits = digits if "." in digits else digits.rstrip("0")
    return int(digits[-1]) if digits else 0


def num_decimals(option: str) -> int:
    match = re.search(r"\d\.(\d+)", option)
    return len(match[1]) if match else 0


def unit_pattern(option: str) -> str:
    """The option with a mark in the place of each number."""
    return re.sub(r"[-+−]?\d[\d,]*(?:\.\d+)?", "#", option)


def _odd_unit(c: Choice) -> list[float]:
    """Written otherwise than most: another unit, or none."""
    common = Counter(unit_pattern(o) for o in c.options)
    return [-common[unit_pattern(o)] for o in c.options]


LETTERS: dict[str, Guesser] = {f"letter {'ABCDE'[i]}": _letter(i) for i in range(5)}
NUMBERS: dict[str, Guesser] = {
    "nearest to the mean": _nearest_to(lambda v: sum(v) / len(v)),
    "nearest to the median": _nearest_to(lambda v: float(np.median(v))),
    "nearest to the geometric mean": _nearest_geometric,
    "hub of nice ratios": _hub,
    "hub of shared ratios": _shared_ratio,
    "cover of 0.25 to 1.75": _cover,
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


def coordinates(options: Sequence[str]) -> list[list[float]] | None:
    """The numbers of options that are places: two or more in each, as many in all; else None."""
    found = [[float(n) for n in re.findall(r"[-+]?\d+(?:\.\d+)?", o.replace("−", "-"))] for o in options]
    return found if len(found[0]) > 1 and len({len(f) for f in found}) == 1 else None


def _central(c: Choice) -> list[float]:
    """Near the middle of the options' places, each coordinate by its range."""
    places = [] if c.numeric else coordinates(c.options) or []
    off = [0.0] * len(c.options)
    for axis in zip(*places):
        mean, spread = sum(axis) / len(axis), max(axis) - min(axis) or 1.0
        off = [o + ((x - mean) / spread) ** 2 for o, x in zip(off, axis)]
    return [-o for o in off]


# Of options that are places. An object's place may go with the answer itself: part of the answer prior.
PLACES: dict[str, Guesser] = {"nearest to the middle": _central}


def guess(item: Choice, guesser: Guesser, name: str = "") -> int:
    scores = guesser(item)
    best = [i for i, s in enumerate(scores) if s == max(scores)]
    return best[0] if len(best) == 1 else best[stable_hash("tie", name, item.id) % len(best)]
