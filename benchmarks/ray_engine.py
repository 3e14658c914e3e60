"""Two Ray workers against two bare loops, and the time from the start to the first clip.

    python -m benchmarks.ray_engine --out FILE [--clips 8] [--pairs 5]

The bare loop decodes, perceives, lifts and encodes clip after clip in one process: no staging, no journal, no retries.
Two of them share the clips out beforehand; two Ray workers take them as they become free, stage every scene and write
the ledger. Both are warm: processes have started and loaded, and each has seen a clip. Pairs are measured in turns, and
the median of their ratios is the figure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from benchmarks.table import Row, at_least, at_most, report, row

SEED = 5
SIZE, NUM_FRAMES = (320, 240), 16
WAIT_S = 600.0


def write_recipe(root: Path, num_clips: int) -> Path:
    """Videos of rendered scenes and a recipe for `num_clips` clips of them. The rig's self-check is off: one decision
    a clip, which would take half the time of clips this short."""
    from curate.synth.dataset import write_dataset

    made = write_dataset(root / "data", max(1, (num_clips + 1) // 2), SEED, None, *SIZE)
    recipe = root / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({
        "name": "bench", "source": {"kind": "side_by_side", "root": str(made.videos[0].parent.resolve())},
        "clip": {"num_frames": NUM_FRAMES, "min_frames": NUM_FRAMES, "max_clips": num_clips},
        "perception": {"rig": {"kind": "as-published"}}, "engine": {"memory_per_worker_gib": 0}}))
    return recipe


class Bare:
    """A bare loop in a process of its own, over its share of the clips, each time it is told to."""

    def __init__(self, recipe: Path, first: int, step: int) -> None:
        from curate.engine.ray_cluster import ENVIRONMENT

        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ray_engine", "--bare", str(recipe), str(first), str(step)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT})
        self.clips = int(self._answer())

    def go(self) -> None:
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a bare loop ended with {self._process.wait()}")
        return line


def bare_loop(recipe_path: str, first: int, step: int) -> None:
    """The process behind `Bare`."""
    from curate.engine.stage import MediaTap
    from curate.perception import make_estimators
    from curate.perception.pipeline import perceive
    from curate.recipe import load_recipe
    from curate.sources import make_source

    recipe = load_recipe(Path(recipe_path))
    source = make_source(recipe.source, recipe.clip)
    estimators = make_estimators(recipe.perception)
    for estimator in estimators:
        estimator.setup()
    clips = [clip for clip in source.plan() if not isinstance(clip, tuple)][:recipe.clip.max_clips][first::step]

    def one(clip) -> None:
        frames = source.open(clip)
        media = MediaTap(frames, recipe)
        perceive(clip, frames, recipe.perception, [media], {}, estimators).to_bytes()
        media.finish()
        media.close()
        frames.close()

    one(clips[0])
    print(len(clips), flush=True)
    for _ in sys.stdin:
        for clip in clips:
            one(clip)
        print("done", flush=True)


def speed_up(num_clips: int = 8, pairs: int = 5) -> list[Row]:
    """Wall time of two independent bare loops over that of two Ray workers, for the same clips."""
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        root = Path(folder)
        recipe = write_recipe(root, num_clips)
        loops = [Bare(recipe, first, 2) for first in (0, 1)]
        try:
            return _pairs(root, recipe, loops, pairs)
        finally:
            for loop in loops:
                loop.close()


def _pairs(root: Path, path: Path, loops: list[Bare], pairs: int) -> list[Row]:
    from curate.engine.ray_pool import RayPool
    from curate.recipe import load_recipe
    from curate.sources import make_source

    recipe = load_recipe(path)
    clips = [c for c in make_source(recipe.source, recipe.clip).plan() if not isinstance(c, tuple)]
    clips = clips[:recipe.clip.max_clips]
    assert len(clips) == sum(loop.clips for loop in loops)
    pool = RayPool(recipe, str(root / "ray"), 2, len(clips))
    try:
        _ray_seconds(root, pool, clips[:2])  # warm
        bare, ray, cpu = [], [], {"bare": [], "ray": []}
        for index in range(pairs):
            for what in (("bare", "ray"), ("ray", "bare"))[index % 2]:
                before = _cpu_seconds()
                if what == "bare":
                    bare.append(_bare_seconds(loops))
                else:
                    ray.append(_ray_seconds(root, pool, clips))
                cpu[what].append(_cpu_seconds() - before)
        alone = _bare_seconds(loops[:1]) * len(clips) / loops[0].clips
    finally:
        pool.close()
    ratio = statistics.median(b / r for b, r in zip(bare, ray))
    return [row("one bare loop, for scale", len(clips) / alone, "clips/s"),
            row("two bare loops", len(clips) / statistics.median(bare), "clips/s"),
            row("two Ray workers, staging and ledger included", len(clips) / statistics.median(ray), "clips/s"),
            at_least(f"speed of two Ray workers to that of two bare loops (median of {pairs} pairs)", ratio, "", 0.95),
            row("  the same by CPU seconds of all processes, which other work on the machine does not move",
                statistics.median(b / r for b, r in zip(cpu["bare"], cpu["ray"])), "")]


def _cpu_seconds() -> float:
    """CPU time so far of this process and all below it, Ray's servers included; 0 where there is no /proc."""
    used, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid], used[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    mine = {os.getpid()}
    while fresh := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= fresh
    return sum(used.get(pid, 0) for pid in mine) / os.sysconf("SC_CLK_TCK")


def _bare_seconds(loops: list[Bare]) -> float:
    begin = time.perf_counter()
    for loop in loops:
        loop.go()
    for loop in loops:
        loop.wait()
    return time.perf_counter() - begin


def _ray_seconds(root: Path, pool, clips: list) -> float:
    """The engine's loop with the ledger of a run; scenes staged before are removed, or nothing would be written."""
    from curate.engine.ledger import Out
    from curate.engine.loop import work

    shutil.rmtree(root / "ray" / "scenes", ignore_errors=True)
    states = []
    with tempfile.TemporaryDirectory(dir=root) as folder, Out(Path(folder) / "out") as held:
        held.plan_clips((clip, None) for clip in clips)

        def settled(clip, outcome) -> None:
            held.record(clip, outcome)
            states.append(outcome.state)

        begin = time.perf_counter()
        work(clips, pool, settled)
        seconds = time.perf_counter() - begin
    assert states == ["done"] * len(clips), states
    return seconds


def installed(folder: Path) -> dict[str, str]:
    """The environment of a run as a user has it: the byte code of earlier runs is there, also where this process is
    told to write none. The first run with it writes it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def seconds_to_first_clip(recipe: Path, out: Path, workers: Sequence[str], environment: dict[str, str]) -> float:
    """From the start of `curate run` to its first staged scene; returns once the run has ended.

    Args:
        workers: options that say how it works. environment: `installed`.
    """
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "curate", "run", str(recipe), "--out", str(out), *workers,
                                "--quiet", "--no-preview"], start_new_session=True, env=environment)
    try:
        while process.poll() is None and time.perf_counter() - begin < WAIT_S:
            if any((out / "scenes").glob("[!.]*")):
                break
            time.sleep(0.01)
        seconds = time.perf_counter() - begin
        if process.wait(WAIT_S):
            raise RuntimeError(f"the run ended with {process.returncode}")
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
    return seconds


def first_clip(limit_s: float = 10.0) -> list[Row]:
    """With two Ray workers: 16 frames of 320x240."""
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        root = Path(folder)
        recipe, environment = write_recipe(root, 2), installed(root)
        seconds_to_first_clip(recipe, root / "before", ["--inline"], environment)  # writes byte code
        seconds = seconds_to_first_clip(recipe, root / "out", ["--workers", "2"], environment)
    busy = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0
    return [at_most("two Ray workers, start to first clip done", seconds, "s", limit_s),
            row("  load of the machine meanwhile", busy, "a CPU")]


def main() -> int:
    if sys.argv[1:2] == ["--bare"]:
        bare_loop(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    return report("Ray workers", first_clip() + speed_up(args.clips, args.pairs), args.out)


if __name__ == "__main__":
    raise SystemExit(main())
