"""How a run stands, from what lies in OUT: while it goes on, after a crash, at its end. Reads only; takes no lease."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate.engine import generation
from curate.engine.errors import OutError
from curate.engine.generation import Generation
from curate.engine.index import DONE, FILTERED, NONE
from curate.engine.lease import FOLDER as LEASE
from curate.engine.lease import FolderStore, Holder, holder
from curate.engine.ledger import AGAIN, for_a_person, load_ledger, run_info, staged_keys

RECENT = 200  # clips over which the rate is taken
LAST = 5  # failures shown


@dataclass
class Status:
    """
    Attributes:
        state: "running", "stopped" (clips are left, and nobody works on them), "finished" (no clip is left),
            "not planned".
        holder: who holds OUT, or held it last; `holder_is`: "at work", "released", "gone" or "silent" (not heard of
            for longer than the lease allows: the next run takes over).
        counts: of the planned clips: done, filtered, quarantined, missing; their sum is `planned`.
        failures: of those quarantined, by kind.
        clips_per_s, eta_s: while running, once a clip has ended; of the last `RECENT` clips.
        last_settled_s: since the last line of the ledger. None: there is none.
        last_failures: as in quarantine.jsonl, the last first.
        published: samples and questions of OUT/shards, and whether they are of all that is done; None: no set there.
    """

    out: str
    state: str
    holder: dict[str, Any] | None = None
    holder_is: str = ""
    planned: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    clips_per_s: float | None = None
    eta_s: float | None = None
    last_settled_s: float | None = None
    generations: list[Generation] = field(default_factory=list)
    last_failures: list[dict[str, Any]] = field(default_factory=list)
    published: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def status(out: str | Path) -> Status:
    """
    Raises:
        OutError: where this is no run's folder.
    """
    out = Path(out)
    held = holder(FolderStore(out / LEASE, read_only=True)) if out.is_dir() else None
    if not out.is_dir() or (run_info(out) is None and held is None):
        raise OutError(f"{out}: {'not a run' if out.is_dir() else 'no such folder'}; `curate run` makes one")
    at_work = held is not None and not held.released and not held.stale()
    result = Status(str(out), "running" if at_work else "not planned")
    if held is not None:
        result.holder = {"host": held.host, "pid": held.pid, "since": held.since, "heartbeat_s": round(held.age_s, 1)}
        result.holder_is = "at work" if at_work else "released" if held.released else "gone" if held.gone else "silent"
    info = generation.load(out)
    if info is not None:
        try:
            _count(out, info, result, held if at_work else None)
        except OutError:  # the plan may have been extended while we looked
            again = generation.load(out)
            if again == info:
                raise
            info = again
            _count(out, info, result, held if at_work else None)
        result.planned, result.generations = info.num_clips, info.generations
        if not at_work:
            result.state = "stopped" if result.counts["missing"] else "finished"
    result.published = _published(out, result.counts.get(DONE, 0))
    return result


def _count(out: Path, info: generation.PlanInfo, result: Status, held: Holder | None) -> None:
    index = generation.index_of(out, info)
    times: deque[float] = deque(maxlen=RECENT)
    last: deque[dict[str, Any]] = deque(maxlen=LAST)

    def each(entry: dict[str, Any]) -> None:
        if entry["state"] != AGAIN:
            times.append(entry.get("at", 0.0))
            if entry["state"] == "quarantined":
                last.appendleft(entry)

    load_ledger(out, index, each)
    index.stage_only(staged_keys(out))
    numbers = index.counts()
    result.failures = dict(sorted((s, n) for s, n in numbers.items() if s not in (NONE, DONE, FILTERED)))
    result.counts = {DONE: numbers[DONE], FILTERED: numbers[FILTERED], "quarantined": sum(result.failures.values()),
                     "missing": numbers[NONE]}
    # Of one that came through later nothing is said.
    result.last_failures = [for_a_person(entry) for entry in last
                            if (at := index.find(entry["key"])) >= 0 and index.state(at) not in (NONE, DONE, FILTERED)
                            and not index.staged(at)]
    if times:
        result.last_settled_s = round(max(0.0, time.time() - times[-1]), 1)
    recent = [at for at in times if held is not None and at >= held.since]
    if recent:
        whole = len(recent) < RECENT  # all that this holder has done, its start included
        rate = (len(recent) - (not whole)) / max(time.time() - (held.since if whole else recent[0]), 1e-3)
        result.clips_per_s, result.eta_s = round(rate, 4), round(numbers[NONE] / rate, 1)


def _published(out: Path, done: int) -> dict[str, Any] | None:
    from curate.shards import manifest
    from curate.shards.errors import ShardError

    try:
        content = manifest.load(out / "shards")
    except ShardError as error:
        return {"problem": str(error)} if (out / "shards" / manifest.NAME).exists() else None
    totals = content["totals"]
    return {"samples": totals["samples"], "questions": totals["questions"],
            "all_done": content["run"].get("done") == done}


def counts_line(counts: dict[str, int] | Counter) -> str:
    """Such as "12 done, 1 quarantined"."""
    return ", ".join(f"{counts[name]} {name}" for name in (DONE, FILTERED, "quarantined", "missing") if counts[name])
