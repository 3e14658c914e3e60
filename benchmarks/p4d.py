"""P4D against SFT and the alternatives, on shards made here, on equal data and steps.

    python -m benchmarks.p4d --quick [--cache DIR] [--out out/p4d.json] [--doc docs/p4d.md]   # three arms in an hour
    python -m benchmarks.p4d --full                                                           # as long as it takes
        [--arms sft,p4d] [--seeds 3] [--minutes 52] [--workers 2] [--report] [--clips 48] [--steps 20]
        [--teacher-steps 20] [--vision-steps 20]

Renders scenes of eight frames, 1.4 to 30 a second (`p4d_scenes.yaml`), perceives and asks about them with
the product (`p4d_recipe.yaml`; no question states a time), fits the small teacher, and trains every arm from the same
student on the same questions (`p4d_arms`), with several seeds. Held-out recordings are answered by generation and
scored by `curate.bench`. The student is random, but for an encoder that learned to see first (`p4d_start`).

Everything is kept in the cache: a run that is interrupted (Ctrl-C, SIGTERM, a kill) goes on
with the same command, and what is there already is not made again. `--report` makes nothing and reports what is there.

After `--minutes` no further run begins (--quick: 52); the table says how many seeds each arm has, and the same command
goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.campaign import put
from benchmarks.p4d_arms import (
    ARMS,
    FULL,
    NO_TIMES,
    QUICK,
    Interrupted,
    Job,
    Size,
    fingerprint,
    folder_of,
    recipe_of,
    run,
)
from benchmarks.p4d_start import fitted, make_starts, start_of
from benchmarks.table import report

CACHE = Path("out/p4d-benchmark")
# What the comparison is accepted on comes first, so that a run that is short of time has these with all seeds.
ORDER = ("sft", "p4d", "sft" + NO_TIMES, "concat", "pe", "coords", "latent", "explicit", "p4d" + NO_TIMES,
         "latent" + NO_TIMES, "explicit" + NO_TIMES)
CORE, QUICK_ARMS = ORDER[:3], ORDER[:9]


def jobs_of(arms: Sequence[str], seeds: int, shards: Path, teacher: Path, starts: Path, folder: Path, teacher_id: str,
            size: Size) -> list[Job]:
    """The core's seeds first, then seed by seed."""
    def made(names: Sequence[str]) -> list[Job]:
        return [Job(arm, seed, str(shards), str(teacher), str(start_of(starts, seed)),
                    str(folder_of(arm, folder, teacher_id)), size)
                for seed in range(seeds) for arm in names]

    return made([a for a in arms if a in CORE]) + made([a for a in arms if a not in CORE])


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def run_all(jobs: Sequence[Job], workers: int, until: float) -> None:
    """Runs what has no result yet; begins none after `until` (monotonic seconds).

    Raises:
        KeyboardInterrupt: where runs were told to stop; they have written checkpoints.
    """
    left: Iterator[Job] = iter([job for job in jobs if not job.result.is_file()])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread) as pool:
        running: dict[Any, Job] = {}
        while True:
            while len(running) < workers and time.monotonic() < until and (job := next(left, None)):
                running[pool.submit(run, job)] = job
            if not running:
                return
            try:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                for worker in multiprocessing.active_children():
                    worker.terminate()  # which ends the step under way and writes a checkpoint
                raise
            for future in done:
                job = running.pop(future)
                try:
                    result = future.result()
                except Interrupted:
                    raise KeyboardInterrupt from None
                share = sum(item[4] for item in result["items"]) / len(result["items"])
                print(f"{job.name}: {100 * share:.1f} % right, {result['seconds']:.0f} s", file=sys.stderr, flush=True)


