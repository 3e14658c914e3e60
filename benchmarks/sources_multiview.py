"""Several calibrated cameras against a board whose pose in every frame is known, and on a person without truth.

    .venv/bin/python -m benchmarks.sources_multiview --data ../shared/data --cache out/bench --out FILE

Recordings are found by what they hold: videos beside a calibration of several cameras, with `gt_board_pose.csv` (the
board's centre and rotation in the calibration's world, a line a frame) or without. The board's markers are judges
alone: the product sees features. Its rigid motion is evaluated at the board's centre. Truth and product share the
calibration, so that its scale is not judged.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.calibration_stats import binomial_interval, effective_number
from benchmarks.table import Row, at_most, report, row, skipped
from curate.measure import measure
from curate.perception.config import PerceptionConfig
from curate.perception.multiview import VERSION
from curate.perception.pipeline import perceive
from curate.scene import Scene
from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_multiview import MultiviewConfig
from curate.sources.rigs import load_rig

TRUTH = "gt_board_pose.csv"
APART_S = 1.0
FAST_M_S = 0.1
CLIP_FRAMES = 19  # of the clips whose intervals are judged
KINDS = ("object_displacement", "object_camera_distance_change", "lateral_shift", "longitudinal_shift")


@dataclass(frozen=True)
class Found:
    """A recording: its folder, and how its source is to be told to read it."""

    folder: Path
    config: MultiviewConfig


@dataclass
class Board:
    """centre: [T, 3] and rotation [T, 3, 3] in the axes of view 0, nan where not known."""

    centre: np.ndarray
    rotation: np.ndarray


def discover(data: Path) -> list[Found]:
    """Folders with a calibration of several cameras and a video for each, whatever they are called."""
    found = []
    for path in sorted([*data.glob("*/*.toml"), *data.glob("*/*.qca.txt")]):
        try:
            names = [camera.name for camera in load_rig(path)]
        except BadInput:
            continue
        patterns = ("{name}.mp4", "cam_{name}.mp4")
        media = next((pattern for pattern in patterns
                      if all((path.parent / pattern.replace("{name}", name)).is_file() for name in names)), None)
        if len(names) < 2 or media is None:
            continue
        times = "timestamps.csv" if (path.parent / "timestamps.csv").is_file() else None
        found.append(Found(path.parent, MultiviewConfig(root=str(path.parent), media=media, calibration=path.name,
                                                        timestamps=times)))
    return found


def board_of(found: Found, frames) -> Board:
    """The board's poses in view 0."""
    num = frames.num_frames
    centre, rotation = np.full((num, 3), np.nan), np.full((num, 3, 3), np.nan)
    with (found.folder / TRUTH).open(encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            frame = int(line["video_frame"])
            if frame < num:
                centre[frame] = [float(line[k]) for k in ("cx_m", "cy_m", "cz_m")]
                rotation[frame] = np.reshape([float(line[f"r{i}{j}"]) for i in range(3) for j in range(3)], (3, 3))
    return Board(frames.T_rig_world @ centre, frames.T_rig_world.rotation @ rotation)


def scenes(found: Found, num_frames: int, cache: Path) -> Iterator[tuple[Scene, int]]:
    """The scenes of a recording's clips, and the frame each starts at; kept in `cache`."""
    source = make_source(found.config, ClipConfig(num_frames=num_frames))
    for clip in source.plan():
        if isinstance(clip, tuple):
            raise BadInput(clip[1])
        name = hashlib.sha256(f"{clip.key} {VERSION} {PerceptionConfig().model_dump_json()}".encode()).hexdigest()[:16]
        path = cache / f"multiview-{name}.npz"
        if not path.is_file():
            with source.open(clip) as frames:
                scene = perceive(clip, frames, PerceptionConfig())
            cache.mkdir(parents=True, exist_ok=True)
            path.write_bytes(scene.to_bytes())
        yield Scene.load(path), clip.start


def motion_at(region, i: int, j: int, point: np.ndarray) -> np.ndarray:
    """[3] by how much a point [3] of the region's body moves from frame i to j."""
    turn = region.rotation_cam[j] @ region.rotation_cam[i].T
    return turn @ (point - region.point_cam[i]) + region.point_cam[j] - point


def board_region(scene: Scene, board: Board, start: int):
    """The region whose body the board's centre moves with; None where there is none."""
    def scatter(region) -> float:
        at = np.flatnonzero(region.seen & np.isfinite(board.centre[start:start + scene.num_frames, 0]))
        if len(at) < 5:
            return np.inf
        away = board.centre[start + at] - region.point_cam[at]
        local = np.einsum("tji,tj->ti", region.rotation_cam[at], away)
        return float(np.median(np.linalg.norm(local - np.median(local, 0), axis=1)))

    found = [(scatter(region), region.id, region) for region in scene.regions if region.rigid]
    return min(found)[2] if found and min(found)[0] < np.inf else None


def motion_rows(name: str, scene: Scene, board: Board) -> list[Row]:
    region = board_region(scene, board, 0)
    if region is None:
        return [row(f"{name}: the board is found", 0, "", "1", False)]
    errors, angles = [], []
    at = np.flatnonzero(region.seen & np.isfinite(board.centre[:, 0]))
    for n, i in enumerate(at):
        for j in at[n + 1:]:
            seconds = scene.time_s[j] - scene.time_s[i]
            if seconds < APART_S:
                continue
            true = board.centre[j] - board.centre[i]
            moved = motion_at(region, i, j, board.centre[i])
            errors.append(float(np.linalg.norm(moved - true)))
            if np.linalg.norm(true) / seconds > FAST_M_S:
                cosine = moved @ true / np.linalg.norm(moved) / np.linalg.norm(true)
                angles.append(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))
    return [at_most(f"{name}: motion at the board's centre over {APART_S:g} s and more, median error "
                    f"(n = {len(errors)})", float(np.median(errors)), "m", 0.02),
            row(f"{name}: the same, 95 % of errors below", float(np.percentile(errors, 95)), "m"),
            at_most(f"{name}: 3D direction where faster than {FAST_M_S:g} m/s, median error (n = {len(angles)})",
                    float(np.median(angles)) if angles else np.nan, "°", 10.0),
            row(f"{name}: frames in which the board is followed", float(region.seen.mean()), "of all")]


