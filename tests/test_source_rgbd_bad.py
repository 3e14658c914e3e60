"""RGB-D recordings and settings that cannot be used: which file, what was found, what was expected."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_rgbd import RgbdConfig
from curate.sources.rgbd import Rgbd
from tests.rgbd_media import depth_image, recording, write_folders, write_seven_scenes, write_tum
from tests.test_source_rgbd import config, opened


@pytest.fixture(scope="module")
def made():
    return recording()


def tum(change):
    def prepare(root, made):
        write_tum(root, made)
        change(root)
        return config(root, made)
    return prepare


def edit(name, line, text):
    def change(root):
        lines = (root / name).read_text().splitlines()
        lines[line] = text
        (root / name).write_text("\n".join(lines) + "\n")
    return change


def seven(change, **more):
    def prepare(root, made):
        write_seven_scenes(root, made)
        change(root)
        return config(root, made, layout="7-scenes", **more)
    return prepare


def folders(change, **more):
    def prepare(root, made):
        write_folders(root, made)
        change(root)
        return config(root, made, layout="folders", **more)
    return prepare


def grey_depth(root):
    path = sorted((root / "depth").iterdir())[0]
    cv2.imwrite(str(path), np.full((180, 320), 7, np.uint8))


def other_size(root):
    path = sorted((root / "depth").iterdir())[0]
    cv2.imwrite(str(path), depth_image(np.full((100, 100), 2.0), 5000))


def gap(root):
    path = root / "rgb.txt"
    path.write_text(path.read_text().replace("1305031102.300000 ", "1305031105.300000 "))
    path = root / "depth.txt"
    path.write_text(path.read_text().replace("1305031102.304000 ", "1305031105.304000 "))


def keep(root): ...


BAD = {
    "no-list": (tum(lambda root: (root / "depth.txt").unlink()), r"depth\.txt: no such file, expected a list"),
    "empty-list": (tum(lambda root: (root / "rgb.txt").write_text("# nothing\n")), r"rgb\.txt: no frames"),
    "no-time": (tum(edit("rgb.txt", 2, "soon rgb/a.png")), r"rgb\.txt:3: found 'soon', expected a time"),
    "time-falls": (tum(edit("rgb.txt", 2, "1.0 rgb/a.png")), r"rgb\.txt:3: time 1\.0+ is not after"),
    "no-image": (tum(lambda root: sorted((root / "rgb").iterdir())[1].unlink()),
                 r"rgb/1305031102\.1.*no such file, expected an image named by rgb\.txt"),
    "out-of-root": (tum(edit("rgb.txt", 1, "1305031102.0 ../../outside.png")), r"outside\.png"),
    "other-times": (tum(lambda root: (root / "depth.txt").write_text("5 depth/a.png\n6 depth/b.png\n")),
                    r"no depth image lies within 0\.02 s of a colour image.*depth\.txt of 5\.000 to 6\.000 s"),
    "gap": (tum(gap), r"between .*max_gap_s"),
    "8-bit-depth": (tum(grey_depth), r"depth/.*: uint8 of 1 channel.*16 bits"),
    "other-shape": (tum(other_size), r"depth is 100x100 and colour 320x180, of another shape.*registration"),
    "no-depth-file": (seven(lambda root: (root / "frame-000002.depth.png").unlink()),
                      r"frame-000002\.depth\.png: no such file"),
    "no-pose-file": (seven(lambda root: (root / "frame-000001.pose.txt").unlink(), poses={}),
                     r"frame-000001\.pose\.txt: no such file"),
    "pose-of-three-lines": (seven(lambda root: (root / "frame-000001.pose.txt").write_text("1 0 0 0\n" * 3), poses={}),
                            r"frame-000001\.pose\.txt: 3 lines, expected a matrix of 4 x 4"),
    "pose-no-rotation": (seven(lambda root: (root / "frame-000001.pose.txt").write_text("1 0 0 0\n" * 4), poses={}),
                         r"a pose's rotation is none"),
    "wrong-layout": (lambda root, made: config(write_tum(root, made), made, layout="7-scenes"),
                     r"no frame-000000\.color\.png"),
    "no-color-folder": (folders(lambda root: shutil.rmtree(root / "color")), r"no folder color \(or rgb, image\)"),
    "fewer-depth": (folders(lambda root: next((root / "depth").iterdir()).unlink()),
                    r"4 images in color but 3 in depth"),
    "no-intrinsics": (folders(keep, color="other.json"), r"other\.json: no such file of intrinsics"),
    "bad-intrinsics": (folders(lambda root: (root / "camera.json").write_text('{"width": 320}'), color="camera.json"),
                       r"camera\.json: not Open3D's intrinsics"),
    "short-log": (folders(lambda root: (root / "trajectory.log").write_text("0 0 1\n1 0 0 0\n"), poses={}),
                  r"trajectory\.log: 2 lines, expected five a frame"),
    "principal-point": (lambda root, made: config(write_tum(root, made), color={"fx": 300, "cx": 900}),
                        r"cx = 900 px is outside of the image of 320x180"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_say_which_file_and_what_was_expected(name, made, tmp_path):
    prepare, expected = BAD[name]
    with pytest.raises(BadInput, match=expected):
        for item in Rgbd(prepare(tmp_path, made), ClipConfig(min_frames=2)).plan():
            raise AssertionError(f"planned: {item}")


def test_a_damaged_depth_image_inside_a_clip_is_named(made, tmp_path):
    write_tum(tmp_path, made)
    frames = opened(config(tmp_path, made))
    path = sorted((tmp_path / "depth").iterdir())[2]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=path.name):
        frames.read_depth(0, 4)


@pytest.mark.parametrize(("more", "expected"), [
    ({"registration": None}, "registration"),
    ({"registration": {"kind": "registered", "translation_m": [0.1, 0, 0]}}, "say kind: known"),
    ({"depth": {"fx": 500}}, "registered depth is in the colour camera"),
    ({"noise": {"per_m2": 0}}, "no sensor is exact"),
    ({"min_depth_m": 9}, "not below max_depth_m"),
    ({"poses": {"up": [0, 0, 0]}}, "up must have a length"),
    ({"registration": {"kind": "known", "rotation": [1, 0]}}, "3 or 9 numbers"),
    ({"color": {"fx": 300, "distortion": [0.1, 0.2]}}, "0, 4, 5 or 8 numbers"),
    ({"layout": "7-scenes", "poses": {"file": "a.txt"}}, "a file of poses for every frame"),
])
def test_settings_that_contradict_themselves_are_refused(more, expected):
    base = {"root": "x", "layout": "tum", "registration": {"kind": "registered"}, "color": {"fx": 300},
            "max_depth_m": 8}
    with pytest.raises(ValidationError, match=expected):
        RgbdConfig(**base | more)
