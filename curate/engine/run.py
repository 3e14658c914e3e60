"""A run: plan, claim OUT, perceive what is missing, write. And the second pass alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.engine.ledger import Out, OutError
from curate.engine.loop import work
from curate.engine.outcome import Fatal, Outcome
from curate.engine.plan import Plan, make_plan
from curate.engine.pools import InlinePool, Pool
from curate.engine.progress import Progress
from curate.engine.write import write
from curate.recipe import Recipe
from curate.sources.base import ClipSpec


@dataclass
class Summary:
    """How a run ended. `counts` over the planned clips sum to `planned`."""

    out: Path
    planned: int
    counts: Counter
    questions: int = 0
    families: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    doubts: list[dict[str, str]] = field(default_factory=list)
    workers: str = ""

    @property
    def exit_code(self) -> int:
        """0 all done or filtered, 3 some quarantined, 1 where the sums do not equal the plan."""
        accounted = self.counts["done"] + self.counts["filtered"] + self.counts["quarantined"]
        return 1 if accounted != self.planned else 3 if self.counts["quarantined"] else 0


def num_workers(recipe: Recipe, num_clips: int) -> int:
    """Workers this run takes: as asked, or one for each CPU this process may use, never more than clips."""
    asked = recipe.engine.workers
    if asked == "auto":
        asked = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        asked = max(1, int(asked / recipe.engine.cpus_per_worker))
    return max(1, min(asked, num_clips))


def make_pool(recipe: Recipe, out: Path, num_clips: int) -> Pool:
    workers = num_workers(recipe, num_clips)
    kind = recipe.engine.kind
    if kind == "ray" or (kind == "auto" and (workers > 1 or recipe.engine.address)):
        from curate.engine.ray_pool import RayPool

        of_cluster = recipe.engine.workers == "auto" and recipe.engine.address is not None
        return RayPool(recipe, str(out), None if of_cluster else workers, num_clips)
    return InlinePool(recipe, str(out))


def run(recipe: Recipe, out: str | Path, *, retry: bool = False, quiet: bool = True) -> Summary:
    """Perceives what has no scene yet and writes the shards. Safe to stop and to repeat.

    Args:
        recipe: checked.
        out: the run's folder; made if missing, continued if it is this recipe's.
        retry: tries quarantined and filtered clips once more.
        quiet: no progress on stderr.

    Raises:
        BadInput, OutError: before any work. Fatal, AuditFailed: what was staged stays.
    """
    plan = make_plan(recipe)
    with Out(out) as held:
        held.claim(recipe)
        held.write_plan(plan.keys)
        todo = _settle_known(plan, held, retry)
        name = "none needed"
        if todo:
            budget = _Budget(held.path, recipe.engine.max_staged_bytes)
            pool = make_pool(recipe, held.path, len(todo))
            name = f"{pool.num_workers} {pool.name}"
            progress = Progress(len(plan.keys), len(plan.keys) - len(todo), quiet)

            def settled(clip: ClipSpec, outcome: Outcome) -> None:
                held.record(clip, outcome)
                budget.add(outcome)
                progress.settled("quarantined" if outcome.state == "failed" else outcome.state)

            try:
                work(todo, pool, settled, max_retries=recipe.engine.max_retries, tick=progress.tick)
            finally:
                pool.close()
                progress.close()
        summary, keys = _summary(held, plan.keys)
        summary.workers = name
        return _publish(held, keys, recipe, summary)


def write_again(out: str | Path, recipe: Recipe) -> Summary:
    """The second pass over the scenes of the last run's plan, with this recipe's questions and shards.

    Raises:
        OutError: where OUT is no run's folder, or holds no scene. AuditFailed: the old shards stay.
    """
    if not Path(out).is_dir():
        raise OutError(f"{out}: no such folder; `curate run` makes one")
    with Out(out) as held:
        if held.run_info() is None:
            raise OutError(f"{out}: not a run's folder (no run.json); `curate run` makes one")
        summary, keys = _summary(held, held.planned())
        if not keys:
            raise OutError(f"{out}: no clip of its plan has a scene; `curate run` makes them")
        return _publish(held, keys, recipe, summary)


def _settle_known(plan: Plan, held: Out, retry: bool) -> list[ClipSpec]:
    """Clips that still need work; what is staged but not in the ledger, or bad before any work, is recorded."""
    entries, staged = held.entries(), set(held.staged())
    for clip, reason in plan.bad:
        if clip.key not in entries or retry:
            held.record(clip, Outcome(clip.key, "failed", "bad_input", reason))
    todo = []
    for clip in plan.clips:
        state = entries.get(clip.key, {}).get("state")
        if clip.key in staged:
            if state != "done":
                held.record(clip, Outcome(clip.key, "done"))
        elif state in (None, "done") or retry:
            todo.append(clip)
    return todo


def _summary(held: Out, planned: list[str]) -> tuple[Summary, list[str]]:
    """How each planned clip ended, and the keys that have a scene."""
    entries = held.entries()
    states = _states(entries, held.staged(), planned)
    return (Summary(held.path, len(states), Counter(states.values()), failures=_failures(entries, states)),
            [key for key, state in states.items() if state == "done"])


def _publish(held: Out, keys: list[str], recipe: Recipe, summary: Summary) -> Summary:
    held.list_quarantine()
    if keys:
        info = {"planned": summary.planned, **{s: summary.counts[s] for s in ("done", "filtered", "quarantined")}}
        written = write(held.path, keys, recipe, info)
        summary.questions, summary.families = written["questions"], written["families"]
        summary.dropped, summary.doubts = written["dropped"], written["doubts"]
    return summary


def _states(entries: dict[str, dict[str, Any]], staged: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """How each key ended. A staged scene is done whatever the ledger says, and what is not staged is not done."""
    there = set(staged)
    states = {}
    for key in keys:
        state = entries[key]["state"] if key in entries else "missing"
        states[key] = "done" if key in there else "missing" if state == "done" else state
    return states


def _failures(entries: dict[str, dict[str, Any]], states: dict[str, str]) -> list[dict[str, Any]]:
    return [entries[k] for k, state in states.items() if state in ("quarantined", "filtered")]


class _Budget:
    """Stops the run before the staged bytes outgrow what the recipe allows."""

    def __init__(self, out: Path, limit: int) -> None:
        self.limit = limit
        self.used = sum(f.stat().st_size for f in (out / "scenes").rglob("*") if f.is_file())

    def add(self, outcome: Outcome) -> None:
        self.used += outcome.meta.get("bytes", 0)
        if self.used > self.limit:
            raise Fatal(f"staged scenes take {self.used >> 20} MiB, more than engine.max_staged_bytes allows "
                        f"({self.limit >> 20} MiB); raise it, and run the same command again to go on")
