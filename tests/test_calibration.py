"""Calibrations, rectification, and real recordings opened with theirs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.sources import calibration as calibrations
from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.calibration import StereoCameras
from curate.sources.config import StereoCalibration, StereoPairConfig
from curate.sources.rectify import ROW_TOLERANCE_PX, rectify, row_error
from tests.source_media import pair, refused, write_pair

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


# Calibration

KITTI_02 = ("P0: 718.856 0 607.1928 0 0 718.856 185.2157 0 0 0 1 0\n"
            "P1: 718.856 0 607.1928 -386.1448 0 718.856 185.2157 0 0 0 1 0\n"
            "P2: 718.856 0 607.1928 45.38225 0 718.856 185.2157 -0.1130887 0 0 1 0.003779761\n"
            "P3: 718.856 0 607.1928 -337.2877 0 718.856 185.2157 2.369057 0 0 1 0.004915215\n")


def test_kitti_projections_are_used_whole(tmp_path):
    (tmp_path / "calib.txt").write_text(KITTI_02)
    cameras = calibrations.load(tmp_path / "calib.txt", (2, 3))
    f, cx, cy = 718.856, 607.1928, 185.2157
    x = (-337.2877 - cx * 0.004915215 - (45.38225 - cx * 0.003779761)) / f
    y = (2.369057 - cy * 0.004915215 - (-0.1130887 - cy * 0.003779761)) / f
    z = 0.004915215 - 0.003779761
    np.testing.assert_allclose(cameras.T_right_left.translation, [x, y, z], atol=1e-12)
    np.testing.assert_allclose(cameras.T_right_left.rotation, np.eye(3), atol=1e-12)
    assert y == pytest.approx(0.0032, abs=1e-4)
    assert cameras.baseline_m == pytest.approx(np.sqrt(x * x + y * y + z * z))
    grey = calibrations.load(tmp_path / "calib.txt", is_grey=True)
    assert grey.baseline_m == pytest.approx(386.1448 / f)
    with pytest.raises(BadInput, match=r"say which with cameras: \[0, 1\] or \[2, 3\]"):
        calibrations.load(tmp_path / "calib.txt")


def test_general_projections_are_decomposed():
    k = np.array([[700, 1.5, 320], [0, 690, 240], [0, 0, 1.0]])
    rotation = cv2.Rodrigues(np.array([0.1, -0.4, 0.2]))[0]
    t = np.array([0.3, -0.2, 1.1])
    for scale in (1.0, -2.5):
        got = calibrations.decompose_projection(scale * k @ np.c_[rotation, t])
        for a, b in zip(got, (k, rotation, t)):
            np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize(("name", "text", "words"), [
    ("calib.txt", KITTI_02.replace("-337.2877", "nan"), r"right P matrix is .*nan.*, expected 3 x 4 finite numbers"),
    ("calib.txt", KITTI_02.replace("-337.2877 0", "-337.2877"), r"P3: found .*, expected 3 x 4 numbers"),
    ("calib.txt", KITTI_02.replace("-337.2877", "437.2877"), "positive number .*are left and right swapped"),
    ("calib.txt", "nothing", r"no P0\.\.P3 line"),
    ("calib.json", '{"fx": 80, "baseline_m": 0}', r"baseline_m: Input should be greater than 0, found 0"),
    ("calib.json", '{"fx": 80, "baseline_m": -0.1}', r"baseline_m: .*greater than 0, found -0\.1"),
    ("calib.json", '{"fx": 80, "baseline_m": NaN}', r"baseline_m: .*, found nan"),
    ("calib.json", '{"baseline_m": 0.1}', r"fx: Field required"),
    ("calib.json", '{"fx": 80, "baseline_m": 0.1', r"calib\.json:1: not json"),
    ("calib.json", "[1]", "found a list, expected an object"),
    ("calib.json", '{"fx": 80, "baseline_m": 0.1, "width": 640, "height": 480}',
     r"images are 96x64, expected 640x480 \(or that size scaled\)"),
    ("calib.json", '{"fx": 80, "baseline_m": 0.1, "cx": 500}', "principal point x = 500 px is outside")])
def test_broken_calibration_files(tmp_path, name, text, words):
    write_pair(tmp_path)
    (tmp_path / "calib.json").unlink()
    (tmp_path / name).write_text(text)
    assert str(tmp_path) in refused(pair(tmp_path, calibration=name, cameras=(2, 3)), words)


def test_no_calibration_file(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "calib.json").unlink()
    refused(pair(tmp_path), r"calib\.json: no such calibration file; write one, or give calibration")


def test_calibration_of_another_size_is_scaled(tmp_path):
    source = pair(write_pair(tmp_path, fx=160.0, cx=100.0, baseline_m=0.1, width=192, height=128))
    with source.open(next(iter(source.plan()))) as frames:
        assert frames.rig.left.fx == 80.0 and frames.rig.left.cx == pytest.approx(49.75)


# Rectification

def unrectified(distorted: bool) -> StereoCameras:
    return calibrations.from_config(StereoCalibration(
        fx=458.7, fy=457.3, cx=367.2, cy=248.4, distortion=[-0.28, 0.074, 2e-4, 2e-5] if distorted else [],
        right={"fx": 457.6, "fy": 456.1, "cx": 380.0, "cy": 255.2,
               "distortion": [-0.284, 0.0745, -1e-4, -4e-5] if distorted else []},
        rotation_right_left=[0.012, -0.02, 0.008], translation_right_left_m=[-0.11, 0.0004, -0.001])).at(752, 480, "x")


@pytest.mark.parametrize("distorted", [False, True])
def test_rectified_pixels_come_from_where_the_published_cameras_saw_the_point(distorted):
    cameras = unrectified(distorted)
    done = rectify(cameras, "x")
    rig, rng = done.rig, np.random.default_rng(0)
    uv = np.stack([rng.uniform(250, 700, 200), rng.uniform(10, 470, 200)], -1)
    points = rig.left.lift(uv, rng.uniform(0.8, 30, 200))
    right_uv = uv - np.stack([rig.disparity(points[:, 2]), np.zeros(200)], -1)
    in_left = points @ done.R_rectified_left  # axes of the published left camera
    in_right = cameras.T_right_left @ in_left
    for view, (at, seen, k, d) in enumerate((
            (uv, in_left, cameras.K_left, cameras.distortion_left),
            (right_uv, in_right, cameras.K_right, cameras.distortion_right))):
        expected = cv2.projectPoints(seen, np.zeros(3), np.zeros(3), k, d if d.size else None)[0][:, 0]
        inside = (at[:, 0] > 1) & (at[:, 0] < 750)
        at32 = at[inside].astype(np.float32)
        mapped = np.stack([cv2.remap(m, at32[:, :1], at32[:, 1:], cv2.INTER_LINEAR)[:, 0] for m in done.maps[view]], -1)
        np.testing.assert_allclose(mapped, expected[inside], atol=0.03)  # remap looks maps up at 1/32 px
    assert rig.baseline_m == pytest.approx(np.linalg.norm([0.11, 0.0004, 0.001]))


@pytest.mark.parametrize("distorted", [False, True])
def test_rectified_views_have_content_everywhere(distorted):
    for x, y in rectify(unrectified(distorted), "x").maps:
        assert x.min() >= -0.5 and x.max() <= 751.5 and y.min() >= -0.5 and y.max() <= 479.5


def test_rows_match_after_rectification_of_rendered_pixels(tmp_path):
    """A smooth fronto-parallel pattern seen by KITTI's raised right camera: equal rows after rectification."""
    (tmp_path / "calib.txt").write_text(KITTI_02)
    cameras = calibrations.load(tmp_path / "calib.txt", (2, 3)).at(1241, 376, "x")
    depth, f = 6.0, 718.856
    u, v = np.meshgrid(np.arange(1241), np.arange(376))
    images = []
    for t in (np.zeros(3), cameras.T_right_left.translation):
        z = depth + t[2]
        x, y = (u - 607.1928) / f * z - t[0], (v - 185.2157) / f * z - t[1]
        value = 128 + 60 * np.sin(9 * x + 3 * np.sin(5 * y)) + 50 * np.sin(11 * y + 2 * np.sin(7 * x))
        images.append(np.repeat(np.clip(value, 0, 255).astype(np.uint8)[None, ..., None], 3, -1))

    def row_shift(left, right, disparity):
        a, b = (image[0, 60:300, :, 0].astype(np.float64) for image in (left, right))
        columns = np.arange(300, 1000)
        b = np.stack([np.interp(columns - disparity, np.arange(1241), row) for row in b])
        slope = np.gradient(a[:, columns], axis=0)
        return -np.sum(slope * (b - a[:, columns])) / np.sum(slope**2)

    disparity = f * cameras.baseline_m / depth
    before = row_shift(*images, disparity)
    assert before == pytest.approx(f * cameras.T_right_left.translation[1] / depth, rel=0.2)
    done = rectify(cameras, "x")
    # The plane is no longer quite parallel to the image: its disparity varies by less than 0.5 px over these columns.
    left, right = done.apply(0, images[0]), done.apply(1, images[1])
    assert abs(row_shift(left, right, done.rig.disparity(depth))) < 0.05 < abs(before)


