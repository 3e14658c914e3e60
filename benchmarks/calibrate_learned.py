"""Fits sigma of the learned matchers on small rendered scenes and Aloe, and reports it on scenes never fitted.

    python -m benchmarks.calibrate_learned --weights gmflow.safetensors --out rows.json [--write] [--cache FOLDER]

As `benchmarks.calibrate`: a pixel's sigma² = floor² + Σ coefficient² · term by maximum likelihood, then scaled so that
95 % of all valid pixels lie within 2 sigma, of the rendered scenes and of the real pair; a region's mean:
sigma_px² · A / N + s². The network runs once a pair and is kept in `--cache`, so that a fit can be repeated. `--write`
stores the fit in the package's data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from benchmarks.calibrate import (
    CALIBRATION,
    GROSS_PX,
    STILL_PX,
    Errors,
    add_regions,
    finish,
    fit_pixels,
    fit_regions,
    pieces,
    report,
    true_flow,
    video_frames,
)
from curate.perception.depth.gmflow import GmflowStereo
from curate.perception.error_model import sigma_px
from curate.perception.flow.gmflow import GmflowFlow
from curate.perception.learned.config import GmflowFlowConfig, GmflowStereoConfig
from curate.synth import sample_scene

FIT_SEED, HELD_OUT_SEED = 17_000, 18_000
SIZE = (384, 216)
FRAMES = (0, 1, 2, 9)  # lags from 1 to 9 frames, with two pairs of neighbours for flow
SHARED = CALIBRATION.parents[3] / "shared"


def samples(estimator, fields: dict, name: str, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Of one frame: error [H, W(, 2)] px (nan without a truth), valid [H, W], each term [H, W] px²."""
    part = fields[name]
    error = part.values[0] - truth
    known = np.isfinite(error if error.ndim == 2 else error[..., 0])
    return {"error": error, "valid": part.valid[0] & known} | {n: t[0] for n, t in part.info["terms"].items()}


def rendered(seed: int, index: int, stereo: GmflowStereo, flow: GmflowFlow) -> Iterator[tuple[str, int, dict]]:
    """(estimator, frame, samples) of one scene, after compression; `ids` and `disparity` of the truth beside them."""
    scene = sample_scene(seed, index, width=SIZE[0], height=SIZE[1])
    frames = [f for f in FRAMES if f < scene.num_frames]
    with tempfile.TemporaryDirectory() as folder:
        left, right, renderer = video_frames(scene, max(frames) + 1, Path(folder))
    geometry = {f: renderer.geometry(f) for f in frames}
    for f in frames:
        depth, ids = geometry[f]
        disparity = np.where(np.isfinite(depth), scene.rig.disparity(depth), np.nan)
        truth = {"ids": ids, "disparity": disparity}
        window = SimpleNamespace(images=[left[f:f + 1], right[f:f + 1]], rig=scene.rig, num_frames=1)
        yield stereo.name, f, samples(stereo, stereo.run(window), "disparity", disparity) | truth
        if f + 1 in frames:
            exact = true_flow(scene, f, depth, ids, geometry[f + 1][0])
            exact[np.linalg.norm(exact, axis=-1) <= STILL_PX] = np.nan
            window = SimpleNamespace(images=[left[f:f + 2]], num_frames=2)
            yield flow.name, f, samples(flow, flow.run(window), "flow", exact) | truth


