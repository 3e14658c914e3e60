"""Unrectified stereo: EuRoC's layout, distorted lenses, depths of pixels, turned pictures, times of each camera."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.sources import calibration as calibrations
from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig, StereoPairConfig
from curate.sources.times import pair_by_time
from curate.video.encode import encode_h264
from tests.euroc_media import HEIGHT, LEFT_K, POINTS, RIGHT_K, START_NS, WIDTH, Rig, blobs, write_euroc
from tests.source_media import CALIBRATION, assert_same_picture, pair, refused, texture, write_pair

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "stereo_euroc_v101_nearstatic_noGTfile"
BOMB = "a0: &a0 [1, 2]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))
LAYOUT = {"left": "mav0/cam0/data", "right": "mav0/cam1/data",
          "calibration": ["mav0/cam0/sensor.yaml", "mav0/cam1/sensor.yaml"], "fps": None}
EVEN = [START_NS + i * 50_000_000 for i in range(8)]


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


# Calibration files: the same cameras in every tool's words

def as_opencv(rig: Rig, unit: float = 1.0) -> dict:
    def camera(k):
        return [[k[0], 0, k[2]], [0, k[1], k[3]], [0, 0, 1]]

    return {"cameraMatrix1": camera(LEFT_K), "distCoeffs1": [list(rig.distortion)], "cameraMatrix2": camera(RIGHT_K),
            "distCoeffs2": [list(rig.distortion)], "R": rig.T_right_left[:3, :3].tolist(),
            "T": (rig.T_right_left[:3, 3:] / unit).tolist()}


def storage(path: Path, values: dict) -> Path:
    """Written by OpenCV itself."""
    out = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in values.items():
        out.write(name, np.asarray(value, float) if isinstance(value, list) else value)
    out.release()
    return path


def camchain(rig: Rig) -> dict:
    model = "equidistant" if rig.model == "equidistant" else "radtan"
    chain = {f"cam{n}": {"camera_model": "pinhole", "intrinsics": list(k), "distortion_model": model,
                         "distortion_coeffs": list(rig.distortion), "resolution": [WIDTH, HEIGHT]}
             for n, k in enumerate((LEFT_K, RIGHT_K))}
    chain["cam1"]["T_cn_cnm1"] = rig.T_right_left.tolist()
    return chain


def check_cameras(got: calibrations.StereoCameras, rig: Rig) -> None:
    for k, expected in ((got.K_left, LEFT_K), (got.K_right, RIGHT_K)):
        np.testing.assert_allclose([k[0, 0], k[1, 1], k[0, 2], k[1, 2]], expected)
    for distortion in (got.distortion_left, got.distortion_right):
        np.testing.assert_allclose(distortion, rig.distortion)
    np.testing.assert_allclose(got.T_right_left.matrix(), rig.T_right_left, atol=1e-9)
    assert (got.lens_left, got.lens_right) == 2 * ("fisheye" if rig.model == "equidistant" else "radtan",)


@pytest.mark.parametrize("model", ["radial-tangential", "equidistant"])
def test_every_file_says_the_same_cameras(tmp_path, model):
    rig = Rig(model)
    write_euroc(tmp_path, rig, (EVEN[:1], EVEN[:1]))
    check_cameras(calibrations.load_files([tmp_path / f"mav0/cam{n}/sensor.yaml" for n in (0, 1)]), rig)
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(camchain(rig)))
    check_cameras(calibrations.load(tmp_path / "camchain.yaml"), rig)
    lens = "fisheye" if model == "equidistant" else None
    for name in ("stereo.yml", "stereo.xml"):
        check_cameras(calibrations.load(storage(tmp_path / name, as_opencv(rig)), lens=lens), rig)
        millimetres = calibrations.load(storage(tmp_path / f"mm_{name}", as_opencv(rig, 0.001)), lens=lens, unit="mm")
        check_cameras(millimetres, rig)
    values = as_opencv(rig)
    renamed = {{"cameraMatrix": "M", "distCoeffs": "D"}[k[:-1]] + k[-1]: v for k, v in values.items() if len(k) > 1}
    inner = storage(tmp_path / "intrinsics.yml", renamed)
    outer = storage(tmp_path / "extrinsics.yml", {k: values[k] for k in "RT"})
    check_cameras(calibrations.load_files([inner, outer], lens=lens), rig)


def test_an_opencv_file_may_say_its_size_and_lens(tmp_path):
    rig = Rig("equidistant")
    path = storage(tmp_path / "a.yml", as_opencv(rig) | {"image_width": WIDTH, "image_height": HEIGHT, "fisheye": 1})
    got = calibrations.load(path)
    check_cameras(got, rig)
    assert got.size == (WIDTH, HEIGHT)


def test_cameras_of_a_chain_may_be_chosen(tmp_path):
    """Three cameras in a row: from cam0 to cam2 is cam1 to cam2 after cam0 to cam1."""
    chain, step = camchain(Rig("equidistant")), np.eye(4)
    step[0, 3] = -0.2
    chain["cam2"] = chain["cam1"] | {"T_cn_cnm1": step.tolist()}
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump(chain))
    got = calibrations.load(tmp_path / "chain.yaml", (0, 2)).T_right_left.matrix()
    np.testing.assert_allclose(got, step @ Rig("equidistant").T_right_left, atol=1e-9)
    with pytest.raises(BadInput, match="swapped"):
        calibrations.load(tmp_path / "chain.yaml", (1, 0))


def test_ros_camera_info(tmp_path):
    """Rectified axes of both cameras are one; the right one's 4th projection number is -fx times the baseline."""
    rig = Rig("radial-tangential")
    centre = -rig.T_right_left[:3, :3].T @ rig.T_right_left[:3, 3]
    x = centre / np.linalg.norm(centre)
    y = np.cross([0, 0, 1.0], x)
    left = np.stack([x, y / np.linalg.norm(y), np.cross(x, y / np.linalg.norm(y))])
    for name, k, r, tx in (("l", LEFT_K, left, 0.0),
                           ("r", RIGHT_K, left @ rig.T_right_left[:3, :3].T, float(-150 * np.linalg.norm(centre)))):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({
            "image_width": WIDTH, "image_height": HEIGHT, "distortion_model": "plumb_bob",
            "camera_matrix": {"rows": 3, "cols": 3, "data": [k[0], 0, k[2], 0, k[1], k[3], 0, 0, 1]},
            "distortion_coefficients": {"rows": 1, "cols": 4, "data": list(rig.distortion)},
            "rectification_matrix": {"rows": 3, "cols": 3, "data": r.ravel().tolist()},
            "projection_matrix": {"rows": 3, "cols": 4, "data": [150, 0, 160, tx, 0, 150, 120, 0, 0, 0, 1, 0]}}))
    check_cameras(calibrations.load_files([tmp_path / "l.yaml", tmp_path / "r.yaml"]), rig)


