"""Reads a free answer (letter, option text, number with unit) and judges it against a question."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate.questions.forms import rft
from curate.questions.question import Question
from curate.questions.units import SPELLINGS, UNITS

MAX_TEXT = 20_000  # of an answer; a longer one is read from its end
LETTERS = "ABCDE"
# spelling: dimension, and what makes it metres, seconds, radians; with times that no question states but models write
_READ: dict[str, tuple[str, float]] = {
    **{name: (unit.dimension, 1 / unit.factor) for name, unit in SPELLINGS.items()},
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), ("time", 1e-3)),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), ("time", 60.0))}
_SPELLED = "|".join(re.escape(s) for s in sorted(_READ, key=len, reverse=True))
_FOREIGN = "frames|frame|fps|pixels|pixel|px|kg|g|%|percent|m²|m^2|hz"
_NUMBER = re.compile(
    r"(?<![\w.])(?P<number>[-+−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,3})?)"
    rf"\s*(?:(?P<foreign>{_FOREIGN.replace('^', chr(92) + '^')})(?![\w/²^])|(?P<unit>{_SPELLED})(?![\w/²^]))?",
    re.IGNORECASE)
_WORDS = {"zero": 0.0, "none": 0.0, "no": 0.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0,
          "six": 6.0, "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0, "eleven": 11.0, "twelve": 12.0}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_LETTER = re.compile(r"^\W*(?:(?:the\s+)?(?:final\s+|correct\s+)?(?:option|answer|choice)\s*(?:is|:)?\s*)?"
                     r"\W{0,4}(?P<letter>[A-E])\)?\W{0,2}?(?:(?:\s*[.:)]\s*|\s+[-–—]\s+)(?P<rest>.*)|\W*)$",
                     re.IGNORECASE | re.DOTALL)
# where a text of several sentences ends with "the final answer is: $$B"; capital letters only, "a" is an article
_STATED = re.compile(r"\b(?:[Oo]ption|[Aa]nswer|[Cc]hoice)\b(?:\s+(?:is|would be|must be))?\s*[:=]?\s*[^\w\s]{0,4}"
                     r"(?P<letter>[A-E])\b(?![\w'’])(?!\s*(?:or|and|/|,)\s*[A-E]\b)")
# "B because ..": a letter that is no word, at the very start
_LEADING = re.compile(r"^\W*(?P<letter>[B-E](?=[\s,;])|A(?=[,;]))(?!\s*,?\s*(?:or|and|/|,)\s*[A-E]\b)(?P<rest>.*)",
                      re.DOTALL)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?([^{}]*)\}")
_STRICT = re.compile(r"^[\s$*(]*(?P<letter>[A-E])[\s.:)$*]*$", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """`error` is |given − value| in the question's unit, nan where no number was read."""

    correct: bool
    given: str
    error: float = math.nan


def final_text(answer: str, tags: Sequence[str] | None = None) -> str:
    """What is between the last answer tags, else what follows the thinking; of that, what stands in \\boxed{}.

    Args:
        tags: names of the thinking and of the answer tag; default think (or thinking) and answer.
    """
    text = _said(answer, tags)
    boxed = _BOXED.findall(text)
    return boxed[-1].strip() if boxed else text


def _said(answer: str, tags: Sequence[str] | None = None) -> str:
    think, tag = (re.escape(tags[0]), tags[1].lower()) if tags else ("think(?:ing)?", "answer")
    answer = answer[-MAX_TEXT:]
    lower = "".join(c.lower() if c.isascii() else c for c in answer)  # same length, whatever the script
    end = lower.rfind(f"</{tag}>")
    start = lower.rfind(f"<{tag}>", 0, max(end, 0))
    if start >= 0:
        return answer[start + len(tag) + 2:end].strip()
    return re.split(rf"</{think}>", answer, flags=re.IGNORECASE)[-1].strip()


def spelled_numbers(text: str) -> Iterator[tuple[float, str, float, int, int]]:
    """Every number of a text, those of frames, pixels and weights left out.

    Yields:
        number, dimension ("" where it is bare), factor from its unit to the inside's, first character, one past the
        last of number and unit.
    """
    for match in _NUMBER.finditer(text):
        if not match["foreign"]:
            dimension, factor = _READ[match["unit"].lower()] if match["unit"] else ("", 1.0)
            yield (float(match["number"].replace(",", "").replace("−", "-")), dimension, factor, match.start(),
                   match.end("unit") if match["unit"] else match.end("number"))


def read_numbers(text: str, unit: str) -> list[float]:
    """The numbers that a text states, in `unit`: those with a fitting unit, else the bare ones, taken as being in it.

    With unit "" (a count), a number in words where there are no digits: "three".

    >>> read_numbers("about 1.5 m, so 150 cm, after 3 s", "m")
    [1.5, 1.5]
    """
    target, found = UNITS.get(unit), list(spelled_numbers(text))
    fitting = [value * factor * target.factor for value, dimension, factor, *_ in found
               if target and dimension == target.dimension]
    fitting = fitting or [value for value, dimension, *_ in found if not dimension]
    if not fitting and not unit:
        words = {_WORDS[word.lower()] for word in _WORD.findall(text)}
        return list(words) if len(words) == 1 else []
    return fitting


