"""Answers about annotated recordings against what their files say, read here a second time in a few lines each.

    .venv/bin/python -m benchmarks.sources_annotated --data ../shared/data --out FILE

Recordings are found by what they hold: KITTI tracking labels, Argoverse 2 annotations, DGP scenes. Distances,
displacements, shifts, sizes and directions must be equal to the rounding of the answer; paths, speeds and accelerations
inside the stated interval. `World` is all that the judging sees of a recording: nothing of `curate` reads it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Row, row, skipped

EXACT = ("object_camera_distance", "object_object_distance", "object_camera_distance_change",
         "object_object_distance_change", "object_displacement", "camera_displacement", "lateral_shift",
         "longitudinal_shift", "object_size", "object_direction", "camera_direction")
INSIDE = ("object_path_length", "camera_path_length", "object_mean_speed", "camera_mean_speed", "object_peak_speed",
          "camera_peak_speed", "object_acceleration", "camera_acceleration")
AXES = {"right": (1, 0, 0), "left": (-1, 0, 0), "down": (0, 1, 0), "up": (0, -1, 0), "forward": (0, 0, 1),
        "backward": (0, 0, -1)}
SIDES = ("length", "width", "height")
UNITS = {"m": 1.0, "m/s": 1.0, "km/h": 3.6, "m/s²": 1.0}


@dataclass
class World:
    """A recording as its raw files give it: times [T], the camera's centre [T, 3] and rotation (camera to world)
    [T, 3, 3], and of each object its centre [T, 3] (nan where it is not annotated) and sides [3]."""

    time_s: np.ndarray
    camera: np.ndarray
    rotation: np.ndarray
    centres: dict[str, np.ndarray]
    sides: dict[str, np.ndarray]


def turn(w: float, x: float, y: float, z: float) -> np.ndarray:
    """[3, 3] of a unit quaternion (Rodrigues)."""
    v = np.array([x, y, z])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * (np.outer(v, v) - v @ v * np.eye(3))


def argoverse2(log: Path) -> World:
    from pyarrow import feather

    poses = {r["timestamp_ns"]: r for r in feather.read_table(log / "city_SE3_egovehicle.feather").to_pylist()}
    boxes = feather.read_table(log / "annotations.feather").to_pylist()
    stamps = sorted({b["timestamp_ns"] for b in boxes})
    ego = [turn(*(poses[t][k] for k in ("qw", "qx", "qy", "qz"))) for t in stamps]
    place = np.array([[poses[t][k] for k in ("tx_m", "ty_m", "tz_m")] for t in stamps])
    centres, sides = defaultdict(lambda: np.full((len(stamps), 3), np.nan)), {}
    for b in boxes:
        t = stamps.index(b["timestamp_ns"])
        centres[b["track_uuid"]][t] = ego[t] @ [b["tx_m"], b["ty_m"], b["tz_m"]] + place[t]
        sides.setdefault(b["track_uuid"], np.array([b["length_m"], b["width_m"], b["height_m"]]))
    ahead = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # right, down, forward of what looks along the vehicle's x
    return World((np.array(stamps) - stamps[0]) * 1e-9, place, np.array([R @ ahead for R in ego]), dict(centres), sides)


def kitti(labels: Path, calibration: Path, numbers: list[int] | None, fps: float = 10.0) -> World:
    """Of a camera that stands still; `numbers`: frames that are there, None for all."""
    lines = [line.split() for line in labels.read_text().splitlines()]
    numbers = numbers or list(range(max(int(line[0]) for line in lines) + 1))
    P2 = next(np.array(line.split()[1:], float).reshape(3, 4) for line in calibration.read_text().splitlines()
              if line.startswith("P2"))
    beside = np.linalg.inv(P2[:, :3]) @ P2[:, 3]  # of the labels' axes, seen from the left colour camera
    centres, sides = defaultdict(lambda: np.full((len(numbers), 3), np.nan)), {}
    for line in lines:
        if line[2] != "DontCare" and int(line[0]) in numbers:
            height, width, length, x, y, z = map(float, line[10:16])
            centres[line[1]][numbers.index(int(line[0]))] = np.array([x, y - height / 2, z]) + beside
            sides.setdefault(line[1], np.array([length, width, height]))
    count = len(numbers)
    return World((np.array(numbers) - numbers[0]) / fps, np.zeros((count, 3)), np.tile(np.eye(3), (count, 1, 1)),
                 dict(centres), sides)


def dgp(scene: Path, camera: str) -> World:
    content = json.loads(scene.read_text())
    data = {d["key"]: d for d in content["data"]}
    samples = [{data[k]["id"]["name"]: data[k] for k in s["datum_keys"]} for s in content["samples"]]

    def pose(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        q, t = entry["rotation"], entry["translation"]
        return turn(q["qw"], q["qx"], q["qy"], q["qz"]), np.array([t["x"], t["y"], t["z"]])

    times = [datetime.fromisoformat(s["LIDAR"]["id"]["timestamp"]).timestamp() for s in samples]
    cameras = [pose(s[camera]["datum"]["image"]["pose"]) for s in samples]
    centres, sides = defaultdict(lambda: np.full((len(samples), 3), np.nan)), {}
    for t, sample in enumerate(samples):
        cloud = sample["LIDAR"]["datum"]["point_cloud"]
        R, place = pose(cloud["pose"])
        for b in json.loads((scene.parent / cloud["annotations"]["1"]).read_text())["annotations"]:
            name, box = str(b["instance_id"]), b["box"]
            centres[name][t] = R @ pose(box["pose"])[1] + place
            sides.setdefault(name, np.array([box["length"], box["width"], box["height"]]))
    return World(np.array(times) - times[0], np.array([c for _, c in cameras]), np.array([R for R, _ in cameras]),
                 dict(centres), sides)


def chords(path: np.ndarray) -> np.ndarray:
    """Lengths between successive frames in which a path [T, 3] is known; nan elsewhere."""
    return np.linalg.norm(np.diff(path, axis=0), axis=1)


def truth(qa: dict[str, Any], names: dict[int, str], world: World, start: int) -> float | str:
    """What is asked, from the raw places: a number in m, m/s or m/s², or a direction's name.

    Args:
        names: region id to its name in the files. start: the clip's first frame in the recording.
    """
    i, j = start + qa["start_frame"], start + qa["end_frame"]
    paths = [world.centres[names[r]] for r in qa["regions"]]
    family = qa["family"]
    if family == "object_size":
        return float(world.sides[names[qa["regions"][0]]][[s in qa["id"].split(".") for s in
                                                           (f"{side}-{qa['form']}" for side in SIDES)].index(True)])
    path = world.camera if family.startswith("camera_") else paths[0]
    if family.startswith("object_camera_distance") or family.startswith("object_object_distance"):
        other = world.camera if len(paths) == 1 else paths[1]
        at_i, at_j = (float(np.linalg.norm(paths[0][t] - other[t])) for t in (i, j))
        return at_j - at_i if family.endswith("change") else at_j
    moved = world.rotation[i].T @ (path[j] - path[i])
    if family.endswith("_displacement"):
        return float(np.linalg.norm(moved))
    if family.endswith("_shift"):
        return float(moved[0 if family == "lateral_shift" else 2])
    if family.endswith("_direction"):
        return max(AXES, key=lambda name: float(moved @ AXES[name]))

    def speed(a: int, b: int) -> float:
        return way(a, b) / float(world.time_s[b] - world.time_s[a])

    def way(a: int, b: int) -> float:
        known = path[a:b + 1][np.isfinite(path[a:b + 1]).all(1)]
        return float(chords(known).sum())

    if family.endswith("_path_length"):
        return way(i, j)
    if family.endswith("_mean_speed"):
        return speed(i, j)
    if family.endswith("_peak_speed"):
        return float(np.nanmax(chords(path[i:j + 1]) / np.diff(world.time_s[i:j + 1])))
    middle = start + (qa["start_frame"] + qa["end_frame"]) // 2
    return (speed(middle, j) - speed(i, middle)) / (float(world.time_s[j] - world.time_s[i]) / 2)


def is_right(qa: dict[str, Any], true: float | str) -> bool | None:
    """Whether an answer holds: a number by its rounding (or its interval, `INSIDE`), a choice by its option; None where
    the family's choices are no numbers (which of several ranges)."""
    if isinstance(true, str):
        return qa["answer"] == true
    if not qa["unit"]:
        return None
    true *= UNITS[qa["unit"]]
    if qa["family"] in INSIDE:
        return bool(qa["low"] <= true <= qa["high"])
    value = float(qa["value"])
    places = qa["extra"]["num_digits"] - 1 - math.floor(math.log10(abs(value)))
    return bool(abs(value - true) <= 0.5 * 10.0**-places + 1e-9)


