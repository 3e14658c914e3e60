"""Rows of a JSON or JSON Lines file, with the place of each for errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 30
# what tells a row from an object of answers by id
FIELDS = ("id", "question_id", "qid", "text", "response", "question", "problem", "answer", "solution", "choices",
          "options", "candidates", "answer_type")


class BadFile(ValueError):
    """A file of answers or truths that cannot be read: which, where, what was found and what was expected."""


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    Args:
        path: JSON Lines, or one JSON list of objects, or one object of objects or texts by id.

    Yields:
        where ("file:line" or "file: item 3"), the object. Of an object by id: {"id", "text"} or the object with its id.

    Raises:
        BadFile.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFile(f"{path}: larger than {MAX_BYTES >> 30} GiB; expected a file of answers")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror}); expected a file of JSON lines") from None
    except UnicodeDecodeError:
        raise BadFile(f"{path}: not UTF-8 text; expected a file of JSON lines") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise BadFile(f"{path}: empty; expected JSON lines such as {{\"id\": \"…\", \"text\": \"…\"}}")
    whole = _parsed(text) if lines[0][1].lstrip()[0] == "[" or len(lines) == 1 or _parsed(lines[0][1]) is None else None
    if isinstance(whole, list):
        for number, item in enumerate(whole):
            yield _object(item, f"{path}: item {number}")
    elif isinstance(whole, dict) and not _is_row(whole):
        for name, item in whole.items():
            yield f"{path}: {name!r}", ({"id": name} | item if isinstance(item, dict) else {"id": name, "text": item})
    else:
        for number, line in lines:
            yield _object(_parsed(line), f"{path}:{number}", line)


def _is_row(found: dict[str, Any]) -> bool:
    return not set(found).isdisjoint(FIELDS)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object(found: Any, where: str, line: str = "") -> tuple[str, dict[str, Any]]:
    if not isinstance(found, dict):
        shown = line.strip()[:60] or str(found)[:60]
        raise BadFile(f"{where}: {shown!r} is no JSON object; expected {{\"id\": \"…\", \"text\": \"…\"}}")
    return where, found


def first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of some fields that is there and not null."""
    return next((row[name] for name in names if row.get(name) is not None), None)
