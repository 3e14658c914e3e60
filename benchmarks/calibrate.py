"""Fits the error models of the dense estimators on rendered scenes, and reports them on scenes never fitted.

    python -m benchmarks.calibrate --out calibration_rows.json [--write] [--scenes 24] [--aloe FOLDER]

Pixels: sigma² = floor² + Σ coefficient² · term, by maximum likelihood, then scaled so that 95 % of all valid
pixels lie within 2 sigma. Regions: the error of the mean over N pixels, sigma² = sigma_px² · A / N + s².
Frames go through the encoder and decoder as a user's video does. `--write` stores the fit as package data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import minimize

from curate.perception.depth.sgm import Sgm
from curate.perception.flow.dis import Dis
from curate.synth import Renderer, SceneTruth, sample_scene
from curate.video.decode import open_video
from curate.video.encode import H264Encoder

CALIBRATION = Path(__file__).resolve().parents[1] / "curate" / "data" / "calibration.json"
FIT_SEED, HELD_OUT_SEED = 7_000, 8_000
FRAMES = (0, 1, 2, 9, 10, 17, 18)  # lags from 1 to 18 frames, with pairs of neighbours for flow
TILES = (12, 24, 48, 96)
PIXELS_PER_FRAME = 1500
STILL_PX = 0.05  # a codec repeats what stands still exactly: such flow is better than any and is left out
GROSS_PX = 3.0  # mismatches: counted by the coverage, not by the fit of the model's shape


@dataclass
class Errors:
    """Errors of one estimator. A group is one piece of surface (object, tile) of a scene followed over frames."""

    terms: list[np.ndarray] = field(default_factory=list)  # [n, 1 + K]: error px, squared terms px²
    regions: list[tuple[int, int, float, float, int]] = field(default_factory=list)  # group, frame, error, px², N

    def add_pixels(self, error: np.ndarray, terms: dict[str, np.ndarray], rng, extra_variance: float = 0.0) -> None:
        """Args: error [n] px and terms of [n] px², of the valid pixels with a truth."""
        pick = rng.choice(len(error), min(PIXELS_PER_FRAME, len(error)), replace=False)
        self.terms.append(np.stack([error[pick], np.full(len(pick), extra_variance),
                                    *(t[pick] for t in terms.values())], -1))


def video_frames(scene: SceneTruth, count: int, folder: Path) -> tuple[np.ndarray, np.ndarray, Renderer]:
    """Left and right frames [n, H, W, 3] of a scene after compression, and its renderer."""
    renderer = Renderer(scene)
    camera = scene.rig.left
    encoder = H264Encoder(2 * camera.width, camera.height, fps=scene.fps, crf=scene.crf)
    for i in range(count):
        frame = renderer.render(i)
        encoder.add(np.concatenate([frame.left, frame.right], 1)[None])
    path = folder / f"{scene.name}.mp4"
    path.write_bytes(encoder.finish())
    video = open_video(path)
    both = video.read(0, count)
    video.close()
    path.unlink()
    return both[:, :, :camera.width], both[:, :, camera.width:2 * camera.width], renderer


def true_flow(scene: SceneTruth, frame: int, depth: np.ndarray, ids: np.ndarray, next_depth: np.ndarray) -> np.ndarray:
    """Flow [H, W, 2] px from a frame to the next; nan where the surface is hidden there, or is the sky.

    Args:
        depth, next_depth: [H, W] metres; ids: [H, W].
    """
    camera = scene.rig.left
    known = np.isfinite(depth)
    point = camera.rays() * np.where(known, depth, 1)[..., None]
    world = (scene.camera(frame) @ point.reshape(-1, 3)).reshape(point.shape)
    for body in scene.objects:
        if body.moves:
            on = ids == body.id
            sub = (len(scene.T_world_cam) - 1) // (scene.num_frames - 1)
            world[on] = body.pose((frame + 1) * sub) @ (body.pose(frame * sub).inverse() @ world[on])
    there = (scene.camera(frame + 1).inverse() @ world.reshape(-1, 3)).reshape(point.shape)
    uv = camera.project(there)
    at = np.nan_to_num(uv, nan=-9).astype(np.float32)
    seen_depth = cv2.remap(np.where(np.isfinite(next_depth), next_depth, 1e6).astype(np.float32), at, None,
                           cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    known &= np.abs(seen_depth - there[..., 2]) < 0.03 * there[..., 2]
    grid = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1)
    return np.where(known[..., None], uv - grid, np.nan)


def pieces(ids: np.ndarray, disparity: np.ndarray, rng) -> Iterator[tuple[int, np.ndarray]]:
    """(group, mask): objects less their rims, and tiles of the still world that hold one smooth surface."""
    kernel = np.ones((5, 5), np.uint8)
    for i in np.unique(ids[ids > 0]):
        yield int(i), cv2.erode((ids == i).astype(np.uint8), kernel) > 0
    height, width = ids.shape
    for number in range(12):
        side = TILES[number % len(TILES)]
        y, x = rng.integers(0, height - side), rng.integers(0, width - side)
        cut = (slice(y, y + side), slice(x, x + side))
        if (ids[cut] == 0).all() and np.isfinite(disparity[cut]).all() and np.ptp(disparity[cut]) < 0.1 * side:
            mask = np.zeros(ids.shape, bool)
            mask[cut] = True
            yield 1000 + number, mask


def add_regions(errors: Errors, error: np.ndarray, sigma: np.ndarray, valid: np.ndarray, masks, scene_number: int,
                frame: int) -> None:
    """Errors of region means, [H, W] or both axes [H, W, 2] of flow."""
    for group, mask in masks:
        use = mask & valid & np.isfinite(error if error.ndim == 2 else error[..., 0])
        if use.sum() < 60 or use.sum() < 0.3 * mask.sum():
            continue
        for axis, e in enumerate(np.atleast_1d(error[use].mean(0))):
            errors.regions.append((scene_number * 10_000 + group + axis * 2_000, frame, float(e),
                                   float(np.mean(sigma[use] ** 2)), int(use.sum())))


def collect(seed: int, num_scenes: int) -> tuple[Errors, Errors]:
    """Errors of disparity and flow on rendered scenes."""
    sgm, dis = Sgm(), Dis()
    sgm.setup()
    disparity_errors, flow_errors = Errors(), Errors()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(num_scenes):
            scene = replace(sample_scene(seed, index), rig_rotation_deg=(0.0, 0.0, 0.0))  # the matcher's own errors
            frames = [f for f in FRAMES if f < scene.num_frames]
            left, right, renderer = video_frames(scene, max(frames) + 1, Path(folder))
            grey = [np.stack([cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in v[frames]]) for v in (left, right)]
            lowest, count = sgm.search_range(scene.rig, scene.rig.left.width)
            geometry = [renderer.geometry(f) for f in frames]
            for i, frame in enumerate(frames):
                rng = np.random.default_rng([seed, index])  # the same tiles in every frame
                depth, ids = geometry[i]
                truth = np.where(np.isfinite(depth), scene.rig.disparity(depth), np.nan)
                masks = list(pieces(ids, truth, rng))
                value, terms, valid = sgm.match_terms(grey[0][i], grey[1][i], lowest, count)
                sigma = sgm.sigma_px(terms)
                valid &= (sigma <= sgm.config.max_sigma_px) & np.isfinite(truth)
                error = value - truth
                disparity_errors.add_pixels(error[valid], {n: t[valid] for n, t in terms.items()}, rng)
                add_regions(disparity_errors, error, sigma, valid, masks, index, frame)
                if frame + 1 not in frames:
                    continue
                flow_truth = true_flow(scene, frame, depth, ids, geometry[i + 1][0])
                value, terms, valid = dis.match_terms(grey[0][i], grey[0][i + 1])
                sigma = dis.sigma_px(terms)
                valid &= (sigma <= dis.config.max_sigma_px) & np.isfinite(flow_truth[..., 0])
                valid &= np.linalg.norm(flow_truth, axis=-1) > STILL_PX
                error = value - flow_truth
                for axis in range(2):
                    flow_errors.add_pixels(error[valid][:, axis], {n: t[valid] for n, t in terms.items()}, rng)
                add_regions(flow_errors, error, sigma, valid, masks, index, frame)
    return disparity_errors, flow_errors


def collect_aloe(folder: Path, errors: Errors) -> None:
    """Adds a real pair. Its truth is whole pixels: their variance is known, and their rounding is not (the median
    difference is taken out)."""
    left, right = (cv2.imread(str(folder / f"aloe{s}.jpg"), cv2.IMREAD_GRAYSCALE) for s in "LR")
    truth = cv2.imread(str(folder / "aloeGT.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32)
    sgm = Sgm()
    value, terms, valid = sgm.match_terms(left, right, -1, 16 * int(np.ceil(truth.max() / 16 + 1)))
    valid &= (truth > 0) & (sgm.sigma_px(terms) <= sgm.config.max_sigma_px)
    error = (value - truth)[valid]
    errors.add_pixels(error - np.median(error), {n: t[valid] for n, t in terms.items()}, np.random.default_rng(0),
                      extra_variance=1 / 12)


def fit_pixels(samples: np.ndarray, names: list[str]) -> dict[str, float]:
    """Coefficients of sigma² by maximum likelihood without gross errors, then scaled to 95 % within 2 sigma.

    Args:
        samples: [n, 2 + K] error px, known variance of the truth, terms px².
    """
    fine = samples[np.abs(samples[:, 0]) < GROSS_PX]
    error, known, terms = fine[:, 0], fine[:, 1], fine[:, 2:]

    def cost(log_squares):
        variance = known + np.exp(log_squares[0]) + terms @ np.exp(log_squares[1:])
        # Student's t with five degrees of freedom: the tail of the errors is heavier than the model's
        return np.mean(0.5 * np.log(variance) + 3 * np.log1p(error**2 / (5 * variance)))

    start = np.log(np.full(1 + terms.shape[1], 0.02))
    best = minimize(cost, start, method="L-BFGS-B", bounds=[(-9, 3)] * len(start)).x
    squares = np.exp(best)
    z = np.abs(samples[:, 0]) / np.sqrt(samples[:, 1] + squares[0] + samples[:, 2:] @ squares[1:])
    squares *= max(1.0, float(np.quantile(z, 0.95)) / 2) ** 2
    return {name: round(float(np.sqrt(s)), 4) for name, s in zip(["floor_px", *names], squares, strict=True)}


def fit_regions(regions: list[tuple]) -> dict[str, float]:
    """Correlation area, floor, and the share of the floor's variance that persists over frames."""
    group, _, error, variance, count = (np.array(c) for c in zip(*regions, strict=True))
    x = variance / count

    def cost(log_parameters):
        total = np.exp(log_parameters[0]) * x + np.exp(log_parameters[1])
        return np.mean(0.5 * np.log(total) + 3 * np.log1p(error**2 / (5 * total)))

    best = np.exp(minimize(cost, np.log([100.0, 0.02**2]), method="L-BFGS-B",
                           bounds=[(0, 9), (np.log(0.005**2), np.log(1.0))]).x)
    total = best[0] * x + best[1]
    best *= max(1.0, float(np.quantile(np.abs(error) / np.sqrt(total), 0.95)) / 2) ** 2
    z = np.clip(error / np.sqrt(best[0] * x + best[1]), -3, 3)  # no single region decides
    products, squares = [], []
    for g in np.unique(group):
        own = z[group == g]
        if len(own) > 1:
            pairs = np.outer(own, own)[np.triu_indices(len(own), 1)]
            products.append(pairs.mean())
            squares.append(np.mean(own**2))
    together = float(np.clip(np.mean(products) / max(np.mean(squares), 1e-9), 0, 1))
    # only the floor persists in the model: give it what persists of the whole, at a typical region
    floor_share = float(np.median(best[1] / (best[0] * x + best[1])))
    return {"region_correlation_px": round(float(best[0]), 1), "region_floor_px": round(float(np.sqrt(best[1])), 4),
            "region_floor_temporal_share": round(min(1.0, together / max(floor_share, 1e-9)), 3)}


