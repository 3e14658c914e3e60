"""A run: claim OUT, plan, perceive what is missing, write. And the second pass alone."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from curate.engine.events import Events
from curate.engine.export import export
from curate.engine.index import DONE, FILTERED
from curate.engine.ledger import Out, OutError
from curate.engine.limits import guards
from curate.engine.loop import work
from curate.engine.outcome import Outcome
from curate.engine.pools import Pool, inline_pool
from curate.engine.progress import Progress
from curate.engine.quarantine import failed_states, first_failures, write_quarantine
from curate.engine.signals import StopRequest
from curate.recipe import Recipe, recipe_from_dict
from curate.sources.base import ClipSpec

MAX_FAILURES = 1000  # that a summary holds; all are in quarantine.jsonl and ledger.jsonl
KINDS = ("bad_input", "timeout", "crash", "lost", "error", "transient")  # that `retry` knows


@dataclass
class Summary:
    """How a run ended.

    Attributes:
        counts: over the planned clips; they sum to `planned`.
        mixture, splits, audit: as of `write`; None where nothing was written (mixture: where no target is set).
        failures: the first ledger lines of clips that are quarantined or filtered.
        generation: number of the plan's last generation. new, lost: clips that this run found the source to have
            gained and lost since the plan before; `lost_uris`: the first of those lost.
        again: clips that were put back to be tried once more.
        worked: clips that this run settled, in `seconds` of wall time with `num_workers`; `busy_s`: seconds that
            workers spent on clips, `stages` parted by stage.
        lost_latents: the shards that these took the place of held latents, and these do not.
        published: where the shards were put besides OUT; unpublished: why they were not, though it was asked for.
    """

    out: Path
    planned: int
    counts: Counter
    questions: int = 0
    families: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    doubts: list[dict[str, str]] = field(default_factory=list)
    mixture: dict[str, Any] | None = None
    splits: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] | None = None
    workers: str = ""
    generation: int = 0
    again: int = 0
    new: int = 0
    lost: int = 0
    lost_uris: list[str] = field(default_factory=list)
    worked: int = 0
    seconds: float = 0.0
    num_workers: int = 0
    busy_s: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    lost_latents: bool = False
    published: str = ""
    unpublished: str = ""

    @property
    def exit_code(self) -> int:
        """0 all done or filtered, 3 some quarantined, 1 where the sums do not equal the plan or a store failed."""
        if self.unpublished:
            return 1
        accounted = self.counts["done"] + self.counts["filtered"] + self.counts["quarantined"]
        return 1 if accounted != self.planned else 3 if self.counts["quarantined"] else 0

    @property
    def clips_per_s(self) -> float:
        return self.worked / self.seconds if self.seconds else 0.0


def num_workers(recipe: Recipe, num_clips: int) -> int:
    """Workers this run takes: as asked, or one for each CPU this process may use, never more than clips."""
    asked = recipe.engine.workers
    if asked == "auto":
        asked = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        asked = max(1, int(asked / recipe.engine.cpus_per_worker))
    return max(1, min(asked, num_clips))


def make_pool(recipe: Recipe, out: Path, num_clips: int, quiet: bool = True) -> Pool:
    workers = num_workers(recipe, num_clips)
    kind = recipe.engine.kind
    if kind == "ray" or (kind == "auto" and (workers > 1 or recipe.engine.address)):
        from curate.engine.fit import say
        from curate.engine.ray_pool import RayPool

        of_cluster = recipe.engine.workers == "auto" and recipe.engine.address is not None
        return RayPool(recipe, str(out), None if of_cluster else workers, num_clips, None if quiet else say)
    return inline_pool(recipe, str(out))


def run(recipe: Recipe, out: str | Path, *, retry: bool | Iterable[str] = False, quiet: bool = True,
        log: TextIO | None = None) -> Summary:
    """Perceives what has no scene yet and writes the shards. Safe to stop and to repeat.

    Args:
        recipe: checked.
        out: the run's folder; made if missing, continued if it is this recipe's.
        retry: True: tries quarantined and filtered clips once more. Kinds of failure, or "filtered": these.
        quiet: no progress on stderr.
        log: takes one JSON line an event (`Events`).

    Raises:
        BadInput, OutError: before any work. Fatal, AuditFailed: what was staged stays. Stopped (a KeyboardInterrupt):
            after Ctrl-C or SIGTERM, nothing torn.
    """
    events = Events(log)
    with StopRequest() as stop, Out(out, events) as held:
        held.plan(recipe)
        again = 0
        if retry:
            again = held.put_back([FILTERED, *failed_states(held)] if retry is True else list(retry))
        held.settle_bad()
        to_do = held.index.num_to_do()
        last = held.info.generations[-1]
        events("plan", planned=len(held.index), to_do=to_do, generation=last.number, why=last.why, new=last.new,
               lost=last.lost)
        made = _Work(held, recipe, to_do, quiet, stop)
        made.run()
        summary = _summary(held)
        made.tell(summary)
        summary.again = again
        return _publish(held, recipe, summary, quiet)


def retry(out: str | Path, kinds: Iterable[str], *, overrides: tuple[str, ...] = (), changes: Any = None,
          quiet: bool = True, log: TextIO | None = None) -> Summary:
    """`run` with the recipe of OUT's last run, after the clips that failed so were put back as a new generation.

    Args:
        kinds: of `KINDS`, or "filtered".
        overrides: `A.B=VALUE` for the recipe.
        changes: recipe -> recipe, applied last.

    Raises:
        OutError: where OUT is no run's folder. What `run` raises.
    """
    from curate.engine.ledger import run_info

    if unknown := sorted(set(kinds) - {*KINDS, FILTERED}):
        raise ValueError(f"kind {unknown[0]!r}; expected some of {', '.join((*KINDS, FILTERED))}")
    info = run_info(Path(out)) if Path(out).is_dir() else None
    if info is None:
        raise OutError(f"{out}: not a run's folder (no run.json); `curate run` makes one")
    recipe = recipe_from_dict(info["recipe"], list(overrides))
    return run(changes(recipe) if changes else recipe, out, retry=list(kinds), quiet=quiet, log=log)


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
        held.load_plan()
        summary = _summary(held)
        if not summary.counts[DONE]:
            raise OutError(f"{out}: no clip of its plan has a scene; `curate run` makes them")
        return _publish(held, recipe, summary)


class _Telling:
    """A pool that tells of every failure that comes back, also of those that are tried again."""

    def __init__(self, pool: Pool, events: Events) -> None:
        self._pool, self._events = pool, events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def wait(self, timeout_s: float) -> list[Outcome]:
        outcomes = self._pool.wait(timeout_s)
        for outcome in outcomes:
            if outcome.state == "failed":
                self._events("failure", key=outcome.key, kind=outcome.kind, reason=outcome.reason)
        return outcomes


class _Work:
    """The first pass of one run, and what it took."""

    def __init__(self, held: Out, recipe: Recipe, to_do: int, quiet: bool, stop: StopRequest) -> None:
        self._held, self._recipe, self._to_do, self._quiet, self._stop = held, recipe, to_do, quiet, stop
        self._name, self._num_workers, self._seconds = "none needed", 0, 0.0
        self._worked, self._busy_s = 0, 0.0
        self._stages: Counter = Counter()

    def run(self) -> None:
        clips = self._held.to_do()
        if not self._to_do:
            for clip in clips:
                raise AssertionError(f"{clip.key} needs work and was not counted")
            return
        pool = make_pool(self._recipe, self._held.path, self._to_do, self._quiet)
        self._num_workers, self._name = pool.num_workers, f"{pool.num_workers} {pool.name}"
        self._held.events("start", workers=pool.num_workers, pool=pool.name, to_do=self._to_do)
        planned = len(self._held.index)
        self._progress = Progress(planned, planned - self._to_do, self._quiet, pool.num_workers)
        begin = time.monotonic()
        try:
            self._stop.install()  # joining a cluster took SIGTERM
            work(clips, _Telling(pool, self._held.events), self._settled, tick=self._tick, stop=self._stop,
                 **guards(self._recipe.engine, self._held.bytes_staged))
        finally:
            self._seconds = time.monotonic() - begin
            pool.close()
            self._progress.close()

    def tell(self, summary: Summary) -> None:
        summary.workers, summary.num_workers, summary.seconds = self._name, self._num_workers, self._seconds
        summary.worked, summary.busy_s, summary.stages = self._worked, self._busy_s, dict(self._stages)

    def _settled(self, clip: ClipSpec, outcome: Outcome) -> None:
        self._held.record(clip, outcome)
        seconds = float(outcome.meta.get("seconds", 0.0))
        self._worked += 1
        self._busy_s += seconds
        self._stages.update(outcome.meta.get("stages", {}))
        state = "quarantined" if outcome.state == "failed" else outcome.state
        self._progress.settled(state, seconds)
        self._held.events("settled", key=clip.key, uri=clip.uri, state=state, kind=outcome.kind,
                          reason=outcome.reason, tries=outcome.tries, seconds=seconds)

    def _tick(self) -> None:
        self._held.check()
        self._progress.tick()


def _summary(held: Out) -> Summary:
    """How each planned clip ended. A staged scene is done whatever the ledger says, and what is not staged is not."""
    held.look()
    summary = Summary(held.path, len(held.index), held.counts(), failures=first_failures(held, MAX_FAILURES),
                      generation=held.info.number)
    if held.change is not None:
        summary.new, summary.lost, summary.lost_uris = held.change.new, held.change.lost, held.change.named
    return summary


def publish_done(held: Out, recipe: Recipe) -> Summary:
    """Writes the shards of everything that is done now. Raises AuditFailed; the old shards stay then."""
    return _publish(held, recipe, _summary(held))


def _publish(held: Out, recipe: Recipe, summary: Summary, quiet: bool = True) -> Summary:
    held.confirm()
    write_quarantine(held)
    if summary.counts[DONE]:
        from curate.engine.write import write  # all that asks: nothing of it is needed until clips are done
        from curate.shards.latents import has_latents
        from curate.shards.publish import FOLDER

        held_latents = has_latents(held.path / FOLDER)
        info = {"planned": summary.planned, **{s: summary.counts[s] for s in ("done", "filtered", "quarantined")}}
        written = write(held.path, held.done_keys(), recipe, info, quiet=quiet, confirm=held.confirm)
        summary.questions, summary.families = written["questions"], written["families"]
        summary.dropped, summary.doubts = written["dropped"], written["doubts"]
        summary.mixture, summary.splits, summary.audit = written["mixture"], written["splits"], written["audit"]
        summary.lost_latents = held_latents
        held.events("publish", shards=str(held.path / "shards"), questions=summary.questions,
                    families=summary.families)
        summary.published, summary.unpublished = export(held.path, recipe)
    held.events("report", planned=summary.planned, **{s: n for s, n in sorted(summary.counts.items()) if n},
                questions=summary.questions, worked=summary.worked, seconds=round(summary.seconds, 3),
                clips_per_s=round(summary.clips_per_s, 4), workers=summary.num_workers,
                busy_s=round(summary.busy_s, 3), stages={k: round(v, 3) for k, v in sorted(summary.stages.items())},
                exit_code=summary.exit_code)
    return summary
