"""What real data there are below a folder, told by what files hold and never by what they are called.

- A stereo sequence: two folders of equally many images (or two videos), left before right in the order of names, and a
  calibration that fits them: a json or KITTI text file that `curate.sources.calibration` takes, or a pair of EuRoC
  sensor yamls. Poses: a text file of as many rows of 12 or 16 numbers as frames, or rows of 8 (time, position,
  quaternion). Times: as many rows of one number.
- A stereo pair: two images of one size, and a truth: an array of their size (npz, npy, pfm, a 16-bit png in 1/256 px,
  an 8-bit png in px), or a LiDAR scan (.bin of float32 x, y, z, intensity) with `Tr_velo_to_cam` in a calibration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.sources import calibration as calibrations
from curate.sources import calibration_files
from curate.sources.base import BadInput
from curate.sources.config import StereoCalibration, StereoPairConfig
from curate.sources.images import SUFFIXES, natural
from curate.sources.rectify import Rectification, rectify

IMAGES = tuple(SUFFIXES)
TABLES = (".txt", ".csv")
MAX_TABLE_BYTES = 32 << 20
DEFAULT_FPS = 10.0


@dataclass(frozen=True)
class Sequence:
    """A stereo recording.

    Args:
        config: opens it.
        num_frames: T.
        reference_cam: pose of the left camera, as published (before any rectification), in the body that the truth's
            poses are of; None without poses.
        poses: T_world_reference [T], or None.
    """

    folder: Path
    config: StereoPairConfig
    num_frames: int
    poses: Pose | None = None
    reference_cam: Pose | None = None

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Pair:
    """One stereo pair with a truth in the rectified left view.

    Args:
        rig: None where no calibration is there.
        disparity: [H, W] px, nan where unknown. whole_pixels: the truth is rounded to them.
        sparse: from LiDAR points rather than every pixel.
    """

    folder: Path
    left: np.ndarray  # [H, W] uint8, grey
    right: np.ndarray
    rig: StereoRig | None
    disparity: np.ndarray
    whole_pixels: bool
    sparse: bool

    @property
    def name(self) -> str:
        return self.folder.name


def folders(root: Path, depth: int = 2) -> Iterator[Path]:
    """`root` and what is below it, as deep as `depth`, in the order of names."""
    yield root
    if depth:
        for child in sorted((p for p in root.iterdir() if p.is_dir()), key=natural):
            yield from folders(child, depth - 1)


def images_in(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGES), key=natural)


def sequences(root: Path) -> Iterator[Sequence | tuple[Path, str]]:
    """Every stereo sequence below a folder; (folder, reason) where two views are there but cannot be used."""
    for folder in folders(root):
        views = _views(folder)
        for left, right, count in views:
            try:
                found = _sequence(folder, left, right, count)
            except Exception as error:  # other people's files: whatever is wrong with one folder, the next is read
                yield folder, f"{type(error).__name__}: {error}"
                continue
            if found is not None:
                yield found


def _views(folder: Path) -> list[tuple[str, str, int]]:
    """(left, right, frames): neighbours, by name, among sub-folders of equally many images; two at a time."""
    sets = []
    for child in sorted((p for p in folder.iterdir() if p.is_dir()), key=natural):
        for place in (child, child / "data"):
            if place.is_dir() and (images := images_in(place)):
                sets.append((place.relative_to(folder).as_posix(), len(images)))
                break
    out = []
    for (left, a), (right, b) in zip(sets[::2], sets[1::2]):
        if a == b and a >= 2:
            out.append((left, right, a))
    return out


def _sequence(folder: Path, left: str, right: str, count: int) -> Sequence | None:
    euroc = _euroc(folder, left, right)
    calibration: str | StereoCalibration | None = None
    reference_cam, fps = None, None
    if euroc is not None:
        calibration, body_cam, fps = euroc
        reference_cam = body_cam
    else:
        path, matrix, fps = _calibration_file(folder, images_in(folder / left)[0])
        if path is None:
            return None
        calibration = path.name
        reference_cam = matrix
    tables = _tables(folder)
    times = next((p.relative_to(folder).as_posix() for p, t in tables.items() if t.shape == (count, 1)), None)
    poses = next((found for p, t in tables.items() if (found := _poses(t, count)) is not None), None)
    config = StereoPairConfig(root=str(folder), left=left, right=right, calibration=calibration, timestamps=times,
                              fps=None if times else (fps or DEFAULT_FPS))
    return Sequence(folder, config, count, poses, reference_cam if poses is not None else None)


def _calibration_file(folder: Path, image: Path) -> tuple[Path | None, Pose, float | None]:
    """A calibration of rectified cameras that `curate` takes, the left camera in the axes its P matrix speaks of, and
    the frame rate where it says so."""
    import cv2

    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise BadInput(f"{image}: not an image")
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.txt")], key=natural):
        try:
            calibrations.load(path, None, pixels.ndim == 2).at(pixels.shape[1], pixels.shape[0], str(path))
        except BadInput:
            continue
        return path, left_of_reference(path, pixels.ndim == 2), _fps(path)
    return None, Pose("reference", "left", np.eye(3), np.zeros(3)), None


def left_of_reference(path: Path, is_grey: bool) -> Pose:
    """The left camera in the axes that P matrices share (KITTI's camera 0); the identity where there are none."""
    matrices = projections(path)
    pairs = [pair for pair in calibrations.PAIRS if all(n in matrices for n in pair)]
    if not pairs:
        return Pose("reference", "left", np.eye(3), np.zeros(3))
    number = (pairs[0] if len(pairs) == 1 else calibrations.PAIRS[int(is_grey)])[0]
    _, rotation, translation = calibrations.decompose_projection(matrices[number])
    return Pose("left", "reference", rotation, translation).inverse()


def projections(path: Path) -> dict[int, np.ndarray]:
    """P0..P3 [3, 4] of a json or text calibration."""
    import json

    text = path.read_text()
    if path.suffix.lower() == ".json":
        return {int(k[1]): np.array(v, float).reshape(3, 4) for k, v in json.loads(text).items()
                if re.fullmatch("P[0-3]", k)}
    return {int(n): np.array(rest.split(), float).reshape(3, 4)
            for n, rest in re.findall(r"^P(?:_rect_0)?([0-3]):(.*)$", text, re.MULTILINE)}


def _fps(path: Path) -> float | None:
    import json

    return json.loads(path.read_text()).get("fps") if path.suffix.lower() == ".json" else None


def _euroc(folder: Path, left: str, right: str) -> tuple[StereoCalibration, Pose, float | None] | None:
    """Calibration, the left camera in the body, and the rate, from two sensor yamls that name intrinsics and T_BS."""
    sensors = {}
    for view in (left, right):
        name = view.split("/")[0]
        for path in [folder / name / "sensor.yaml", *sorted(folder.glob(f"{name}*.y*ml"))]:
            if path.is_file() and {"T_BS", "intrinsics"} <= set(content := calibration_files.read_plain(path)):
                sensors[path] = content
                break
    if len(sensors) != 2:
        return None
    fields = calibration_files.fields_of(list(sensors.values()), " and ".join(map(str, sensors)))
    first = next(iter(sensors.values()))
    body = Pose.from_matrix("reference", "left", np.array(first["T_BS"]["data"], float).reshape(4, 4))
    return StereoCalibration(**fields), body, first.get("rate_hz")


def _tables(folder: Path) -> dict[Path, np.ndarray]:
    """Text files that are nothing but numbers, [rows, columns]."""
    out = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in TABLES):
        if path.stat().st_size > MAX_TABLE_BYTES:
            continue
        try:
            rows = [line.replace(",", " ").split() for line in path.read_text().splitlines()
                    if line.strip() and not line.lstrip().startswith("#")]
            table = np.array(rows, float)
        except (ValueError, UnicodeDecodeError):
            continue
        if table.ndim == 2:
            out[path] = table
    return out