def test_a_rectified_json_as_the_oak_samples_have_it(tmp_path):
    path = tmp_path / "stereodemo_calibration.json"
    path.write_text(json.dumps({"width": 640, "height": 480, "baseline_meters": 0.075, "fx": 451.0, "fy": 451.0,
                                "cx0": 299.0, "cx1": 301.5, "cy": 255.0, "depth_range": [1.0, 5.0]}))
    got = calibrations.load(path)
    assert got.baseline_m == pytest.approx(0.075) and got.size == (640, 480)
    np.testing.assert_allclose([got.K_left[0, 2], got.K_right[0, 2], got.K_left[1, 2]], [299, 301.5, 255])


@pytest.mark.parametrize(("name", "change", "words"), [
    ("T_BS", None, "no two camera matrices"), ("intrinsics", None, r"no intrinsics, expected \[fu"),
    ("intrinsics", [1, 2], "has 2 numbers"), ("intrinsics", ["x", 1, 1, 1], "expected finite numbers"),
    ("T_BS", {"data": [1.0] * 15}, "15 numbers, expected 4 x 4"), ("T_BS", {"data": [2.0] * 16}, "not a pose"),
    ("distortion_model", "double-sphere", "'double_sphere', expected radial-tangential or equidistant"),
    ("resolution", [640, 480], r"resolution .* left, .* right, expected the same"),
    ("distortion_coefficients", [0.1, 0.2, 0.3], "distortion takes")])
