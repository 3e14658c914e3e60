"""Reads spans, intervals, coordinates, runs and named centres out of free text. Nothing is evaluated; what is not there
is None or empty, and hostile text costs no more than its length."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from curate.questions.units import UNITS
from curate.questions.verifier import spelled_numbers

MAX_ITEMS = 200  # coordinates or runs read of one answer
_FLOAT = re.compile(r"(?<![\w.])[-+−]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,3})?", re.IGNORECASE)
_UNSEEN = r"\bnull\b|\bnone\b|\bn/a\b|\bnan\b|\bnot visible\b|\bunknown\b|\boccluded\b"
_GROUP = re.compile(rf"[\[({{]([^\[\](){{}}]*)[\])}}]|({_UNSEEN})", re.IGNORECASE)
_PLUS_MINUS = re.compile(r"±|\+/-|\+-|\bplus or minus\b|\\pm\b", re.IGNORECASE)
_JOINED = re.compile(r"[^\w\d]{0,3}(?:to|and|,|;|-|–|—|\.\.\.?|…)[^\w\d]{0,3}", re.IGNORECASE)
_NAMED = re.compile(
    rf"(?P<name>camera|object|<?(?:R|obj_?|region\s*)\d+>?)(?P<words>[^:=\n\[\](){{}}]{{0,60}})[:=]\s*"
    rf"(?P<values>(?:\s*,?\s*(?:\[[^\[\]]*\]|\([^()]*\)|{_UNSEEN}))+|\[(?:\s*,?\s*(?:\[[^\[\]]*\]|{_UNSEEN}))+\s*\])",
    re.IGNORECASE)
_FIRST = re.compile(r"(?<!\w)\(1\)|(?:^|\n|:\s)\s*1[.)]\s")
_ITEM = re.compile(r"(?:^|[\s,;])\(?\d{1,2}[.)]\s+|(?<!\w)\(\d{1,2}\)\s*|[;\n]|->|=>|→|,?\s*\b(?:and\s+)?then\b|"
                   r",?\s*\bafter(?:wards| that)\b|\b(?:first|next|finally|lastly)\b|,", re.IGNORECASE)


def floats(text: str) -> list[float]:
    """Every finite number of a text.

    >>> floats("x=1.5, y=−2 of <R3>")
    [1.5, -2.0]
    """
    found = (float(n.replace("−", "-")) for n in _FLOAT.findall(text))
    return [x for x in found if math.isfinite(x)]


def vectors(text: str) -> list[list[float] | None]:
    """Groups of numbers in brackets, in order; None for one that is said to be unseen. Without brackets, all numbers.

    >>> vectors("[[1, 2], [3, 4.5]]"), vectors("(1, 2), null"), vectors("1, 2, 3, 4")
    ([[1.0, 2.0], [3.0, 4.5]], [[1.0, 2.0], None], [[1.0, 2.0, 3.0, 4.0]])
    """
    out: list[list[float] | None] = []
    for match in _GROUP.finditer(text):
        if match[2]:
            out.append(None)
        elif inside := floats(match[1]):
            out.append(inside)
        elif match[1].strip():
            out += [None] * len(re.findall(_UNSEEN, match[1], re.IGNORECASE))
        if len(out) >= MAX_ITEMS:
            return out
    if not any(v is not None for v in out) and (bare := floats(text)):
        return [bare]
    return out


def _with_places(text: str, unit: str) -> list[tuple[float, int, int]]:
    """(number in `unit`, its first character, one past the last) where the unit fits; a bare one takes the next's."""
    target, out, waiting = UNITS.get(unit), [], []
    for value, dimension, factor, start, end in spelled_numbers(text):
        if not dimension:
            waiting.append((value, start, end))
        elif target and dimension == target.dimension:
            out += [(v * factor * target.factor, a, b) for v, a, b in (*waiting, (value, start, end))]
            waiting = []
        else:
            waiting = []  # "2 to 3 kg": neither is a length
    return out or waiting


def _joined(text: str, found: Sequence[tuple[float, int, int]]) -> list[tuple[tuple[float, int, int], ...]]:
    """Neighbouring numbers with nothing but "to", "and", a comma or a dash between them."""
    return [(a, b) for a, b in itertools.pairwise(found) if _JOINED.fullmatch(text[a[2]:b[1]])]


