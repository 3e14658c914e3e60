"""Unrectified stereo: EuRoC's layout, distorted lenses, depths of pixels, turned pictures, times of each camera."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig, StereoPairConfig
from curate.sources.times import pair_by_time
from curate.video.encode import encode_h264
from tests.euroc_media import EVEN, LAYOUT, LEFT_K, POINTS, RIGHT_K, Rig, blobs, write_euroc
from tests.source_media import CALIBRATION, assert_same_picture, pair, refused, texture, write_pair

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "stereo_euroc_v101_nearstatic_noGTfile"


# Rectification, through files

@pytest.mark.parametrize("model", ["radial-tangential", "equidistant"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_points_come_out_on_one_row_at_their_depth(tmp_path, model, bits):
    rig = Rig(model)
    source = pair(write_euroc(tmp_path, rig, (EVEN, EVEN), bits=bits), **LAYOUT)
    with source.open(next(iter(source.plan()))) as frames:
        left, right = (view[0] for view in frames.read(0, 1))
        camera, stereo = frames.rig.left, frames.rig
        turned = POINTS @ frames.R_rectified_left.T
    expected = camera.project(turned)
    disparity = stereo.disparity(turned[:, 2])
    at = blobs(left, expected), blobs(right, expected - np.stack([disparity, 0 * disparity], -1))
    np.testing.assert_allclose(at[0], expected, atol=0.15)
    np.testing.assert_allclose(at[0][:, 1], at[1][:, 1], atol=0.08)
    np.testing.assert_allclose(at[0][:, 0] - at[1][:, 0], disparity, atol=0.15)
    assert stereo.baseline_m == pytest.approx(np.linalg.norm(rig.T_right_left[:3, 3]))
    assert frames.is_grey and 150 < left.max() <= 255


def test_a_fisheye_picture_keeps_the_resolution_of_its_middle(tmp_path):
    source = pair(write_euroc(tmp_path, Rig("equidistant"), (EVEN, EVEN)), **LAYOUT)
    with source.open(next(iter(source.plan()))) as frames:
        assert frames.rig.left.fx == pytest.approx(np.mean([*LEFT_K[:2], *RIGHT_K[:2]]), rel=0.02)
        assert frames.rig.left.cx == pytest.approx((LEFT_K[2] + RIGHT_K[2]) / 2, abs=1)


def test_a_lens_that_folds_is_zoomed_or_refused(tmp_path):
    """Beyond the turning point of its polynomial a lens formula shows the same pixels again, mirrored."""
    write_pair(tmp_path, fx=40.0, baseline_m=0.1, distortion=[-0.9, 0.0, 0, 0])
    source = pair(tmp_path)
    try:
        with source.open(next(iter(source.plan()))) as frames:
            x, y = frames._rectification.maps[0]
            assert (np.diff(x, axis=1) > 0).all() and (np.diff(y, axis=0) > 0).all()
    except BadInput as error:
        assert "cannot be rectified" in str(error)


# Times of each camera

def test_frames_of_one_camera_alone_are_left_out(tmp_path):
    lost = [t + 300_000 for i, t in enumerate(EVEN) if i not in (2, 3)]
    write_euroc(tmp_path, Rig("radial-tangential"), (EVEN, lost))
    refused(pair(tmp_path, **LAYOUT), "8 left but 6 right frames, .*say pairing: time")
    source = pair(tmp_path, ClipConfig(num_frames=6, min_frames=4), **LAYOUT, pairing="time")
    clips = list(source.plan())
    assert [c.num_frames for c in clips] == [6]
    with source.open(clips[0]) as frames:
        np.testing.assert_allclose(frames.time_s, [0, 0.05, 0.2, 0.25, 0.3, 0.35])
        assert [len(view) for view in frames.read(1, 5)] == [4, 4]


def test_picked_frames_are_the_right_ones(tmp_path):
    """Each picture is told from the others, and frame 3 is missing on the right."""
    write_pair(tmp_path, 9)
    (tmp_path / "right" / "000003.png").unlink()
    for name, numbers in (("tl.txt", range(9)), ("tr.txt", [n for n in range(9) if n != 3])):
        (tmp_path / name).write_text("".join(f"{n * 0.1 + 0.5:.3f}\n" for n in numbers))
    source = pair(tmp_path, fps=None, timestamps="tl.txt", timestamps_right="tr.txt", pairing="time")
    with source.open(next(iter(source.plan()))) as frames:
        left, right = frames.read(1, 6)
    kept = [1, 2, 4, 5, 6]
    np.testing.assert_array_equal(left, [texture(n, 0) for n in kept])
    np.testing.assert_array_equal(right, [texture(n, 1) for n in kept])


def test_pairs_are_each_others_nearest():
    left = np.array([0, 100, 200, 300, 450]) * 1_000_000
    right = np.array([49, 110, 120, 290, 700]) * 1_000_000
    a, b = pair_by_time(left, right)
    assert a.tolist() == [0, 1, 3] and b.tolist() == [0, 1, 3]
    assert [x.tolist() for x in pair_by_time(left[:1], right[:1])] == [[0], [0]]


def test_times_that_never_meet(tmp_path):
    write_euroc(tmp_path, Rig("radial-tangential"), (EVEN, [t + 10**12 for t in EVEN]))
    refused(pair(tmp_path, **LAYOUT, pairing="time"), "no left frame is within half a frame")
    refused(pair(write_pair(tmp_path / "bare"), pairing="time"), "needs times of both cameras")


def test_a_missing_number_is_a_gap_where_only_the_rate_gives_times(tmp_path):
    write_pair(tmp_path, 10)
    for side in ("left", "right"):
        (tmp_path / side / "000004.png").unlink()
    refused(pair(tmp_path), r"000005\.png: follows 000003\.png, 1 frames are missing")
    (tmp_path / "t.txt").write_text("".join(f"{n / 10}\n" for n in range(10) if n != 4))
    assert next(iter(pair(tmp_path, timestamps="t.txt").plan())).num_frames == 9


def test_every_other_number_is_no_gap(tmp_path):
    write_pair(tmp_path, 12)
    for side in ("left", "right"):
        for path in sorted((tmp_path / side).iterdir())[1::2]:
            path.unlink()
    assert next(iter(pair(tmp_path, ClipConfig(num_frames=6, min_frames=4)).plan())).num_frames == 6


# Turned pictures

def exif_jpeg(image: np.ndarray, orientation: int) -> bytes:
    """A JPEG whose EXIF holds one entry: orientation (tag 0x0112, a short)."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_pictures_of_a_turned_phone(tmp_path, orientation, turns):
    """`turns`: quarter turns counter-clockwise that a viewer makes."""
    for side, name in enumerate(("left", "right")):
        (tmp_path / name).mkdir()
        for i in range(8):
            (tmp_path / name / f"{i:06d}.jpg").write_bytes(exif_jpeg(texture(i, side), orientation))
    for rotation, expected in (("as-shown", np.rot90(texture(2, 0), turns)), ("as-stored", texture(2, 0))):
        source = pair(tmp_path, calibration=CALIBRATION, rotation=rotation)
        with source.open(next(iter(source.plan()))) as frames:
            got = frames.read(2, 3)[0][0]
            assert (frames.rig.left.height, frames.rig.left.width) == expected.shape[:2]
        assert_same_picture(got, expected)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_videos_of_a_turned_phone(tmp_path, turns):
    """The container's display matrix asks for `turns` clockwise."""
    for side, name in enumerate(("l.mp4", "r.mp4")):
        data = encode_h264(np.stack([texture(i, side) for i in range(8)]), crf=4, fps=20)
        a, b, c, d = {0: (1, 0, 0, 1), 1: (0, 1, -1, 0), 2: (-1, 0, 0, -1), 3: (0, -1, 1, 0)}[turns]
        unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
        at = data.rindex(unit)  # of the track, after that of the whole movie
        matrix = struct.pack(">9i", a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30)
        (tmp_path / name).write_bytes(data[:at] + matrix + data[at + 36:])
    media = {"left": "l.mp4", "right": "r.mp4", "fps": None}
    sized = CALIBRATION | {"width": 96, "height": 64}
    if turns % 2:
        refused(pair(tmp_path, calibration=sized, **media), "images are 64x96, .*rotation: as-stored")
    source = pair(tmp_path, calibration=sized, rotation="as-stored", **media)
    with source.open(next(iter(source.plan()))) as frames:
        assert_same_picture(frames.read(3, 4)[0][0], texture(3, 0))
    source = pair(tmp_path, calibration=CALIBRATION, **media)
    with source.open(next(iter(source.plan()))) as frames:
        assert_same_picture(frames.read(3, 4)[1][0], np.rot90(texture(3, 1), -turns))