def read_number(text: str, unit: str) -> float | None:
    """The number that a text states, in `unit` (`read_numbers`). The last one counts.

    >>> read_number("it is about 2 m away after 3 s", "m"), read_number("250 cm", "m"), read_number("no idea", "m")
    (2.0, 2.5, None)
    """
    found = read_numbers(text, unit)
    return found[-1] if found else None


def strict_letter(text: str, tags: Sequence[str] | None = None) -> str:
    """The letter of an answer that is a letter and nothing else ("B", "(b)", "B."); "" for any other answer."""
    match = _STRICT.match(_said(text, tags))
    return match["letter"].upper() if match else ""


def _plain(text: str) -> str:
    return re.sub(r"^[\s\"'“”*$]+|[\s.\"'“”*$]+$", "", " ".join(text.lower().split()))


def _named(text: str, options: list[str]) -> list[int]:
    """Options that stand in a text as whole words; one inside a longer one ("clockwise" in "counter-clockwise") does
    not count there."""
    spans = [(m.start(), m.end(), i) for i, option in enumerate(options) if option.strip()
             for m in re.finditer(rf"(?<!\w){re.escape(option)}(?!\w)", text, re.IGNORECASE)]
    return sorted({i for a, b, i in spans if not any(x <= a and b <= y and y - x > b - a for x, y, _ in spans)})


def read_choice(text: str, options: list[str], unit: str) -> str | None:
    """The letter that an answer stands for: a letter, an option's text, or a number that equals one option.

    None where it names none, several, or a letter with another option's text.

    >>> read_choice("B. 2.4", ["1.2 m", "2.4 m"], "m"), read_choice("turning left", ["left", "right"], "")
    ('B', 'A')
    """
    letters = LETTERS[:len(options)]
    values = [read_number(option, unit) for option in options] if unit else []

    def by_text(s: str, by_number: bool) -> str | None:
        same = [letter for letter, option in zip(letters, options) if _plain(option) == _plain(s)]
        if not same and by_number and unit and len(given := read_numbers(s, unit)) == 1:
            same = [letter for letter, value in zip(letters, values)
                    if value is not None and math.isclose(value, given[0], rel_tol=1e-6)]
        return same[0] if len(same) == 1 else None

    if found := by_text(text, by_number=False):
        return found
    if match := _LETTER.match(text):
        letter = match["letter"].upper()
        named = by_text(match["rest"] or "", by_number=True)
        return letter if letter in letters and named in (None, letter) else None
    if match := _LEADING.match(text):
        named = _meant(match["rest"], options, values, unit)
        return match["letter"] if match["letter"] in letters and set(named) <= {match["letter"]} else None
    if found := by_text(text, by_number=True):
        return found
    stated = {letter for letter in _STATED.findall(text[-400:])}
    if len(stated) == 1 and (letter := stated.pop()) in letters:
        return letter
    named = [] if unit else _meant(text, options, values, unit)
    return named[0] if len(named) == 1 else None


def _meant(text: str, options: list[str], values: list[float | None], unit: str) -> list[str]:
    """Letters of the options whose number, or of those without a unit whose text, a text mentions."""
    if not unit:
        return [LETTERS[i] for i in _named(text, options)]
    given = read_numbers(text, unit)
    return [letter for letter, value in zip(LETTERS, values)
            if value is not None and any(math.isclose(value, x, rel_tol=1e-6) for x in given)]


def judge(answer: str, question: Question | Mapping[str, Any]) -> Verdict:
    """
    Args:
        answer: a model's text, with or without tags.
        question: a Question, its `to_json()`, or its `rft` form.

    Returns:
        correct where the letter is the question's, the number lies within its tolerance, or, of an open answer, the
        text is the model answer's (how near it comes is `curate.rewards`).
    """
    record = question if isinstance(question, Mapping) and "question" not in question else rft(question)
    text = final_text(answer, record.get("tags"))
    if record["answer_type"] == "choice":
        letter = read_choice(text, record["options"], record["unit"])
        return Verdict(letter == record["letter"], letter or "")
    if record["answer_type"] != "number":
        return Verdict(_plain(text) == _plain(record["answer"]), text)
    given = read_number(text, record["unit"])
    if given is None or not math.isfinite(given):
        return Verdict(False, "")
    value = record["value"] if record.get("value") is not None else float(record["answer"])
    error = abs(given - value)
    low, high = record["interval"] or (value, value)
    # half a part in a million: a value converted there and back is the same value
    slack = 1e-6 * abs(value)
    within = error <= (record["tolerance"] or 0.0) + slack
    return Verdict(low - slack <= given <= high + slack or within, f"{given:.10g}", error)
