"""Runs that are killed at every moment, resumed, and compared byte for byte with one that was left alone.

    python -m benchmarks.torture --out FILE [--seed 0] [--inline-kills 600] [--ray-kills 100] [--workers 250]
                                 [--nodes 50] [--minutes 90]

Four parts, each a series of rounds. A round starts in an empty folder; its run is hurt as the schedule says, started
again after each death until the round's share of the schedule is used up, and then left to finish. Then every byte of
scenes and shards, what was asked and how every clip ended must be that of the run that was left alone. The schedule
is drawn from the seed and printed before anything runs.

- driver, inline: SIGKILL of the driver's process group, `time`: after so many seconds; `file`: at its n-th file
  operation in OUT (open, rename, make, remove); `publish`: at the n-th such operation after the last clip was done.
  The driver is forked from a process that has its packages imported (`benchmarks/forking.py`).
- driver, Ray: the same, by time, of an ordinary `curate run` that works on a cluster which goes on, and, one in ten,
  on a Ray of its own.
- worker: SIGKILL of a Ray worker process in the middle of a run.
- node: a node leaves the cluster without a word (`ray.cluster_utils.Cluster`), another joins.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import forking
from benchmarks.table import Row, at_least, at_most, report, row
from benchmarks.tiny import write_inputs
from benchmarks.torture_account import Reference
from benchmarks.torture_faults import Fault, arm, count_operations, operations_of

HANG_S = 240.0  # a run of a few seconds that takes longer hangs
ROUND = 20  # driver kills in a round: half of them while clips are perceived, half while shards are published
INLINE_SHARE = 0.4  # of the time, for inline kills; what is left over is the others'
QUARANTINED = 3  # the exit code of the run that was left alone: three of its inputs are bad


@dataclass
class Part:
    """What one part of the torture reached."""

    name: str
    unit: str
    wanted: int
    hurt: int = 0
    rounds: int = 0
    runs: int = 0
    hangs: int = 0
    differing: int = 0
    seconds: float = 0.0

    def rows(self) -> list[Row]:
        return [at_least(f"{self.name}: {self.unit}", self.hurt, self.unit, self.wanted),
                row(f"{self.name}: runs started, rounds compared", self.runs, f"in {self.rounds} rounds"),
                at_most(f"{self.name}: hangs", self.hangs, "runs", 0),
                at_most(f"{self.name}: rounds that differ from the run left alone", self.differing, "rounds", 0),
                row(f"{self.name}: time", self.seconds / 60, "min")]


def schedule(seed: int, kills: int, seconds: tuple[float, float], operations: int, published: int) -> list[Fault]:
    """Moments for driver kills; in each round those while clips are perceived come first.

    Args:
        seconds: that a whole run takes, and one that only publishes.
        operations, published: file operations of a whole run, and those from the first of the shards.
    """
    rng = random.Random(f"{seed} inline")
    faults: list[Fault] = []
    while len(faults) < kills:
        early = [Fault("time", round(rng.uniform(0, seconds[0] / 2), 3)) if rng.random() < 0.5
                 else Fault("file", rng.randint(1, operations)) for _ in range(ROUND // 2)]
        late = [Fault("publish", rng.randint(1, published)) if rng.random() < 0.7
                else Fault("time", round(rng.uniform(0, seconds[1]), 3)) for _ in range(ROUND // 2)]
        faults += early + late
    return faults[:kills]


class Inline:
    """Driver kills of inline runs."""

    def __init__(self, recipe: Path, folder: Path, reference: Reference) -> None:
        self.recipe, self.folder, self.reference = recipe, folder, reference

    def start(self, out: Path, fault: Fault | None) -> forking.Child:
        args = ["run", self.recipe, "--out", out, "--inline", "--no-preview", "--quiet"]
        return forking.curate(args, self.folder / "log", before=lambda: fault and arm(fault, out))

    def run(self, faults: list[Fault], part: Part, deadline: float) -> None:
        began = time.monotonic()
        for first in range(0, len(faults), ROUND):
            if time.monotonic() > deadline:
                break
            self._round(faults[first:first + ROUND], part, part.rounds)
            part.rounds += 1
            if part.rounds % 5 == 0:
                print(f"  {part.hurt} kills in {part.rounds} rounds, {time.monotonic() - began:.0f} s", flush=True)
        part.seconds += time.monotonic() - began

    def _round(self, faults: list[Fault], part: Part, number: int) -> None:
        out = self.folder / f"inline-{number}"
        missed = 0
        for fault in faults:
            # One that comes too late (the run was over) is drawn nearer until it hits.
            while True:
                child, killed = self.start(out, fault), False
                part.runs += 1
                code = child.wait(fault.value if fault.kind == "time" else HANG_S)
                if code is None and fault.kind == "time":
                    killed = child.kill() == -9
                elif code is None:
                    part.hangs += 1
                    child.kill()
                    print(f"  hang at {fault}: {child.text()[-500:]}", flush=True)
                else:
                    killed = code == -9
                if left := forking.wait_gone(child.pid, 10):
                    print(f"  processes {left} outlived their driver, killed by {fault}", flush=True)
                    part.differing += 1
                if not killed and code not in (None, 0, QUARANTINED):
                    print(f"  exit code {code} after {fault}: {child.text()[-1500:]}", flush=True)
                    part.differing += 1
                if killed or part.hangs or missed > 50:
                    break
                missed += 1
                fault = fault.nearer()
            part.hurt += killed
        finish(lambda: self.start(out, None), out, self.reference, part, self.folder)


def finish(start, out: Path, reference: Reference, part: Part, folder: Path) -> None:
    """The run that is let go, and the comparison; a folder that differs is kept for a look."""
    child = start()
    part.runs += 1
    code = child.wait(HANG_S)
    if code is None:
        child.kill()
        part.hangs += 1
    faults = [] if code == QUARANTINED else [f"exit code {code}: {child.text()[-1500:]}"]
    faults += reference.differences(out)
    if faults:
        part.differing += 1
        kept = Path(tempfile.mkdtemp(prefix="curate-torture-kept-")) / out.name
        out.rename(kept)
        print(f"  {out.name} differs, kept in {kept}:", *(f"    {fault}" for fault in faults[:8]), sep="\n", flush=True)
    else:
        shutil.rmtree(out)


def run(seed: int, inline_kills: int, ray_kills: int, workers: int, nodes: int, minutes: float, folder: Path,
        recordings: int) -> list[Row]:
    began = time.monotonic()
    deadline = began + 60 * minutes
    forking.preload()
    recipe = write_inputs(folder / "data", recordings)
    parts = []

    # Left alone: once to compare with, once to count its file operations and its time, once when all is done.
    reference_out = folder / "reference"
    seconds = []
    for out in (reference_out, folder / "again", folder / "again"):
        started = time.monotonic()
        child = forking.curate(["run", recipe, "--out", out, "--inline", "--no-preview", "--quiet"], folder / "log",
                               before=lambda out=out: count_operations(out, folder / "operations"))
        if child.wait(HANG_S) != QUARANTINED:
            child.kill()
            raise RuntimeError(f"the run left alone failed: {child.text()[-3000:]}")
        seconds.append(time.monotonic() - started)
        if len(seconds) == 2:
            operations, published = operations_of(folder / "operations")
    reference = Reference(reference_out)
    if again := reference.differences(folder / "again"):
        raise RuntimeError(f"two runs left alone differ: {again[:5]}")
    faults = schedule(seed, inline_kills, (seconds[1], seconds[2]), operations, published)
    rng = random.Random(f"{seed} ray")
    moments = {"driver": [round(rng.uniform(0.5, 8), 2) for _ in range(ray_kills)],
               "worker": [round(rng.uniform(0.0, 2.5), 2) for _ in range(workers)],
               "node": [round(rng.uniform(0.5, 6), 2) for _ in range(nodes)]}
    print(f"seed {seed}: {len(reference.account)} clips, {reference.questions} questions; a run takes "
          f"{seconds[1]:.1f} s and {operations} file operations, {published} of them to publish")
    print("driver kills inline:", " ".join(map(str, faults)) or "none")
    for name, times in moments.items():
        print(f"{name} losses under Ray, seconds after the last: {' '.join(map(str, times)) or 'none'}")
    sys.stdout.flush()

    if faults:
        parts.append(Part("driver, inline", "kills", inline_kills))
        until = began + 60 * minutes * (INLINE_SHARE if any(moments.values()) else 1)
        Inline(recipe, folder, reference).run(faults, parts[-1], until)
    if any(moments.values()):
        from benchmarks.torture_ray import run_ray

        parts += run_ray(recipe, folder, reference, moments, deadline)
    rows = [r for part in parts for r in part.rows()]
    rows.append(row("clips accounted for in each round", len(reference.account), "clips"))
    rows.append(row("time", (time.monotonic() - began) / 60, "min"))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="write the rows as JSON here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inline-kills", type=int, default=600)
    parser.add_argument("--ray-kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=250)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--recordings", type=int, default=3, help="good ones; three bad ones come with them")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-torture-") as folder:
        rows = run(args.seed, args.inline_kills, args.ray_kills, args.workers, args.nodes, args.minutes, Path(folder),
                   args.recordings)
    return report("Torture", rows, args.out)


if __name__ == "__main__":
    sys.exit(main())
