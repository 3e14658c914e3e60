"""COLMAP's sparse models, text and binary: `cameras` and `images` of fixed cameras, one image a camera.

Written from the documented format (https://colmap.github.io/format.html). Numbers in binary files are little-endian; an
image is a quaternion (w, x, y, z) and a translation from world to camera, a camera's id, a name and its points, which
are passed over. COLMAP puts pixel centres at (0.5, 0.5): the principal point is moved by half a pixel. Camera models
beyond OpenCV's are refused by name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from curate.sources.base import BadInput
from curate.sources.rigs.camera import MAX_CAMERAS, RigCamera, make_camera

MAX_FILE_BYTES = 1 << 28
MAX_NAME = 4096
HALF = 0.5  # pixel centres


@dataclass(frozen=True)
class Model:
    """Number of parameters, and those as (fx, fy, cx, cy, distortion, lens)."""

    count: int
    read: Callable[[list[float]], tuple]


MODELS = {  # by COLMAP's number
    0: ("SIMPLE_PINHOLE", Model(3, lambda p: (p[0], p[0], p[1], p[2], [], "radtan"))),
    1: ("PINHOLE", Model(4, lambda p: (*p, [], "radtan"))),
    2: ("SIMPLE_RADIAL", Model(4, lambda p: (p[0], p[0], p[1], p[2], [p[3], 0, 0, 0], "radtan"))),
    3: ("RADIAL", Model(5, lambda p: (p[0], p[0], p[1], p[2], [p[3], p[4], 0, 0], "radtan"))),
    4: ("OPENCV", Model(8, lambda p: (*p[:4], p[4:], "radtan"))),
    5: ("OPENCV_FISHEYE", Model(8, lambda p: (*p[:4], p[4:], "fisheye"))),
    6: ("FULL_OPENCV", Model(12, lambda p: (*p[:4], p[4:], "radtan"))),
}
BY_NAME = {name: model for name, model in MODELS.values()}
KNOWN = ", ".join(BY_NAME)


@dataclass(frozen=True)
class _Camera:
    size: tuple[int, int]
    K: np.ndarray
    distortion: list[float]
    lens: str


@dataclass(frozen=True)
class _Image:
    name: str
    camera: int
    quaternion: np.ndarray  # [4] w, x, y, z
    translation: np.ndarray  # [3]


def read_colmap(folder: Path) -> list[RigCamera]:
    """Cameras named as their images: by the folder an image lies in, else by its name without suffix.

    Raises:
        BadInput: a file that is missing or not of this format; two images of one camera (it moves); names them.
    """
    binary = [folder / f"{name}.bin" for name in ("cameras", "images")]
    text = [folder / f"{name}.txt" for name in ("cameras", "images")]
    files = binary if any(path.is_file() for path in binary) else text
    for path in files:
        if not path.is_file():
            raise BadInput(f"{path}: no such file, expected COLMAP's cameras and images, .bin or .txt")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_FILE_BYTES}")
    if files is binary:
        cameras, images = _binary_cameras(files[0]), _binary_images(files[1])
    else:
        cameras, images = _text_cameras(files[0]), _text_images(files[1])
    if not images:
        raise BadInput(f"{files[1]}: no image in it, expected one for each camera")
    out: dict[str, RigCamera] = {}
    for image in images:
        path = PurePosixPath(image.name)
        name = path.parent.name or path.stem
        where = f"{files[1]}: image {image.name}"
        if name in out:
            raise BadInput(f"{where}: a second image of camera {name}; expected cameras that stand still, with one "
                           "image each")
        if image.camera not in cameras:
            raise BadInput(f"{where}: is of camera {image.camera}, which is not in {files[0].name}")
        camera = cameras[image.camera]
        out[name] = make_camera(where, name, camera.K, camera.distortion, _matrix(image.quaternion, where),
                                image.translation, camera.size, camera.lens)
    return list(out.values())


def _camera(where: str, name: str, size: tuple[int, int], params: list[float]) -> _Camera:
    if name not in BY_NAME:
        raise BadInput(f"{where}: camera model {name[:40]!r}, expected one of {KNOWN}; undistort with COLMAP first")
    model = BY_NAME[name]
    if len(params) != model.count:
        raise BadInput(f"{where}: {len(params)} parameters, expected {model.count} of {name}")
    fx, fy, cx, cy, distortion, lens = model.read(params)
    return _Camera(size, np.array([[fx, 0, cx - HALF], [0, fy, cy - HALF], [0, 0, 1]]), distortion, lens)


def _matrix(quaternion: np.ndarray, where: str) -> np.ndarray:
    norm = np.linalg.norm(quaternion)
    if not (np.isfinite(norm) and norm > 1e-6):
        raise BadInput(f"{where}: quaternion {quaternion.tolist()}, expected one of length 1")
    w, x, y, z = quaternion / norm
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])


# Text

def _text_lines(path: Path) -> list[tuple[int, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if not line.lstrip().startswith("#")]


def _text_cameras(path: Path) -> dict[int, _Camera]:
    out = {}
    for number, line in _text_lines(path):
        if not line:
            continue
        where, words = f"{path}:{number}", line.split()
        try:
            camera, size, params = int(words[0]), (int(words[2]), int(words[3])), [float(w) for w in words[4:20]]
        except (ValueError, IndexError):
            raise BadInput(f"{where}: found {line[:60]!r}, expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS...") from None
        out[camera] = _camera(where, words[1], size, params)
    return out


def _text_images(path: Path) -> list[_Image]:
    """Every second line is an image's points, which may be empty."""
    out: list[_Image] = []
    lines = _text_lines(path)
    while lines and not lines[0][1]:
        lines.pop(0)
    for number, line in lines[::2]:
        if not line:
            continue
        words = line.split(maxsplit=9)
        try:
            values = np.array([float(w) for w in words[1:8]])
            out.append(_Image(words[9], int(words[8]), values[:4], values[4:]))
        except (ValueError, IndexError):
            raise BadInput(f"{path}:{number}: found {line[:60]!r}, expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID "
                           "NAME") from None
        if len(out) > MAX_CAMERAS:
            raise BadInput(f"{path}: more than {MAX_CAMERAS} images, expected one for each camera")
    return out