def interval_rows(name: str, parts: list[tuple[Scene, int]], board: Board) -> list[Row]:
    """Do 95 % intervals of what clips state of the board hold? The truth is that of the same physical point."""
    hits: dict[str, list[bool]] = defaultdict(list)
    clusters: dict[str, list[int]] = defaultdict(list)
    for number, (scene, start) in enumerate(parts):
        region = board_region(scene, board, start)
        if region is None or not np.isfinite(board.centre[start + region.first]).all():
            continue
        first = start + region.first
        on_board = board.rotation[first].T @ (region.point_cam[region.first] - board.centre[first])
        path = board.rotation @ on_board + board.centre
        for quantity in measure(scene, kinds=KINDS):
            if quantity.subjects != (region.id,):
                continue
            i, j = (start + frame for frame in quantity.span)
            true = _truth(quantity, path[i], path[j])
            if true is None or not np.isfinite(true):
                continue
            low, high = quantity.interval95
            for kind in (quantity.kind, "all"):
                hits[kind].append(low <= true <= high)
                clusters[kind].append(number)
    if not hits["all"]:
        return [row(f"{name}: intervals judged", 0, "", "1 or more", False)]
    rows = []
    for kind in (*KINDS, "all"):
        if hits[kind]:
            share = float(np.mean(hits[kind]))
            n = effective_number([{"inside": {"95": hit}, "scene": clip}
                                  for hit, clip in zip(hits[kind], clusters[kind])])
            low, high = binomial_interval(share, n)
            rows.append(row(f"{name}: 95 % intervals that hold, {kind.replace('_', ' ')} (n = {len(hits[kind])}, "
                            f"{len(set(clusters[kind]))} clips, 99 % interval {low:.2f} to {high:.2f})", share,
                            "of all", "95 % within", bool(low <= 0.95 <= high)))
    return rows


def _truth(quantity, start: np.ndarray, end: np.ndarray) -> float | None:
    value = {"object_displacement": np.linalg.norm(end - start),
             "object_camera_distance_change": np.linalg.norm(end) - np.linalg.norm(start),
             "lateral_shift": (end - start)[0], "longitudinal_shift": (end - start)[2]}[quantity.kind]
    return float(value)


def person_rows(name: str, scene: Scene) -> list[Row]:
    """No truth: what was found, and that what does not move as one body is said to."""
    rigid = sum(region.rigid for region in scene.regions)
    return [row(f"{name}: runs, moving regions", float(len(scene.regions)), ""),
            row(f"{name}: of them said to be non-rigid", float(len(scene.regions) - rigid), "")]


def rows(data: Path, cache: Path) -> list[Row]:
    """Every figure of recordings of several fixed cameras below `data`."""
    out: list[Row] = []
    recordings = discover(data)
    for found in recordings:
        name = found.folder.name
        whole = next(scenes(found, 4096, cache))[0]
        if not (found.folder / TRUTH).is_file():
            out += person_rows(name, whole)
            continue
        source = make_source(found.config, ClipConfig(num_frames=4096))
        with source.open(next(source.plan())) as frames:
            board = board_of(found, frames)
        out += motion_rows(name, whole, board)
        out += interval_rows(name, list(scenes(found, CLIP_FRAMES, cache)), board)
    return out or [skipped("several cameras", f"no recording below {data}")]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--cache", type=Path, default=Path("out/bench/multiview"), help="where scenes are kept")
    parser.add_argument("--out", type=Path, default=None, help="json")
    arguments = parser.parse_args(argv)
    return report("several calibrated cameras", rows(arguments.data, arguments.cache), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
