"""KITTI tracking: boxes in the axes of the rectified left grey camera, a line each; calibration; vehicle's poses.

    ROOT/label_02/0016.txt     frame id type truncated occluded alpha, 2D box, height width length, x y z, rotation_y
    ROOT/calib/0016.txt        P0..P3, R_rect, Tr_velo_cam, Tr_imu_velo
    ROOT/oxts/0016.txt         a line a frame: lat lon alt roll pitch yaw ... (not needed where the camera stands still)
    ROOT/image_02/0016/        000000.png .. of the left colour camera, numbered as the labels' frames

A place is the middle of a box's bottom; `rotation_y` turns its length from the camera's x axis about y (down). Poses
are those of the devkit: Mercator's projection at the first latitude. All is brought to the optical centre of the left
colour camera, which P2 puts some centimetres beside the axes of the labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.sources.annotated.cuboids import Annotated
from curate.sources.annotated.recordings import AnnotatedSource, Recording, TrackTable, check_box, find, need
from curate.sources.base import BadInput, check_inside
from curate.sources.config_annotated import KittiTrackingConfig
from curate.sources.images import ImageSequence, list_images

TYPES = {"Car": "car", "Van": "van", "Truck": "truck", "Pedestrian": "pedestrian", "Person": "sitting person",
         "Person_sitting": "sitting person", "Cyclist": "cyclist", "Tram": "tram", "Misc": ""}
IGNORED = "DontCare"
FIELDS = 17
PARTLY = 1  # of `occluded`: 0 fully visible, 1 partly, 2 largely occluded, 3 unknown
EARTH_M = 6378137.0
MAX_FRAMES = 100_000


class KittiTracking(AnnotatedSource):
    """kind: kitti_tracking."""

    kind = "kitti_tracking"
    config: KittiTrackingConfig

    def places(self) -> list[Path]:
        return find(self.root, self.config.labels, "KITTI tracking labels (source.labels)")

    def read(self, place: Path) -> Recording:
        calibration = self._file(self.config.calibration, place, "a KITTI calibration (source.calibration)")
        matrices = read_matrices(calibration)
        rows = _read_labels(place)
        images = self._images(place)
        if images:
            numbers, camera_size = [n for n, _ in images], images[0][1]
        else:
            numbers, camera_size = list(range(0, int(rows[-1][0]) + 1, self.config.frame_step)), None
        place_of = {number: t for t, number in enumerate(numbers)}
        P2 = matrices["P2"]
        offset = np.linalg.solve(P2[:, :3], P2[:, 3])  # of the labels' axes, in those of the left colour camera
        files, poses = [place, calibration], np.tile(np.eye(4), (len(numbers), 1, 1))
        if self.config.oxts is not None:
            oxts = self._file(self.config.oxts, place, "the vehicle's poses (source.oxts)")
            files.append(oxts)
            imu = read_oxts(oxts)
            if numbers[-1] >= len(imu):
                raise BadInput(f"{oxts}: {len(imu)} lines, expected one for each frame up to {numbers[-1]}")
            T_cam_imu = _cam_imu(matrices, calibration, offset)
            poses = imu[numbers] @ np.linalg.inv(T_cam_imu)
        T_world_cam = Pose.from_matrix("world", "cam", poses)
        table = TrackTable(len(numbers))
        for values in rows:
            frame, track, kind, where = int(values[0]), values[1], values[2], f"{place}:{values[-1]}"
            if kind == IGNORED or frame not in place_of:
                continue
            if kind not in TYPES:
                raise BadInput(f"{where}: unknown type {kind!r}, expected one of {', '.join((*TYPES, IGNORED))}")
            occluded, height, width, length, x, y, z, turn = values[3]
            check_box((length, width, height, x, y, z, turn), where)
            t = place_of[frame]
            pose = T_world_cam[t]
            centre = np.array([x, y - height / 2, z]) + offset
            table.add(track, TYPES[kind], t, pose @ centre, pose.rotation @ rotation_y(turn),
                      np.array([length, width, height]), where, in_sight=occluded <= PARTLY)
        camera = None
        if camera_size is not None:
            camera = Intrinsics(P2[0, 0], P2[1, 1], P2[0, 2], P2[1, 2], *camera_size)
        up, up_world = ("camera", None) if self.config.static else ("gravity", np.array([0.0, 0, 1]))
        time_s = np.array(numbers) / self.config.fps
        given = Annotated(time_s, T_world_cam, table.tracks(), up, up_world, camera)
        return Recording(given, self._paths, files, "" if camera else "that of the left colour camera on a vehicle")

    def _file(self, pattern: str, place: Path, what: str) -> Path:
        path = self.root / pattern.replace("{name}", place.stem)
        check_inside(path, self.root)
        return need(path, what)

    def _images(self, place: Path) -> list[tuple[int, tuple[int, int]]]:
        """(frame number, (width, height)) of each image; [] without pictures. Sets the images' paths."""
        self._paths: list[Path] = []
        if self.config.images is None:
            return []
        folder = self.config.images.replace("{name}", place.stem)
        check_inside(self.root / folder, self.root)
        self._paths = list_images(self.root, folder)
        if bad := [p for p in self._paths if not p.stem.isdigit()]:
            raise BadInput(f"{bad[0]}: expected images named by the number of their frame (000000.png)")
        numbers, step = [int(p.stem) for p in self._paths], self.config.frame_step
        for before, after, path in zip(numbers, numbers[1:], self._paths):
            if after - before != step:
                raise BadInput(f"{path}: a gap: the next image is of frame {after}, expected frame {before + step} "
                               f"(source.frame_step: {step})")
        first = ImageSequence(self._paths[:1])
        return [(number, (first.width, first.height)) for number in numbers]


