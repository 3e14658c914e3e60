"""The driver on simulated workers: clips a second with the journal on, and memory against the number of clips.

    python -m benchmarks.journal --out FILE

Plan, lease, index, loop, deadlines, failure rules and journal are the run's own; only the workers are simulated: each
clip is done as soon as it is given out, one in a thousand fails. Each figure is of a fresh process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.memory import peak_mib
from benchmarks.table import Row, at_least, at_most, report, row

FEW, MANY = 100_000, 1_000_000
WORKERS = 16
LIMIT_GROWTH, LIMIT_GIB, LIMIT_RATE = 1.5, 1.0, 5000


class SimulatedPool:
    """Every clip given out is done at the next look; one in a thousand is bad input."""

    name, num_workers, in_process = "simulated", WORKERS, False

    def __init__(self) -> None:
        self._given: list = []
        self._count = 0

    def submit(self, clip, deadline_s: float) -> None:
        self._given.append(clip)

    def wait(self, timeout_s: float) -> list:
        from curate.engine.outcome import Outcome

        given, self._given = self._given, []
        outcomes = []
        for clip in given:
            self._count += 1
            if self._count % 1000:  # what a real clip says of itself
                outcomes.append(Outcome(clip.key, "done", meta={"regions": 4, "frames": 48, "bytes": 0, "seconds": 1.2,
                                                                "stages": {"depth": 0.5, "flow": 0.25}}))
            else:
                outcomes.append(Outcome(clip.key, "failed", "bad_input", f"{clip.uri}: simulated"))
        return outcomes

    def close(self) -> None:
        pass


def clips(count: int) -> Iterator:
    from curate.sources.base import ClipSpec

    for i in range(count):
        digest = hashlib.sha256(str(i).encode()).hexdigest()
        yield ClipSpec(digest[:24], "simulated", f"recording-{i // 10:07d}.mp4", f"recording-{i // 10:07d}",
                       48 * (i % 10), 48, {"sha256": digest, "licence": ""}), None


def drive(out: str, count: int) -> dict:
    """A whole first pass in this process: plan, work, look back. Seconds by step, CPU seconds of the work, and the
    peak of the process."""
    from curate.engine.ledger import Out
    from curate.engine.limits import guards
    from curate.engine.loop import work
    from curate.engine.quarantine import write_quarantine
    from curate.recipe.model import EngineConfig

    base = peak_mib()
    begin = time.perf_counter()
    with Out(out) as held:
        held.plan_clips(clips(count))
        planned = time.perf_counter()
        cpu = time.process_time()
        work(held.to_do(), SimulatedPool(), held.record, tick=held.check, **guards(EngineConfig(), 0))
        worked = time.perf_counter()
        cpu = time.process_time() - cpu
        counts = dict(held.counts())
        write_quarantine(held)
    assert sum(counts.values()) == count and counts["quarantined"] == count // 1000, counts
    again = time.perf_counter()
    with Out(out) as held:  # what a second run does before it works; there are no scenes, so all is to be done again
        held.plan_clips(clips(count))
        assert held.index.num_to_do() == counts["done"]
    return {"base_mib": base, "peak_mib": peak_mib(), "plan_s": planned - begin, "work_s": worked - planned,
            "work_cpu_s": cpu, "resume_s": time.perf_counter() - again}


def measure(count: int, folder: Path) -> dict:
    """`drive` in a process of its own.

    Raises:
        RuntimeError: where it fails.
    """
    done = subprocess.run([sys.executable, "-m", "benchmarks.journal", "--child", str(folder / str(count)), str(count)],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"driver failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def journal_rows(few: int = FEW, many: int = MANY) -> list[Row]:
    """The rows, from `few` and `many` planned clips."""
    with tempfile.TemporaryDirectory(prefix="curate-journal-") as name:
        a, b = (measure(count, Path(name)) for count in (few, many))
    return [at_least(f"driver with journal, {many:,} clips, {WORKERS} simulated workers", many / b["work_s"], "items/s",
                     LIMIT_RATE),
            row("the same, by CPU time", many / b["work_cpu_s"], "items/s"),
            row("the same, planning included", many / (b["plan_s"] + b["work_s"]), "items/s"),
            row(f"driver with journal, {few:,} clips", few / a["work_s"], "items/s"),
            row("plan of all, read again with its ledger", b["resume_s"], "s"),
            row(f"peak memory, {few:,} clips", a["peak_mib"], "MiB"),
            at_most(f"peak memory, {many:,} clips", b["peak_mib"] / 1024, "GiB", LIMIT_GIB),
            at_most(f"growth of it, {many:,} to {few:,} clips", b["peak_mib"] / a["peak_mib"], "ratio", LIMIT_GROWTH)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="write the rows as JSON here")
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--child", nargs=2, metavar=("OUT", "CLIPS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(drive(args.child[0], int(args.child[1]))))
        return 0
    return report("Driver and journal", journal_rows(args.few, args.many), args.out)


if __name__ == "__main__":
    sys.exit(main())
