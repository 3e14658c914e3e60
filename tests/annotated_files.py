"""Annotated recordings written by the tests, as KITTI tracking, Argoverse 2 and DGP lay them out, with known motion."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

NUM = 20
RATE = 10.0
Motion = Callable[[float], tuple[float, float, float, float]]  # time, s -> x, y, z m and yaw rad, z up


def quaternion(yaw: float) -> tuple[float, float, float, float]:
    """w, x, y, z of a turn about z."""
    return float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))


def turned(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def drive(speed: float = 5.0, rate: float = 0.1) -> Motion:
    """A vehicle that drives along a circle, beginning along x."""
    return lambda t: (speed / rate * np.sin(rate * t), speed / rate * (1 - np.cos(rate * t)), 0.0, rate * t)


def straight(x: float, y: float, vx: float = 0.0, vy: float = 0.0, z: float = 0.8, yaw: float = 0.0) -> Motion:
    return lambda t: (x + vx * t, y + vy * t, z, yaw)


OBJECTS: dict[str, tuple[str, tuple[float, float, float], Motion]] = {  # id -> category, sizes, motion in the world
    "walker": ("PEDESTRIAN", (0.6, 0.7, 1.75), straight(12, 3, -1.2, 0.0, yaw=np.pi)),
    "parked": ("REGULAR_VEHICLE", (4.4, 1.8, 1.5), straight(15, -4, yaw=0.1)),
    "overtakes": ("REGULAR_VEHICLE", (4.6, 1.9, 1.6), straight(8, 4, 9.0, 0.5)),
    "behind": ("BUS", (11.0, 2.5, 3.1), straight(-20, 0, 4.0)),
}


def stamps(num: int = NUM) -> list[int]:
    return [315_966_000_000_000_000 + round(i * 1e9 / RATE) for i in range(num)]


def in_vehicle(ego: Motion, of: Motion, t: float) -> tuple[np.ndarray, float]:
    """Place and yaw of an object in the vehicle's axes."""
    place, own = np.array(ego(t)), np.array(of(t))
    return turned(place[3]).T @ (own[:3] - place[:3]), float(own[3] - place[3])


def write_av2(log: Path, ego: Motion | None = None, objects=None, num: int = NUM,
              change=lambda rows, poses: None) -> Path:
    """annotations.feather and city_SE3_egovehicle.feather. `change` may spoil the rows before they are written."""
    import pyarrow as pa
    from pyarrow import feather

    ego, objects = ego or drive(), objects or OBJECTS
    rows, poses = [], []
    for i, stamp in enumerate(stamps(num)):
        t = i / RATE
        x, y, z, yaw = ego(t)
        w, a, b, c = quaternion(yaw)
        poses.append({"timestamp_ns": stamp, "qw": w, "qx": a, "qy": b, "qz": c, "tx_m": x, "ty_m": y, "tz_m": z})
        for name, (category, (length, width, height), motion) in objects.items():
            place, turn = in_vehicle(ego, motion, t)
            w, a, b, c = quaternion(turn)
            rows.append({"timestamp_ns": stamp, "track_uuid": name, "category": category, "length_m": length,
                         "width_m": width, "height_m": height, "qw": w, "qx": a, "qy": b, "qz": c, "tx_m": place[0],
                         "ty_m": place[1], "tz_m": place[2], "num_interior_pts": 9})
    change(rows, poses)
    log.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pa.Table.from_pylist(rows), log / "annotations.feather")
    feather.write_feather(pa.Table.from_pylist(poses), log / "city_SE3_egovehicle.feather")
    return log


