"""Reads a free answer (letter, option text, number with unit) and judges it against a question."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.questions.forms import rft
from curate.questions.question import Question
from curate.questions.units import SPELLINGS, UNITS, Unit

MAX_TEXT = 20_000  # of an answer; a longer one is read from its end
_SPELLED = "|".join(re.escape(s) for s in sorted(SPELLINGS, key=len, reverse=True))
_FOREIGN = "seconds|second|secs|sec|s|ms|minutes|min|frames|frame|fps|pixels|pixel|px|kg|g|%|m/s²|m²"
_NUMBER = re.compile(
    r"(?<![\w.])(?P<number>[-+−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,3})?)"
    rf"\s*(?:(?P<foreign>{_FOREIGN})(?![\w/²])|(?P<unit>{_SPELLED})(?![\w/²]))?", re.IGNORECASE)
_LETTER = re.compile(r"^\W*(?:(?:option|answer|choice)\s*(?:is|:)?\s*)?\(?(?P<letter>[A-E])\)?"
                     r"(?:\s*[.:)]\s*(?P<rest>.*)|\W*)$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Verdict:
    """`error` is |given − value| in the question's unit, nan where no number was read."""

    correct: bool
    given: str
    error: float = math.nan


def final_text(answer: str) -> str:
    """What is between the last <answer> tags, else what follows the thinking."""
    answer = answer[-MAX_TEXT:]
    lower = "".join(c.lower() if c.isascii() else c for c in answer)  # same length, whatever the script
    end = lower.rfind("</answer>")
    start = lower.rfind("<answer>", 0, max(end, 0))
    if start >= 0:
        return answer[start + len("<answer>"):end].strip()
    return re.split(r"</think(?:ing)?>", answer, flags=re.IGNORECASE)[-1].strip()


def numbers(text: str) -> list[tuple[float, Unit | None]]:
    """Every number of a text with the unit behind it, if any; numbers of times, pixels and weights are passed over.

    >>> [(v, u.symbol) for v, u in numbers("about 1.5 m, so 150cm")]
    [(1.5, 'm'), (150.0, 'cm')]
    """
    out = []
    for match in _NUMBER.finditer(text):
        if match["foreign"]:
            continue
        unit = SPELLINGS.get((match["unit"] or "").lower())
        out.append((float(match["number"].replace(",", "").replace("−", "-")), unit))
    return out


def read_number(text: str, unit: str) -> float | None:
    """The number that a text states, in `unit`; a bare one is taken as being in it, where none has a fitting unit.

    The last one counts.
    """
    target, found = UNITS.get(unit), numbers(text)
    fitting = [v / u.factor * target.factor for v, u in found if u and target and u.dimension == target.dimension]
    fitting = fitting or [v for v, u in found if u is None]
    return fitting[-1] if fitting else None


def read_choice(text: str, options: list[str], unit: str) -> str | None:
    """The letter that an answer stands for: a letter, an option's text, or a number that equals one option.

    None where it names none, or a letter with another option's text.
    """
    letters = "ABCDE"[:len(options)]

    def plain(s: str) -> str:
        return re.sub(r"[\s.]+$", "", " ".join(s.lower().split()))

    def by_text(s: str, by_number: bool) -> str | None:
        same = [letter for letter, option in zip(letters, options) if plain(option) == plain(s)]
        if not same and by_number and unit and (value := read_number(s, unit)) is not None and len(numbers(s)) == 1:
            same = [letter for letter, option in zip(letters, options)
                    if math.isclose(read_number(option, unit), value, rel_tol=1e-6)]
        return same[0] if len(same) == 1 else None

    if found := by_text(text, by_number=False):
        return found
    if match := _LETTER.match(text):
        letter = match["letter"].upper()
        named = by_text(match["rest"] or "", by_number=True)
        return letter if letter in letters and named in (None, letter) else None
    if found := by_text(text, by_number=True):
        return found
    if not unit:
        named = [letter for letter, option in zip(letters, options)
                 if re.search(rf"\b{re.escape(option)}\b", text, re.IGNORECASE)]
        return named[0] if len(named) == 1 else None
    return None


def judge(answer: str, question: Question | Mapping[str, Any]) -> Verdict:
    """
    Args:
        answer: a model's text, with or without tags.
        question: a Question, its `to_json()`, or its `rft` form.

    Returns:
        correct where the letter is the question's, or the number lies within its tolerance.
    """
    record = question if isinstance(question, Mapping) and "answer_type" in question else rft(question)
    text = final_text(answer)
    if record["answer_type"] == "choice":
        letter = read_choice(text, record["options"], record["unit"])
        return Verdict(letter == record["letter"], letter or "")
    given = read_number(text, record["unit"])
    if given is None or not math.isfinite(given):
        return Verdict(False, "")
    value = record["value"] if record.get("value") is not None else float(record["answer"])
    error = abs(given - value)
    low, high = record["interval"]
    # half a part in a million: a value converted there and back is the same value
    slack = 1e-6 * abs(value)
    return Verdict(low - slack <= given <= high + slack or error <= record["tolerance"] + slack, f"{given:.10g}", error)