# Binary

class _Bytes:
    """A file's bytes, taken from the front.

    Raises:
        BadInput: where it ends too early.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.at = path, path.read_bytes(), 0

    def take(self, form: str) -> tuple:
        size = struct.calcsize("<" + form)
        self.need(size)
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += size
        return values

    def need(self, size: int) -> None:
        if self.at + size > len(self.data):
            raise BadInput(f"{self.path}: ends at byte {len(self.data)}, expected at least {self.at + size}; cut "
                           "short, or not COLMAP's")

    def skip(self, size: int) -> None:
        self.need(size)
        self.at += size

    def name(self) -> str:
        end = self.data.find(b"\0", self.at, self.at + MAX_NAME)
        if end < 0:
            raise BadInput(f"{self.path}: a name at byte {self.at} has no end; not COLMAP's")
        text = self.data[self.at:end].decode("utf-8", "replace")
        self.at = end + 1
        return text

    def count(self, what: str) -> int:
        (count,) = self.take("Q")
        if count > MAX_CAMERAS:
            raise BadInput(f"{self.path}: says {count} {what}, expected at most {MAX_CAMERAS}, one for each camera")
        return count


def _binary_cameras(path: Path) -> dict[int, _Camera]:
    file, out = _Bytes(path), {}
    for _ in range(file.count("cameras")):
        camera, model, width, height = file.take("iiQQ")
        where = f"{path}: camera {camera}"
        if model not in MODELS:
            raise BadInput(f"{where}: camera model number {model}, expected one of {KNOWN}; undistort with "
                           "COLMAP first")
        name, known = MODELS[model]
        out[camera] = _camera(where, name, (width, height), list(file.take(f"{known.count}d")))
    return out


def _binary_images(path: Path) -> list[_Image]:
    file, out = _Bytes(path), []
    for _ in range(file.count("images")):
        values = file.take("i7di")
        name = file.name()
        (points,) = file.take("Q")
        file.skip(24 * points)  # x, y, id of the point
        out.append(_Image(name, values[8], np.array(values[1:5]), np.array(values[5:8])))
    return out
