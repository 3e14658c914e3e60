"""Argoverse 2 sensor logs without their sensors: boxes in the axes of the vehicle, its poses in the city.

    LOG/annotations.feather             a row a box: timestamp_ns, track_uuid, category, sizes, pose in the ego frame
    LOG/city_SE3_egovehicle.feather     the vehicle's pose in the city at more times than those

The vehicle's frame has x ahead, y to the left, z up, its origin on the rear axle. The camera that questions speak of is
that origin, looking ahead: there are no pictures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.geometry.poses import Pose
from curate.sources.annotated.cuboids import Annotated
from curate.sources.annotated.recordings import (
    AnnotatedSource,
    Recording,
    TrackTable,
    check_box,
    check_steps,
    find,
    need,
    rotation_of,
)
from curate.sources.base import BadInput
from curate.sources.config_annotated import Argoverse2Config

BOXES, POSES = "annotations.feather", "city_SE3_egovehicle.feather"
ROTATION, PLACE, SIZE = ("qw", "qx", "qy", "qz"), ("tx_m", "ty_m", "tz_m"), ("length_m", "width_m", "height_m")
CATEGORIES = frozenset({
    "ANIMAL", "ARTICULATED_BUS", "BICYCLE", "BICYCLIST", "BOLLARD", "BOX_TRUCK", "BUS", "CONSTRUCTION_BARREL",
    "CONSTRUCTION_CONE", "DOG", "LARGE_VEHICLE", "MESSAGE_BOARD_TRAILER", "MOBILE_PEDESTRIAN_CROSSING_SIGN",
    "MOTORCYCLE", "MOTORCYCLIST", "OFFICIAL_SIGNALER", "PEDESTRIAN", "RAILED_VEHICLE", "REGULAR_VEHICLE",
    "SCHOOL_BUS", "SIGN", "STOP_SIGN", "STROLLER", "TRAFFIC_LIGHT_TRAILER", "TRUCK", "TRUCK_CAB",
    "VEHICULAR_TRAILER", "WHEELCHAIR", "WHEELED_DEVICE", "WHEELED_RIDER"})
EGO_CAM = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # camera axes to the vehicle's


class Argoverse2(AnnotatedSource):
    """kind: argoverse2."""

    kind = "argoverse2"
    config: Argoverse2Config

    def places(self) -> list[Path]:
        if self.config.recordings is None:
            return [self.root]
        return find(self.root, self.config.recordings, "Argoverse 2 logs (source.recordings)", folders=True)

    def read(self, place: Path) -> Recording:
        files = [place / BOXES, place / POSES]
        boxes = _columns(files[0], ("timestamp_ns", "track_uuid", "category", *SIZE, *ROTATION, *PLACE))
        poses = _columns(files[1], ("timestamp_ns", *ROTATION, *PLACE))
        stamps, frame = np.unique(boxes["timestamp_ns"], return_inverse=True)
        step = self.config.frame_step
        time_s = (stamps - stamps[0])[::step] * 1e-9
        check_steps(time_s, str(files[0]), "sweep")
        order = np.argsort(poses["timestamp_ns"], kind="stable")
        at = order[np.minimum(np.searchsorted(poses["timestamp_ns"][order], stamps[::step]), len(order) - 1)]
        missing = poses["timestamp_ns"][at] != stamps[::step]
        if missing.any():
            raise BadInput(f"{files[1]}: no pose at {stamps[::step][missing][0]} ns, expected one for every time of "
                           f"{BOXES} ({int(missing.sum())} of {len(missing)} are missing)")
        R_city_ego = rotation_of(np.stack([poses[c][at] for c in ROTATION], -1), str(files[1]))
        ego = np.stack([poses[c][at] for c in PLACE], -1)
        if not np.isfinite(ego).all():
            raise BadInput(f"{files[1]}: a pose that is not finite")
        table = TrackTable(len(time_s))
        values = np.stack([boxes[c] for c in (*SIZE, *PLACE)], -1)
        for row in np.flatnonzero(frame % step == 0):
            where, category = f"{files[0]}: row {row}", str(boxes["category"][row])
            if category not in CATEGORIES:
                raise BadInput(f"{where}: unknown category {category!r}, expected one of "
                               f"{', '.join(sorted(CATEGORIES))}")
            check_box(values[row], where)
            t = frame[row] // step
            R_ego_box = rotation_of(np.array([boxes[c][row] for c in ROTATION]), where)
            table.add(str(boxes["track_uuid"][row]), category.replace("_", " ").lower(), t,
                      R_city_ego[t] @ values[row, 3:] + ego[t], R_city_ego[t] @ R_ego_box, values[row, :3], where)
        given = Annotated(time_s, Pose("world", "cam", R_city_ego @ EGO_CAM, ego), table.tracks(), "gravity",
                          np.array([0.0, 0, 1]), None)
        return Recording(given, [], files, "the middle of the rear axle of a vehicle, from where it looks ahead")


def _columns(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """
    Raises:
        BadInput: where the file is missing, is no feather file, or lacks a column or all rows.
    """
    import pyarrow
    from pyarrow import feather

    try:
        table = feather.read_table(need(path, "a feather file of an Argoverse 2 log"), memory_map=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a feather file: {str(error).splitlines()[0]}") from None
    if missing := [name for name in names if name not in table.column_names]:
        raise BadInput(f"{path}: no column {missing[0]!r}; found {', '.join(table.column_names)}")
    if not table.num_rows:
        raise BadInput(f"{path}: no rows")
    columns = {}
    for name in names:
        if table[name].null_count:
            raise BadInput(f"{path}: {table[name].null_count} values of {name!r} are missing")
        is_text = name in ("track_uuid", "category")
        columns[name] = np.array(table[name].to_pylist(), str) if is_text else table[name].to_numpy()
        if not is_text and columns[name].dtype.kind not in ("i" if name == "timestamp_ns" else "if"):
            raise BadInput(f"{path}: {name!r} is of type {table[name].type}, expected "
                           f"{'whole numbers' if name == 'timestamp_ns' else 'numbers'}")
    return columns