def test_pairs_that_are_rectified_well_enough_are_not_resampled():
    def cameras(ty: float) -> StereoCameras:
        return calibrations.from_config(StereoCalibration(
            fx=700, fy=710, cx=600, cy=180, right={"fx": 700, "fy": 710, "cx": 612, "cy": 180},
            translation_right_left_m=[-0.5, ty, 0])).at(1200, 360, "x")

    exact = rectify(cameras(0), "x")
    assert exact.maps is None and exact.rig.doffs_px == 12 and exact.rig.left.fy == 710 and exact.right.cx == 612
    # A vertical offset shifts rows by its share of the disparity, at most a quarter of the width here.
    for ty in (0.00005, 0.003):
        assert row_error(cameras(ty)) == pytest.approx(300 * ty / 0.5 * 710 / 700, rel=0.02)
    assert rectify(cameras(0.00005), "x").maps is None
    assert rectify(cameras(0.003), "x").maps is not None
    assert ROW_TOLERANCE_PX == 0.05


def test_cameras_that_do_not_stand_side_by_side(tmp_path):
    write_pair(tmp_path, fx=80, translation_right_left_m=[-0.1, 0.2, 0])
    refused(pair(tmp_path), r"the right camera is at \[0\.1, -0\.2.*, expected beside it")


