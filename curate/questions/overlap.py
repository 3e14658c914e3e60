"""Are there videos of a benchmark among the sources? By their ids, as lists of them name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_BYTES = 256 << 20
MOST_LISTED = 200
LEAST_LENGTH = 6  # characters of an id that may be part of a name; a shorter one must be the whole of it
MOST_PARTS = 8
_BETWEEN = re.compile(r"[\s._-]+")
_ENDING = re.compile(r"\.[a-z][a-z0-9]{1,4}$")


def _parts(name: str) -> list[str]:
    """The words of a file's name without its ending, lower case."""
    return [part for part in _BETWEEN.split(_ENDING.sub("", name.strip().lower())) if part]


def _names(path: str) -> list[str]:
    """A path's folders and its file."""
    return [name for name in re.split(r"[/\\]+", path) if name not in ("", ".", "..")]


def read_ids(paths: Iterable[str | Path]) -> dict[str, str]:
    """Normal form -> id as written, of all lines of text files; empty lines and those that begin with # do not count.

    An id may be a path or an address: its last part counts, without its ending.

    Raises:
        ValueError: where a file is missing, too large, no text, or has no id.
    """
    ids: dict[str, str] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise ValueError(f"{path}: no such file; expected a text file with one id of a benchmark video a line")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path}: {path.stat().st_size} bytes; expected a list of ids of at most {MOST_BYTES}")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start}); expected one "
                             f"id a line") from None
        found = {"_".join(_parts(names[-1])): line.strip() for line in lines
                 if not line.lstrip().startswith("#") and (names := _names(line.strip()))}
        found.pop("", None)
        if not found:
            raise ValueError(f"{path}: no id in it; expected one a line")
        ids |= found
    return ids


class Overlap:
    """Which clips are of a benchmark's videos.

    Args:
        ids: of `read_ids`.
    """

    def __init__(self, ids: dict[str, str]) -> None:
        self._ids = ids
        self._clips = 0
        self._found: dict[str, str] = {}  # id -> first clip
        self._seen: dict[tuple[str, ...], str] = {}

    def add(self, key: str, *places: str) -> None:
        """Takes a clip; `places`: its uri and its recording."""
        if not self._ids:
            return
        if places not in self._seen:
            if len(self._seen) > 10_000:
                self._seen.clear()
            self._seen[places] = next((found for place in places if (found := self._match(place))), "")
        if found := self._seen[places]:
            self._clips += 1
            self._found.setdefault(found, f"{key} ({places[0]})")

    def _match(self, place: str) -> str:
        """The id that a path's file, one of its folders, or some words of either are."""
        for name in reversed(_names(place)):
            parts = _parts(name)
            if (whole := "_".join(parts)) in self._ids:
                return self._ids[whole]
            for size in range(min(MOST_PARTS, len(parts)), 0, -1):
                for at in range(len(parts) - size + 1):
                    some = "_".join(parts[at:at + size])
                    if len(some) >= LEAST_LENGTH and some in self._ids:
                        return self._ids[some]
        return ""

    def report(self) -> dict[str, Any]:
        """{"ids": how many were looked for, "clips": how many are of such videos, "videos": how many of those,
        "listed": {id: first clip}}"""
        return {"ids": len(self._ids), "clips": self._clips, "videos": len(self._found),
                "listed": dict(sorted(self._found.items())[:MOST_LISTED])}
