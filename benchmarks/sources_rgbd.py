"""RGB-D: clips made here, whose depth errs as a sensor's does, and every sequence below --data with colour and depth.

Made clips judge intervals: scenes are rendered, their depth gets a scale, a pattern that stays, flicker and pixel noise
as the source is told, and is written to files; a third of them registered, a third as a camera beside the colour camera
measures it, a third the same with the turn between the two told wrong by half a degree. Real sequences with poses judge
the camera's path; since such poses err too, corners that are followed through the colour images by themselves, with
neither's help, tell which of the two paths they fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.calibration_stats import binomial_interval, effective_number
from benchmarks.compare import compare_scene
from benchmarks.table import Row, at_least, row, skipped
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.recipe import load_recipe
from curate.scene import Scene
from curate.sources.config import ClipConfig
from curate.sources.config_rgbd import GivenPosesConfig, RgbdConfig
from curate.sources.rgbd import Rgbd
from curate.sources.rgbd_frames import RgbdFrames
from curate.sources.rgbd_layouts import list_frames
from curate.sources.rgbd_poses import given_poses
from curate.synth import sample_scene
from tests.rgbd_media import Recording, write_seven_scenes, write_tum

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "rgbd.yaml"
NUM_CLIPS, NUM_FRAMES, SIZE = 15, 10, (480, 270)
SEED = 7100
SIGMA_PX = 0.08  # of a depth pixel, in the disparities of the rig that rendered it
SCALE_SIGMA = 0.01
WRONG_TURN_DEG = 0.5
TUM_CAMERA = {"fx": 525.0, "cx": 319.5, "cy": 239.5}  # what its authors recommend


def rows(data: Path, cache: Path) -> list[Row]:
    return [*made_rows(cache), *real_rows(data)]


# ---- clips made here ----

def made_rows(cache: Path) -> list[Row]:
    """Numbers of made clips against their truth."""
    items: list[dict[str, Any]] = []
    right: list[bool] = []
    for index in range(NUM_CLIPS):
        made = Recording(sample_scene(SEED, index, None, *SIZE), NUM_FRAMES)
        scene = _perceived(settings_of_made(made, cache / f"clip-{index}", index))
        found = compare_scene(scene, made.truth)
        items += found["items"]
        right += [j["right"] for j in found["judged"] if j["right"] is not None]
    asked = [i for i in items if i["asked"]]
    out = [row(f"{NUM_CLIPS} made clips: measured numbers", len(items), "")]
    for name, some in (("all that is measured", items), ("what is asked", asked)):
        share, n = float(np.mean([i["inside"]["95"] for i in some])), effective_number(some)
        low, high = binomial_interval(share, n)
        out.append(row(f"made clips: inside the 95 % interval, {name} (99 %: {low:.3f} to {high:.3f}, by clip)", share,
                       "", "0.95 in it", low <= 0.95 <= high))
    return [*out, at_least("made clips: choices that are right", float(np.mean(right)), "", 0.95)]


def settings_of_made(made: Recording, folder: Path, index: int) -> RgbdConfig:
    """Writes a clip with sensor noise of its own, and says how it is to be read."""
    rng = np.random.default_rng([SEED, index])
    fb = made.camera.fx * made.truth.rig.baseline_m
    kind = ("registered", "known", "refined")[index % 3]
    common: dict[str, Any] = {
        "root": str(folder), "color": made.calibration, "fps": made.truth.fps, "max_depth_m": 60.0,
        "virtual_baseline_m": made.truth.rig.baseline_m, "scale_sigma": SCALE_SIGMA, "readout_s": 0.0,
        "sync_sigma_s": 0.0, "max_gap_s": 2.0, "noise": {"per_m2": SIGMA_PX / fb, "correlation_px": 60}}
    if kind == "registered":
        write_tum(folder, made, late_s=0.0, depth=noisy(made.depth, fb, rng), fps=made.truth.fps)
        return RgbdConfig(**common, layout="tum", registration={"kind": kind})
    made.beside = noisy(made.beside, fb, rng)
    write_seven_scenes(folder, made, beside=True)
    pose = made.T_color_depth
    turn = exp_so3(np.radians(rng.normal(0, WRONG_TURN_DEG / np.sqrt(3), 3) * (kind == "refined"))) @ pose.rotation
    return RgbdConfig(**common, layout="7-scenes", depth=made.calibration, registration={
        "kind": kind, "rotation": log_so3(turn).tolist(), "translation_m": pose.translation.tolist()})


def noisy(depth: np.ndarray, fb: float, rng: np.random.Generator) -> np.ndarray:
    """Depth [T, H, W] as a sensor measures it that errs by SIGMA_PX in disparity fb / z: half of it is a pattern that
    stays, half flickers from frame to frame, both smooth over the image, and the rest is noise over a few pixels."""
    def smooth(side: float) -> np.ndarray:
        field = cv2.GaussianBlur(rng.standard_normal(depth.shape[1:]).astype(np.float32), (0, 0), side,
                                 borderType=cv2.BORDER_REFLECT)
        return (field - field.mean()) / field.std()

    pattern, scale = 0.5 * smooth(60), 1 + SCALE_SIGMA * rng.standard_normal()
    out = np.full(depth.shape, np.inf)
    for t, frame in enumerate(depth):
        level = fb / np.where(np.isfinite(frame), frame, 1)
        level = level + SIGMA_PX * (pattern + 0.5 * smooth(60) + np.sqrt(0.5) * smooth(2.0))
        out[t] = np.where(np.isfinite(frame) & (level > 1), fb / np.maximum(level, 1) * scale, np.inf)
    return out


# ---- sequences ----

def find(data: Path) -> list[Path]:
    """Folders below `data` that hold colour and depth of one sensor, by their files."""
    if not data.is_dir():
        return []
    return [p for p in sorted(data.iterdir()) if p.is_dir() and (
        ((p / "rgb.txt").is_file() and (p / "depth.txt").is_file())
        or (any(p.glob("frame-*.color.*")) and any(p.glob("frame-*.depth.png"))))]


def settings_of(folder: Path) -> RgbdConfig:
    """As the recipe reads such a folder: 7-Scenes by `recipes/rgbd.yaml`, its depth camera by the sequence's own
    `calib.json` where there is one; TUM by its published settings."""
    if (folder / "rgb.txt").is_file():
        return RgbdConfig(root=str(folder), layout="tum", color=TUM_CAMERA, registration={"kind": "registered"})
    settings = load_recipe(RECIPE).source.model_dump()
    settings["root"] = str(folder)
    calibration = folder / "calib.json"
    if calibration.is_file():
        stated = json.loads(calibration.read_text())
        if "depth_K" in stated:
            k = stated["depth_K"]
            settings["depth"] = {"fx": k[0][0], "fy": k[1][1], "cx": k[0][2], "cy": k[1][2]}
        settings["depth_scale"] = 1 / stated.get("depth_unit_m", 0.001)
        settings["fps"] = stated.get("fps", settings["fps"])
    return RgbdConfig(**settings)


def real_rows(data: Path) -> list[Row]:
    found = find(data)
    if not found:
        return [skipped("RGB-D sequences", "none below --data")]
    return [one for folder in found for one in _sequence(folder)]


def _sequence(folder: Path) -> Iterator[Row]:
    name, settings = folder.name, settings_of(folder)
    frames, scene = _opened_and_perceived(settings)
    yield row(f"{name}: share of pixels with depth", scene.stats["valid_disparity"], "")
    yield row(f"{name}: depth may lie beside its pixel by", scene.stats["registration_error_px"], "px")
    reference = _reference(folder, settings, frames)
    if reference is None:
        yield skipped(f"{name}: camera's path", "no poses")
        return
    own = scene.T_world_cam
    apart = own.translation - reference.translation
    travelled = float(np.linalg.norm(reference.translation[-1]))
    yield row(f"{name}: path from the given poses, rms ({100 * travelled:.1f} cm from first to last)",
              100 * float(np.sqrt((apart**2).sum(1).mean())), "cm")
    turned = log_so3(np.swapaxes(reference.rotation, 1, 2) @ own.rotation)
    yield row(f"{name}: turn from the given poses, rms", float(np.degrees(np.sqrt((turned**2).sum(1).mean()))), "°")
    by_own, by_given, count = corner_errors(frames, [own, reference])
    yield row(f"{name}: {count} corners followed for half of the clip, off the given path", by_given, "px")
    yield row(f"{name}: the same corners, off the estimated path", by_own, "px", f"< {by_given:.2f} (the given one's)",
              by_own < by_given)
    still = [r for r in scene.regions if np.isfinite(r.motion_p)]
    yield row(f"{name}: regions said to move (p < 0.001) of {len(still)}, in a scene of rest",
              float(sum(r.motion_p < 1e-3 for r in still)), "")


def corner_errors(frames: RgbdFrames, paths: list[Pose]) -> tuple[float, ...]:
    """Of corners that are followed from frame to frame through the colour images alone, over half of the clip: the
    median distance, px, from where their depth in the first frame and each path puts them; and how many there are."""
    last = frames.num_frames // 2
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in frames.read(0, last + 1)[0]]
    depth, valid, _ = frames.read_depth(0, 1)
    corners = cv2.goodFeaturesToTrack(grey[0], 800, 0.01, 8, mask=valid[0].astype(np.uint8))
    now, ok = corners.copy(), np.ones(len(corners), bool)
    for before, after in pairwise(grey):
        moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, now, None, winSize=(15, 15))
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, None, winSize=(15, 15))
        ok &= (found[:, 0] > 0) & (found_back[:, 0] > 0) & (np.linalg.norm(back - now, axis=-1)[:, 0] < 0.3)
        now = moved
    at = np.rint(corners[:, 0]).astype(int)
    camera = frames.views[0].camera
    points = camera.lift(corners[:, 0], depth[0][at[:, 1], at[:, 0]])
    out = []
    for path in paths:
        pose = path[last]
        expected = camera.project((points - pose.translation) @ pose.rotation)
        out.append(float(np.median(np.linalg.norm(now[:, 0] - expected, axis=1)[ok])))
    return (*out, int(ok.sum()))


def _reference(folder: Path, settings: RgbdConfig, frames: RgbdFrames) -> Pose | None:
    """The given poses, of the colour camera, from the first frame; None where there are none."""
    has_matrices = settings.layout == "7-scenes" and any(folder.glob("frame-*.pose.txt"))
    if not has_matrices and not (folder / "groundtruth.txt").is_file():
        return None
    given = GivenPosesConfig(of="depth" if settings.layout == "7-scenes" else "color")
    listed = list_frames(folder, settings.model_copy(update={"poses": given}), folder)
    return given_poses(given, listed.poses[:frames.num_frames], frames.T_color_depth)[0][0]


def _opened_and_perceived(settings: RgbdConfig) -> tuple[RgbdFrames, Scene]:
    source = Rgbd(settings, ClipConfig(num_frames=48, min_frames=2))
    clip = next(iter(source.plan()))
    if isinstance(clip, tuple):
        raise ValueError(clip[1])
    return source.open(clip), perceive(clip, source.open(clip), PerceptionConfig())


def _perceived(settings: RgbdConfig) -> Scene:
    return _opened_and_perceived(settings)[1]