def _poses(table: np.ndarray, count: int) -> Pose | None:
    """T_world_reference [T] of a table of `count` rows."""
    if len(table) != count:
        return None
    if table.shape[1] in (12, 16):
        matrices = table[:, :12].reshape(-1, 3, 4)
        if np.abs(np.linalg.det(matrices[:, :, :3]) - 1).max() > 0.01:
            return None
        return Pose.from_matrix("world", "reference", matrices)
    if table.shape[1] == 8 and np.abs(np.linalg.norm(table[:, 4:], axis=1) - 1).max() < 0.01:
        from scipy.spatial.transform import Rotation

        return Pose("world", "reference", Rotation.from_quat(table[:, 4:]).as_matrix(), table[:, 1:4])
    return None


def pairs(root: Path) -> Iterator[Pair | tuple[Path, str]]:
    """Every stereo pair with a truth below a folder; (folder, reason) where one cannot be used."""
    for folder in folders(root):
        images = images_in(folder)
        if not 2 <= len(images) <= 8:
            continue
        try:
            found = _pair(folder, images)
        except Exception as error:  # as above
            yield folder, f"{type(error).__name__}: {error}"
            continue
        if found is not None:
            yield found


def _pair(folder: Path, images: list[Path]) -> Pair | None:
    import cv2

    read = {p: cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in images}
    read = {p: i for p, i in read.items() if i is not None}
    shapes = [i.shape[:2] for i in read.values()]
    truth_files, whole = _dense_truth(folder, read)
    views = [p for p in read if p != truth_files]
    scans = sorted(folder.glob("*.bin"))
    if len(views) != 2 or len({read[p].shape for p in views}) != 1 or (truth_files is None and not scans):
        return None
    shape = shapes[0]
    grey = [i if i.ndim == 2 else cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) for i in (read[p] for p in views)]
    calibration, found = _pair_calibration(folder, read[views[0]])
    if truth_files is not None:
        disparity = _read_disparity(truth_files)
        if disparity.shape != shape:
            return None
        left, right = _in_order(grey, disparity)
        rig = found.rig if found is not None and found.maps is None else None
        return Pair(folder, left, right, rig, disparity, whole, False)
    if found is None:
        raise BadInput(f"{folder}: a scan, but no calibration with P matrices")
    left, right = (found.apply(view, image[None])[0] for view, image in enumerate(grey))
    disparity = scan_disparity(scans[0], calibration, found, read[views[0]].ndim == 2, shape)
    return Pair(folder, left, right, found.rig, disparity, False, True)


