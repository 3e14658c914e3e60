"""Tiny stereo recordings, good and bad in every way that a user's may be, for the tests of recipes and commands."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import yaml

from curate.video.encode import encode_h264

WIDTH, HEIGHT, NUM_FRAMES, FPS = 128, 96, 8, 10
CALIBRATION = {"fx": 120.0, "baseline_m": 0.1}


def eyes(num_frames: int = NUM_FRAMES, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    """Left and right [n, H, W, 3] of a textured wall 8 px of disparity away, past which the camera slides."""
    noise = np.random.default_rng(1).integers(0, 256, (height // 4, (width + 64) // 4, 3), np.uint8)
    wall = cv2.resize(noise, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    return [np.stack([wall[:, i + side * 8 : i + side * 8 + width] for i in range(num_frames)]) for side in (0, 1)]


def write_side_by_side(path: Path, calibration: dict | None = CALIBRATION, num_frames: int = NUM_FRAMES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_h264(np.concatenate(eyes(num_frames), 2), fps=FPS, crf=10))
    if calibration is not None:
        path.with_name(f"{path.stem}.calib.json").write_text(json.dumps(calibration))
    return path


def write_pair(root: Path, right_frames: int = NUM_FRAMES, right_size: tuple[int, int] = (WIDTH, HEIGHT),
               times: list[float] | None = None) -> Path:
    """Folders `left` and `right` of PNG images, calib.json and times.txt."""
    for name, pictures in zip(("left", "right"), eyes()):
        (root / name).mkdir(parents=True)
        for i, image in enumerate(pictures[: right_frames if name == "right" else None]):
            image = cv2.resize(image, right_size) if name == "right" and right_size != (WIDTH, HEIGHT) else image
            cv2.imwrite(str(root / name / f"{i:06d}.png"), image[..., ::-1])
    (root / "calib.json").write_text(json.dumps(CALIBRATION))
    (root / "times.txt").write_text("".join(f"{t:.6f}\n" for t in times or np.arange(NUM_FRAMES) / FPS))
    return root


def audio_only(path: Path) -> Path:
    """An mp4 with one second of silence and no picture."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for _ in range(16):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_recipe(path: Path, source: dict, **sections) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"source": {k: str(v) if isinstance(v, Path) else v for k, v in source.items()},
                                    **sections}, sort_keys=False))
    return path