def results_of(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    return [json.loads(job.result.read_text("utf-8")) for job in jobs if job.result.is_file()]


def costs(cache: Path, jobs: Sequence[Job]) -> tuple[dict[str, float], dict[str, float] | None]:
    """Counted operations, and the tiny student's costs where its runs are there; kept in the cache."""
    from benchmarks.p4d_step import counted, tiny_costs

    path = cache / "costs.json"
    if not path.is_file():
        put(path, json.dumps(counted()).encode())
    there = {job.arm: job for job in jobs if job.seed == 0 and job.result.is_file()}
    if not {"sft", "p4d"} <= set(there):
        return json.loads(path.read_text()), None
    tiny = Path(there["sft"].folder) / "costs-tiny.json"
    if not tiny.is_file():
        recipes = [recipe_of(there[a]) for a in ("sft", "p4d")]
        for recipe, arm in zip(recipes, ("sft", "p4d")):  # as trained: the saved students
            recipe["student"] = {"name_or_path": str(there[arm].run / "student"),
                                 "trained": recipe["student"]["trained"]}
        one_thread()
        put(tiny, json.dumps(tiny_costs(*recipes)).encode())
    return json.loads(path.read_text()), json.loads(tiny.read_text())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--quick", action="store_true")
    kind.add_argument("--full", action="store_true")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of everything made (default {CACHE})")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    parser.add_argument("--doc", type=Path, help="put the figures into this page, between its marks (docs/p4d.md)")
    parser.add_argument("--arms", help=f"comma-separated, of {', '.join(ARMS)}; default: --quick {len(QUICK_ARMS)} of "
                                       "them, --full all")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--clips", type=int, help="rendered, instead of the size's own")
    parser.add_argument("--steps", type=int, help="of every arm, instead of the size's own")
    parser.add_argument("--teacher-steps", type=int, help="of the teacher's fit")
    parser.add_argument("--vision-steps", type=int, help="of the fit of the students' vision encoder; 0: it is random, "
                                                         "and trained by the arms")
    parser.add_argument("--minutes", type=float, help="begin no run after this long; default: --quick 52, --full none")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="runs side by side")
    parser.add_argument("--report", action="store_true", help="make nothing, report what is in the cache")
    args = parser.parse_args(argv)
    begin, size = time.monotonic(), QUICK if args.quick else FULL
    size = replace(size, clips=args.clips or size.clips, steps=args.steps or size.steps,
                   teacher_steps=args.teacher_steps or size.teacher_steps,
                   vision_steps=size.vision_steps if args.vision_steps is None else args.vision_steps)
    arms = args.arms.split(",") if args.arms else list(QUICK_ARMS if args.quick else ORDER)
    if unknown := [arm for arm in arms if arm not in ARMS]:
        parser.error(f"unknown arms {', '.join(unknown)}; known: {', '.join(ARMS)}")
    minutes = args.minutes if args.minutes is not None else 52 if args.quick else float("inf")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers when they start
    os.environ["HF_HUB_OFFLINE"] = "1"
    cache = args.cache.resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        jobs = prepared(cache, size, arms, args.seeds, args.report)
        if not args.report:
            run_all(jobs, args.workers, begin + 60 * minutes)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return reported(cache, jobs, args.out, args.doc, f"python -m benchmarks.p4d --{'quick' if args.quick else 'full'}")


def prepared(cache: Path, size: Size, arms: Sequence[str], seeds: int, made_already: bool) -> list[Job]:
    from benchmarks.p4d_data import make_shards, make_teacher, teacher_folder, teacher_id

    shards = cache / f"set-{size.clips}" / "shards"
    teacher, starts = teacher_folder(cache, size), cache / f"starts-{size.clips}-{size.vision_steps}"
    if not made_already:
        make_shards(cache, size.clips)
        make_teacher(teacher, shards, size)
        if size.vision_steps:
            make_starts(starts, str(shards), size, seeds)
    folder = cache / f"runs-{fingerprint(shards, size)}"
    jobs = jobs_of(arms, seeds, shards, teacher, starts, folder, teacher_id(teacher), size)
    for job in jobs:
        Path(job.folder).mkdir(parents=True, exist_ok=True)
    return jobs


def reported(cache: Path, jobs: Sequence[Job], out: Path | None, doc: Path | None, command: str) -> int:
    from benchmarks.p4d_doc import figures, put_figures
    from benchmarks.p4d_rows import (
        Results,
        accuracy_rows,
        cost_rows,
        family_table,
        loss_rows,
        probe_rows,
        time_rows,
    )

    found = results_of(jobs)
    if not found:
        print("no run is there yet", file=sys.stderr)
        return 1
    results = Results(found)
    sections = {"Accuracy": accuracy_rows(results), "Timestamps": time_rows(results),
                "Depth that the visual tokens hold": probe_rows(results, fitted(Path(jobs[0].start).parent)),
                "Losses": loss_rows(results),
                "Cost": cost_rows(*costs(cache, jobs), results)}
    families = family_table(results)
    print("\n".join(families))
    if doc is not None:
        notes = [f"`{command}`; {found[0]['steps']} steps of {jobs[0].size.batch} questions, seeds "
                 f"{', '.join(map(str, sorted({job.seed for job in jobs})))}."]
        put_figures(doc.resolve(), figures(sections, families, notes))
    missing = [job.name for job in jobs if not job.result.is_file()]
    if missing:
        print(f"{len(missing)} of {len(jobs)} runs are missing ({', '.join(missing)}); the same command makes them",
              file=sys.stderr)
    return report("P4D and the alternatives", [row for rows in sections.values() for row in rows], out)


if __name__ == "__main__":
    sys.exit(main())
