"""Writes scenes as what a user would have, H.264 side-by-side videos with a calibration, and the truth beside it."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from curate.synth.askable import Askable, askable
from curate.synth.distribution import load_distribution
from curate.synth.renderer import Renderer
from curate.synth.sample import sample_scene
from curate.synth.scene import SUB, SceneTruth
from curate.video.encode import H264Encoder

TRUTH_SUFFIX = ".truth.npz"


@dataclass(frozen=True)
class Dataset:
    """Where everything is: `videos/*.mp4` with `*.calib.json`, `truth/*.truth.npz` with `*.truth.json`, the recipe."""

    root: Path
    videos: list[Path]
    truth_dir: Path
    recipe: Path


def write_dataset(out_dir: str | Path, num_scenes: int, seed: int, scenes_path: str | Path | None = None,
                  width: int = 640, height: int = 360, num_workers: int = 1,
                  progress: Callable[[str], None] | None = None) -> Dataset:
    """Renders a data set.

    Args:
        out_dir: made where it is missing.
        num_scenes, seed: how many scenes, and which.
        scenes_path: the distribution; None means the packaged one.
        width, height: pixels of one eye, even numbers.
        num_workers: processes that render; the files are the same for any number.
        progress: called with the name of each scene when it is written.

    Raises:
        ValueError: on a bad distribution or size.
    """
    if width % 2 or height % 2:
        raise ValueError(f"H.264 wants even sizes, got {width}x{height}")
    load_distribution(scenes_path)  # a bad one is reported before any process starts
    root = Path(out_dir)
    for folder in ("videos", "truth"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    job = partial(_write_scene, root, seed, None if scenes_path is None else str(scenes_path), width, height)
    names = []
    for name in _each(job, num_scenes, num_workers):
        names.append(name)
        if progress:
            progress(name)
    recipe = root / "recipe.yaml"
    source = {"kind": "side_by_side", "root": str((root / "videos").resolve()), "licence": "CC0-1.0"}
    recipe.write_text(yaml.safe_dump({"source": source}, sort_keys=False))
    return Dataset(root, [root / "videos" / f"{name}.mp4" for name in names], root / "truth", recipe)


def _each(job: Callable[[int], str], count: int, num_workers: int):
    if num_workers <= 1 or count <= 1:
        yield from map(job, range(count))
        return
    with ProcessPoolExecutor(min(num_workers, count), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(job, range(count))


def _write_scene(root: Path, seed: int, scenes_path: str | None, width: int, height: int, index: int) -> str:
    scene = sample_scene(seed, index, scenes_path, width, height)
    renderer = Renderer(scene)
    encoder = H264Encoder(2 * width, height, time_s=scene.time_s, crf=scene.crf)
    for frame in range(scene.num_frames):
        left, right, _, _ = renderer.render(frame)
        encoder.add(np.hstack([left, right])[None])
    (root / "videos" / f"{scene.name}.mp4").write_bytes(encoder.finish())
    camera = scene.rig.left
    calibration = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy, "width": camera.width,
                   "height": camera.height, "baseline_m": scene.rig.baseline_m}
    (root / "videos" / f"{scene.name}.calib.json").write_text(json.dumps(calibration, indent=1) + "\n")
    write_truth(root / "truth", scene, renderer)
    return scene.name


def write_truth(folder: Path, scene: SceneTruth, renderer: Renderer | None = None) -> None:
    """`{name}.truth.npz`, and `{name}.truth.json` for people, which also lists what could be asked."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{scene.name}{TRUTH_SUFFIX}").write_bytes(scene.to_bytes())
    ends = np.array([0, (scene.num_frames - 1) * SUB])
    objects = [{"id": body.id, "shape": body.shape, "size_m": body.size.tolist(), "motion": body.motion,
                "centre_world_m": body.points(np.zeros(3), ends).tolist()} for body in scene.objects]
    content = {"name": scene.name, "seed": list(scene.seed), "setting": scene.setting,
               "camera_motion": scene.camera_motion, "fps": scene.fps, "num_frames": scene.num_frames,
               "camera": vars(scene.rig.left), "baseline_m": scene.rig.baseline_m, "crf": scene.crf,
               "objects": objects,
               "askable": [{"family": a.family, "objects": list(a.objects)} for a in askable(scene, renderer)]}
    (folder / f"{scene.name}.truth.json").write_text(json.dumps(content, indent=1) + "\n")


def read_askable(folder: Path, name: str) -> list[Askable]:
    """
    Raises:
        ValueError: where the scene's truth json is missing or is none.
    """
    path = folder / f"{name}.truth.json"
    try:
        listed = json.loads(path.read_text())["askable"]
        return [Askable(item["family"], tuple(item["objects"])) for item in listed]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a scene's truth: {type(error).__name__}: {error}") from error
