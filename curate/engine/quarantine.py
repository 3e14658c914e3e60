"""What did not become a scene, read back from the ledger: quarantine.jsonl, and what a summary shows."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from curate.engine.index import CHUNK, DONE, FILTERED, NONE
from curate.engine.journal import read_line, read_lines
from curate.engine.ledger import AGAIN, LEDGER, QUARANTINE, Out, for_a_person


class LastLines:
    """For some places of the index: where each one's last line is, and how often the clip was tried in all.

    Args:
        held: with its plan loaded.
        places: rising.
    """

    def __init__(self, held: Out, places: np.ndarray) -> None:
        self._ledger: Path = held.path / LEDGER
        self._places = places
        self._begins = np.full(len(self._places), -1, np.int64)
        self._tries = np.zeros(len(self._places), np.int32)
        chunk: list[tuple[int, dict[str, Any]]] = []
        if len(self._places):
            for item in read_lines(self._ledger):
                if isinstance(item[1].get("key"), str) and item[1].get("state") != AGAIN:
                    chunk.append((item[0], {"key": item[1]["key"], "tries": item[1].get("tries", 1)}))
                if len(chunk) == CHUNK:
                    self._take(held, chunk)
                    chunk = []
            self._take(held, chunk)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], int]]:
        """(last line, tries in all), in the order of keys."""
        for begin, tries in zip(self._begins.tolist(), self._tries.tolist()):
            if begin >= 0:
                yield read_line(self._ledger, begin), tries

    def of(self, at: int) -> dict[str, Any] | None:
        """The last line of a place that is among them."""
        begin = int(self._begins[np.searchsorted(self._places, at)])
        return read_line(self._ledger, begin) if begin >= 0 else None

    def first(self, count: int) -> list[dict[str, Any]]:
        """The lines that came first in the ledger."""
        begins = heapq.nsmallest(count, (b for b in self._begins.tolist() if b >= 0))
        return [read_line(self._ledger, begin) for begin in begins]

    def _take(self, held: Out, chunk: list[tuple[int, dict[str, Any]]]) -> None:
        if not chunk:
            return
        places = held.index.find_all([entry["key"] for _, entry in chunk])
        at = np.minimum(np.searchsorted(self._places, places), len(self._places) - 1)
        ours = (places >= 0) & (self._places[at] == places)
        begins = np.array([begin for begin, _ in chunk])
        tries = np.array([entry["tries"] for _, entry in chunk], np.int32)
        self._begins[at[ours]] = begins[ours]
        np.add.at(self._tries, at[ours], tries[ours])


def failed_states(held: Out) -> list[str]:
    """The failure kinds that occur."""
    return [state for state in held.index.counts() if state not in (NONE, DONE, FILTERED)]


def write_quarantine(held: Out) -> None:
    """quarantine.jsonl anew: one line a clip that is quarantined now, in the order of keys."""
    lines = LastLines(held, held.index.select(failed_states(held)))
    held.write_file(QUARANTINE, (_line(entry, tries) for entry, tries in lines))


def first_failures(held: Out, count: int) -> list[dict[str, Any]]:
    """The first ledger lines of clips that are quarantined or filtered now."""
    return LastLines(held, held.index.select([FILTERED, *failed_states(held)])).first(count)


def _line(entry: dict[str, Any], tries: int) -> str:
    return json.dumps(for_a_person(entry, tries)) + "\n"