def test_broken_sensor_files_are_named(tmp_path, name, change, words):
    write_euroc(tmp_path, Rig("radial-tangential"), (EVEN, EVEN))
    path = tmp_path / "mav0/cam1/sensor.yaml"
    sensor = Rig("radial-tangential").sensor(1)
    sensor.pop(name) if change is None else sensor.update({name: change})
    path.write_text(yaml.safe_dump(sensor))
    assert "cam1/sensor.yaml" in refused(pair(tmp_path, **LAYOUT), words)


@pytest.mark.parametrize(("name", "text", "words"), [
    ("c.yaml", "a: !!python/object/apply:os.system [ls]\n", "not a calibration"),
    ("c.yaml", BOMB, "aliases stand for more"),
    ("c.yaml", "T_BS: &a [*a]\n", "aliases stand for more"), ("c.yaml", "- 1\n", "found a list"),
    ("c.yaml", "[" * 5000, "not a calibration"), ("c.yaml", "a: b\n", "no two camera matrices"),
    ("c.yaml", "cam0: {intrinsics: [1, 1, 1, 1]}\n", "no cam1"),
    ("c.yaml", "cam0: {intrinsics: [1, 1, 1, 1]}\ncam1: {intrinsics: [1, 1, 1, 1]}\n", "cam1 has no T_cn_cnm1"),
    ("c.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><opencv_storage/>", "document type or entities"),
    ("c.xml", "<calibration/>", "expected OpenCV's <opencv_storage>"), ("c.xml", "<opencv_storage>", "not a calib")])
def test_files_that_are_no_calibration(tmp_path, name, text, words):
    write_pair(tmp_path)
    (tmp_path / name).write_text(text)
    assert name in refused(pair(tmp_path, calibration=name), words)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_refused_in_one_line(tmp_path, data):
    """Some text of a sound file replaced by other text: cameras, or BadInput, and nothing else."""
    rig = Rig("equidistant")
    suffix = data.draw(st.sampled_from(["sensor.yaml", "chain.yaml", "cv.yml", "cv.xml"]))
    path = tmp_path / suffix
    if suffix.startswith("cv"):
        storage(path, as_opencv(rig))
    else:
        path.write_text(yaml.safe_dump(rig.sensor(0) if "sensor" in suffix else camchain(rig)))
    text = path.read_text()
    start = data.draw(st.integers(0, len(text) - 1))
    stop = data.draw(st.integers(start, min(len(text), start + 40)))
    word = data.draw(st.sampled_from(["", "nan", "1e999", "[", "]", "{}", "*a", "&a", "-", ": ", "null", "'", "<", "0",
                                      "!!python/name:os.system", "[[[1]]]", "9" * 400, "é", "true"]))
    path.write_text(text[:start] + word + text[stop:])
    try:
        calibrations.load_files([path, path] if "sensor" in suffix else [path])
    except BadInput as error:
        assert suffix in str(error) and "\n" not in str(error) and len(str(error)) < 1000


def test_millimetres_are_not_taken_for_metres(tmp_path):
    path = storage(tmp_path / "stereo.yml", as_opencv(Rig("radial-tangential"), 0.001))
    with pytest.raises(BadInput, match="110 m apart if it is in metres; say its unit: calibration_unit: mm"):
        calibrations.load(path)


def test_one_sensor_file_is_not_enough(tmp_path):
    write_euroc(tmp_path, Rig("radial-tangential"), (EVEN, EVEN))
    refused(pair(tmp_path, **LAYOUT | {"calibration": "mav0/cam0/sensor.yaml"}), r"name both: calibration: \[LEFT")
    refused(pair(tmp_path, **LAYOUT | {"calibration": ["mav0/cam0/sensor.yaml", "../sensor.yaml"]}), "no such")


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