def aloe(folder: Path, stereo: GmflowStereo, shrink: int = 3) -> dict[str, np.ndarray]:
    """A real pair at a third of its size. Its truth is whole pixels of the full size; their common rounding is not
    known: the median error is taken out."""
    left, right = (cv2.imread(str(folder / f"aloe{s}.jpg"))[..., ::-1] for s in "LR")
    truth = cv2.imread(str(folder / "aloeGT.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32)
    truth[truth == 0] = np.nan
    height, width = (n // shrink * shrink for n in truth.shape)
    small = [cv2.resize(v[:height, :width], None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
             for v in (left, right)]
    blocks = truth[:height, :width].reshape(height // shrink, shrink, width // shrink, shrink)
    mean, spread = blocks.mean((1, 3)), np.ptp(blocks, axis=(1, 3))
    mean[~(spread <= 2)] = np.nan  # edges of surfaces have no one truth
    rig = SimpleNamespace(doffs_px=0.0)
    window = SimpleNamespace(images=[v[None] for v in small], rig=rig, num_frames=1)
    out = samples(stereo, stereo.run(window), "disparity", mean / shrink)
    out["error"] = out["error"] - np.median(out["error"][out["valid"]])
    return out


def collect(seed: int, num_scenes: int, weights: str, cache: Path | None, aloe_folder: Path | None
            ) -> dict[str, list[tuple[int, int, dict[str, np.ndarray]]]]:
    """Estimator to (scene, frame, samples); scene -1 is Aloe."""
    stereo, flow = (kind(settings(weights=weights)) for kind, settings in (
        (GmflowStereo, GmflowStereoConfig), (GmflowFlow, GmflowFlowConfig)))
    out: dict[str, list] = {stereo.name: [], flow.name: []}
    for index in [*([-1] if aloe_folder else []), *range(num_scenes)]:
        file = None if cache is None else cache / f"{seed}_{index}.npz"
        if file is not None and file.is_file():
            with np.load(file) as npz:
                found: dict[tuple[str, int], dict] = {}
                for key in npz.files:
                    name, frame, what = key.split("/")
                    found.setdefault((name, int(frame)), {})[what] = npz[key]
        else:
            if stereo.matcher.net is None:
                stereo.setup()
                flow.setup()
            found = ({(stereo.name, 0): aloe(aloe_folder, stereo)} if index < 0 else
                     {(name, f): s for name, f, s in rendered(seed, index, stereo, flow)})
            if file is not None:
                cache.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(file, **{f"{n}/{f}/{w}": v for (n, f), s in found.items() for w, v in s.items()})
        for (name, frame), part in found.items():
            out[name].append((index, frame, part))
    return out


def terms_of(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: v for n, v in part.items() if n not in ("error", "valid", "ids", "disparity")}


def errors_of(records: list[tuple[int, int, dict]], model: dict[str, float] | None, max_sigma: float) -> Errors:
    """Pixels of all records; with a model, also what its bound on sigma leaves, and the regions."""
    errors = Errors()
    for index, frame, part in records:
        rng = np.random.default_rng([index + 1, 5])  # the same pixels and tiles in every frame of a scene
        valid, terms = part["valid"], terms_of(part)
        if model is not None:
            sigma = sigma_px(model, terms)
            valid = valid & (sigma <= max_sigma)
            if "ids" in part:
                masks = list(pieces(part["ids"], part["disparity"], rng))
                add_regions(errors, part["error"], sigma, valid, masks, index, frame)
        for axis in np.atleast_2d(part["error"][valid].T):
            errors.add_pixels(axis, {n: t[valid] for n, t in terms.items()}, rng,
                              extra_variance=1 / 12 / 9 if index < 0 else 0.0)
    return errors


def widened(model: dict[str, float], samples: np.ndarray, names: list[str]) -> dict[str, float]:
    """Scaled so that 95 % of these pixels too lie within 2 sigma: one real pair among many rendered frames would not
    be heard in the fit. Samples [n, 2 + K] as `fit_pixels` takes them; those that the fit calls gross are left out."""
    samples = samples[np.abs(samples[:, 0]) < GROSS_PX]
    variance = samples[:, 1] + model["floor_px"] ** 2 + samples[:, 2:] @ np.array([model[n] ** 2 for n in names])
    factor = max(1.0, float(np.quantile(np.abs(samples[:, 0]) / np.sqrt(variance), 0.95)) / 2)
    return {name: round(value * factor, 4) for name, value in model.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default=str(SHARED / "weights" / "gmflow.safetensors"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--aloe", type=Path, default=SHARED / "data" / "stereopair_middlebury_aloe")
    parser.add_argument("--cache", type=Path, help="folder where the network's results are kept")
    parser.add_argument("--write", action="store_true", help="store the fit in curate/data/calibration.json")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    aloe_folder = args.aloe if args.aloe.is_dir() else None
    fitted = collect(FIT_SEED, args.scenes, args.weights, args.cache, aloe_folder)
    unseen = collect(HELD_OUT_SEED, max(4, args.scenes // 2), args.weights, args.cache, None)
    models, rows = {}, []
    for estimator, settings in ((GmflowStereo, GmflowStereoConfig), (GmflowFlow, GmflowFlowConfig)):
        name, bound = estimator.name, settings.model_fields["max_sigma_px"].default
        names = list(terms_of(fitted[name][0][2]))
        model = fit_pixels(np.concatenate(errors_of(fitted[name], None, bound).terms), names)
        real = [r for r in fitted[name] if r[0] < 0]
        if real:
            model = widened(model, np.concatenate(errors_of(real, None, bound).terms), names)
        model |= fit_regions(errors_of(fitted[name], model, bound).regions)
        models[f"{name}@{estimator.version}"] = model
        rows += report(name, errors_of(unseen[name], model, bound), model, names)
        covered = np.mean([np.mean(p["valid"][np.isfinite(p["error"]).reshape(*p["valid"].shape, -1).all(-1)]
                                   ) for _, _, p in unseen[name]])
        rows.append({"name": f"{name}: valid of the pixels with a truth", "value": round(float(covered), 4),
                     "unit": "share", "target": None, "ok": True})
        print(name, json.dumps(model))
    finish(rows, models, args.out, args.write)


if __name__ == "__main__":
    main()
