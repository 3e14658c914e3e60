"""The plan: every clip of a recipe's source, in a stable order, with what is known to be bad before any work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from curate.engine.index import ClipIndex, ident
from curate.engine.journal import read_lines
from curate.recipe import Recipe
from curate.sources.base import BadInput, ClipSpec

FIELDS = tuple(f.name for f in fields(ClipSpec))


@dataclass
class Plan:
    """`clips` to perceive, and `bad`: clips known to be unusable, each with its reason."""

    clips: list[ClipSpec] = field(default_factory=list)
    bad: list[tuple[ClipSpec, str]] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [c.key for c in self.clips] + [c.key for c, _ in self.bad]


def make_plan(recipe: Recipe) -> Plan:
    """The whole plan in memory, for a look at it; a run streams it (`planned`, `spool`).

    Raises:
        BadInput: where the source has nothing to plan, or where two clips are the same file under one name.
    """
    plan, seen = Plan(), set()
    for clip, reason in planned(recipe):
        if clip.key in seen:
            raise _twice(recipe.source.kind, clip.key)
        seen.add(clip.key)
        if reason is None:
            plan.clips.append(clip)
        else:
            plan.bad.append((clip, reason))
    return plan


def planned(recipe: Recipe) -> Iterator[tuple[ClipSpec, str | None]]:
    """Every clip of the source, one after another, and why it is known to be bad.

    Raises:
        BadInput: where the source has nothing to plan.
    """
    from curate.sources import make_source

    try:
        source = make_source(recipe.source, recipe.clip)
    except ValueError as error:  # settings that only the source itself can judge
        raise BadInput(f"source {recipe.source.kind}: {error}") from error
    empty = True
    for item in source.plan():
        empty = False
        yield item if isinstance(item, tuple) else (item, None)
    if empty:
        raise BadInput(f"source {recipe.source.kind}: nothing to do; no clip was found")


@dataclass
class Spooled:
    """A plan in a file.

    Attributes:
        index: of its keys; nothing is recorded yet.
        num_bad: clips that are known to be bad.
        digest: of the file.
    """

    index: ClipIndex
    num_bad: int
    digest: str


def spool(items: Iterable[tuple[ClipSpec, str | None]], path: Path) -> Spooled:
    """Writes a line for each clip, holding one at a time.

    Raises:
        BadInput: where a key is planned twice. Whatever `items` raises; the file is then incomplete.
    """
    idents, num_bad, digest, kind = bytearray(), 0, hashlib.sha256(), ""
    with path.open("wb") as file:
        for clip, reason in items:
            entry = {name: getattr(clip, name) for name in FIELDS}
            if reason is not None:
                entry["bad"] = reason
                num_bad += 1
            line = json.dumps(entry).encode() + b"\n"
            digest.update(line)
            file.write(line)
            idents += ident(clip.key)
            kind = clip.kind
    index = ClipIndex(idents)
    if (double := index.twice) is not None:
        raise _twice(kind, next(clip.key for clip, _ in read_clips(path) if ident(clip.key) == double))
    return Spooled(index, num_bad, digest.hexdigest())


def read_clips(path: Path) -> Iterator[tuple[ClipSpec, str | None]]:
    """The clips of a spooled plan in its order, and why a clip is known to be bad; holds one at a time."""
    for _, entry in read_lines(path):
        bad = entry.pop("bad", None)
        yield ClipSpec(**entry), bad


def read_keys(path: Path) -> Iterator[str]:
    for _, entry in read_lines(path):
        yield entry["key"]


def _twice(kind: str, key: str) -> BadInput:
    return BadInput(f"source {kind}: the clip {key} is planned twice; name each input once")