def test_distortion_beyond_reason(tmp_path):
    write_pair(tmp_path, fx=80, baseline_m=0.1, distortion=[-5.0, 3.0, 0, 0])
    refused(pair(tmp_path), "cannot be rectified")


# Real recordings

def real(name: str):
    root = SHARED / name
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    return make_source(StereoPairConfig(root=str(root), timestamps="times_s.txt"))


@pytest.mark.shared
@pytest.mark.parametrize(("name", "num_frames", "baseline", "grey"), [
    ("stereo_kitti06_gray", 38, 0.53715065, True), ("stereo_kitti02_color", 20, 0.53330151, False)])
def test_kitti_excerpts_open(name, num_frames, baseline, grey):
    source = real(name)
    clips = list(source.plan())
    assert [(c.start, c.num_frames) for c in clips] == [(0, num_frames)]
    with source.open(clips[0]) as frames:
        assert frames.rig.baseline_m == pytest.approx(baseline, abs=1e-8) and frames.is_grey == grey
        assert frames.time_s[1] == pytest.approx(0.104, abs=0.001)
        left, right = frames.read(num_frames - 2, num_frames)
        assert left.shape == right.shape == (2, frames.rig.left.height, frames.rig.left.width, 3)
        assert (frames.row_error_px > 1) == (not grey)


@pytest.mark.shared
def test_kitti_02_rows_match_at_every_disparity():
    """Without use of the vertical offset, rows part by 0.006 px for every pixel of disparity."""
    source = real("stereo_kitti02_color")
    with source.open(next(iter(source.plan()))) as frames:
        left, right = frames.read(0, 2)
    found = []
    sift = cv2.SIFT_create(1500)
    for a, b in zip(left, right):
        (ka, da), (kb, db) = (sift.detectAndCompute(image, None) for image in (a, b))
        pairs = cv2.BFMatcher(crossCheck=True).match(da, db)
        found += [(*ka[m.queryIdx].pt, *kb[m.trainIdx].pt) for m in pairs]
    ua, va, ub, vb = np.array(found).T
    disparity, rows = ua - ub, vb - va
    good = (np.abs(rows) < 1.5) & (disparity > 2) & (disparity < 150)
    assert good.sum() > 300
    assert abs(np.median(rows[good])) < 0.05
    assert abs(np.polyfit(disparity[good], rows[good], 1)[0]) < 0.002