def _dense_truth(folder: Path, read: dict[Path, np.ndarray]) -> tuple[Path | None, bool]:
    """The file with a disparity of each pixel, and whether in whole pixels."""
    shapes = {i.shape[:2] for i in read.values()}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in (".npz", ".npy", ".pfm")):
        if _read_disparity(path).shape in shapes:
            return path, False
    colour = sum(i.ndim == 3 for i in read.values())
    for path, image in read.items():
        if image.ndim == 2 and (image.dtype == np.uint16 or (colour == 2 and len(read) >= 3)):
            return path, image.dtype == np.uint8
    return None, False


def _read_disparity(path: Path) -> np.ndarray:
    """[H, W] px, nan where unknown."""
    import cv2

    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as npz:
            array = next((npz[n] for n in npz.files if npz[n].ndim == 2), np.zeros((0, 0)))
    elif path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
    elif path.suffix.lower() == ".pfm":
        array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    else:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        array = np.where(image > 0, image / (256.0 if image.dtype == np.uint16 else 1.0), np.nan)
    array = np.asarray(array, float)
    return np.where(np.isfinite(array) & (array > 0), array, np.nan)


def _in_order(grey: list[np.ndarray], disparity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left and right: the order in which one looks like the other shifted by the truth."""
    import cv2

    v, u = np.indices(disparity.shape, dtype=np.float32)
    known = np.isfinite(disparity)
    at = u - np.nan_to_num(disparity).astype(np.float32)
    known &= at >= 0
    costs = []
    for left, right in (grey, grey[::-1]):
        moved = cv2.remap(right, at, v, cv2.INTER_LINEAR)
        costs.append(np.median(np.abs(moved.astype(float) - left)[known]))
    return tuple(grey) if costs[0] <= costs[1] else tuple(grey[::-1])


def _pair_calibration(folder: Path, image: np.ndarray) -> tuple[Path | None, Rectification | None]:
    """The calibration of a pair, and how it is rectified."""
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.txt")], key=natural):
        try:
            cameras = calibrations.load(path, None, image.ndim == 2).at(image.shape[1], image.shape[0], str(path))
            return path, rectify(cameras, str(path))
        except BadInput:
            continue
    return None, None


def scan_disparity(scan: Path, calibration: Path, rectified: Rectification, is_grey: bool, shape: tuple[int, int]
                   ) -> np.ndarray:
    """[H, W] px, nan where no LiDAR point is: KITTI's chain, less points that the camera cannot see.

    The scanner sits elsewhere: a point that lies clearly behind its neighbours in the image is hidden from the camera.

    Raises:
        BadInput: where the calibration does not place the scanner.
    """
    from scipy.ndimage import minimum_filter

    text = calibration.read_text()
    entries = dict(re.findall(r"^(\w+):(.*)$", text, re.MULTILINE))
    if "Tr_velo_to_cam" not in entries:
        raise BadInput(f"{calibration}: no Tr_velo_to_cam")
    turn = np.array(entries.get("R0_rect", "1 0 0 0 1 0 0 0 1").split(), float).reshape(3, 3)
    mount = np.array(entries["Tr_velo_to_cam"].split(), float).reshape(3, 4)
    points = np.fromfile(scan, np.float32).reshape(-1, 4)[:, :3].astype(float)
    reference = (points @ mount[:, :3].T + mount[:, 3]) @ turn.T
    rig = rectified.rig
    seen = (left_of_reference(calibration, is_grey).inverse() @ reference) @ rectified.R_rectified_left.T
    seen = seen[seen[:, 2] > 1]
    uv = np.round(rig.left.project(seen)).astype(int)
    inside = ((uv >= 0) & (uv < [shape[1], shape[0]])).all(-1)
    uv, z = uv[inside], seen[inside, 2]
    depth = np.full(shape, np.inf)
    np.minimum.at(depth, (uv[:, 1], uv[:, 0]), z)
    near = minimum_filter(depth, size=(7, 9), mode="nearest")
    visible = np.isfinite(depth) & (depth <= 1.05 * near + 0.1)
    return np.where(visible, rig.disparity(np.where(visible, depth, 1.0)), np.nan)
