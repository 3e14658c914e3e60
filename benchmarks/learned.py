"""The learned estimators: what running them through the estimator contract costs against the bare network, and how far
they are from the truth of real pairs.

    python -m benchmarks.learned --data ../shared/data --out learned.json [--weights ../shared/weights]

Speed is frames a second of flow and stereo, frames and fields in and out, over that of the network alone on prepared
tensors: on a GPU at 1242 x 375 where there is one, on a CPU at a small size and without a target. Pairs are found by
what they hold (`benchmarks.discover`); errors are of every pixel with a truth, before any check (100 % density), and of
those that the check leaves.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.table import Row, at_least, report, row, skipped

NAME = "gmflow"
MIN_RATIO = 0.95
GPU_SIZE, GPU_FRAMES, CPU_SIZE, CPU_FRAMES = (375, 1242), 9, (96, 160), 4


def rows(data: Path, weights: Path | None = None) -> list[Row]:
    """Every figure; `skipped` where a package, the weights, the data or a GPU is missing.

    Args:
        data: folder of real sequences. weights: folder with gmflow.safetensors and yolox_nano.onnx; default:
            `weights` beside `data`.
    """
    weights = weights or Path(data).resolve().parent / "weights"
    out = []
    for name, file, packages, made in (
            (NAME, "gmflow.safetensors", ("torch", "safetensors"),
             lambda path: [*speed_rows(path), *accuracy_rows(Path(data), path)]),
            ("yolox", "yolox_nano.onnx", ("onnxruntime",), detector_rows)):
        lacking = " and ".join(package for package in packages if find_spec(package) is None)
        if lacking:
            out.append(skipped(name, f"{lacking} not installed (pip install 'curate4d[learned]')"))
        elif not (weights / file).is_file():
            out.append(skipped(name, f"no {file} in {weights}"))
        else:
            out += made(weights / file)
    return out


def detector_rows(weights: Path) -> list[Row]:
    """What one look of the detector costs."""
    from curate.perception.learned.yolox import YoloxSession

    session = YoloxSession(weights, on_gpu=False)
    image = np.random.default_rng(0).integers(0, 255, (*GPU_SIZE, 3), np.uint8)
    seconds = _seconds(lambda: session.detect(image, 0.3, 0.45), "cpu")
    return [row(f"yolox: one look at {GPU_SIZE[1]}x{GPU_SIZE[0]}, whole and in parts", 1000 * seconds, "ms of a core")]


def speed_rows(weights: Path) -> list[Row]:
    """Frames per second of the perceive group over the bare network's, on a GPU and on one core."""
    import torch

    if torch.cuda.is_available():
        out = [_speed(weights, "cuda", precision, GPU_SIZE, GPU_FRAMES) for precision in ("float16", "float32")]
    else:
        out = [skipped(f"{NAME}: perceive group against the bare network on a GPU", "no GPU here")]
    return [*out, _speed(weights, "cpu", "float32", CPU_SIZE, CPU_FRAMES)]


def _speed(weights: Path, device: str, precision: str, size: tuple[int, int], num_frames: int) -> Row:
    import torch

    from curate.geometry.cameras import Intrinsics, StereoRig
    from curate.perception import make_estimators
    from curate.perception.config import PerceptionConfig
    from curate.perception.estimator import Window
    from curate.perception.learned.gmflow import padding

    height, width = size
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (height, width + 4 * num_frames, 3), np.uint8)
    left = np.stack([base[:, 4 * i:4 * i + width] for i in range(num_frames)])
    right = np.roll(left, -8, 2)
    rig = StereoRig(Intrinsics(720.0, 720.0, width / 2, height / 2, width, height), 0.5)
    window = Window(0, 0, True, [left, right], [left[..., 1], right[..., 1]], np.arange(num_frames) / 10, rig, rig.left,
                    0, {}, {})
    settings = {"kind": NAME, "weights": str(weights), "device": device, "precision": precision, "batch": num_frames}
    config = PerceptionConfig.model_validate({"flow": settings, "depth": settings})
    estimators = [e for e in make_estimators(config) if e.name.startswith(NAME)]
    for estimator in estimators:
        estimator.setup()
    net = estimators[0].estimator.matcher.net
    pad = padding(height, width)

    def prepared(images: np.ndarray) -> torch.Tensor:
        batch = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
        return torch.nn.functional.pad(batch, pad, mode="replicate")

    a, b = prepared(left), prepared(right)

    def bare() -> None:
        with torch.inference_mode():
            net(a[:-1], a[1:])
            net(a, b)

    def group() -> None:
        for estimator in estimators:
            estimator.run(window)

    alone, whole = _seconds(bare, device), _seconds(group, device)
    text = (f"{NAME}: perceive group over the bare network, {width}x{height}, {device} {precision} "
            f"({num_frames / whole:.2f} against {num_frames / alone:.2f} frames/s of flow and stereo)")
    return at_least(text, alone / whole, "", MIN_RATIO) if device == "cuda" else row(text, alone / whole, "")