P2 = np.array([[700.0, 0, 300, 42.0], [0, 700, 120, -0.35], [0, 0, 1, 0.0]])  # 6 cm beside, 0.5 mm above
WIDTH, HEIGHT = 600, 240
TR_VELO_CAM = np.array([[0, -1.0, 0, 0.0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])  # of x ahead, y left, z up
TR_IMU_VELO = np.hstack([np.eye(3), [[-0.8], [0.3], [-0.8]]])


def write_kitti(root: Path, lines: list[str], *, images: list[int] = (), oxts: list[str] | None = None,
                name: str = "0000") -> Path:
    """label_02, calib, and image_02 and oxts where given."""
    import cv2

    for folder in ("label_02", "calib"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "label_02" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    matrices = {"P0": P2, "P2": P2, "R_rect": np.eye(3), "Tr_velo_cam": TR_VELO_CAM, "Tr_imu_velo": TR_IMU_VELO}
    (root / "calib" / f"{name}.txt").write_text("".join(
        f"{key}: {' '.join(f'{v:.12e}' for v in matrix.ravel())}\n" for key, matrix in matrices.items()))
    for number in images:
        path = root / "image_02" / name / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(0).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        cv2.imwrite(str(path), np.kron(picture, np.ones((8, 8, 1), np.uint8)))
    if oxts is not None:
        (root / "oxts").mkdir(exist_ok=True)
        (root / "oxts" / f"{name}.txt").write_text("\n".join(oxts) + "\n")
    return root


def label(frame: int, track: int, kind: str, size, place, turn: float, occluded: int = 0) -> str:
    """A line of label_02. size: length, width, height; place: the middle of the bottom, camera axes."""
    length, width, height = size
    x, y, z = place
    return (f"{frame} {track} {kind} 0 {occluded} 0.0 0 0 10 10 {height:.9f} {width:.9f} {length:.9f} {x:.9f} {y:.9f} "
            f"{z:.9f} {turn:.9f}")


CAMERA = {"fx": 400.0, "fy": 400.0, "cx": 159.5, "cy": 99.5, "skew": 0.0}
R_EGO_CAM = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # of a camera that looks along x, z up


def write_dgp(root: Path, objects=None, ego: Motion | None = None, num: int = 5,
              change=lambda scene, boxes: None) -> Path:
    """A scene with LIDAR, CAMERA_01 that looks ahead and CAMERA_02 that looks back. `change` may spoil it."""
    import cv2

    ego, objects = ego or drive(2.0), objects or {
        "11": (1, (4.4, 1.8, 1.5), straight(15, 1.5, -2.0)), "12": (0, (0.6, 0.6, 1.7), straight(9, -2, 0, 0.4))}
    scene = {"data": [], "samples": [], "ontologies": {"0": "onto", "1": "onto"}, "log": "", "name": ""}
    boxes: list[dict] = []
    for i in range(num):
        t, keys = i / 2, []
        stamp = (datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=t)).isoformat().replace("+00:00", "Z")
        x, y, z, yaw = ego(t)
        file = f"bounding_box_3d/LIDAR/{i}.json"
        own = []
        for name, (kind, (length, width, height), motion) in objects.items():
            place, turn = in_vehicle(ego, motion, t)
            own.append({"class_id": kind, "instance_id": int(name), "num_points": 50, "box": {
                "length": length, "width": width, "height": height, "pose": pose_json(place, quaternion(turn))}})
        boxes.append({"annotations": own})
        pose = pose_json((x, y, z), quaternion(yaw))
        entries = {"LIDAR": {"point_cloud": {"annotations": {"1": file}, "pose": pose}}}
        for camera, back in (("CAMERA_01", 0.0), ("CAMERA_02", np.pi)):
            R = turned(yaw + back) @ R_EGO_CAM
            entries[camera] = {"image": {"annotations": {}, "filename": f"rgb/{camera}/{i}.png", "width": 320,
                                         "height": 200, "pose": pose_json((x, y, z + 1.2), of_matrix(R))}}
            path = root / "rgb" / camera / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((200, 320, 3), 40 + 20 * i, np.uint8))
        for name, datum in entries.items():
            key = f"{name}{i}"
            keys.append(key)
            scene["data"].append({"key": key, "datum": datum, "id": {"name": name, "timestamp": stamp,
                                                                     "index": str(i)}})
        scene["samples"].append({"calibration_key": "cal", "datum_keys": keys,
                                 "id": {"timestamp": stamp, "index": str(i)}})
    change(scene, boxes)
    dump(root / "scene_0.json", scene)
    for i, content in enumerate(boxes):
        dump(root / f"bounding_box_3d/LIDAR/{i}.json", content)
    identity = pose_json((0, 0, 0), (1, 0, 0, 0))
    dump(root / "calibration/cal.json", {"names": ["LIDAR", "CAMERA_01", "CAMERA_02"], "extrinsics": [identity] * 3,
                                         "intrinsics": [dict.fromkeys(CAMERA, 0.0), CAMERA, CAMERA]})
    dump(root / "ontology/onto.json", {"items": [{"id": 0, "name": "Person"}, {"id": 1, "name": "Bus/RV/Caravan"}]})
    return root


def dump(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def pose_json(place, wxyz) -> dict:
    return {"rotation": dict(zip(("qw", "qx", "qy", "qz"), map(float, wxyz))),
            "translation": dict(zip("xyz", map(float, place)))}


def of_matrix(R: np.ndarray) -> np.ndarray:
    """w, x, y, z of a rotation, by the eigenvector of Bar-Itzhack's matrix."""
    K = np.array([[R[0, 0] - R[1, 1] - R[2, 2], 0, 0, 0], [R[0, 1] + R[1, 0], R[1, 1] - R[0, 0] - R[2, 2], 0, 0],
                  [R[0, 2] + R[2, 0], R[1, 2] + R[2, 1], R[2, 2] - R[0, 0] - R[1, 1], 0],
                  [R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], np.trace(R)]]) / 3
    values, vectors = np.linalg.eigh(K)
    x, y, z, w = vectors[:, np.argmax(values)]
    return np.array([w, x, y, z])
