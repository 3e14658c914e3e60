"""Overhead of an item: three stages of 20 ms of work that hand 5 MB to each other, on 2 CPUs, by this engine's Ray
workers, by Ray Data at three of its documented settings, and by two bare processes for scale.

Each `python -m benchmarks.engine_work WAY ITEMS` is a process of its own that starts, warms up, and prints the seconds
from the first item's end to the last one's: start excluded.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import Row, at_most, row, skipped

ITEMS, WARM = 60, 6
PAYLOAD, WORK_S, STAGES, CPUS = 5_000_000, 0.020, 3, 2
# Documented in Ray Data's performance tips and in the reference of `Dataset.map`.
SETTINGS = {"tasks": "tasks, fused, an item a block (override_num_blocks)",
            "blocks": "tasks, fused, five items a block",
            "actors": "a pool of actors for each stage, half a CPU an actor (concurrency, num_cpus)"}
LIMIT_S = 120


def stage(payload: np.ndarray) -> np.ndarray:
    """20 ms of one CPU, and 5 MB of something else."""
    end = time.thread_time() + WORK_S
    out = payload + np.uint8(1)
    while time.thread_time() < end:
        pass
    return out


class ThreeStages:
    """What works for the engine's workers in place of `ClipWorker`: the stages of an item in one process."""

    def __init__(self, recipe, out: str) -> None:
        pass

    def ready(self) -> None:
        pass

    def perceive(self, clip):
        from curate.engine.outcome import Outcome

        payload = np.zeros(PAYLOAD, np.uint8)
        for _ in range(STAGES):
            payload = stage(payload)
        return Outcome(clip.key, "done", meta={"sum": int(payload[0])})


def engine(items: int) -> float:
    """The engine's loop with the ledger of a run."""
    from curate.engine.ledger import Out
    from curate.engine.loop import work
    from curate.engine.ray_pool import RayPool
    from curate.recipe import recipe_from_dict
    from curate.sources.base import ClipSpec

    recipe = recipe_from_dict({"source": {"kind": "rendered"}, "engine": {"memory_per_worker_gib": 0}})
    clips = [ClipSpec(f"{i:024x}", "rendered", f"{i}", f"{i}", 0, 8) for i in range(items + WARM)]
    ends: list[float] = []
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder, Out(Path(folder) / "out") as held:
        held.plan_clips((clip, None) for clip in clips)
        pool = RayPool(recipe, folder, CPUS, items, worker="benchmarks.engine_work:ThreeStages")
        try:
            work(clips[:WARM], pool, held.record)

            def settled(clip, outcome) -> None:
                held.record(clip, outcome)
                ends.append(time.perf_counter())

            work(clips[WARM:], pool, settled)
        finally:
            pool.close()
    assert len(ends) == items
    return ends[-1] - ends[0]


class Stage:
    """A stage for Ray Data's actors, and, called as a function, for its tasks."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, item: dict) -> dict:
        payload = item["payload"] if self.number else np.zeros(PAYLOAD, np.uint8)
        payload = stage(payload)
        return {"id": item["id"]} if self.number == STAGES - 1 else {"id": item["id"], "payload": payload}


def ray_data(setting: str, items: int) -> float:
    import ray

    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False,  # not one that is there
             object_store_memory=1 << 30)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        for count in (WARM, items):
            data = ray.data.range(count, override_num_blocks=-(-count // 5) if setting == "blocks" else count)
            for number in range(STAGES):
                if setting == "actors":
                    data = data.map(Stage, fn_constructor_args=(number,), concurrency=1, num_cpus=0.5)
                else:
                    stage_of = Stage(number)
                    data = data.map(lambda item, run=stage_of: run(item))
            ends = [time.perf_counter() for _ in data.iter_rows()]
            assert len(ends) == count
        return ends[-1] - ends[0]
    finally:
        ray.shutdown()


def _bare(items: int) -> None:
    for _ in range(items):
        payload = np.zeros(PAYLOAD, np.uint8)
        for _ in range(STAGES):
            payload = stage(payload)


def bare(items: int) -> float:
    context = multiprocessing.get_context("fork")
    begin = time.perf_counter()
    processes = [context.Process(target=_bare, args=(items // CPUS,)) for _ in range(CPUS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return time.perf_counter() - begin


def _seconds(way: str, items: int) -> float:
    """One measurement in a process of its own.

    Raises:
        RuntimeError, TimeoutExpired.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run([sys.executable, "-m", "benchmarks.engine_work", way, str(items)], capture_output=True,
                          text=True, timeout=LIMIT_S, env=environment)
    if done.returncode:
        raise RuntimeError(f"{way}: {done.stderr.strip()[-500:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def item_rows(items: int = ITEMS, rounds: int = 3) -> list[Row]:
    """Milliseconds an item beyond what two bare processes take in the same round; medians over rounds in turns."""
    taken: dict[str, list[float]] = {way: [] for way in ("bare", "engine", *SETTINGS)}
    failed: dict[str, str] = {}
    for index in range(rounds):
        for way in list(taken)[:: 1 if index % 2 == 0 else -1]:
            if way in failed:
                continue
            try:
                seconds = _seconds(way, items)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failed[way] = f"hangs ({LIMIT_S} s)" if isinstance(error, subprocess.TimeoutExpired) else str(error)
                continue
            taken[way].append(1000 * seconds / (items if way == "bare" else items - 1))
    rows, overheads = [], {}
    for way, each in taken.items():
        name = {"bare": "two bare processes", "engine": "this engine"}.get(way) or f"Ray Data, {SETTINGS[way]}"
        if way in failed or not each:
            rows.append(skipped(name, failed.get(way, "not measured")))
            continue
        rows.append(row(f"{name}: an item", statistics.median(each), "ms"))
        overheads[way] = statistics.median(e - b for e, b in zip(each, taken["bare"]))
    data = {way: overheads[way] for way in SETTINGS if way in overheads}
    if "engine" not in overheads or not data:
        return [*rows, skipped("overhead of an item, to Ray Data's at its best", "one of them did not run")]
    best = min(data, key=data.get)
    rows += [row("this engine: overhead of an item", overheads["engine"], "ms"),
             row(f"Ray Data at its best ({best}): overhead of an item", data[best], "ms"),
             at_most("overhead of an item, to Ray Data's at its best",
                     max(overheads["engine"], 0) / max(data[best], 1e-3), "", 0.5)]
    return rows


def main() -> int:
    way, items = sys.argv[1], int(sys.argv[2])
    seconds = bare(items) if way == "bare" else engine(items) if way == "engine" else ray_data(way, items)
    print(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