def found(data: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], Any]]:
    """(name, source settings, clip settings, reader of the raw files) of each recording below a folder."""
    for boxes in sorted(data.glob("*/annotations.feather")):
        yield f"{boxes.parent.name}", {"kind": "argoverse2", "root": str(boxes.parent)}, {"num_frames": 80}, \
            lambda folder=boxes.parent: argoverse2(folder)
    for labels in sorted(data.glob("*/*.txt")):
        first = labels.open(errors="replace").readline().split()
        calibration = labels.parent / "calib.txt"
        if len(first) not in (17, 18) or first[2] not in ("DontCare", "Car", "Pedestrian", "Cyclist", "Van"):
            continue
        settings = {"kind": "kitti_tracking", "root": str(labels.parent), "labels": labels.name,
                    "calibration": calibration.name, "static": True}
        yield f"{labels.parent.name}, all frames as text", settings, {"num_frames": 80}, \
            lambda labels=labels, calibration=calibration: kitti(labels, calibration, None)
        numbers = sorted(int(p.stem) for p in labels.parent.glob("image_02/*.png"))
        if len(numbers) > 2:
            more = {"images": "image_02", "frame_step": numbers[1] - numbers[0]}
            yield f"{labels.parent.name}, {len(numbers)} images", settings | more, {"min_frames": 3}, \
                lambda labels=labels, calibration=calibration, numbers=numbers: kitti(labels, calibration, numbers)
    for scene in sorted(data.glob("*/scene_*.json")):
        settings = {"kind": "dgp", "root": str(scene.parent), "camera": "CAMERA_01", "max_distance_m": 150.0}
        for more in ({}, {"pictures": False}):
            yield f"{scene.parent.name}, {'text' if more else 'images'}", settings | more, {"min_frames": 3}, \
                lambda scene=scene: dgp(scene, "CAMERA_01")