# Depths of pixels

def test_both_cameras_share_one_depth(tmp_path):
    """The right picture is a little brighter than 12 bits hold: one factor for both, or they would not match."""
    for side, (name, top) in enumerate((("left", 4000), ("right", 4200))):
        (tmp_path / name).mkdir()
        for i in range(8):
            image = texture(i, side)[..., 0].astype(np.uint16) * 8
            image[0, 0] = top
            cv2.imwrite(str(tmp_path / name / f"{i:06d}.png"), image)
    for bits, shift in ((None, 6), (12, 4)):
        source = pair(tmp_path, calibration=CALIBRATION, bits=bits)
        with source.open(next(iter(source.plan()))) as frames:
            for side, view in enumerate(frames.read(1, 2)):
                expected = (texture(1, side)[..., 0].astype(np.uint16) * 8) >> shift
                np.testing.assert_array_equal(view[0, 1:, :, 0], expected[1:])


# The real recording

def real() -> StereoPairConfig:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    return StereoPairConfig(root=str(SHARED), left="cam0", right="cam1",
                            calibration=("cam0_sensor.yaml", "cam1_sensor.yaml"))


@pytest.mark.shared
def test_euroc_rows_match_after_rectification():
    source = make_source(real(), ClipConfig(min_frames=4))
    with source.open(next(iter(source.plan()))) as frames:
        assert frames.rig.baseline_m == pytest.approx(0.11007, abs=1e-4) and frames.num_frames == 5
        np.testing.assert_allclose(np.diff(frames.time_s), 0.05, atol=1e-6)
        left, right = (view[0] for view in frames.read(0, 1))
    sift = cv2.SIFT_create(1500)
    (ka, da), (kb, db) = (sift.detectAndCompute(image, None) for image in (left, right))
    at = np.array([(*ka[m.queryIdx].pt, *kb[m.trainIdx].pt) for m in cv2.BFMatcher(crossCheck=True).match(da, db)])
    rows = (at[:, 3] - at[:, 1])[(np.abs(at[:, 3] - at[:, 1]) < 3) & (at[:, 0] - at[:, 2] > 1)]
    assert len(rows) > 150 and abs(np.median(rows)) < 0.3 and np.median(np.abs(rows)) < 0.5


@pytest.mark.shared
@pytest.mark.slow
def test_the_recipe_claims_no_motion_of_a_camera_that_hardly_moves(tmp_path):
    from click.testing import CliRunner

    from curate.cli.main import main

    real()
    recipe = Path(__file__).parents[1] / "recipes" / "euroc.yaml"
    done = CliRunner().invoke(main, ["run", str(recipe), "--out", str(tmp_path / "out"), "--set",
                                     f"source.root={SHARED}", "--set", "engine.kind=inline",
                                     "--set", "engine.isolate=false"])
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "out" / "questions.json").read_text())
    doubted = {row["family"] for row in said["dropped"] if row["reason"] == "not clear of zero"}
    moving = {"camera_displacement", "camera_direction", "camera_mean_speed", "camera_path_length",
              "camera_peak_speed", "camera_rotation", "camera_pose"}
    assert moving <= doubted and not moving & set(said["families"])
