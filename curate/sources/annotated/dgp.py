"""TRI-DGP scenes: several cameras and a LiDAR with poses, cuboids with ids in the LiDAR's axes; one camera is the view.

    SCENE/scene_*.json                      samples, and of each the data (datums) with file, pose and annotations
    SCENE/calibration/KEY.json              intrinsics and extrinsics by name
    SCENE/ontology/KEY.json                 names of the classes
    SCENE/bounding_box_3d/LIDAR/*.json      the cuboids (annotation "1"); those of the cameras are not used
    SCENE/rgb/CAMERA/*.jpg

Boxes are of the LiDAR's instants, which are the clip's times; a picture and its camera's pose are of its own instant,
less than a tenth of a second away.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from curate.geometry.cameras import Intrinsics
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
from curate.sources.base import BadInput, check_inside
from curate.sources.config_annotated import DgpConfig

CUBOIDS = "1"  # the key of 3D boxes among a datum's annotations


class Dgp(AnnotatedSource):
    """kind: dgp."""

    kind = "dgp"
    config: DgpConfig

    def places(self) -> list[Path]:
        return find(self.root, self.config.scenes, "DGP scene files (source.scenes)")

    def read(self, place: Path) -> Recording:
        reader = _Reader(place, self.root)
        scene = reader.load(place, "a DGP scene")
        try:
            return self._read(reader, scene)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise BadInput(f"{place}: not a DGP scene as expected: {type(error).__name__}: {error}") from error

    def _read(self, reader: _Reader, scene: dict[str, Any]) -> Recording:
        place = reader.place
        datums = {entry["key"]: entry for entry in scene["data"]}
        samples = sorted(scene["samples"], key=lambda s: _instant(s["id"]["timestamp"], reader.place))
        if not samples:
            raise BadInput(f"{place}: no samples")
        by_name = [reader.named(sample, datums) for sample in samples]
        lidars = [reader.pick(named, self.config.lidar, sample) for named, sample in zip(by_name, samples)]
        calibration = place.parent / "calibration" / f"{samples[0]['calibration_key']}.json"
        camera_name = self.config.camera or reader.first_camera(calibration, by_name)
        cameras = [reader.pick(named, camera_name, sample) for named, sample in zip(by_name, samples)]
        times = [_instant(lidar["id"]["timestamp"], place) for lidar in lidars]
        time_s = np.array([(time - times[0]).total_seconds() for time in times])
        check_steps(time_s, str(place), "sample")
        ontology = reader.ontology(scene)
        table, files = TrackTable(len(samples)), [place, calibration]
        for t, lidar in enumerate(lidars):
            datum = lidar["datum"]["point_cloud"]
            pose = reader.pose(datum["pose"], f"{place}: pose of {self.config.lidar} in sample {t}")
            if CUBOIDS not in datum["annotations"]:
                raise BadInput(f"{place}: sample {t} has no 3D boxes of {self.config.lidar}")
            path = reader.inside(datum["annotations"][CUBOIDS])
            files.append(path)
            for n, entry in enumerate(reader.load(path, "3D boxes")["annotations"]):
                where, box = f"{path}: box {n}", entry["box"]
                if entry["class_id"] not in ontology:
                    raise BadInput(f"{where}: unknown class_id {entry['class_id']}, expected one of the ontology's "
                                   f"{sorted(ontology)}")
                size = np.array([box["length"], box["width"], box["height"]], float)
                own = box["pose"]["translation"]
                centre = np.array([own["x"], own["y"], own["z"]], float)
                check_box([*size, *centre], where)
                own_pose = reader.pose(box["pose"], where)
                table.add(str(entry["instance_id"]), ontology[entry["class_id"]], t, pose @ centre,
                          pose.rotation @ own_pose.rotation, size, where,
                          in_sight=entry.get("num_points", self.config.min_points) >= self.config.min_points)
        poses = [reader.pose(c["datum"]["image"]["pose"], f"{place}: pose of {camera_name}") for c in cameras]
        T_world_cam = Pose("world", "cam", np.stack([p.rotation for p in poses]),
                           np.stack([p.translation for p in poses]))
        image = cameras[0]["datum"]["image"]
        camera = reader.intrinsics(calibration, camera_name, (int(image["width"]), int(image["height"])))
        images = [reader.inside(c["datum"]["image"]["filename"]) for c in cameras] if self.config.pictures else []
        for path in images:
            need(path, f"the picture of {camera_name}")
        up = reader.pose(lidars[0]["datum"]["point_cloud"]["pose"], str(place)).rotation[:, 2]
        given = Annotated(time_s, T_world_cam, table.tracks(), "ground-plane", up,
                          camera if self.config.pictures else None)
        return Recording(given, images, files, "" if images else f"that of {camera_name} on a vehicle")


def _instant(text: str, place: Path) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{place}: found the timestamp {text!r}, expected a date and time as in ISO 8601") from None


class _Reader:
    """Files of one scene, each within the source's root."""

    def __init__(self, place: Path, root: Path) -> None:
        self.place, self.root = place, root

    def inside(self, name: str) -> Path:
        path = self.place.parent / name
        check_inside(path, self.root)
        return path

    def load(self, path: Path, what: str) -> dict[str, Any]:
        try:
            found = json.loads(need(path, what).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}: not JSON: {error}") from None
        if not isinstance(found, dict):
            raise BadInput(f"{path}: found a JSON {type(found).__name__}, expected {what}")
        return found

    def named(self, sample: dict[str, Any], datums: dict[str, Any]) -> dict[str, Any]:
        """Name -> datum of one sample."""
        if missing := [key for key in sample["datum_keys"] if key not in datums]:
            raise BadInput(f"{self.place}: datum {missing[0]} of sample {sample['id']['index']} is not in `data`")
        return {datums[key]["id"]["name"]: datums[key] for key in sample["datum_keys"]}

    def pick(self, named: dict[str, Any], name: str, sample: dict[str, Any]) -> dict[str, Any]:
        if name not in named:
            raise BadInput(f"{self.place}: sample {sample['id']['index']} ({sample['id']['timestamp']}) has no "
                           f"{name!r}; it has {', '.join(sorted(named))}")
        return named[name]

    def first_camera(self, calibration: Path, by_name: list[dict[str, Any]]) -> str:
        names = self.load(calibration, "the calibration of the scene")["names"]
        for name in names:
            if all(name in named and "image" in named[name]["datum"] for named in by_name):
                return name
        raise BadInput(f"{self.place}: no camera of {calibration.name} ({', '.join(names)}) is in every sample")

    def intrinsics(self, calibration: Path, name: str, size: tuple[int, int]) -> Intrinsics:
        found = self.load(calibration, "the calibration of the scene")
        if name not in found["names"]:
            raise BadInput(f"{calibration}: no {name!r}; it has {', '.join(found['names'])}")
        own = found["intrinsics"][found["names"].index(name)]
        try:
            return Intrinsics(own["fx"], own["fy"], own["cx"], own["cy"], *size)
        except ValueError as error:
            raise BadInput(f"{calibration}: {name}: {error}") from None

    def ontology(self, scene: dict[str, Any]) -> dict[int, str]:
        """class_id -> a name for a sentence: of "Bus/RV/Caravan" the first."""
        path = self.place.parent / "ontology" / f"{scene['ontologies'][CUBOIDS]}.json"
        items = self.load(path, "the ontology of the boxes")["items"]
        return {item["id"]: item["name"].split("/")[0].strip().lower() for item in items}

    def pose(self, entry: dict[str, Any], where: str) -> Pose:
        """T_world_datum of a pose as DGP writes it."""
        q, t = entry["rotation"], entry["translation"]
        place = np.array([t["x"], t["y"], t["z"]], float)
        if not np.isfinite(place).all():
            raise BadInput(f"{where}: a place that is not finite")
        return Pose("world", "cam", rotation_of(np.array([q["qw"], q["qx"], q["qy"], q["qz"]], float), where), place)