def _seconds(work: Callable[[], None], device: str, repeats: int = 3) -> float:
    """The best of a few, after one to warm up: processor time on a CPU, which others' work does not lengthen."""
    on_gpu = device == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time

    def done() -> None:
        if on_gpu:
            import torch

            torch.cuda.synchronize()

    work()
    best = np.inf
    for _ in range(repeats if on_gpu else 1):
        done()
        begin = clock()
        work()
        done()
        best = min(best, clock() - begin)
    return best


def accuracy_rows(data: Path, weights: Path) -> list[Row]:
    """Stereo pairs with a truth finer than whole pixels: dense, and from LiDAR."""
    from benchmarks.discover import pairs

    found = [p for p in pairs(data) if not isinstance(p, tuple) and not p.whole_pixels] if data.is_dir() else []
    out = []
    for sparse, kind in ((False, "pair with dense disparity"), (True, "pair with a LiDAR scan")):
        mine = [p for p in found if p.sparse == sparse]
        if not mine:
            out.append(skipped(f"{NAME}: {kind}", f"none below {data}"))
        for pair in mine:
            out += _pair_rows(pair, weights)
    return out


def _pair_rows(pair, weights: Path) -> list[Row]:
    from curate.geometry.cameras import Intrinsics, StereoRig
    from curate.perception.calibrator import Calibrated
    from curate.perception.depth.gmflow import GmflowStereo
    from curate.perception.estimator import Window
    from curate.perception.learned.config import GmflowStereoConfig

    estimator = Calibrated(GmflowStereo(GmflowStereoConfig(weights=str(weights))))
    estimator.setup()
    left, right = colours(pair)
    height, width = pair.left.shape
    rig = pair.rig or StereoRig(Intrinsics(width, width, width / 2, height / 2, width, height), 1.0)
    window = Window(0, 0, True, [left[None], right[None]], [pair.left[None], pair.right[None]], np.zeros(1), rig,
                    rig.left, 0, {}, {})
    fields = estimator.estimator.run(window)
    known = np.isfinite(pair.disparity)
    # of every pixel: a rectified pair has no vertical motion
    vertical = np.sqrt(fields["disparity"].info["terms"]["vertical"][0])
    error = np.abs(fields["disparity"].values[0] - pair.disparity)
    end_point = np.hypot(error, vertical)[known]
    part = estimator.finish(window, fields)["disparity"]
    valid = part.valid[0] & known
    left_error = (part.values[0] - pair.disparity)[valid]
    outside = np.mean((error[known] > 3) & (error[known] > 0.05 * pair.disparity[known]))
    name = f"{NAME}: {pair.name}"
    return [row(f"{name}: end-point error, mean", float(end_point.mean()), "px"),
            row(f"{name}: end-point error, median", float(np.median(end_point)), "px"),
            row(f"{name}: more than 3 px and 5 % wrong", 100 * float(outside), "%"),
            row(f"{name}: valid after the check", 100 * float(valid.sum() / known.sum()), "%"),
            row(f"{name}: median error of the valid", float(np.median(np.abs(left_error))), "px"),
            row(f"{name}: bias of the valid", float(np.median(left_error)), "px"),
            row(f"{name}: valid within 2 sigma", 100 * float(np.mean(np.abs(left_error) < 2 * part.sigma[0][valid])),
                "%")]


def colours(pair) -> list[np.ndarray]:
    """Left and right [H, W, 3] RGB of a pair; grey three times where there is no colour."""
    import cv2

    from benchmarks.discover import images_in

    read = [cv2.imread(str(p), cv2.IMREAD_COLOR) for p in images_in(pair.folder)]
    out = []
    for grey in (pair.left, pair.right):
        match = (i for i in read if i is not None and i.shape[:2] == grey.shape
                 and np.array_equal(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY), grey))
        found = next(match, None)
        out.append(np.repeat(grey[..., None], 3, -1) if found is None else np.ascontiguousarray(found[..., ::-1]))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, help="folder; default: `weights` beside --data")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    return report("Learned estimators", rows(args.data, args.weights), args.out)


if __name__ == "__main__":
    sys.exit(main())
