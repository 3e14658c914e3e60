"""Many small rendered clips, perceived and held against their truth.

    python -m benchmarks.campaign --out DIR --scenes 60 --seed 100 [--workers 2]
    python -m benchmarks.campaign --out MINE --from DIR --scenes 60 --seed 100      # its videos, perceived anew
        [--rescore]      measures and compares again (the scenes stay)
        [--reperceive]   perceives again (the videos stay)

Scenes are drawn from `benchmarks/scenes.yaml` at 384 x 216 with 12 to 16 frames, written as H.264 side-by-side video
and perceived with the default settings. The calibration beside a video is off by draws of the errors that the product
assumes of a calibration (0.5 % of the baseline, 0.02 degrees about each axis between the cameras): a part of a stated
interval for which there is never a need would make it too wide.

Whatever is in DIR is used again: `videos`, `truth`, `perceived/{name}.npz` (Scene files), `items/{name}.json`.
`items.json` has every item, so that it can be looked at in other ways; `report.txt` what was printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 384, 216
NUM_FRAMES = (12, 16)


@dataclass(frozen=True)
class Job:
    """One scene of a campaign. `source`: folder of the videos and truths; `out`: of what is made from them."""

    source: str
    out: str
    seed: int
    index: int
    reperceive: bool = False
    rescore: bool = False
    perceive_args: tuple[str, ...] = ()  # overrides as in a recipe, "perception.depth.kind=..."
    items: str = "items"

    @property
    def name(self) -> str:
        return f"scene-{self.seed}-{self.index:04d}"


def run_job(job: Job) -> dict[str, Any]:
    """Whatever of a scene is not there yet; {"items", "judged", "askable", ...} or {"error"}."""
    source, out = Path(job.source), Path(job.out)
    scene_file, items_file = out / "perceived" / f"{job.name}.npz", out / job.items / f"{job.name}.json"
    try:
        if not (source / "truth" / f"{job.name}.truth.npz").is_file():
            write_scene(source, job.seed, job.index)
        if job.reperceive or not scene_file.is_file():
            put(scene_file, perceive_video(source, job.name, job.perceive_args).to_bytes())
            items_file.unlink(missing_ok=True)
        if job.rescore or not items_file.is_file():
            put(items_file, json.dumps(compare(source, scene_file, job.name)).encode())
        return json.loads(items_file.read_text())
    except Exception as error:  # a scene that fails is a row, not the end of the campaign
        return {"name": job.name, "error": f"{type(error).__name__}: {error}"}


def put(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    temp.write_bytes(data)
    temp.rename(path)


def distribution():
    """The benchmark's scenes, as short clips of rigs as good as the product takes them to be."""
    from curate.perception.rig.config import RigConfig
    from curate.synth.distribution import load_distribution

    return load_distribution(ROOT / "benchmarks" / "scenes.yaml").model_copy(
        update={"num_frames": NUM_FRAMES, "rig_rotation_deg": RigConfig().prior_pan_deg})


