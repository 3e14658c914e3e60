"""The stages of `curate replay`: runs the pipeline up to one and writes what it gives, for eyes and for numpy."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from curate.perception.estimator import Estimator, Window
    from curate.recipe import Recipe
    from curate.sources.base import ClipSpec, Frames, Source

FIELD_OF = {"depth": "depth", "flow": "flow", "camera": "camera", "regions": "regions"}
WORST_SHARE = 0.2  # sigma of depth as a share of it, at the red end
PLOT = 480  # pixels a side


def replay(clip: ClipSpec, source: Source, recipe: Recipe, stage: str, folder: Path, every: int,
           timings: dict[str, float]) -> list[str]:
    """Runs one clip up to a stage and writes that stage.

    Args:
        folder: made; what is written is named in the help of the command.
        every: a picture for each n-th frame; arrays hold all.
        timings: filled with seconds of each stage.

    Returns:
        Names of the files written.

    Raises:
        Whatever the clip raises: that is what one wants to see.
    """
    frames = source.open(clip)
    try:
        if stage in FIELD_OF:
            _fields(clip, frames, recipe, stage, folder, every, timings)
        else:
            _scene(clip, frames, recipe, stage, folder, timings)
    finally:
        frames.close()
    return sorted(p.name for p in folder.iterdir())


def _fields(clip: ClipSpec, frames: Frames, recipe: Recipe, stage: str, folder: Path, every: int,
            timings: dict[str, float]) -> None:
    from curate.perception.pipeline import given_fields, prepare, windows

    if "scene" in frames.given:
        raise ValueError(f"{clip.uri}: its source gives the scene, and there is no {stage}; take --stage lift")
    given = set(given_fields(frames))
    frames, _, ready = prepare(clip, frames, recipe.perception, timings)
    folder.mkdir(parents=True, exist_ok=True)
    poses: list[tuple] = []
    for window in windows(clip, frames, recipe.perception, timings, up_to(ready, FIELD_OF[stage], given)):
        fresh = range(window.overlap, window.num_frames)
        if stage == "camera":
            camera = window.fields["camera"]
            poses += [(window.start + i, window.time_s[i], camera.values, i, camera.sigma[i],
                       camera.valid is None or bool(camera.valid[i])) for i in fresh]
        else:
            WRITERS[stage](window, [i for i in fresh if (window.start + i) % every == 0], folder)
    if stage == "camera":
        _camera(poses, folder)


def up_to(ready: list[Estimator], field: str, given: set[str]) -> list[Estimator]:
    """Of estimators in order, those that `field` rests on.

    Raises:
        ValueError: where nobody gives the field.
    """
    wanted, kept = {field}, []
    for estimator in reversed(ready):
        if wanted & set(estimator.gives) - given:
            kept.append(estimator)
            wanted |= set(estimator.needs)
    if not kept and field not in given:
        raise ValueError(f"no estimator of this recipe gives {field}")
    return kept[::-1]


def _picture(folder: Path, name: str, image: np.ndarray) -> None:
    from curate.video.encode import jpeg

    (folder / name).write_bytes(jpeg(image))


def _depth(window: Window, frames: list[int], folder: Path) -> None:
    from curate.marks import depth_colour

    depth = window.fields["depth"]
    for i in frames:
        known = depth.valid[i] & np.isfinite(depth.values[i])
        _picture(folder, f"depth_{window.start + i:05d}.jpg", depth_colour(np.where(known, depth.values[i], np.inf)))
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(known, depth.sigma[i] / depth.values[i] / WORST_SHARE, np.nan)
        _picture(folder, f"depth_{window.start + i:05d}_sigma.jpg", _ramp(share))
    cut = slice(window.overlap, None)
    np.savez_compressed(folder / f"depth_{window.start + window.overlap:05d}.npz", depth_m=depth.values[cut],
                        sigma_m=depth.sigma[cut], valid=depth.valid[cut])


def _flow(window: Window, frames: list[int], folder: Path) -> None:
    import cv2

    flow = window.fields["flow"]
    for i in frames:
        if i == window.num_frames - 1 and not window.is_last:
            continue  # to a frame of the next window, which has it
        u, v = flow.values[i][..., 0], flow.values[i][..., 1]
        valid = np.ones(u.shape, bool) if flow.valid is None else flow.valid[i]
        length = np.hypot(u, v)
        longest = max(float(np.percentile(length[valid], 99)) if valid.any() else 0.0, 1e-6)
        hsv = np.stack([(np.degrees(np.arctan2(v, u)) % 360 / 2), 255 * np.clip(length / longest, 0, 1),
                        np.where(valid, 255, 0)], -1).astype(np.uint8)
        _picture(folder, f"flow_{window.start + i:05d}.jpg", cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    np.savez_compressed(folder / f"flow_{window.start:05d}.npz", flow_px=flow.values, sigma_px=flow.sigma,
                        **({} if flow.valid is None else {"valid": flow.valid}))


def _regions(window: Window, frames: list[int], folder: Path) -> None:
    from curate.marks import draw_marks

    regions, motion = window.fields["regions"].values, window.fields.get("motion")
    for i in frames:
        ids = [int(k) for k in np.unique(regions[i]) if k > 0]
        image = draw_marks(window.images[0][i], [{"id": k, "mask": regions[i] == k} for k in ids])
        _picture(folder, f"regions_{window.start + i:05d}.jpg", image)
        if motion is not None:
            moving = (motion.values[i] > motion.info.get("threshold", np.inf)) & (
                True if motion.valid is None else motion.valid[i])
            red = window.images[0][i].copy()
            red[moving] = (red[moving] * 0.4 + np.array([153, 0, 0])).astype(np.uint8)
            _picture(folder, f"moving_{window.start + i:05d}.jpg", red)
    arrays = {"regions": regions} | ({} if motion is None else {"chi_square": motion.values})
    np.savez_compressed(folder / f"regions_{window.start:05d}.npz", **arrays)


WRITERS: dict[str, Callable[[Window, list[int], Path], None]] = {"depth": _depth, "flow": _flow, "regions": _regions}


def _camera(poses: list[tuple], folder: Path) -> None:
    """camera.csv, and the path from above (x to the right, z up the picture)."""
    import cv2

    from curate.geometry.rotations import log_so3

    places = []
    with (folder / "camera.csv").open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["frame", "time_s", "x_m", "y_m", "z_m", "rx_rad", "ry_rad", "rz_rad", "step_sigma_m",
                       "step_sigma_rad", "valid"])
        for frame, time_s, pose, i, covariance, valid in poses:
            where, turn = pose.translation[i], log_so3(pose.rotation[i])
            sigma = np.sqrt(np.clip(np.diag(covariance), 0, None))
            places.append(where)
            rows.writerow([frame, f"{time_s:.6f}", *(f"{v:.6g}" for v in (*where, *turn, np.linalg.norm(sigma[3:]),
                                                                          np.linalg.norm(sigma[:3]))), int(valid)])
    plane = np.array(places)[:, [0, 2]]
    low, size = plane.min(0), max(float(np.ptp(plane, axis=0).max()), 1e-6)
    pixels = 20 + (plane - low) / size * (PLOT - 40)
    pixels[:, 1] = PLOT - pixels[:, 1]
    image = np.full((PLOT, PLOT, 3), 255, np.uint8)
    points = pixels.round().astype(np.int32)
    cv2.polylines(image, [points.reshape(-1, 1, 2)], False, (0, 90, 200), 2, cv2.LINE_AA)
    cv2.circle(image, tuple(int(v) for v in points[0]), 5, (0, 160, 0), -1)
    cv2.putText(image, f"from above, {size:.3g} m wide; start green", (8, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45,
                (0, 0, 0), 1, cv2.LINE_AA)
    _picture(folder, "camera.jpg", image)


def _scene(clip: ClipSpec, frames: Frames, recipe: Recipe, stage: str, folder: Path,
           timings: dict[str, float]) -> None:
    import time

    from curate.marks import scene_marks
    from curate.perception.pipeline import perceive

    first: list[np.ndarray] = []

    def keep_first(window: Window) -> None:
        if window.start == 0:
            first.append(window.images[0][0].copy())

    scene = perceive(clip, frames, recipe.perception, [keep_first], timings)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scene.npz").write_bytes(scene.to_bytes())
    if first:
        (folder / "marked.jpg").write_bytes(scene_marks(first[0], scene))
    with (folder / "regions.csv").open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["id", "first", "last", "frames_seen", "distance_m", "distance_sigma_m", "motion_p", "largest_m"])
        for r in scene.regions:
            rows.writerow([r.id, r.first, r.last, int(r.seen.sum()), *(f"{float(v):.4g}" for v in (
                r.nearest_m[r.first], r.nearest_sigma_m[r.first], r.motion_p, np.max(r.extent_m)))])
    if stage != "questions":
        return
    from curate.questions import ask

    began = time.perf_counter()
    asked, dropped = ask(scene, recipe.questions)
    timings["questions"] = time.perf_counter() - began
    report: dict[str, Any] = {
        "asked": [q.to_json() for q in asked],
        "not asked": [{"family": d.family, "reason": d.reason, "what": str(d)} for d in dropped]}
    (folder / "questions.json").write_text(json.dumps(report, indent=1, default=str))


def _ramp(share: np.ndarray) -> np.ndarray:
    """[H, W] 0..1 to colour (blue 0, red 1 and more), black where nan."""
    import cv2

    known = np.isfinite(share)
    level = (255 * np.clip(np.where(known, share, 0), 0, 1)).round().astype(np.uint8)
    return np.where(known[..., None], cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[..., ::-1], 0).astype(np.uint8)
