"""Fits the error models of the dense estimators on rendered scenes, and reports them on scenes never fitted.

    python -m benchmarks.calibrate --out calibration_rows.json [--write] [--scenes 24] [--aloe FOLDER] [--cache FOLDER]

Pixels: sigma² = floor² + Σ coefficient² · term, by maximum likelihood, then scaled so that 95 % of the valid pixels
of scenes never fitted lie within 2 sigma. Regions: the error of the mean over N pixels, sigma² = sigma_px² · A / N + s²
with the pixels' median sigma, scaled to a standard deviation of one. Scenes come in two sizes. Two of three go through
the encoder and decoder as a user's video does, and regions are fitted on these; the third is uncompressed and has what
real pairs have and rendered ones lack (`benchmarks.disturb`). `--write` stores the fit as package data.
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

from benchmarks.disturb import Disturbance, with_posts
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.perception.depth.sgm import Sgm
from curate.perception.error_model import sigma_px
from curate.perception.flow.dis import Dis
from curate.synth import Renderer, SceneTruth, sample_scene
from curate.video.decode import open_video
from curate.video.encode import H264Encoder

CALIBRATION = Path(__file__).resolve().parents[1] / "curate" / "data" / "calibration.json"
FIT_SEED, HELD_OUT_SEED = 7_000, 8_000
FRAMES = (0, 1, 6, 7, 11, 12)  # lags from 1 to 12 frames, with pairs of neighbours for flow
NUM_FRAMES = 15  # rendered: an encoder spends little on the last ones, which stand for few of a video's frames
SIZES = ((640, 360), (384, 216))
DISTURBED = 3  # every third scene
TILES = (12, 24, 48, 96)
PIXELS_PER_FRAME = 1500
STILL_PX = 0.05  # a codec repeats what stands still exactly: such flow is better than any and is left out
GROSS_PX = 3.0  # mismatches: counted by the coverage, not by the fit of the model's shape
MAX_Z = 3.5  # of a region's mean in a standard deviation: no single one decides
# Of the fitted pixels within 2 sigma, so that 95 % of others are: those of other scenes, and real ones, do worse
WITHIN = {"sgm": 0.965, "dis": 0.955}
TAIL = 5  # degrees of freedom of the errors (Student's t): their tail is heavier than the model's


@dataclass
class Errors:
    """Errors of one estimator. A group is one piece of surface (object, tile) of a scene followed over frames."""

    terms: list[np.ndarray] = field(default_factory=list)  # [n, 2 + K]: error px, truth's variance, terms px²
    regions: list[tuple[int, int, float, float, int]] = field(default_factory=list)  # group, frame, error, sigma_px², N
    places: list[tuple[int, float]] = field(default_factory=list)  # of each region: width of the image, disparity px

    def add_pixels(self, error: np.ndarray, terms: dict[str, np.ndarray], rng, extra_variance: float = 0.0,
                   count: int = PIXELS_PER_FRAME) -> None:
        """Args: error [n] px and terms of [n] px², of the valid pixels with a truth; at most `count` are taken."""
        pick = rng.choice(len(error), min(count, len(error)), replace=False)
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


def image_frames(scene: SceneTruth, frames: list[int], disturbance: Disturbance
                 ) -> tuple[np.ndarray, np.ndarray, Renderer]:
    """Disturbed left and right frames [n, H, W, 3] of a scene as uncompressed images, and its renderer."""
    renderer = Renderer(scene)
    rendered = [renderer.render(i) for i in frames]
    return (np.stack([disturbance.apply(f.left, 0) for f in rendered]),
            np.stack([disturbance.apply(f.right, 1) for f in rendered]), renderer)


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
                frame: int, disparity: np.ndarray | None = None) -> None:
    """Errors of region means, [H, W] or both axes [H, W, 2] of flow; what is off the surface is left out, as `lift`
    does. `disparity` [H, W] of the truth says where a region is."""
    for group, mask in masks:
        use = mask & valid & np.isfinite(error if error.ndim == 2 else error[..., 0])
        if use.sum() < 60 or use.sum() < 0.3 * mask.sum():
            continue
        for axis, e in enumerate(np.atleast_2d(error[use].T)):
            off = np.abs(e - np.median(e))
            on = off <= max(0.5, 4 * 1.4826 * float(np.median(off)))
            errors.regions.append((scene_number * 10_000 + group + axis * 2_000, frame, float(e[on].mean()),
                                   float(np.median(sigma[use][on])) ** 2, int(on.sum())))
            if disparity is not None:
                errors.places.append((error.shape[1], float(np.median(disparity[use]))))


def draw(seed: int, index: int) -> tuple[SceneTruth, Disturbance | None]:
    """Scene of a calibration: the sizes take turns, and every third is disturbed. Its rig is as calibrated: what a
    turned camera adds to every disparity is the rig's error, not the matcher's."""
    width, height = SIZES[index % 2]
    scene = replace(sample_scene(seed, index, width=width, height=height), rig_rotation_deg=(0.0, 0.0, 0.0))
    if index % DISTURBED != DISTURBED - 1:
        return scene, None
    rng = np.random.default_rng([seed, index, 77])
    return with_posts(scene, rng), Disturbance.draw(rng)


def clip(seed: int, index: int, cache: Path) -> dict[str, np.ndarray]:
    """Grey frames, truths and rig of one scene at FRAMES, from the cache or rendered into it: `frames` [n], `left`
    and `right` [n, H, W], `disparity` [n, H, W] px, `ids` [n, H, W], `flow` [n, H, W, 2] px (nan where there is none),
    `rig`, `disturbed`."""
    path = cache / f"{seed}-{index:04d}.npz"
    if not path.is_file():
        scene, disturbance = draw(seed, index)
        frames = [f for f in FRAMES if f < scene.num_frames]
        if disturbance:
            left, right, renderer = image_frames(scene, frames, disturbance)
        else:
            left, right, renderer = video_frames(scene, min(NUM_FRAMES, scene.num_frames), cache)
            left, right = left[frames], right[frames]
        views = [np.stack([cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in v]) for v in (left, right)]
        geometry = [renderer.geometry(f) for f in frames]
        depth, ids = (np.stack(part) for part in zip(*geometry, strict=True))
        flow = np.full((*depth.shape, 2), np.nan, np.float32)
        for i, frame in enumerate(frames):
            if frame + 1 in frames:
                flow[i] = true_flow(scene, frame, depth[i], ids[i], depth[i + 1])
        camera, disparity = scene.rig.left, np.where(np.isfinite(depth), scene.rig.disparity(depth), np.nan)
        np.savez(path, frames=frames, left=views[0], right=views[1], ids=ids, flow=flow,
                 disturbed=disturbance is not None, disparity=disparity.astype(np.float32),
                 rig=[camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, scene.rig.baseline_m])
    with np.load(path) as npz:
        out = {name: npz[name] for name in npz.files}
    *numbers, width, height, baseline = out["rig"]
    return out | {"rig": StereoRig(Intrinsics(*numbers, int(width), int(height)), baseline)}


def samples(estimator: Sgm | Dis, data: dict[str, np.ndarray]) -> Iterator[tuple[int, np.ndarray, np.ndarray, dict]]:
    """(number of the frame in the clip, error [H, W(, 2)] px, valid [H, W], terms), without a bound on sigma."""
    for i in range(len(data["frames"])):
        if isinstance(estimator, Sgm):
            truth = data["disparity"][i]
            value, terms, valid = estimator.match_terms(data["left"][i], data["right"][i], *estimator.search_range(
                data["rig"], truth.shape[1]))
            known = np.isfinite(truth)
        else:
            truth = data["flow"][i]
            known = np.linalg.norm(np.nan_to_num(truth), axis=-1) > STILL_PX
            if not known.any():
                continue
            value, terms, valid = estimator.match_terms(data["left"][i], data["left"][i + 1])
        yield i, value - truth, valid & known, terms


def collect_pixels(estimator: Sgm | Dis, seed: int, indices, cache: Path) -> Errors:
    errors = Errors()
    for index in indices:
        data, rng = clip(seed, index, cache), np.random.default_rng([seed, index])
        for _, error, valid, terms in samples(estimator, data):
            for axis in np.atleast_2d(error[valid].T):
                errors.add_pixels(axis, {n: t[valid] for n, t in terms.items()}, rng)
    return errors


def collect_regions(estimator: Sgm | Dis, model: dict[str, float], seed: int, indices, cache: Path) -> Errors:
    """Pixels and regions within the bound on sigma of this model."""
    errors = Errors()
    for index in indices:
        data = clip(seed, index, cache)
        for i, error, valid, terms in samples(estimator, data):
            rng = np.random.default_rng([seed, index])  # the same tiles in every frame
            sigma, truth = sigma_px(model, terms), data["disparity"][i]
            valid &= sigma <= estimator.config.max_sigma_px
            add_regions(errors, error, sigma, valid, pieces(data["ids"][i], truth, rng), index,
                        int(data["frames"][i]), truth)
            for axis in np.atleast_2d(error[valid].T):
                errors.add_pixels(axis, {n: t[valid] for n, t in terms.items()}, rng)
    return errors


def collect_aloe(folder: Path, errors: Errors, count: int) -> None:
    """Adds a real pair at half its size. Its truth is whole pixels of the whole size: their variance is known, and
    their rounding is not (the median difference is taken out)."""
    left, right = (cv2.imread(str(folder / f"aloe{s}.jpg"), cv2.IMREAD_GRAYSCALE) for s in "LR")
    truth = cv2.imread(str(folder / "aloeGT.png"), cv2.IMREAD_GRAYSCALE)[::2, ::2].astype(np.float32) / 2
    left, right = (cv2.resize(v, truth.shape[::-1], interpolation=cv2.INTER_AREA) for v in (left, right))
    value, terms, valid = Sgm().match_terms(left, right, -1, 16 * int(np.ceil(truth.max() / 16 + 1)))
    valid &= truth > 0
    error = (value - truth)[valid]
    errors.add_pixels(error - np.median(error), {n: t[valid] for n, t in terms.items()}, np.random.default_rng(0),
                      extra_variance=1 / 12 / 4, count=count)


def fit_pixels(samples: np.ndarray, names: list[str], gross_px: float = GROSS_PX, max_sigma_px: float = np.inf,
               within: float = 0.95) -> dict[str, float]:
    """Coefficients of sigma² by maximum likelihood, then scaled until the share `within` lies within 2 sigma.

    Args:
        samples: [n, 2 + K] error px, known variance of the truth, terms px².
        gross_px: larger errors are left to the scaling.
        max_sigma_px: pixels with more sigma are not valid and do not count in the scaling.
    """
    fine = samples[np.abs(samples[:, 0]) < gross_px]
    error, known, terms = fine[:, 0], fine[:, 1], fine[:, 2:]
    unit = terms.mean(0) + 1e-9

    def cost(log_squares):
        variance = known + np.exp(log_squares[0]) + terms @ (np.exp(log_squares[1:]) / unit)
        return np.mean(0.5 * np.log(variance) + (TAIL + 1) / 2 * np.log1p(error**2 / (TAIL * variance)))

    start = np.full(1 + terms.shape[1], -4.0)
    best = minimize(cost, start, method="L-BFGS-B", bounds=[(-12, 6)] * len(start)).x
    squares = np.exp(best) / np.concatenate([[1], unit])
    for _ in range(5):  # the scale changes who is valid
        variance = squares[0] + samples[:, 2:] @ squares[1:]
        z = np.abs(samples[:, 0]) / np.sqrt(samples[:, 1] + variance)
        squares *= (float(np.quantile(z[variance <= max_sigma_px**2], within)) / 2) ** 2
    return {name: round(float(np.sqrt(s)), 4) for name, s in zip(["floor_px", *names], squares, strict=True)}


def fit_regions(regions: list[tuple]) -> dict[str, float]:
    """Correlation area, floor, and the share of the floor's variance that persists over frames."""
    group, _, error, variance, count = (np.array(c) for c in zip(*regions, strict=True))
    x = variance / count

    def cost(log_parameters):
        total = np.exp(log_parameters[0]) * x + np.exp(log_parameters[1])
        return np.mean(0.5 * np.log(total) + (TAIL + 1) / 2 * np.log1p(error**2 / (TAIL * total)))

    best = np.exp(minimize(cost, np.log([100.0, 0.02**2]), method="L-BFGS-B",
                           bounds=[(0, 9), (np.log(0.005**2), np.log(1.0))]).x)
    for _ in range(5):
        best *= spread(error / np.sqrt(best[0] * x + best[1])) ** 2
    z = np.clip(error / np.sqrt(best[0] * x + best[1]), -3, 3)
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