def write_scene(root: Path, seed: int, index: int) -> None:
    """Video, calibration (with the baseline's error) and, last, the truth of one scene."""
    from curate.sources.config import BASELINE_RELATIVE_SIGMA
    from curate.synth.renderer import Renderer
    from curate.synth.sample import sample_scene
    from curate.video.encode import H264Encoder

    scene = sample_scene(seed, index, distribution(), WIDTH, HEIGHT)
    renderer = Renderer(scene)
    encoder = H264Encoder(2 * WIDTH, HEIGHT, time_s=scene.time_s, crf=scene.crf)
    for frame in range(scene.num_frames):
        left, right, _, _ = renderer.render(frame)
        encoder.add(np.hstack([left, right])[None])
    put(root / "videos" / f"{scene.name}.mp4", encoder.finish())
    off = BASELINE_RELATIVE_SIGMA * np.random.default_rng([seed, index, 1]).standard_normal()
    calibration = {name: getattr(scene.rig.left, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    calibration["baseline_m"] = scene.rig.baseline_m * (1 + off)
    put(root / "videos" / f"{scene.name}.calib.json", (json.dumps(calibration, indent=1) + "\n").encode())
    put(root / "truth" / f"{scene.name}.truth.npz", scene.to_bytes())


def perceive_video(root: Path, name: str, overrides: tuple[str, ...] = ()):
    """The Scene of one video, with default settings but for the overrides."""
    import curate

    recipe = curate.load_recipe(_recipe(root, name), list(overrides))
    return curate.perceive(curate.clips(recipe)[0])


def _recipe(root: Path, name: str) -> Path:
    folder = root / "recipes"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        put(path, json.dumps({"source": {"kind": "side_by_side", "root": str((root / "videos").resolve()),
                                         "videos": f"{name}.mp4"}}).encode())
    return path


def compare(root: Path, scene_file: Path, name: str) -> dict[str, Any]:
    """Items and judged questions of one scene."""
    from benchmarks.compare import compare_scene
    from curate.scene import Scene
    from curate.synth.scene import SceneTruth

    truth = SceneTruth.load(root / "truth" / f"{name}.truth.npz")
    return {"name": name} | compare_scene(Scene.load(scene_file), truth)


def campaign(out: Path, num_scenes: int, seed: int, *, source: Path | None = None, workers: int = 2,
             first: int = 0, reperceive: bool = False, rescore: bool = False, overrides: tuple[str, ...] = (),
             items: str = "items", stop_after_s: float | None = None, quiet: bool = False) -> list[dict[str, Any]]:
    """Results of all scenes in order; with `stop_after_s` only of those that were begun by then.

    Args:
        out, source: folders of what is perceived and compared, and of videos and truths (default `out` too).
        items: folder below `out` of the comparisons.
    """
    jobs = [Job(str(source or out), str(out), seed, first + i, reperceive, rescore, tuple(overrides), items)
            for i in range(num_scenes)]
    found: dict[str, dict[str, Any]] = {}
    begin = time.monotonic()

    def note(result: dict[str, Any]) -> None:
        found[result["name"]] = result
        done, passed = len(found), time.monotonic() - begin
        if not quiet and (done % 20 == 0 or done == len(jobs)):
            left = passed / done * (len(jobs) - done)
            print(f"{done}/{len(jobs)} scenes, {passed:.0f} s, about {left:.0f} s left", file=sys.stderr, flush=True)

    def late() -> bool:
        return stop_after_s is not None and time.monotonic() - begin > stop_after_s

    if workers <= 1:
        for job in jobs:
            if late():
                break
            note(run_job(job))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread) as pool:
            waiting, running = iter(jobs), set()
            while True:
                while len(running) < 2 * workers and not late():
                    job = next(waiting, None)
                    if job is None:
                        break
                    running.add(pool.submit(run_job, job))
                if not running:
                    break
                future = next(as_completed(running))
                running.discard(future)
                note(future.result())
    return [found[j.name] for j in jobs if j.name in found]


def one_thread() -> None:
    """Of every library in this process: the machine's cores belong to the workers."""
    import cv2

    cv2.setNumThreads(1)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="source", type=Path, help="take (or make) videos and truths there")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="index of the first scene")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rescore", action="store_true")
    parser.add_argument("--reperceive", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of the recipe")
    args = parser.parse_args(argv)
    from benchmarks.campaign_report import print_report

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers when they start
    results = campaign(args.out, args.scenes, args.seed, source=args.source, workers=args.workers, first=args.first,
                       reperceive=args.reperceive, rescore=args.rescore, overrides=tuple(args.set))
    items = [i for r in results for i in r.get("items", ())]
    put(args.out / "items.json", json.dumps(items).encode())
    print_report(results, args.out / "report.txt")
    return int(any("error" in r for r in results))


if __name__ == "__main__":
    sys.exit(main())
