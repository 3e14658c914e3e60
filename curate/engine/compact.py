"""OUT as a run that was never stopped, killed or extended would have left it: ledger, plan and shards, byte for byte.

An uninterrupted run, too, settles clips in any order and notes times; so both are brought to one form: a line a clip in
the order of the plan, without times and hosts. Nothing that the last plan holds is lost.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.engine import generation
from curate.engine.augmented import MADE, recorded
from curate.engine.errors import OutError
from curate.engine.generation import Generation, PlanInfo
from curate.engine.index import DONE, NONE
from curate.engine.ledger import LEDGER, Out, named, staged_bytes, staged_keys
from curate.engine.plan import read_clips
from curate.engine.quarantine import LastLines, write_quarantine
from curate.engine.stage import FOLDER
from curate.recipe import Recipe, recipe_from_dict

KEPT = ("kind", "reason", "recording", "tries", "bytes", "signal", "traceback")  # of a line, beside what names the clip


@dataclass
class Compacted:
    """What was done, or with `dry_run` would be.

    Attributes:
        orphans: scenes of clips that the plan no longer has, and `orphan_bytes` in them.
        torn: temporary folders and files of processes that were killed.
        lines, kept: of the ledger, before and after.
        generations: of the plan, that became one.
        shards: "written anew", "left: ..." or "none".
    """

    planned: int = 0
    orphans: list[str] = field(default_factory=list)
    orphan_bytes: int = 0
    torn: list[str] = field(default_factory=list)
    lines: int = 0
    kept: int = 0
    generations: int = 0
    shards: str = "none"


def compact(out: str | Path, *, dry_run: bool = False) -> Compacted:
    """
    Args:
        dry_run: changes nothing.

    Raises:
        OutError: where OUT is no run's folder, is held by another process, or has clips left to do.
        AuditFailed: the old shards stay.
    """
    if not Path(out).is_dir():
        raise OutError(f"{out}: no such folder; `curate run` makes one")
    with Out(out) as held:
        run = held.run_info()
        if run is None:
            raise OutError(f"{out}: not a run's folder (no run.json); `curate run` makes one")
        held.load_plan()
        if left := held.counts()["missing"]:
            raise OutError(f"{out}: {left} clips of the plan are left to do; the same `curate run` does them, and then "
                           f"this can be compacted")
        recipe = recipe_from_dict(run["recipe"])
        done = Compacted(len(held.index), generations=len(held.info.generations), shards=_shards(held, recipe))
        done.orphans = sorted(key for key in staged_keys(held.path) if held.index.find(key) < 0)
        done.orphan_bytes = sum(_size(held.path / FOLDER / key) for key in done.orphans)
        done.torn = [str(path.relative_to(held.path)) for path in _torn(held.path)]
        done.lines = _num_lines(held.path / LEDGER)
        done.kept = len(held.index)
        if not dry_run:
            held.confirm()
            _rewrite(held, recipe, done)
        return done


def _rewrite(held: Out, recipe: Recipe, done: Compacted) -> None:
    from curate.engine.run import publish_done

    held.write_file(LEDGER, _lines(held))
    info = held.info
    first = Generation(0, "run", info.num_clips, new=info.num_clips)
    held.info = PlanInfo(info.clips, info.num_clips, info.num_bad, [first])
    generation.save(held.path, held.info, held.write_file)
    write_quarantine(held)
    for key in done.orphans:
        shutil.rmtree(held.path / FOLDER / key)
    for path in sorted((held.path / MADE).glob("*")):
        # those that the shards want are made again below, as an uninterrupted run makes them, and no others
        if done.shards == "written anew" or held.index.find(recorded(path.name)) < 0:
            shutil.rmtree(path, ignore_errors=True)
    for name in done.torn:
        path = held.path / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if done.shards == "written anew":
        publish_done(held, recipe)


def _lines(held: Out) -> Iterator[str]:
    last = LastLines(held, np.arange(len(held.index)))
    for clip, _ in read_clips(held.path / held.info.clips):
        at = held.index.find(clip.key)
        entry: dict[str, Any] = last.of(at) or {}
        state = DONE if held.index.staged(at) else entry["state"]
        if state == DONE and (entry.get("state") != DONE or "bytes" not in entry):  # staged, but never written down
            entry = {"kind": None, "reason": "", "recording": clip.recording, "tries": 1,
                     "bytes": staged_bytes(held.path, clip.key)}
        elif state == DONE:
            entry["tries"] = 1  # how many workers were lost on the way says nothing of the scene
        assert state != NONE
        kept = {name: entry[name] for name in KEPT if name in entry}
        yield json.dumps({**named(clip), "state": state, **kept}) + "\n"


def _shards(held: Out, recipe: Recipe) -> str:
    """What to do about OUT/shards: they are the run's, unless `curate ask` came after it."""
    from curate.shards import manifest
    from curate.shards.errors import ShardError

    if not held.counts()[DONE]:
        return "none"
    try:
        of = manifest.load(held.path / "shards")["fingerprints"].get("writing")
    except ShardError:
        return "written anew"
    if of == recipe.writing_fingerprint():
        return "written anew"
    return "left: they are of `curate ask` with another recipe"


def _torn(out: Path) -> Iterator[Path]:
    """What processes that were killed left behind. The lease is ours, so nobody is writing it."""
    yield from (out / FOLDER).glob(".*")
    yield from out.glob(".*.partial")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _num_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
