"""Qualisys calibrations (.qca.txt, .xml) as exported by QTM.

Intrinsics are in 1/64 of a pixel, places in millimetres. `transform` has the camera's place in the world and, row by
row, its axes there with y up and z backwards: turned by half a circle about x they are OpenCV's. Pictures of a camera
with `viewrotation` are shown turned by that many degrees clockwise against what was calibrated.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from curate.sources.base import BadInput
from curate.sources.rigs.camera import MAX_CAMERAS, RigCamera, make_camera, numbers

SUBPIXELS = 64.0
FLIP = np.diag([1.0, -1.0, -1.0])  # half a circle about x


def read_qualisys(path: Path, text: str) -> list[RigCamera]:
    """
    Raises:
        BadInput: not xml, another kind of xml, or an entry that is missing or wrong; names file and camera.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadInput(f"{path}: declares entities, expected a plain Qualisys calibration")
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise BadInput(f"{path}: not xml: {error}") from error
    cameras = root.findall("cameras/camera")
    if root.tag != "calibration" or not cameras:
        raise BadInput(f"{path}: no calibration/cameras/camera in it, expected a Qualisys calibration")
    if len(cameras) > MAX_CAMERAS:
        raise BadInput(f"{path}: {len(cameras)} cameras, expected at most {MAX_CAMERAS}")
    return [_camera(camera, number, path) for number, camera in enumerate(cameras)]


def _camera(camera: ElementTree.Element, number: int, path: Path) -> RigCamera:
    name = camera.get("serial", str(number))
    where = f"{path}: camera {name}"

    def entries(tag: str, *keys: str) -> np.ndarray:
        found = camera.find(tag)
        if found is None:
            raise BadInput(f"{where}: no <{tag}>, expected one")
        missing = next((key for key in keys if found.get(key) is None), None)
        if missing:
            raise BadInput(f"{where}: <{tag}> has no {missing}")
        return numbers([found.get(key) for key in keys], len(keys), f"{where}: <{tag}>")

    left, top, right, bottom = entries("fov_video", "left", "top", "right", "bottom")
    fu, fv, cu, cv = entries("intrinsic", "focalLengthU", "focalLengthV", "centerPointU", "centerPointV") / SUBPIXELS
    lens = entries("intrinsic", "radialDistortion1", "radialDistortion2", "tangentalDistortion1",
                   "tangentalDistortion2", "radialDistortion3")
    axes = entries("transform", *(f"r{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3))).reshape(3, 3)
    place = entries("transform", "x", "y", "z")
    to_camera = FLIP @ axes
    turn = numbers(camera.get("viewrotation", "0"), 1, f"{where}: viewrotation")[0]
    if turn not in (0, 90, 180, 270):
        raise BadInput(f"{where}: viewrotation is {turn:g}, expected 0, 90, 180 or 270")
    return make_camera(where, name, [[fu, 0, cu - left], [0, fv, cv - top], [0, 0, 1]], lens, to_camera,
                       -to_camera @ place, (right - left + 1, bottom - top + 1), turned=int(turn))