def spread(z: np.ndarray) -> float:
    """Standard deviation about zero of [n] errors over their sigma, each clipped."""
    return float(np.sqrt(np.mean(np.clip(z, -MAX_Z, MAX_Z) ** 2)))


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
            ("region error, median absolute", np.median(np.abs(error)), "px", None),
            ("region z, standard deviation", spread(region), "", [0.9, 1.1])]
    if errors.places:
        width, disparity = np.array(errors.places).T
        rows += [(f"region z at {w:.0f} px width", spread(region[width == w]), "", [0.9, 1.1])
                 for w in np.unique(width)]
        third = np.searchsorted(np.quantile(disparity, [1 / 3, 2 / 3]), disparity)
        rows += [(f"region z, {what} third", spread(region[third == k]), "", [0.9, 1.1])
                 for k, what in ((2, "nearest"), (1, "middle"), (0, "farthest"))]
    return [{"name": f"{name}: {what}", "value": round(float(v), 4), "unit": unit, "target": target,
             "ok": target is None or bool(target[0] <= v <= target[1])} for what, v, unit, target in rows]


def finish(rows: list[dict], models: dict[str, dict[str, float]], out: Path, write: bool) -> None:
    """Prints the rows, writes them to `out`, and where asked the models to the package's calibration."""
    for row in rows:
        print(f"{row['name']:50s} {row['value']:9.4f} {row['unit']:6s} {'' if row['ok'] else 'outside'}")
    out.write_text(json.dumps({"rows": rows}, indent=1))
    if write:  # read now: others may have written theirs meanwhile
        table = json.loads(CALIBRATION.read_text()) | models
        CALIBRATION.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--aloe", type=Path, default=CALIBRATION.parents[3] / "shared/data/stereopair_middlebury_aloe")
    parser.add_argument("--cache", type=Path, help="folder where rendered clips are kept")
    parser.add_argument("--write", action="store_true", help="store the fit in curate/data/calibration.json")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    models, rows = {}, []
    every, unseen = range(args.scenes), range(max(6, args.scenes // 2))
    with tempfile.TemporaryDirectory() as temporary:
        cache = args.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        for estimator, names in ((Sgm(), ["noise", "scales", "unconfirmed", "step", "change", "holes"]),
                                 (Dis(), ["noise", "forward_backward", "step"])):
            estimator.setup()
            errors = collect_pixels(estimator, FIT_SEED, every, cache)
            if args.aloe.is_dir() and isinstance(estimator, Sgm):
                collect_aloe(args.aloe, errors, sum(map(len, errors.terms)) // DISTURBED)
            model = fit_pixels(np.concatenate(errors.terms), names, np.inf, estimator.config.max_sigma_px,
                               WITHIN[estimator.name])
            plain, disturbed = (lambda n: n % DISTURBED < DISTURBED - 1), (lambda n: n % DISTURBED == DISTURBED - 1)
            model |= fit_regions(collect_regions(estimator, model, FIT_SEED, filter(plain, every), cache).regions)
            models[f"{estimator.name}@{estimator.version}"] = model
            for what, which in ((estimator.name, plain), (f"{estimator.name}, disturbed", disturbed)):
                held_out = collect_regions(estimator, model, HELD_OUT_SEED, filter(which, unseen), cache)
                rows += report(what, held_out, model, names)
            print(estimator.name, json.dumps(model), flush=True)
    finish(rows, models, args.out, args.write)


if __name__ == "__main__":
    main()
