"""Stereo as it lies on disk: how well rows agree after rectification, and that a camera that stands claims no motion.

    .venv/bin/python -m benchmarks.sources --only stereo --data ../shared/data --out FILE

Sequences are those that `curate inspect` finds to be stereo pairs. Rows are judged by matches of features (SIFT, mutual
nearest, epipolar consensus), which no part of the source uses: once with the published calibration alone, once after
the turn that the clip's own matches tell of its rig. Fisheye lenses, of which there is no recording, are judged in
closed form: where a point is seen, against where the map takes the pixel from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.table import Row, at_most, row, skipped
from curate import api
from curate.geometry.rotations import exp_so3
from curate.perception.rig.config import RigConfig
from curate.perception.rig.estimate import estimate_rig
from curate.recipe import recipe_from_dict
from curate.sources import calibration as calibrations
from curate.sources import make_source
from curate.sources.config import StereoCalibration
from curate.sources.frames import StereoFrames
from curate.sources.inspect import inspect
from curate.sources.rectify import ROW_TOLERANCE_PX, rectify

LIMIT_PX = 0.3  # of rows, median: what stereo matching resolves
STILL_PX = 1.0  # of features over the whole clip: the camera hardly moves
NUM_LOOKED = 3  # pairs of a sequence
NUM_RIG_FRAMES = 8  # from which the rig's turn is estimated
SEED = 1300
FISHEYE = [-0.013, 0.021, -0.012, 0.003]
MOVES = ("displacement", "direction", "path_length", "speed", "acceleration", "rotation", "trajectory", "pose", "yaw",
         "pitch", "roll", "shift")


def rows(data: Path, cache: Path) -> list[Row]:
    out = [fisheye_row()]
    found = list(recipes(data)) if data.is_dir() else []
    for name, recipe in found:
        out += recording_rows(name, recipe)
    if not found:
        out.append(skipped("rows of real recordings", f"no stereo sequence below {data}"))
    elif not any("almost still" in one["name"] for one in out):
        out.append(skipped("claims where all is almost still", f"no such sequence below {data}"))
    return out


def recipes(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, recipe) of every stereo sequence below a folder that loads."""
    report = inspect(data)
    parts = report.parts or ({data.name: report.best} if report.best else {})
    for name, part in parts.items():
        if part.kind == "stereo_pair" and part.loads:
            yield name, part.recipe(str(data), "judged")


def recording_rows(name: str, plain: dict[str, Any]) -> list[Row]:
    recipe = recipe_from_dict(plain)
    clip = api.clips(recipe)[0]
    source = make_source(recipe.source, recipe.clip)
    with source.open(clip.spec) as frames:
        at = np.unique(np.linspace(0, frames.num_frames - 1, NUM_LOOKED).astype(int))
        matches = np.concatenate([match(*(view[0] for view in frames.read(i, i + 1))) for i in at])
        raw = raw_rows(frames, at)
        moved = motion_px(frames)
        camera, resampled = frames.rig.left, frames.row_error_px > ROW_TOLERANCE_PX
        rig = estimate_rig(frames, RigConfig(num_frames=NUM_RIG_FRAMES), SEED)
    rows_ = matches[:, 3] - matches[:, 1]
    out = []

    def judged(what: str, value: float) -> Row:
        # media that came rectified are taken as they are: their rows are their publisher's
        return at_most(what, value, "px", LIMIT_PX) if resampled else row(what, value, "px")

    if resampled:
        out.append(row(f"{name}: rows before rectification, median", float(np.median(np.abs(raw))), "px"))
    out += [
        judged(f"{name}: rows by the calibration, median of {len(rows_)} matches", float(np.median(np.abs(rows_)))),
        row(f"{name}: rows by the calibration, median offset", float(np.median(rows_)), "px")]
    # frames above are as published: X_left = exp(θ) X_right
    rays = np.c_[(matches[:, 2] - camera.cx) / camera.fx, (matches[:, 3] - camera.cy) / camera.fy,
                 np.ones(len(matches))] @ exp_so3(rig.theta).T
    turned = camera.fy * rays[:, 1] / rays[:, 2] + camera.cy - matches[:, 1]
    out.append(judged(f"{name}: rows after the turn its matches tell, median", float(np.median(np.abs(turned)))))
    if moved < STILL_PX:
        scene = api.perceive(clip)
        asked = [q for q in api.ask(scene) if any(word in q.family for word in MOVES) and claims(q)]
        out.append(at_most(f"{name}: questions that claim motion where all is almost still ({moved:.2f} px)",
                           len(asked), "", 0))
    return out


