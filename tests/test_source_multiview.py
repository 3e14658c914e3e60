"""Several calibrated cameras as a source: calibrations of every kind, undistortion, cameras in step, bad input."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, quaternion
from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_multiview import MultiviewConfig
from curate.sources.multiview_frames import in_step, undistortion
from curate.sources.rigs import load_rig
from curate.sources.rigs.camera import RigCamera
from tests.source_media import refused, texture

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
CHARUCO = SHARED / "multiview_charuco_A"
PERSON = SHARED / "multiview_pose2sim_single"
SIZE = (96, 64)
NAMES = ("a", "b", "c")
LENS = np.array([0.05, -0.02, 0.001, -0.002])


def cameras() -> list[RigCamera]:
    out = []
    for k, name in enumerate(NAMES):
        K = np.array([[80.0 + k, 0, 47 + k], [0, 81.0 + k, 31], [0, 0, 1]])
        pose = Pose("cam", "world", exp_so3(np.array([0.1 * k, -0.3 * k, 0.05])), np.array([0.2 * k, -0.1, 1.5]))
        out.append(RigCamera(name, K, LENS, "radtan", SIZE, pose))
    return out


def write_toml(path: Path, vectors: bool = True) -> None:
    text = "[metadata]\nadjusted = false\n"
    for camera in cameras():
        turn = cv2.Rodrigues(camera.T_cam_world.rotation)[0].ravel() if vectors else camera.T_cam_world.rotation
        text += (f'[cam_{camera.name}]\nname = "{camera.name}"\nsize = {list(SIZE)}\nmatrix = {camera.K.tolist()}\n'
                 f"distortions = {camera.distortion.tolist()}\nrotation = {turn.tolist()}\n"
                 f"translation = {camera.T_cam_world.translation.tolist()}\nfisheye = false\n")
    path.write_text(text)


def write_json(path: Path, panoptic: bool = False) -> None:
    keys = ("K", "distCoef", "R", "t", "resolution") if panoptic else ("matrix", "distortions", "rotation",
                                                                          "translation", "size")
    tables = [dict(zip(keys, (c.K.tolist(), c.distortion.tolist(), c.T_cam_world.rotation.tolist(),
                              c.T_cam_world.translation.tolist(), list(SIZE))), name=c.name) for c in cameras()]
    path.write_text(json.dumps({"cameras": tables} if panoptic else {t["name"]: t for t in tables}))


def write_colmap(folder: Path, binary: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, c in enumerate(cameras(), 1):
        params = [c.K[0, 0], c.K[1, 1], c.K[0, 2] + 0.5, c.K[1, 2] + 0.5, *c.distortion]
        rows.append((number, params, quaternion(c.T_cam_world.rotation), c.T_cam_world.translation, f"{c.name}.png"))
    if not binary:
        (folder / "cameras.txt").write_text("# list\n" + "".join(
            f"{n} OPENCV {SIZE[0]} {SIZE[1]} {' '.join(map(repr, map(float, p)))}\n" for n, p, *_ in rows))
        (folder / "images.txt").write_text("# list\n" + "".join(
            f"{n} {' '.join(repr(float(v)) for v in (*q, *t))} {n} {name}\n10.0 20.0 -1\n"
            for n, _, q, t, name in rows))
        return
    data = struct.pack("<Q", len(rows))
    images = struct.pack("<Q", len(rows))
    for n, p, q, t, name in rows:
        data += struct.pack("<iiQQ8d", n, 4, *SIZE, *p)
        images += struct.pack("<i7di", n, *q, *t, n) + name.encode() + b"\0" + struct.pack("<Qddq", 1, 10.0, 20.0, -1)
    (folder / "cameras.bin").write_bytes(data)
    (folder / "images.bin").write_bytes(images)


def write_qualisys(path: Path) -> None:
    """Metres become millimetres, pixels 64ths, axes those with y up and z backwards."""
    text = "<calibration><cameras>"
    for c in cameras():
        axes = np.diag([1, -1, -1]) @ c.T_cam_world.rotation
        x, y, z = c.T_cam_world.inverse().translation * 1000
        entries = " ".join(f'r{i + 1}{j + 1}="{float(axes[i, j])!r}"' for i in range(3) for j in range(3))
        k1, k2, p1, p2 = c.distortion
        text += (f'<camera serial="{c.name}" viewrotation="0">'
                 f'<fov_video left="0" top="0" right="{SIZE[0] - 1}" bottom="{SIZE[1] - 1}"/>'
                 f'<transform {entries} x="{float(x)!r}" y="{float(y)!r}" z="{float(z)!r}"/>'
                 f'<intrinsic focalLengthU="{64 * c.K[0, 0]!r}" focalLengthV="{64 * c.K[1, 1]!r}" '
                 f'centerPointU="{64 * c.K[0, 2]!r}" centerPointV="{64 * c.K[1, 2]!r}" radialDistortion1="{k1!r}" '
                 f'radialDistortion2="{k2!r}" radialDistortion3="0" tangentalDistortion1="{p1!r}" '
                 f'tangentalDistortion2="{p2!r}"/></camera>').replace("np.float64(", "").replace(')"', '"')
    path.write_text(text + "</cameras></calibration>")


WRITERS = {"rig.toml": write_toml, "rig_matrix.toml": lambda p: write_toml(p, vectors=False), "rig.json": write_json,
           "panoptic.json": lambda p: write_json(p, panoptic=True), "colmap_text": lambda p: write_colmap(p, False),
           "colmap_binary": lambda p: write_colmap(p, True), "rig.qca.txt": write_qualisys}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_calibration_gives_the_same_cameras(tmp_path, name):
    WRITERS[name](tmp_path / name)
    unit = 0.001 if name.endswith(".qca.txt") else 1.0
    got = load_rig(tmp_path / name)
    assert [c.name for c in got] == list(NAMES)
    for camera, expected in zip(got, cameras()):
        assert camera.size == SIZE
        np.testing.assert_allclose(camera.K, expected.K, atol=1e-9)
        np.testing.assert_allclose(camera.distortion[:4], expected.distortion, atol=1e-12)
        np.testing.assert_allclose(camera.T_cam_world.rotation, expected.T_cam_world.rotation, atol=1e-9)
        np.testing.assert_allclose(camera.T_cam_world.translation * unit, expected.T_cam_world.translation, atol=1e-9)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("lens", ["radtan", "fisheye"])
def test_pictures_are_undistorted_and_stay_as_shown(turned, lens):
    """Spots painted where the distorted lens sees points lie, undistorted, where the pinhole camera sees them."""
    width, height = 320, 240
    K = np.array([[300.0, 0, 158], [0, 305, 121], [0, 0, 1]])
    distortion = np.array([-0.15, 0.03, 0.002, -0.001]) if lens == "radtan" else np.array([0.02, -0.01, 0.003, 0.0])
    pose = Pose("cam", "world", exp_so3(np.array([0.05, -0.1, 0.2])), np.array([0.1, 0.2, 3.0]))
    camera = RigCamera("x", K, distortion, lens, (width, height), pose)
    points = np.array([[0, 0, 0], [0.5, 0.3, 0.2], [-0.7, -0.4, 0.1], [0.8, -0.5, 0.3], [-0.6, 0.5, 0.0]])
    local = (pose @ points)[:, None]
    if lens == "radtan":
        spots = cv2.projectPoints(local, np.zeros(3), np.zeros(3), K, distortion)[0][:, 0]
    else:
        spots = cv2.fisheye.projectPoints(local, np.zeros(3), np.zeros(3), K, distortion.reshape(4, 1))[0][:, 0]
    y, x = np.mgrid[:height, :width]
    picture = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 2.5**2)) for u, v in spots)
    shown = np.rot90(np.uint8(255 * np.minimum(picture, 1)), -turned // 90)
    one = undistortion(camera, shown.shape[1], shown.shape[0], turned, "test")
    flat = one.apply(np.repeat(shown[None, ..., None], 3, -1))[0, ..., 0].astype(float)
    for u, v in one.camera.project(one.T_cam_world @ points):
        rows, columns = np.mgrid[int(v) - 8:int(v) + 10, int(u) - 8:int(u) + 10]
        patch = flat[rows[0, 0]:rows[-1, 0] + 1, columns[0, 0]:columns[0, -1] + 1]
        assert (patch * columns).sum() / patch.sum() == pytest.approx(u, abs=0.15)
        assert (patch * rows).sum() / patch.sum() == pytest.approx(v, abs=0.15)


# Cameras in step

@settings(max_examples=40, deadline=None)
@given(offset=st.floats(-0.5, 0.5), jitter=st.integers(0, 2**16), rate=st.sampled_from([1, 2, 3]))
def test_frames_that_belong_together_are_within_half_an_interval(offset, jitter, rate):
    rng = np.random.default_rng(jitter)
    first = np.arange(20) / 10 + rng.uniform(0, 0.01, 20)
    other = np.arange(20 * rate) / (10 * rate) + offset + rng.uniform(0, 0.01, 20 * rate)
    try:
        indices, times = in_step([first, other], ["a", "b"], "test")
    except BadInput:  # right between two frames of a camera that is no faster, which is nearer is chance
        assert rate == 1 and 0.03 < abs(offset) % 0.1 < 0.07
        return
    assert (np.abs(times[1] - times[0]) <= 0.06).all()
    assert (np.diff(indices[0]) == 1).all() and (np.diff(indices[1]) >= 1).all()
    inside = (first > other[0] + 0.06) & (first < other[-1] - 0.06)
    assert set(np.flatnonzero(inside)) <= set(indices[0])  # nothing is lost but the ends


def test_a_gap_names_the_camera_and_the_frame():
    times = np.arange(20) / 10
    with pytest.raises(BadInput, match=r"camera b has no frame within 50.0 ms of a's frame 7 at 0.700 s"):
        in_step([times, np.delete(times, 7)], ["a", "b"], "rec")
    with pytest.raises(BadInput, match=r"camera b begins at 5\.000 s, after camera a has ended at 1\.900 s"):
        in_step([times, times + 5], ["a", "b"], "rec")
    with pytest.raises(BadInput, match="no faster than the others"):
        in_step([np.arange(40) / 20, times + 1e-4], ["a", "b"], "rec")


# Recordings

def write_recording(root: Path, num_frames: int = 9, size: tuple[int, int] = SIZE, names=NAMES) -> Path:
    for side, name in enumerate(names):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(num_frames):
            cv2.imwrite(str(root / name / f"{i:03d}.png"), texture(i, side, size[1], size[0])[..., ::-1])
    write_toml(root / "rig.toml")
    return root


def source(root: Path, **fields):
    settings = {"media": "{name}", "calibration": "rig.toml", "fps": 10} | fields
    return make_source(MultiviewConfig(root=str(root), **settings), ClipConfig(min_frames=4))


def test_a_recording_is_planned_and_opened(tmp_path):
    root = write_recording(tmp_path / "one")
    (clip,) = source(root, reference="b", up=[0, -2, 0], scale_relative_sigma=0.01).plan()
    assert clip.num_frames == 9 and [v["name"] for v in clip.params["views"]] == ["b", "a", "c"]
    with source(root, reference="b", up=[0, -2, 0], scale_relative_sigma=0.01).open(clip) as frames:
        assert [v.name for v in frames.views] == ["b", "a", "c"] and frames.rig is None
        assert frames.scale == "calibrated" and frames.scale_sigma == 0.01
        np.testing.assert_allclose(frames.time_s, np.arange(9) / 10)
        images = frames.read(2, 5)
        assert [i.shape for i in images] == [(3, SIZE[1], SIZE[0], 3)] * 3
        b, a = (cameras()[NAMES.index(n)].T_cam_world for n in "ba")
        expected = b @ a.inverse()
        np.testing.assert_allclose(frames.views[1].T_rig_view.matrix(), expected.matrix(), atol=1e-9)
        np.testing.assert_allclose(frames.views[0].T_rig_view.matrix(), np.eye(4))
        np.testing.assert_allclose(frames.given["up"], b.rotation @ [0, -1, 0], atol=1e-9)
        with pytest.raises(IndexError):
            frames.read(5, 10)
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    assert next(source(moved, reference="b").plan()).key == clip.key


def test_units_and_scales(tmp_path):
    root = write_recording(tmp_path)
    write_qualisys(root / "rig.qca.txt")
    write_colmap(root / "sparse", binary=True)

    def opened(**fields):
        one = source(root, **fields)
        with one.open(next(one.plan())) as frames:
            return frames.scale, np.linalg.norm(frames.views[1].T_rig_view.translation)

    metres = opened()[1]
    assert opened(calibration="rig.qca.txt") == ("calibrated", pytest.approx(metres))
    assert opened(calibration="sparse") == ("relative", pytest.approx(metres))
    assert opened(calibration="sparse", unit="cm") == ("calibrated", pytest.approx(metres / 100))


def test_offsets_and_timestamps_bring_cameras_in_step(tmp_path):
    root = write_recording(tmp_path)
    lines = ["sync_index,cam_id,frame_time"]
    lines += [f"{i},{name},{100 + i / 10 + 0.01 * k:.4f}" for k, name in enumerate(NAMES) for i in range(9)]
    (root / "times.csv").write_text("\n".join(lines) + "\n")
    one = source(root, timestamps="times.csv")
    with one.open(next(one.plan())) as frames:
        np.testing.assert_allclose(frames.view_time_s - frames.time_s, [[0.0] * 9, [0.01] * 9, [0.02] * 9], atol=1e-9)
    late = source(root, offsets_s={"c": 0.3})  # began 0.3 s after the others
    with late.open(next(late.plan())) as frames:
        assert frames.num_frames == 6
        whole = source(root)
        with whole.open(next(whole.plan())) as other:
            np.testing.assert_array_equal(frames.read(0, 1)[0], other.read(3, 4)[0])
            np.testing.assert_array_equal(frames.read(0, 1)[2], other.read(0, 1)[2])


def test_what_a_codec_cuts_off_at_the_right_is_no_other_shape(tmp_path):
    root = write_recording(tmp_path, size=(90, 64))
    one = source(root)
    with one.open(next(one.plan())) as frames:
        assert frames.views[0].camera.width == 90
        assert frames.views[0].camera.cx == pytest.approx(cameras()[0].K[0, 2])


def edit(root: Path, old: str, new: str, name: str = "rig.toml") -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))


@pytest.mark.parametrize(("change", "fields", "words"), [
    (None, {"calibration": "none.toml"}, r"none\.toml: no such calibration"),
    (None, {"calibration": "a"}, r"cameras\.txt: no such file, expected COLMAP's"),
    (None, {"reference": "d"}, "no camera d, named by source.reference; it has a, b, c"),
    (None, {"cameras": ["a", "z"]}, "no camera z, named by source.cameras"),
    (None, {"cameras": ["a", "a"]}, "names a camera twice"),
    (None, {"media": "cam_{name}"}, "camera a: .*cam_a: no such folder or file"),
    (None, {"media": {"a": "a", "b": "b"}}, "camera c of the calibration has no entry in source.media"),
    (None, {"media": "../{name}"}, "camera a: "),
    (None, {"fps": None}, "images of camera a without times; give timestamps"),
    (None, {"turned": {"b": 90}}, r"camera b: pictures of 96x64 lie sideways|pictures are 96x64"),
    (None, {"timestamps": "none.csv"}, r"none\.csv: cannot read timestamps"),
    (None, {"offsets_s": {"b": 60}}, "camera b begins at 60.000 s, after camera"),
    (lambda r: edit(r, "matrix", "mattrix"), {}, r"rig\.toml: camera a: no matrix .*is the camera calibrated"),
    (lambda r: edit(r, "translation = [0.2,", "translation = [nan,"), {}, "camera b: translation: found"),
    (lambda r: edit(r, "size = [96, 64]", "size = [64, 96]"), {}, "lie sideways .*turned: {a: 90} or 270|outside of"),
    (lambda r: edit(r, "size = [96, 64]", "size = [960, 480]"), {}, "pictures are 96x64, expected 960x480"),
    (lambda r: edit(r, 'name = "b"', 'name = "a"'), {}, "two cameras are named a"),
    (lambda r: edit(r, "[metadata]", "[metadata"), {}, r"rig\.toml: not toml"),
    (lambda r: (r / "b" / "004.png").unlink(), {"timestamps": "{name}.txt"}, r"a\.txt: cannot read timestamps"),
    (lambda r: (r / "b" / "004.png").unlink(), {}, "camera b has 8 images, camera a 9; 004 is of one of them alone"),
    (lambda r: (r / "c" / "000.png").write_bytes(b""), {}, r"000\.png: empty"),
    (lambda r: (r / "t.csv").write_text("x,y\n1,2\n"), {"timestamps": "t.csv"}, r"t\.csv: columns x, y, expected"),
    (lambda r: (r / "t.csv").write_text("cam_id,time_s\na,1\n"), {"timestamps": "t.csv"},
     "camera a: 1 times, expected 9"),
    (lambda r: (r / "t.csv").write_text("cam_id,time_s\nb,one\n"), {"timestamps": "t.csv"}, r"t\.csv:2: "),
])
def test_what_is_missing_is_named(tmp_path, change, fields, words):
    root = write_recording(tmp_path / "rec")
    if change:
        change(root)
    refused(source(root, **fields), words)


def test_links_do_not_lead_out_of_the_root(tmp_path):
    outside = write_recording(tmp_path / "outside")
    root = write_recording(tmp_path / "root")
    for file in (root / "b").iterdir():
        file.unlink()
    (root / "b").rmdir()
    (root / "b").symlink_to(outside / "b")
    refused(source(root), "leads out of")


@pytest.mark.parametrize(("name", "spoil", "words"), [
    ("colmap_binary", lambda f: (f / "images.bin").write_bytes((f / "images.bin").read_bytes()[:100]), "cut short"),
    ("colmap_binary", lambda f: (f / "cameras.bin").write_bytes(struct.pack("<Q", 1 << 60)), "says 11529215"),
    ("colmap_binary", lambda f: (f / "cameras.bin").write_bytes(struct.pack("<QiiQQ", 1, 1, 99, 9, 9)), "number 99"),
    ("colmap_text", lambda f: edit(f, "OPENCV", "FOV", "cameras.txt"), "camera model 'FOV', expected one of"),
    ("colmap_text", lambda f: edit(f, "b.png", "a.png", "images.txt"), "a second image of camera a"),
    ("colmap_text", lambda f: (f / "images.txt").unlink(), r"images\.txt: no such file"),
    ("rig.qca.txt", lambda f: f.write_text("<!DOCTYPE x []>" + f.read_text()), "declares entities"),
    ("rig.qca.txt", lambda f: f.write_text(f.read_text().replace("r11", "q11")), "<transform> has no r11"),
    ("rig.qca.txt", lambda f: f.write_text("<cameras>"), "not xml"),
    ("rig.json", lambda f: f.write_text("[" * 100_000), "not a calibration|not json"),
    ("rig.json", lambda f: f.write_text("[]"), "no camera in it"),
])
def test_bad_calibrations_are_refused(tmp_path, name, spoil, words):
    WRITERS[name](tmp_path / name)
    spoil(tmp_path / name)
    with pytest.raises(BadInput, match=words):
        load_rig(tmp_path / name)


# Real recordings

@pytest.mark.shared
@pytest.mark.skipif(not CHARUCO.is_dir(), reason=f"{CHARUCO} is not there")
def test_four_cameras_of_caliscope():
    one = make_source(MultiviewConfig(root=str(CHARUCO), media="cam_{name}.mp4", calibration="camera_array.toml",
                                      timestamps="timestamps.csv"), ClipConfig(num_frames=60))
    (clip,) = one.plan()
    with one.open(clip) as frames:
        assert len(frames.views) == 4 and frames.num_frames == 57
        assert np.abs(frames.view_time_s - frames.time_s).max() < 0.05
        assert frames.time_s[-1] == pytest.approx(9.34, abs=0.05)
        assert {image.shape for image in frames.read(0, 1)} == {(1, 720, 1280, 3)}


@pytest.mark.shared
@pytest.mark.skipif(not PERSON.is_dir(), reason=f"{PERSON} is not there")
def test_four_cameras_of_qualisys():
    one = make_source(MultiviewConfig(root=str(PERSON), calibration="Calib.qca.txt"), ClipConfig(num_frames=100))
    (clip,) = one.plan()
    with one.open(clip) as frames:
        assert [v.camera.width for v in frames.views] == [1080, 1080, 1088, 1088]  # calibrated at 1088
        assert 2 < np.linalg.norm(frames.views[1].T_rig_view.translation) < 4
