"""One camera whose scale is given: walkers over a ground plane, and a vehicle ahead seen by a LiDAR.

    .venv/bin/python -m benchmarks.sources_single --data ../shared/data --out FILE

Sequences are found by what they hold. Walkers: a folder of images, a json with a 3x3 matrix under a key with
`homography` in its name and a frame rate, a csv of tracks with boxes and places on the ground. Vehicle ahead: a folder
of images, one of as many scans, a json with `Tr_velo_to_cam`, a csv with its range in every frame. Made walkers are
rendered here, with exact truth. Nothing is fitted to the real ones.

A region is a track's where its reference point lies in the track's box. Pairs of frames are 20 apart; what is not seen
at both ends is not asked, and counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.discover import images_in
from benchmarks.table import Row, at_most, report, row, skipped
from curate.measure import SceneDraws, measure
from curate.scene import Region, Scene

APART = 20
MOVED_M = 1.0
LEVEL = 0.95
BOX = ("left_px", "top_px", "w_px", "h_px")
MADE = ((1, 6.0, 20.0), (2, 4.0, 16.0), (4, 8.0, 28.0), (5, 5.0, 20.0))  # seed, height m, pitch degrees


@dataclass(frozen=True)
class Answer:
    """A displacement: of which track, the truth, what is stated and its 95 % interval, metres."""

    track: str
    truth: float
    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        return abs(self.value - self.truth)

    @property
    def holds(self) -> bool:
        return self.low <= self.truth <= self.high


def rows(data: Path, cache: Path) -> list[Row]:
    out = list(made_rows())
    folders = [p for p in sorted(data.iterdir()) if p.is_dir()] if data.is_dir() else []
    walkers = [found for p in folders if (found := find_walkers(p))]
    leads = [found for p in folders if (found := find_lead(p))]
    for found in walkers:
        out += walker_rows(*found)
    for found in leads:
        out += lead_rows(*found)
    if not walkers:
        out.append(skipped("walkers on a ground plane", "no sequence with a homography and tracks"))
    if not leads:
        out.append(skipped("vehicle ahead, LiDAR", "no sequence with scans and a range"))
    return out


def displacements(scene: Scene, wanted: list[tuple[Region, int, int, str, float]]) -> Iterator[Answer]:
    """Args: wanted: (region, first frame, last frame, its track, truth in metres)."""
    draws = SceneDraws(scene)
    for region, i, j, track, truth in wanted:
        for q in measure(scene, spans=[(i, j)], kinds=["object_displacement"], draws=draws):
            if q.subjects == (region.id,) and math.isfinite(q.value):
                yield Answer(track, truth, float(q.value), float(q.quantiles[1]), float(q.quantiles[7]))


def summary(name: str, answers: list[Answer], num_wanted: int, limit: float | None) -> Iterator[Row]:
    """Median error, and whether intervals hold, clustered by track."""
    from curate.report.coverage import clustered_interval

    yield row(f"{name}: pairs measured, of {num_wanted}", len(answers), "")
    if not answers:
        return
    error = float(np.median([a.error for a in answers]))
    label = f"{name}: displacement over {APART} frames, moved more than {MOVED_M:g} m, median error"
    yield at_most(label, error, "m", limit) if limit else row(label, error, "m")
    hits = defaultdict(list)
    for answer in answers:
        hits[answer.track].append(answer.holds)
    low, high, _ = clustered_interval(hits, 0.99, LEVEL)
    share = float(np.mean([a.holds for a in answers]))
    yield row(f"{name}: 95 % intervals hold (99 %: {low:.2f} to {high:.2f}, {len(hits)} tracks)", share, "",
              "0.95 in its 99 % interval", bool(low <= LEVEL <= high))


# ---- walkers ----

def find_walkers(folder: Path) -> tuple[Path, Path, float, dict[int, dict[int, tuple[np.ndarray, np.ndarray]]]] | None:
    """Folder, homography file, frames a second, and track -> frame (from 0) -> (box x0 y0 x1 y1, place)."""
    calibration = next((p for p in sorted(folder.glob("*.json"))
                        if "fps" in (c := _json(p)) and any("homography" in k.lower() for k in c)), None)
    table = next((p for p in sorted(folder.glob("*.csv")) if {"track", "world_x_m", "world_y_m"} <= _columns(p)), None)
    images = next((p for p in sorted(folder.iterdir()) if p.is_dir() and images_in(p)), None)
    if calibration is None or table is None or images is None:
        return None
    tracks: dict[int, dict[int, tuple[np.ndarray, np.ndarray]]] = defaultdict(dict)
    with table.open() as file:
        for line in csv.DictReader(file):
            x, y, w, h = (float(line[k]) for k in BOX)
            place = np.array([float(line["world_x_m"]), float(line["world_y_m"])])
            tracks[int(line["track"])][int(line["frame"]) - 1] = np.array([x, y, x + w, y + h]), place
    return images, calibration, float(_json(calibration)["fps"]), tracks


def walker_rows(images: Path, calibration: Path, fps: float, tracks: dict) -> Iterator[Row]:
    from curate.sources.config_single import SingleVideoConfig

    folder = images.parent
    scene = perceived(SingleVideoConfig(root=str(folder), media=images.name, fps=fps,
                                        ground={"homography": calibration.name}))
    wanted, total = [], 0
    for track, seen in sorted(tracks.items()):
        for i, (box, place) in sorted(seen.items()):
            if i + APART not in seen:
                continue
            truth = float(np.linalg.norm(seen[i + APART][1] - place))
            if truth > MOVED_M:
                total += 1
                region = region_in(scene, i, box)
                if region is not None:
                    wanted.append((region, i, i + APART, str(track), truth))
    yield from summary(folder.name, list(displacements(scene, wanted)), total, 0.15)


def region_in(scene: Scene, frame: int, box: np.ndarray) -> Region | None:
    """The region whose reference point is in a box, nearest to its middle column."""
    inside = [r for r in scene.regions if r.seen[frame] and (box[:2] < r.centroid_px[frame]).all()
              and (r.centroid_px[frame] < box[2:]).all()]
    return min(inside, key=lambda r: abs(r.centroid_px[frame, 0] - (box[0] + box[2]) / 2), default=None)


def made_rows() -> Iterator[Row]:
    """Rendered walkers: the truth is where they were drawn."""
    from curate.geometry.ground import from_homography
    from tests import walkers

    answers, total, fps, num_frames = [], 0, 8.0, 44
    for seed, height, pitch in MADE:
        plane = walkers.plane(height, pitch)
        walks = walkers.random_walks(np.random.default_rng([seed, 11]), plane, 3, num_frames / fps)
        film = walkers.film(seed, plane, walks, num_frames, fps)
        ground = from_homography(walkers.homography(plane), walkers.WIDTH, walkers.HEIGHT)
        scene = walkers.perceived(film, fps, ground)
        wanted = []
        for k, walk in enumerate(walks):
            for i in range(0, num_frames - APART, 4):
                start, end = walk.where(i / fps), walk.where((i + APART) / fps)
                if np.linalg.norm(end - start) <= MOVED_M:
                    continue
                total += 1
                near = [(float(np.linalg.norm(place_of(r, ground, i) - start)), r) for r in scene.regions if r.seen[i]]
                best = min(near, key=lambda pair: pair[0], default=(math.inf, None))
                if best[0] < 1.0:
                    wanted.append((best[1], i, i + APART, f"{seed}.{k}", float(np.linalg.norm(end - start))))
        answers += displacements(scene, wanted)
    yield from summary("rendered walkers", answers, total, None)


def place_of(region: Region, ground, frame: int) -> np.ndarray:
    """[2] m on the plane."""
    return (region.point_cam[frame] - ground.origin) @ ground.axes[:, :2]


# ---- vehicle ahead ----

def find_lead(folder: Path) -> tuple[Path, Path, Path, float, dict[int, float]] | None:
    """Images, scans, calibration, frames a second, frame -> range in metres along the scanner's axis."""
    calibration = next((p for p in sorted(folder.glob("*.json")) if "Tr_velo_to_cam" in _json(p)), None)
    table = next((p for p in sorted(folder.glob("*.csv")) if any(c.startswith("range") for c in _columns(p))), None)
    places = [p for p in sorted(folder.iterdir()) if p.is_dir()]
    images = next((p for p in places if images_in(p)), None)
    scans = next((p for p in places if any(p.glob("*.bin")) or any(p.glob("*.np[yz]"))), None)
    if None in (calibration, table, images, scans):
        return None
    with table.open() as file:
        lines = list(csv.DictReader(file))
    column = next(c for c in lines[0] if c.startswith("range"))
    return images, scans, calibration, float(_json(calibration).get("fps", 10)), {
        int(line["frame"]): float(line[column]) for line in lines}