def interval(text: str, unit: str) -> tuple[float, float] | None:
    """The interval that an answer states, low first: "1.5 to 2.1 m", "1.8 ± 0.3 m", "[150, 210] cm", "between ...".

    A single number is an interval without width. None where there is no number, or more than can be told apart.

    >>> interval("about 1.8 ± 0.3 m", "m"), interval("150–210 cm", "m"), interval("2 m (1.5 to 2.5 m)", "m")
    ((1.5, 2.1), (1.5, 2.1), (1.5, 2.5))
    """
    found = [n for n in _with_places(text, unit) if math.isfinite(n[0])][:MAX_ITEMS]
    for a, b in itertools.pairwise(found):
        if _PLUS_MINUS.search(text[a[2]:b[1]]):
            low, high = a[0] - abs(b[0]), a[0] + abs(b[0])
            return round(low, 12), round(high, 12)
    if joined := _joined(text, found):
        a, b = joined[-1]
    elif len(found) in (1, 2):
        a, b = found[0], found[-1]
    else:
        return None
    low, high = sorted((a[0], b[0]))
    return round(low, 12), round(high, 12)


def span(text: str) -> tuple[float, float] | None:
    """Two times in seconds, the earlier first: "from 1.2 s to 3.4 s", "[1.2, 3.4]".

    Of more than two the last pair that is written as a span. None where there is none.
    """
    found = [n for n in _with_places(text, "s") if math.isfinite(n[0])][:MAX_ITEMS]
    pairs = [found] if len(found) == 2 else _joined(text, found)
    return tuple(sorted(n[0] for n in pairs[-1])) if pairs else None


def json_value(text: str) -> Any:
    """The first JSON object or list of a text (also inside a code fence); None where none is whole."""
    decoder = json.JSONDecoder(parse_constant=lambda name: None)
    for count, match in enumerate(re.finditer(r"[\[{]", text)):
        if count == 20:  # what has twenty openings that close nowhere is not JSON
            break
        try:
            return decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    return None


def items(text: str) -> list[str]:
    """The parts of a list in text, in order: a JSON list, "(1) grows (2) constant", lines, "a, then b", "a -> b".

    >>> items("(1) grows (2) constant"), items("It goes: grows, then stays constant"), items('["a", "b"]')
    (['grows', 'constant'], ['grows', 'stays constant'], ['a', 'b'])
    """
    found = json_value(text) if text.lstrip()[:1] == "[" or "```" in text else None
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        parts: Sequence[str] = found
    else:
        start = _FIRST.search(text)  # what stands before the first of numbered items, or before a colon, leads in
        parts = _ITEM.split(text[start.start():] if start else re.sub(r"^[^:\n]{0,80}:\s", "", text))
    cleaned = (re.sub(r"^[\s\-*•\"'.:]+|[\s\"'.:]+$", "", part) for part in parts)
    return [part for part in cleaned if part][:MAX_ITEMS]


def centres(text: str) -> dict[str, list[list[float] | None]]:
    """Centres by name, in the order they are stated, None where one is said to be unseen.

    Read are lines such as "Camera Center: [0, 0, 0]", "Object Centre of <R3> at 2.0 s: null", "R3: [[..], [..]]", and a
    JSON object {"camera": [[..], null], "R3": [..]}. Names are lower case: "camera", "object", "r3".
    """
    out: dict[str, list[list[float] | None]] = {}
    found = json_value(text)
    if isinstance(found, dict) and any(_canonical(name) for name in found):
        for name, value in found.items():
            if _canonical(name):
                out.setdefault(_canonical(name), []).extend(_points(value))
        return out
    for match in _NAMED.finditer(text):
        name = _canonical(match["name"])
        if name == "object" and (mark := re.search(r"<?\b(?:R|obj_?|region\s*)\d+>?", match["words"], re.IGNORECASE)):
            name = _canonical(mark[0])
        out.setdefault(name, []).extend(vectors(match["values"])[:MAX_ITEMS])
    return out


def _canonical(name: str) -> str:
    """"camera", "object" or "r3" of what a model calls it; "" where it is none of them."""
    if digits := re.fullmatch(r"\W*(?:r|obj(?:ect)?|region)[\s_]*(\d+)\W*", str(name), re.IGNORECASE):
        return f"r{int(digits[1])}"
    lower = str(name).lower()
    return "camera" if "camera" in lower else "object" if "object" in lower else ""


canonical_name = _canonical


def _points(value: Any) -> list[list[float] | None]:
    if value is None:
        return [None]
    if isinstance(value, list) and value and all(isinstance(x, (int, float)) for x in value):
        return [[float(x) for x in value]]
    if not isinstance(value, list):
        return []
    return [p for item in value[:MAX_ITEMS] if item is None or isinstance(item, list) for p in _points(item)]
