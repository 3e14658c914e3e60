"""The write pass over staged scenes: clips a second on one core, and its peak memory as the set grows.

    python -m benchmarks.write_pass [--small 2000] [--large 20000] [--out rows.json]

A few small clips (16 frames of 320x240) are rendered and perceived; their staged folders are then copied under other
keys. Speed is that of the whole pass in one process, by CPU time, the best of a few runs. For memory the questions of
the first clips are used again under the other keys (working them out takes most of the time and no memory that stays);
everything else is done for every clip: reading, encoding, spooling, selection, audit, packing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Row, at_least, at_most, report, row

RECIPE: dict[str, Any] = {
    "name": "write_pass", "source": {"kind": "rendered", "num_scenes": 4, "seed": 5, "width": 320, "height": 240},
    "clip": {"num_frames": 16, "max_clips": 4}, "engine": {"kind": "inline"}}
CLIPS_A_SECOND = 50.0
RATIO = 1.15
SPEED_CLIPS, SPEED_RUNS = 120, 3


def stage_base(out: Path) -> None:
    """A real run of a few clips."""
    from curate.engine.run import run
    from curate.recipe import recipe_from_dict

    run(recipe_from_dict(RECIPE), out)


def multiply(base: Path, out: Path, count: int) -> None:
    """OUT with `count` staged scenes: those of `base` in turn under other keys, their media linked."""
    from curate.engine.stage import FOLDER

    (out / FOLDER).mkdir(parents=True)
    shutil.copy(base / "run.json", out / "run.json")
    folders = sorted(path for path in (base / FOLDER).iterdir() if path.is_dir())
    arrays = []
    for folder in folders:
        with np.load(folder / "scene.npz", allow_pickle=False) as npz:
            arrays.append({name: npz[name] for name in npz.files})
    for index in range(count):
        folder, own = folders[index % len(folders)], arrays[index % len(folders)]
        key = hashlib.sha256(f"copy {index}".encode()).hexdigest()[:24]
        meta = json.loads(bytes(own["meta"]))
        meta["clip"] |= {"key": key, "recording": f"recording {index // 3}"}
        text = json.dumps(meta | {"key": key}, sort_keys=True).encode()
        data = io.BytesIO()
        np.savez(data, **own | {"meta": np.frombuffer(text, np.uint8)})
        target = out / FOLDER / key
        target.mkdir()
        (target / "scene.npz").write_bytes(data.getvalue())
        for path in folder.iterdir():
            if path.name not in ("scene.npz", "digest"):
                os.link(path, target / path.name)


def _asks_again() -> None:
    """From now on the questions of a scene that differs from an earlier one by its key alone are those of that one.

    The audit works on them as ever, but what it says of the same few answers over and over stops nothing.
    """
    import curate.engine.write as write_pass
    import curate.questions as questions

    first: dict[tuple[str, int], Any] = {}
    ask, audit = questions.ask, write_pass.report

    def cached(scene: Any, config: Any) -> Any:
        name = (scene.clip["uri"], scene.clip["start"])
        if name not in first:
            first[name] = ask(scene, config)
        made, dropped = first[name]
        own = {"clip": scene.key, "recording": scene.clip["recording"]}
        return [replace(q, id=scene.key + q.id[len(q.extra["clip"]):], extra=q.extra | own) for q in made], dropped

    questions.ask = cached
    write_pass.report = lambda tally: audit(tally) | {"option_leak": "not judged"}


def child(out: Path, cached: bool) -> dict[str, float]:
    """The pass in this process; once before on two clips, so that packages are loaded and templates compiled."""
    from curate.engine.stage import FOLDER
    from curate.engine.write import write
    from curate.recipe import recipe_from_dict

    recipe = recipe_from_dict(RECIPE)
    keys = [path.name for path in (out / FOLDER).iterdir()]
    if cached:
        _asks_again()
    write(out, keys[:2], recipe, {})
    begin = time.process_time()
    made = write(out, keys, recipe, {}, processes=1)
    seconds = time.process_time() - begin
    return {"clips": len(keys), "questions": made["questions"], "cpu_s": seconds,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure(out: Path, cached: bool) -> dict[str, float]:
    """`child` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.write_pass", "--child", str(out), *(["--cached"] if cached else [])]
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **one})
    return json.loads(done.stdout.splitlines()[-1])


def write_rows(small: int = 2000, large: int = 20_000, folder: Path | None = None) -> list[Row]:
    """
    Args:
        small, large: numbers of staged scenes between which memory must not grow.
        folder: for scratch files, some 200 KB a scene; default: a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="curate-write-pass-", dir=folder) as scratch:
        base = Path(scratch) / "base"
        stage_base(base)
        multiply(base, Path(scratch) / "speed", SPEED_CLIPS)
        runs = [measure(Path(scratch) / "speed", cached=False) for _ in range(SPEED_RUNS)]
        fastest = max(run["clips"] / run["cpu_s"] for run in runs)
        rows = [at_least("write pass, staged scenes of 16 frames, 320x240", fastest, "clips/s a core", CLIPS_A_SECOND),
                row("questions a clip", runs[0]["questions"] / runs[0]["clips"], "")]
        peaks = []
        for count in (small, large):
            out = Path(scratch) / f"memory-{count}"
            multiply(base, out, count)
            made = measure(out, cached=True)
            shutil.rmtree(out)
            peaks.append(made["peak_mib"])
            rows.append(row(f"write pass, peak memory at {count} staged scenes", made["peak_mib"], "MiB"))
            rows.append(row(f"write pass without asking, at {count} staged scenes", count / made["cpu_s"],
                            "clips/s a core"))
        rows.append(at_most(f"write pass, peak memory at {large} over that at {small}", peaks[1] / peaks[0], "",
                            RATIO))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="for scratch files")
    parser.add_argument("--out", type=Path, help="rows as JSON")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child, args.cached)))
        return 0
    return report("Write pass", write_rows(args.small, args.large, args.folder), args.out)


if __name__ == "__main__":
    sys.exit(main())