def lead_rows(images: Path, scans: Path, calibration: Path, fps: float, ranges: dict[int, float]) -> Iterator[Row]:
    """How its distance changes. The truth is the nearest of its points, to 0.1 m from frame to frame: its median over
    five frames is compared, and half of 0.1 m is added to what it may be off."""
    from curate.sources.config_single import SingleVideoConfig

    folder = images.parent
    scene = perceived(SingleVideoConfig(root=str(folder), media=images.name, fps=fps, lidar={
        "scans": scans.name, "calibration": calibration.name}))
    ahead = [r for r in scene.regions if r.seen[0] and abs(r.nearest_m[0] - ranges[0]) < 1.0
             and abs(r.point_cam[0, 0]) < 1.5 and r.seen.mean() > 0.8]
    name = folder.name
    if not ahead:
        yield row(f"{name}: vehicle ahead is a region", 0, "", "1", False)
        return
    region = max(ahead, key=lambda r: int(r.mask_first.sum()))
    frames = sorted(ranges)
    calm = {f: float(np.median([ranges[g] for g in frames if abs(g - f) <= 2])) for f in frames}
    last = int(region.last)
    hits, errors = [], []
    draws = SceneDraws(scene)
    for i, j in ((0, last), (0, last // 2), (last // 2, last), (last // 4, 3 * last // 4)):
        for q in measure(scene, spans=[(i, j)], kinds=["object_camera_distance_change"], draws=draws):
            if q.subjects == (region.id,):
                truth = calm[j] - calm[i]
                hits.append(q.quantiles[1] - 0.05 <= truth <= q.quantiles[7] + 0.05)
                errors.append(abs(float(q.value) - truth))
    yield row(f"{name}: change of the vehicle's distance, median error", float(np.median(errors)), "m")
    yield row(f"{name}: its 95 % intervals hold, of {len(hits)}", float(np.mean(hits)), "", "1", all(hits))


def perceived(settings) -> Scene:
    """The whole recording as one clip."""
    from curate.perception.config import PerceptionConfig
    from curate.perception.pipeline import perceive
    from curate.sources import make_source
    from curate.sources.config import ClipConfig

    source = make_source(settings, ClipConfig(num_frames=512))
    clip = next(iter(source.plan()))
    with source.open(clip) as frames:
        return perceive(clip, frames, PerceptionConfig())


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _columns(path: Path) -> set[str]:
    with path.open() as file:
        return set(next(csv.reader(file), []))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    return report("One camera", rows(args.data, Path(args.out).parent), args.out)


if __name__ == "__main__":
    sys.exit(main())