def claims(question: Any) -> bool:
    """Whether the answer says that something moved ("neither" and "not determined" do not)."""
    return str(question.answer).lower() not in ("neither", "no", "cannot be determined")


def match(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[N, 4] u, v left and u, v right of matches that agree with one epipolar geometry."""
    sift = cv2.SIFT_create(2000)
    (ka, da), (kb, db) = (sift.detectAndCompute(image, None) for image in (left, right))
    if da is None or db is None:
        return np.zeros((0, 4))
    pairs = cv2.BFMatcher(crossCheck=True).match(da, db)
    at = np.array([(*ka[m.queryIdx].pt, *kb[m.trainIdx].pt) for m in pairs])
    at = at[at[:, 0] - at[:, 2] > 0.5]
    if len(at) < 16:
        return at
    cv2.setRNGSeed(SEED)
    _, kept = cv2.findFundamentalMat(at[:, :2], at[:, 2:], cv2.USAC_MAGSAC, 1.0, 0.999, 5000)
    return at if kept is None else at[kept.ravel() > 0]


def raw_rows(frames: StereoFrames, at: np.ndarray) -> np.ndarray:
    """[N] row differences of matches in the media as stored."""
    found = []
    for i in at:
        left, right = (view[0] for view in frames._read(frames._start + int(i), frames._start + int(i) + 1))
        matches = match(left, right)
        found.append(matches[:, 3] - matches[:, 1])
    return np.concatenate(found)


def motion_px(frames: StereoFrames) -> float:
    """Median shift of corners from the clip's first frame to its last, pixels; inf where they are lost."""
    first, last = (cv2.cvtColor(frames.read(i, i + 1)[0][0], cv2.COLOR_RGB2GRAY) for i in (0, frames.num_frames - 1))
    corners = cv2.goodFeaturesToTrack(first, 500, 0.01, 8)
    moved, ok, _ = cv2.calcOpticalFlowPyrLK(first, last, corners, None)
    ok = ok.ravel() > 0
    return float(np.median(np.linalg.norm((moved - corners)[ok, 0], axis=-1))) if ok.sum() > 50 else float("inf")


def fisheye_row() -> Row:
    """Worst distance between where a fisheye pair sees a point and where its rectified pixel is taken from."""
    cameras = calibrations.from_config(StereoCalibration(
        fx=190.5, fy=190.2, cx=254.9, cy=256.1, distortion=FISHEYE, lens="fisheye", width=512, height=512,
        right={"fx": 190.4, "fy": 190.1, "cx": 252.6, "cy": 254.0, "distortion": FISHEYE, "lens": "fisheye"},
        rotation_right_left=[0.01, -0.03, 0.005], translation_right_left_m=[-0.1, 0.002, -0.001]))
    done = rectify(cameras.at(512, 512, "written"), "written")
    rng = np.random.default_rng(SEED)
    uv = np.stack([rng.integers(150, 500, 500), rng.integers(10, 500, 500)], -1)
    points = done.rig.left.lift(uv.astype(float), rng.uniform(0.5, 20, 500))
    disparity = np.round(done.rig.disparity(points[:, 2]))  # whole, so that maps are read without interpolation
    points = done.rig.left.lift(uv.astype(float), done.rig.left.fx * done.rig.baseline_m / np.maximum(disparity, 1))
    right = uv - np.stack([np.maximum(disparity, 1), np.zeros(500)], -1).astype(int)
    in_left = points @ done.R_rectified_left
    worst = 0.0
    for view, (at, seen, k, d) in enumerate(((uv, in_left, cameras.K_left, cameras.distortion_left),
                                             (right, cameras.T_right_left @ in_left, cameras.K_right,
                                              cameras.distortion_right))):
        expected = cv2.fisheye.projectPoints(seen[:, None], np.zeros(3), np.zeros(3), k, d)[0][:, 0]
        inside = at[:, 0] >= 0
        taken = np.stack([m[at[inside, 1], at[inside, 0]] for m in done.maps[view]], -1)
        worst = max(worst, float(np.abs(taken - expected[inside]).max()))
    return at_most("fisheye pair in closed form: worst error of a rectified pixel", worst, "px", 0.01)