def rotation_y(angle: float) -> np.ndarray:
    """[3, 3] from a box (x along its length to the front, y to its left, z up) to camera axes."""
    c, s = np.cos(angle), np.sin(angle)
    front, up = np.array([c, 0.0, -s]), np.array([0.0, -1.0, 0.0])
    return np.stack([front, np.cross(up, front), up], -1)


def read_matrices(path: Path) -> dict[str, np.ndarray]:
    """Name -> [3, 4] or [3, 3]; the names of object and tracking benchmarks are the same here.

    Raises:
        BadInput: where P2 is missing, or a matrix has another number of values or one that is not finite.
    """
    names = {"R0_rect": "R_rect", "Tr_velo_to_cam": "Tr_velo_cam", "Tr_imu_to_velo": "Tr_imu_velo"}
    found = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.replace(":", " ").split()
        if len(words) < 10:
            continue
        try:
            values = np.array(words[1:], float)
        except ValueError:
            raise BadInput(f"{path}:{number}: found {line[:40]!r}, expected a name and 9 or 12 numbers") from None
        if len(values) not in (9, 12) or not np.isfinite(values).all():
            raise BadInput(f"{path}:{number}: {len(values)} numbers, expected 9 or 12 that are finite")
        found[names.get(words[0], words[0])] = values.reshape(3, -1)
    if "P2" not in found or found["P2"].shape != (3, 4):
        raise BadInput(f"{path}: no P2 (of the left colour camera); found {', '.join(found) or 'no matrix'}")
    K = found["P2"][:, :3]
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], [0, 0, 1]) and K[0, 1] == K[1, 0] == 0):
        raise BadInput(f"{path}: P2 has no camera matrix of a rectified camera (found {K.tolist()})")
    return found


def _cam_imu(matrices: dict[str, np.ndarray], path: Path, offset: np.ndarray) -> np.ndarray:
    """[4, 4] from the inertial unit's axes to those of the left colour camera."""
    if missing := [name for name in ("R_rect", "Tr_velo_cam", "Tr_imu_velo") if name not in matrices]:
        raise BadInput(f"{path}: no {missing[0]}, which leads from the vehicle's poses to the camera's")
    out = np.eye(4)
    for name in ("Tr_imu_velo", "Tr_velo_cam", "R_rect"):
        step = np.eye(4)
        step[:3, :matrices[name].shape[1]] = matrices[name]
        out = step @ out
    out[:3, 3] += offset
    return out


def read_oxts(path: Path) -> np.ndarray:
    """[T, 4, 4] the inertial unit in a world with x east, y north, z up, from its first place.

    Raises:
        BadInput: where a line has fewer than six numbers, or one that is not finite.
    """
    rows = []
    for number, line in enumerate(_lines(path), 1):
        try:
            values = [float(word) for word in line.split()[:6]]
            if len(values) < 6 or not np.isfinite(values).all():
                raise ValueError
        except ValueError:
            raise BadInput(f"{path}:{number}: found {line[:40]!r}, expected lat lon alt roll pitch yaw ..") from None
        rows.append(values)
    if not rows:
        raise BadInput(f"{path}: no lines")
    lat, lon, alt, roll, pitch, yaw = np.array(rows).T
    scale = np.cos(np.radians(lat[0]))
    place = np.stack([scale * EARTH_M * np.radians(lon),
                      scale * EARTH_M * np.log(np.tan(np.radians(90 + lat) / 2)), alt], -1)
    out = np.tile(np.eye(4), (len(rows), 1, 1))
    out[:, :3, :3] = _about(2, yaw) @ _about(1, pitch) @ _about(0, roll)
    out[:, :3, 3] = place - place[0]
    return out


def _about(axis: int, angles: np.ndarray) -> np.ndarray:
    """[T, 3, 3] right-handed turns about an axis."""
    out, (i, j) = np.tile(np.eye(3), (len(angles), 1, 1)), ((axis + 1) % 3, (axis + 2) % 3)
    out[:, i, i] = out[:, j, j] = np.cos(angles)
    out[:, j, i], out[:, i, j] = np.sin(angles), -np.sin(angles)
    return out


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read as text: {error}") from error


def _read_labels(path: Path) -> list[tuple]:
    """(frame, track, type, [occluded, height, width, length, x, y, z, rotation_y], line) each, by frame."""
    rows = []
    for number, line in enumerate(_lines(need(path, "KITTI tracking labels")), 1):
        words = line.split()
        try:
            frame = int(words[0])
            numbers = [float(word) for word in (words[4], *words[10:17])]
            if len(words) not in (FIELDS, FIELDS + 1) or not 0 <= frame < MAX_FRAMES:
                raise ValueError
        except ValueError:
            raise BadInput(f"{path}:{number}: found {line[:60]!r}, expected {FIELDS} columns of KITTI tracking: frame, "
                           "id, type, truncated, occluded, alpha, a 2D box, sizes, place, rotation_y") from None
        rows.append((frame, words[1], words[2], numbers, number))
    if not rows:
        raise BadInput(f"{path}: no labels")
    return sorted(rows, key=lambda row: (row[0], row[-1]))
