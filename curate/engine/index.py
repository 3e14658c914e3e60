"""How every planned clip stands, in a few bytes a clip: a run of a million has no object for each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

ID_BYTES = 12
CHUNK = 8192
NONE, DONE, FILTERED = "", "done", "filtered"


def ident(key: str) -> bytes:
    """Twelve bytes for a key: the key itself where it is 24 hex digits, as `clip_key` makes them, else its hash."""
    if len(key) == 2 * ID_BYTES:
        try:
            return bytes.fromhex(key)
        except ValueError:
            pass
    return hashlib.blake2b(key.encode(), digest_size=ID_BYTES).digest()


class ClipIndex:
    """States of a fixed set of keys: 14 bytes a clip.

    Args:
        idents: of all keys, in any order, joined; kept and sorted in place.

    Attributes:
        twice: an ident that is there more than once, or None.
    """

    def __init__(self, idents: bytearray) -> None:
        self._idents = np.frombuffer(idents, f"S{ID_BYTES}") if idents else np.empty(0, f"S{ID_BYTES}")
        self._idents.sort()
        self._states = np.zeros(len(self._idents), np.uint8)
        self._staged = np.zeros(len(self._idents), bool)
        self._names = [NONE]  # of states, by code
        self._codes = {NONE: 0}

    def __len__(self) -> int:
        return len(self._idents)

    @property
    def twice(self) -> bytes | None:
        """An ident that is there more than once, or None."""
        same = np.flatnonzero(self._idents[1:] == self._idents[:-1])
        return _whole(self._idents[same[0]]) if len(same) else None

    def find(self, key: str) -> int:
        """Place of a key among the sorted ones, -1 where it is not planned."""
        wanted = ident(key)
        at = int(np.searchsorted(self._idents, wanted))
        return at if at < len(self._idents) and _whole(self._idents[at]) == wanted else -1

    def find_all(self, keys: list[str]) -> np.ndarray:
        """[len(keys)] places, -1 where not planned."""
        if not len(self._idents):
            return np.full(len(keys), -1)
        wanted = np.frombuffer(b"".join(map(ident, keys)), self._idents.dtype)
        at = np.minimum(np.searchsorted(self._idents, wanted), len(self._idents) - 1)
        return np.where(self._idents[at] == wanted, at, -1)

    def state(self, at: int) -> str:
        """What was last recorded of a place: "" (nothing, or to be tried again), "done", "filtered", or a failure's
        kind."""
        return self._names[self._states[at]]

    def set(self, at: int, state: str) -> None:
        self._states[at] = self._code(state)

    def set_all(self, places: np.ndarray, states: Iterable[str]) -> None:
        """As `set` for many; of a place that is there twice the last counts, and -1 is passed over."""
        codes = np.fromiter(map(self._code, states), np.uint8, len(places))
        known = places >= 0
        self._states[places[known]] = codes[known]

    def stage(self, at: int) -> None:
        self._staged[at] = True

    def staged(self, at: int) -> bool:
        return bool(self._staged[at])

    def stage_only(self, keys: Iterable[str]) -> int:
        """These keys have a scene and no other has; returns how many of them are not planned."""
        self._staged[:] = False
        strangers, chunk = 0, []
        for key in keys:
            chunk.append(key)
            if len(chunk) == CHUNK:
                strangers += self._stage(chunk)
                chunk = []
        return strangers + self._stage(chunk)

    def _stage(self, keys: list[str]) -> int:
        if not keys:
            return 0
        places = self.find_all(keys)
        self._staged[places[places >= 0]] = True
        return int((places < 0).sum())

    def needs_work(self, at: int) -> bool:
        """Nothing is staged, and nothing final is recorded."""
        return not self._staged[at] and self.state(at) in (NONE, DONE)

    def num_to_do(self) -> int:
        return sum(len(places) for places in self._unstaged((NONE, DONE)))

    def counts(self) -> Counter:
        """How many clips are "done" (they have a scene, whatever was recorded), "filtered", each failure's kind, and
        "" (not settled, or said done and without a scene)."""
        counts: Counter = Counter({DONE: int(self._staged.sum())})
        for part in self._parts():
            numbers = np.bincount(self._states[part][~self._staged[part]], minlength=len(self._names))
            for name, number in zip(self._names, numbers.tolist()):
                counts[NONE if name == DONE else name] += number
        return Counter({name: number for name, number in counts.items() if number})

    def select(self, states: Iterable[str]) -> np.ndarray:
        """Places without a scene whose state is one of these, rising."""
        return np.concatenate([np.empty(0, np.int64), *self._unstaged(states)])

    def _unstaged(self, states: Iterable[str]) -> Iterator[np.ndarray]:
        wanted = np.zeros(len(self._names), bool)
        wanted[[self._codes[s] for s in states if s in self._codes]] = True
        for part in self._parts():
            yield np.flatnonzero(wanted[self._states[part]] & ~self._staged[part]) + part.start

    def _parts(self) -> Iterator[slice]:
        """numpy looks up and counts with eight bytes a value; a part at a time, so that this stays small."""
        return (slice(start, start + CHUNK) for start in range(0, len(self._states), CHUNK))

    def _code(self, state: str) -> int:
        code = self._codes.get(state)
        if code is None:
            code = self._codes[state] = len(self._names)
            self._names.append(state)
        return code


def _whole(value: np.bytes_) -> bytes:
    """numpy takes zeros off the end of a text."""
    return bytes(value).ljust(ID_BYTES, b"\0")
