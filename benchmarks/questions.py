"""Questions on many rendered scenes: how fast, how many families, how many right, and whether options leak.

    python -m benchmarks.questions --out out/questions.json [--scenes 300] [--seed 600000] [--cache DIR]

Scenes are the campaign's (`benchmarks.campaign`): small H.264 clips with calibrations that are off by as much as the
product assumes, perceived with the default settings, and kept in the cache. Every family is asked of each; answers are
held against the scenes' truth (`curate.synth`), and all questions go through the audit of a run. A family that is asked
in no clip at all is named. Speed is CPU time of one core, once from a Scene (measuring included) and once from its
quantities.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.campaign import Job, one_thread, perceive_video, put, write_scene
from benchmarks.table import Row, at_least, at_most, report, row

SEED = 600_000  # looked at by nobody while the families were written
RIGHT, RIGHT_FAMILY, COVERED = 99.0, 95.0, 93.0
LEAST = 30  # items of a family below which its own share says nothing
SPEED = 5000


def job(given: Job) -> dict[str, Any]:
    """One scene: rendered and perceived where it is not there yet, asked and judged."""
    from curate.scene import Scene

    root = Path(given.out)
    path = root / "perceived" / f"{given.name}.npz"
    try:
        if not (root / "truth" / f"{given.name}.truth.npz").is_file():
            write_scene(root, given.seed, given.index)
        if not path.is_file():
            put(path, perceive_video(root, given.name).to_bytes())
        return asked_and_judged(Scene.load(path), root / "truth" / f"{given.name}.truth.npz")
    except Exception as error:  # a scene that fails is a row, not the end
        return {"name": given.name, "error": f"{type(error).__name__}: {error}"}


def asked_and_judged(scene: Any, truth_path: Path) -> dict[str, Any]:
    from curate.measure import measure
    from curate.questions import QuestionsConfig, ask
    from curate.shards.sample import make_sample
    from curate.shards.schema import decode
    from curate.synth.scene import SceneTruth
    from curate.synth.score import judge

    config = QuestionsConfig()
    begin = time.process_time()
    questions, dropped = ask(scene, config)
    with_measuring = time.process_time() - begin
    quantities = measure(scene)
    begin = time.process_time()
    again, _ = ask(scene, config, quantities)
    without = time.process_time() - begin
    record = decode(make_sample(scene, {}, questions).json)
    truth = SceneTruth.load(truth_path)
    judged = judge(record, truth)
    return {"name": truth.name, "num": len(questions), "again": len(again), "cpu_s": with_measuring,
            "cpu_s_from_quantities": without, "judged": [asdict(j) for j in judged],
            "questions": [q.to_json() for q in questions],
            "dropped": [[*k, n] for k, n in Counter((d.family, d.reason) for d in dropped).items()]}


def rows_of(results: list[dict[str, Any]]) -> list[Row]:
    from curate.questions.audit import audit
    from curate.questions.families import families

    done = [r for r in results if "error" not in r]
    if not done:
        return [at_most("scenes that failed", len(results), "", 0)]
    rows = [at_most("scenes that failed", len(results) - len(done), "", 0), row("scenes", len(done), "")]
    total = sum(r["num"] for r in done)
    rows += [row("questions", total, ""),
             at_least("questions a second of one core, from quantities",
                      sum(r["again"] for r in done) / sum(r["cpu_s_from_quantities"] for r in done), "1/s", SPEED),
             row("questions a second of one core, from a Scene (measured too)",
                 total / sum(r["cpu_s"] for r in done), "1/s")]
    clips: dict[str, set[str]] = defaultdict(set)
    for r in done:
        for q in r["questions"]:
            clips[q["family"]].add(r["name"])
    never = [name for name in families() if not clips[name]]
    rows.append(at_most(f"families never asked{': ' + ', '.join(never) if never else ''}", len(never), "", 0))
    judged = [j for r in done for j in r["judged"]]
    choices = [j["right"] for j in judged if j["form"] == "choice"]
    rows.append(at_least(f"choices right (n {len(choices)})", 100 * sum(choices) / max(len(choices), 1), "%", RIGHT))
    for name in families():
        own = [j for j in judged if j["family"] == name]
        rows.append(row(f"{name}: clips asked", len(clips[name]), ""))
        for form in ("choice", "open"):
            right = [bool(j["right"]) for j in own if j["form"] == form]
            if right:
                what, share = f"{name}: {form} right (n {len(right)})", 100 * sum(right) / len(right)
                target = RIGHT if form == "choice" else RIGHT_FAMILY
                rows.append(at_least(what, share, "%", target) if len(right) >= LEAST else row(what, share, "%"))
        held = [bool(j["covered"]) for j in own if j["form"] == "numeric"]
        if held:
            what, share = f"{name}: 95 % interval holds (n {len(held)})", 100 * sum(held) / len(held)
            rows.append(at_least(what, share, "%", COVERED) if len(held) >= LEAST else row(what, share, "%"))
    found = audit(q for r in done for q in r["questions"])
    leaks = [f"{f['family']} ({', '.join(t['guesser'] for t in f['guessers'] if t.get('leak'))})"
             for f in found["families"] if f["verdict"] == "fail"]
    judged_families = sum(f["verdict"] != "not judged" for f in found["families"])
    rows.append(row("families judged by the audit", judged_families, ""))
    rows.append(at_most(f"families whose options leak{': ' + '; '.join(leaks) if leaks else ''}", len(leaks), "", 0))
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="keep videos and perceived scenes here")
    parser.add_argument("--details", type=Path, help="write every judged answer that is not right here, as JSON lines")
    args = parser.parse_args(argv)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers when they start
    with tempfile.TemporaryDirectory() as scratch:
        root = str(args.cache or scratch)
        jobs = [Job(root, root, args.seed, i) for i in range(args.scenes)]
        results, begin = [], time.monotonic()
        with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn"), initializer=one_thread) as pool:
            for result in pool.map(job, jobs):
                results.append(result)
                if "error" in result:
                    print(f"{result['name']}: {result['error']}", file=sys.stderr)
                if len(results) % 20 == 0:
                    left = (time.monotonic() - begin) / len(results) * (len(jobs) - len(results))
                    print(f"{len(results)}/{len(jobs)} scenes, about {left:.0f} s left", file=sys.stderr, flush=True)
    if args.details:
        wrong = [j for r in results for j in r.get("judged", ()) if j["right"] is False or j["covered"] is False]
        args.details.write_text("".join(json.dumps(j) + "\n" for j in wrong))
    return report("Questions on rendered scenes", rows_of(results), args.out)


if __name__ == "__main__":
    sys.exit(main())