def judged(source: dict[str, Any], clip: dict[str, Any], world: World) -> dict[str, list[bool]]:
    """Family -> whether each answer holds."""
    import curate
    from curate.recipe import Recipe

    recipe = Recipe.model_validate({"source": source, "clip": clip, "questions": {
        "families": [*EXACT, *INSIDE], "units": {"speed": ["m/s", "km/h"]}}})
    out: dict[str, list[bool]] = defaultdict(list)
    for one in curate.clips(recipe):
        scene = curate.perceive(one)
        names = {r.id: scene.origin[f"R{r.id}"].removeprefix("track ") for r in scene.regions}
        for question in curate.ask(scene, **recipe.questions.model_dump(exclude={"audit"})):
            qa = question.to_json()
            held = is_right(qa, truth(qa, names, world, one.spec.start))
            if held is not None:
                out[qa["family"]].append(held)
    return out


def rows(data: Path, cache: Path) -> list[Row]:
    """Share of answers that hold, by family; over all recordings found."""
    all_of: dict[str, list[bool]] = defaultdict(list)
    out = []
    for name, source, clip, reader in found(Path(data)):
        by_family = judged(source, clip, reader())
        for kinds, what in ((EXACT, "equal to rounding"), (INSIDE, "inside the interval")):
            held = [h for family in kinds for h in by_family[family]]
            if held:
                out.append(row(f"{name}: {what}, {len(held)} answers", float(np.mean(held)), "share"))
        for family, held in by_family.items():
            all_of[family] += held
    if not all_of:
        return [skipped("annotated sources", "no annotated recording below the data")]
    for kinds, what, least in ((EXACT, "equal to rounding", 1.0), (INSIDE, "inside the interval", 0.95)):
        for family in kinds:
            if all_of[family]:
                share = float(np.mean(all_of[family]))
                out.append(row(f"{family}: {what}, {len(all_of[family])} answers", share, "share",
                               f"≥ {least:g}", share >= least))
    return out


def main() -> int:
    import argparse
    from tempfile import gettempdir

    from benchmarks.table import report

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder whose sub-folders hold recordings")
    parser.add_argument("--out", type=Path, help="json with the rows")
    options = parser.parse_args()
    return report("Annotated sources", rows(options.data, Path(gettempdir())), options.out)


if __name__ == "__main__":
    raise SystemExit(main())