def report(name: str, errors: Errors, model: dict[str, float], names: list[str]) -> list[dict]:
    """Rows on errors that were not fitted."""
    samples = np.concatenate(errors.terms)
    variance = samples[:, 1] + model["floor_px"] ** 2 + samples[:, 2:] @ np.array([model[n] ** 2 for n in names])
    z = samples[:, 0] / np.sqrt(variance)
    _, _, error, own, count = (np.array(c) for c in zip(*errors.regions, strict=True))
    region = error / np.sqrt(own / count * model["region_correlation_px"] + model["region_floor_px"] ** 2)
    rows = [("pixels within 2 sigma", np.mean(np.abs(z) < 2), "share", [0.93, 0.98]),
            ("pixel error, median", np.median(samples[:, 0]), "px", [-0.03, 0.03]),
            ("pixel error, median absolute", np.median(np.abs(samples[:, 0])), "px", None),
            ("pixel z, robust deviation", 1.4826 * np.median(np.abs(z)), "", [0.5, 1.4]),
            ("region means within 2 sigma", np.mean(np.abs(region) < 2), "share", [0.92, 0.98]),
            ("region error, median absolute", np.median(np.abs(error)), "px", None)]
    return [{"name": f"{name}: {what}", "value": round(float(v), 4), "unit": unit, "target": target,
             "ok": target is None or bool(target[0] <= v <= target[1])} for what, v, unit, target in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--aloe", type=Path, default=CALIBRATION.parents[3] / "shared/data/stereopair_middlebury_aloe")
    parser.add_argument("--write", action="store_true", help="store the fit in curate/data/calibration.json")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    table, rows = json.loads(CALIBRATION.read_text()), []
    fitted = collect(FIT_SEED, args.scenes)
    if args.aloe.is_dir():
        collect_aloe(args.aloe, fitted[0])
    held_out = collect(HELD_OUT_SEED, max(4, args.scenes // 2))
    for estimator, errors, unseen, names in (
            (Sgm, fitted[0], held_out[0], ["noise", "scales", "unconfirmed", "step", "change", "holes", "unlike"]),
            (Dis, fitted[1], held_out[1], ["noise", "forward_backward", "step"])):
        model = fit_pixels(np.concatenate(errors.terms), names)
        old = table.get(f"{estimator.name}@{estimator.version}", model)
        for part in (errors, unseen):  # region variances were collected with the model in use
            ratio = _variance_ratio(part, old, model, names)
            part.regions = [(g, f, e, v * ratio, n) for g, f, e, v, n in part.regions]
        model |= fit_regions(errors.regions)
        table[f"{estimator.name}@{estimator.version}"] = model
        rows += report(estimator.name, unseen, model, names)
        print(estimator.name, json.dumps(model))
    for row in rows:
        print(f"{row['name']:45s} {row['value']:9.4f} {row['unit']:6s} {'' if row['ok'] else 'outside'}")
    args.out.write_text(json.dumps({"rows": rows}, indent=1))
    if args.write:
        CALIBRATION.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


def _variance_ratio(errors: Errors, old: dict[str, float], new: dict[str, float], names: list[str]) -> float:
    samples = np.concatenate(errors.terms)

    def mean_variance(model):
        return np.mean(model["floor_px"] ** 2 + samples[:, 2:] @ np.array([model[n] ** 2 for n in names]))

    return float(mean_variance(new) / mean_variance(old))


if __name__ == "__main__":
    main()
