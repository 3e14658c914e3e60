"""Calibration files of other people's tools: the same cameras in every tool's words, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.sources import calibration as calibrations
from curate.sources.base import BadInput
from tests.euroc_media import EVEN, HEIGHT, LAYOUT, LEFT_K, RIGHT_K, WIDTH, Rig, write_euroc
from tests.source_media import pair, refused, write_pair

BOMB = "a0: &a0 [1, 2]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))


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
