"""What a reward is told of a question: one dict of known fields, made from whatever form the truth arrives in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from curate.questions.forms import rft
from curate.questions.question import Question
from curate.questions.units import UNITS
from curate.questions.verifier import LETTERS, MAX_TEXT, final_text
from curate.rewards.formulas import FLOORS

KINDS = ("number", "choice", "sequence", "span", "box", "points", "trajectory", "text", "json")
DEFAULT_METRIC = {"number": "mra", "choice": "accuracy", "sequence": "sequence", "span": "tiou", "box": "iou",
                  "points": "pck", "trajectory": "st", "text": "facts", "json": "st"}
Source = Question | Mapping[str, Any] | str


class Record(dict):
    """The fields of `curate.questions.rft`, all there, in plain Python types. Made by `as_record` alone."""

    @property
    def floor(self) -> float:
        """Below this magnitude a truth is compared by absolute error, in the unit of the question."""
        unit = UNITS.get(self["unit"])
        least = FLOORS.get(unit.dimension, 0.05) * unit.factor if unit else FLOORS["count"]
        return max(least, self["tolerance"] or 0.0)


def as_record(source: Source) -> Record:
    """
    Args:
        source: a Question, its `to_json()` or stored `qa` record, its `rft` form, or the JSON text of one of these.

    Raises:
        ValueError: where it is no such thing, or has no truth to compare with.
    """
    if isinstance(source, Record):
        return source
    if isinstance(source, (str, bytes)):
        source = _loads(source)
    if isinstance(source, Mapping):
        source = {name: _plain(value) for name, value in source.items()}
        for name in ("target", "extra"):
            if name not in source and isinstance(source.get(f"{name}_json"), str):
                source[name] = json.loads(source[f"{name}_json"])
        if "form" in source and "question" in source:
            source = rft(source)
    elif isinstance(source, Question):
        source = rft(source)
    else:
        raise ValueError(f"a {type(source).__name__} is no record; expected a Question, its to_json(), its `rft` form "
                         "or the JSON text of one")
    return _filled(source)


def _plain(value: Any) -> Any:
    """Lists in place of tuples and of arrays (what parquet gives back), None in place of nan."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _loads(text: str | bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        shown = text[:60].decode("utf-8", "replace") if isinstance(text, bytes) else text[:60]
        raise ValueError(f"ground truth {shown!r} is not the JSON text of a record; write "
                         "`json.dumps(curate.questions.rft(question))` there")
    return found


def _filled(source: Mapping[str, Any]) -> Record:
    kind = source.get("answer_type") or ("choice" if source.get("options") else "")
    if kind not in KINDS:
        raise ValueError(f"a record's answer_type is {kind!r}; expected one of {', '.join(KINDS)}")
    options = source.get("options")
    options = [str(o) for o in (options.values() if isinstance(options, Mapping) else options or [])]
    answer = source.get("answer")
    extra = source.get("extra")
    out = Record(answer=str(answer) if answer is not None else "", answer_type=kind,
                 metric=source.get("metric") or DEFAULT_METRIC[kind], unit=source.get("unit") or "",
                 value=_number(source.get("value")), tolerance=_number(source.get("tolerance")),
                 interval=source.get("interval"), letter=(source.get("letter") or "").upper(), options=options,
                 target=source.get("target"), family=source.get("family") or "",
                 extra=dict(extra) if isinstance(extra, Mapping) else {}, tags=_tags(source.get("tags")))
    if kind == "choice":
        out["letter"] = out["letter"] or _letter_of(out["answer"], options)
        if out["letter"] not in LETTERS[:len(options)]:
            raise ValueError(f"a choice's right letter is {out['letter']!r}; expected one of "
                             f"{', '.join(LETTERS[:len(options)]) or 'its options, which are missing'}")
    elif kind == "number" and out["value"] is None:
        out["value"] = _number(out["answer"])
        if out["value"] is None:
            raise ValueError(f"a numeric record has neither `value` nor a number in `answer` ({out['answer']!r})")
    return out


def _tags(names: Any) -> list[str] | None:
    """[thinking, answer], or None for the usual names."""
    if names is None:
        return None
    if not (isinstance(names, list) and len(names) == 2 and all(isinstance(n, str) and n for n in names)):
        raise ValueError(f"a record's tags are {names!r}; expected the names of the thinking and of the answer tag")
    return names


def _letter_of(answer: str, options: Sequence[str]) -> str:
    if answer in options:
        return LETTERS[options.index(answer)]
    return answer.strip().upper()


def _number(value: Any) -> float | None:
    try:
        number = float(value) if value is not None and not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def as_text(answer: Any) -> str:
    """An answer as text: of a chat message its content, of None nothing. The end of what is too long."""
    if isinstance(answer, Mapping):
        answer = answer.get("content", "")
    if isinstance(answer, (list, tuple)):  # messages, or the parts of one
        last = answer[-1] if answer else ""
        answer = last.get("content", last.get("text", "")) if isinstance(last, Mapping) else last
        if isinstance(answer, (list, tuple)):
            answer = " ".join(str(part.get("text", "")) for part in answer if isinstance(part, Mapping))
    return "" if answer is None else str(answer)[-MAX_TEXT:]


def answer_of(text: str, record: Record) -> str:
    """What is between the last answer tags of a text, else what follows the thinking."""
    return final_text(text, record["tags"])
