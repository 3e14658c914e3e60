"""Resident memory of one inline worker: at 1280x720, over many clips, and over a long video.

    python -m benchmarks.memory --out FILE

Every figure is the peak resident set of a fresh process that plans a recipe's source and perceives its clips one
after another, as an inline worker does, media encoding and staging included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Row, at_most, report, row

LIMIT_GIB = 1.5
LIMIT_GROWTH = 1.1
BASELINE_M, FOCAL_PER_WIDTH = 0.2, 0.8
WALL_M, SQUARE_M = 8.0, 3.0


def write_video(path: Path, num_frames: int, width: int, height: int, seed: int = 0) -> None:
    """A side-by-side H.264 video with its calibration: a textured wall that the camera slides along, and before it a
    textured square that circles in front of the camera. It never stops, so that every clip has a region: the lift of
    the first region loads code (scipy's) that stays, and which clip has it must not decide what is compared."""
    import cv2
    import numpy as np

    from curate.video.encode import H264Encoder

    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    f = FOCAL_PER_WIDTH * width

    def texture(h: int, w: int):
        image = np.zeros((h, w, 3), np.float32)
        for cell in (4, 12, 40):
            coarse = rng.uniform(0, 85, (-(-h // cell) + 2, -(-w // cell) + 2, 3)).astype(np.float32)
            image += cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
        return image.clip(0, 255).astype(np.uint8)

    def shifted(image, x: float, y: float, w: int, h: int):
        grid = np.stack(np.meshgrid(np.arange(w) + x, np.arange(h) + y), -1).astype(np.float32)
        return cv2.remap(image, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    wall, square = texture(height, width), texture(height // 3, height // 3)
    encoder = H264Encoder(2 * width, height, fps=30, crf=18)
    for i in range(num_frames):
        eyes = []
        for camera_x in (0.01 * i, 0.01 * i + BASELINE_M):  # metres
            eye = shifted(wall, camera_x * f / WALL_M, 0, width, height)
            turn = 2 * np.pi * i / 60
            x = (width - square.shape[1]) / 2 - (camera_x - 0.01 * i) * f / SQUARE_M + 0.2 * height * np.cos(turn)
            y = (height - square.shape[0]) / 2 + 0.2 * height * np.sin(turn)
            left, top = int(np.floor(x)), int(np.floor(y))
            side = square.shape[0] - 2
            eye[top + 1:top + 1 + side, left + 1:left + 1 + side] = shifted(square, left + 1 - x, top + 1 - y,
                                                                          side, side)
            eyes.append(eye)
        encoder.add(np.concatenate(eyes, 1)[None])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoder.finish())
    calibration = {"fx": f, "baseline_m": BASELINE_M, "width": width, "height": height}
    path.with_suffix(".calib.json").write_text(json.dumps(calibration))


def perceive_all(root: str, num_frames: int, max_clips: int) -> dict:
    """Plans everything under `root` and perceives `max_clips` of it, evenly spread and the last among them, in this
    process; the peak is that of the whole process."""
    from curate.engine.stage import ClipWorker
    from curate.recipe.model import Recipe
    from curate.sources import make_source

    recipe = Recipe.model_validate({"source": {"kind": "side_by_side", "root": root},
                                    "clip": {"num_frames": num_frames, "min_frames": 8}})
    clips = [c for c in make_source(recipe.source, recipe.clip).plan() if not isinstance(c, tuple)]
    last = len(clips) - 1
    clips = [clips[round(last * k / max(max_clips - 1, 1))] for k in range(max_clips)] if last >= max_clips else clips
    with tempfile.TemporaryDirectory(prefix="curate-memory-") as out:
        worker = ClipWorker(recipe, out)
        peaks, outcomes = [peak_mib()], []
        for clip in clips:
            outcomes.append(worker.perceive(clip))
            peaks.append(peak_mib())
    failed = [f"{o.state}: {o.reason}" for o in outcomes if o.state != "done"]
    return {"peaks_mib": peaks, "clips": len(clips), "failed": failed,
            "regions": [o.meta.get("regions") for o in outcomes]}


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(root: Path, num_frames: int, max_clips: int = 1000) -> dict:
    """`perceive_all` in a process of its own.

    Raises:
        RuntimeError: where it fails or a clip does: the peak of a clip that was given up says nothing.
    """
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory", "--child", str(root), str(num_frames),
                           str(max_clips)],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"worker failed:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    if result["failed"] or not result["clips"]:
        raise RuntimeError(f"clips failed: {result['failed'][:3]}")
    return result


def run(folder: Path) -> list[Row]:
    write_video(folder / "large" / "v.mp4", 64, 1280, 720)
    large = measure(folder / "large", 64)
    rows = [at_most("peak of one worker, 64 stereo frames at 1280x720", large["peaks_mib"][-1] / 1024, "GiB",
                    LIMIT_GIB),
            row("of which imports and planning", large["peaks_mib"][0] / 1024, "GiB")]

    for i in range(16):
        write_video(folder / "many" / f"{i:02}.mp4", 24, 320, 240, seed=i)
        if i < 4:
            write_video(folder / "few" / f"{i:02}.mp4", 24, 320, 240, seed=i)
    few, many = measure(folder / "few", 24), measure(folder / "many", 24)
    rows += [row("peak over 4 clips at 320x240", few["peaks_mib"][-1], "MiB"),
             row("peak over 16 clips at 320x240", many["peaks_mib"][-1], "MiB"),
             at_most("growth with the number of clips, 16 to 4", many["peaks_mib"][-1] / few["peaks_mib"][-1], "ratio",
                     LIMIT_GROWTH)]

    # as many clips of the same length from both, so that only the video's length differs
    write_video(folder / "short" / "v.mp4", 192, 320, 240)
    write_video(folder / "long" / "v.mp4", 1200, 320, 240)
    short, long = (measure(folder / name, 48, 4) for name in ("short", "long"))
    rows += [row("peak over 4 clips of a video of 192 frames", short["peaks_mib"][-1], "MiB"),
             row("peak over 4 clips of a video of 1200 frames", long["peaks_mib"][-1], "MiB"),
             at_most("growth with the length of the video, 1200 to 192 frames",
                     long["peaks_mib"][-1] / short["peaks_mib"][-1], "ratio", LIMIT_GROWTH)]
    lifted = [n > 0 for part in (large, few, many, short, long) for n in part["regions"]]
    rows.append(row("clips with a region, of all perceived", sum(lifted) / len(lifted), "share"))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="write the rows as JSON here")
    parser.add_argument("--child", nargs=3, metavar=("ROOT", "FRAMES", "CLIPS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(perceive_all(args.child[0], *map(int, args.child[1:]))))
        return 0
    with tempfile.TemporaryDirectory(prefix="curate-memory-") as folder:
        return report("Memory of one worker", run(Path(folder)), args.out)


if __name__ == "__main__":
    sys.exit(main())
