"""Small stereo recordings on disk, as sources read them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig, StereoPairConfig
from curate.video.encode import encode_h264

CALIBRATION = {"fx": 80.0, "baseline_m": 0.1}
WIDTH, HEIGHT = 96, 64


def texture(number: int, side: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth picture that differs from frame to frame and from side to side."""
    noise = np.random.default_rng([number, side]).integers(0, 256, (8, 12, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def write_pair(root: Path, num_frames: int = 10, *, grey: bool = False, bits: int = 8, **calibration) -> Path:
    for side, name in enumerate(("left", "right")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(num_frames):
            image = texture(i, side)
            image = image[..., 1] if grey else image[..., ::-1]
            if bits > 8:
                image = image.astype(np.uint16) << (bits - 8)
            cv2.imwrite(str(root / name / f"{i:06d}.png"), image)
    (root / "calib.json").write_text(json.dumps(calibration or CALIBRATION))
    return root


def pair(root: Path, clip: ClipConfig | None = None, **fields):
    return make_source(StereoPairConfig(root=str(root), **({"fps": 10} | fields)), clip)


def refused(source, words: str) -> str:
    """The one line with which nothing is planned."""
    with pytest.raises(BadInput, match=words) as caught:
        list(source.plan())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def image(path: Path, value: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), value)


def write_packed(path: Path, eyes: list[np.ndarray], axis: int, calibration: dict | None = CALIBRATION, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_h264(np.concatenate(eyes, axis), crf=4, **(settings or {"fps": 20})))
    if calibration:
        path.with_name(f"{path.stem}.calib.json").write_text(json.dumps(calibration))
    return path


def assert_same_picture(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal in brightness up to compression (colour is stored at half resolution); other frames differ by 30."""
    assert np.abs(got.mean(-1) - expected.mean(-1)).mean() < 6


def eyes(num_frames: int = 10) -> list[np.ndarray]:
    return [np.stack([texture(i, side) for i in range(num_frames)]) for side in (0, 1)]
