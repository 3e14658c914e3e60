"""VR180 and Stereo4D on files made here: does reprojection keep disparities, and do stated intervals hold.

    .venv/bin/python -m benchmarks.sources --only spherical --out FILE

There is no public sample. The files are those of the tests: a room in closed form with a plate that moves in it, as
equirectangular video with its metadata boxes, and as npz to the published layout. What is wrong with each file is drawn
from what the sources state of themselves: the eyes' distance (63 ± 3 mm), and of Stereo4D's tracks a bias of the
plate's disparity (0.25 px). So the coverage judges how errors travel to the answers, not whether real files are as good
as is assumed of them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import map_coordinates

from benchmarks.table import Row, at_least, at_most, row
from curate.geometry.rotations import exp_so3
from curate.measure import measure
from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.scene import Scene
from curate.sources import make_source
from curate.sources.base import ClipSpec, Frames
from curate.sources.config import ClipConfig
from curate.sources.config_spherical import EYE_DISTANCE_SIGMA_M, Stereo4DConfig, VirtualPair, Vr180Config
from curate.sources.equirect import Equirectangular
from tests.spherical_scene import EYES_M, Room, eye_centres, frames, st3d, sv3d, write
from tests.stereo4d_files import Dataset, arrays, camera, room_tracks

NUM_FRAMES, FPS = 12, 10.0
TIMES = np.arange(NUM_FRAMES) / FPS
NUM_VIDEOS, NUM_FILES = 4, 40
ACROSS, DOWN = 66.0, 52.0  # degrees of an eye's picture
CELLS = 6  # a side, of the picture
TURNED_DEG = np.array([0.4, -0.3, 0.25])  # tilt, pan, roll
KINDS = ("object_displacement", "object_path_length", "object_mean_speed", "object_camera_distance",
         "camera_displacement")


def rows(data: Path, cache: Path) -> list[Row]:
    """`data` holds nothing for these sources."""
    return [*video_rows(cache), *annotation_rows(cache)]


def drawn_room(seed: int) -> Room:
    """The plate starts somewhere in view and moves at 0.3 to 0.6 m/s, the rig at about 0.1 m/s."""
    rng = np.random.default_rng([7, seed])
    heading = rng.uniform(0, 2 * np.pi)
    speed = rng.uniform(0.3, 0.6)
    return Room(plate_at=(float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.2, 0.2)), float(rng.uniform(1.5, 2.2))),
                plate_velocity=(speed * np.cos(heading), 0.0, 0.5 * speed * np.sin(heading)),
                rig_velocity=tuple(rng.normal(0, [0.08, 0.02, 0.08])), seed=seed)


def truth(room: Room, stretch: float) -> dict[str, float]:
    """What is asked, metres and seconds; `stretch`: true eye distance over the one assumed."""
    seconds = TIMES[-1]
    moved = float(np.linalg.norm(room.plate_velocity)) * seconds * stretch
    distance = float(np.linalg.norm(room.plate(0) - eye_centres(room, 0)[0])) * stretch
    return {"object_displacement": moved, "object_path_length": moved, "object_mean_speed": moved / seconds,
            "object_camera_distance": distance,
            "camera_displacement": float(np.linalg.norm(room.rig_velocity)) * seconds * stretch}


def judged(scene: Scene, room: Room, stretch: float) -> list[tuple[str, bool, float]]:
    """(kind, whether the 95 % interval holds the truth, its half width over the value) of the plate and the camera."""
    near = [r for r in scene.regions if r.first == 0
            and np.linalg.norm(r.point_cam[0] - (room.plate(0) - eye_centres(room, 0)[0])) < 0.4]
    found = {(q.kind, q.span): q for q in measure(scene) if q.subjects == () or (near and q.subjects == (near[0].id,))}
    out = []
    for kind, value in truth(room, stretch).items():
        quantity = found.get((kind, (0, 0) if kind == "object_camera_distance" else (0, NUM_FRAMES - 1)))
        if quantity is not None:
            low, high = quantity.quantiles[1], quantity.quantiles[-2]
            out.append((kind, bool(low <= value <= high), float((high - low) / 2 / quantity.value)))
    return out


def opened(source) -> tuple[ClipSpec, Frames]:
    clip = next(iter(source.plan()))
    return clip, source.open(clip)


def video_rows(cache: Path) -> list[Row]:
    """VR180: pixels to disparities and answers."""
    half = np.radians([ACROSS / 2, DOWN / 2])
    lens = Equirectangular(-half[0], half[0], -half[1], half[1], int(8 * ACROSS), int(8 * DOWN))
    boxes = st3d(2) + sv3d(*[(1 - DOWN / 180) / 2] * 2, *[(1 - ACROSS / 360) / 2] * 2)
    pair = VirtualPair(fov_deg=60, width=320, height=240)
    beside, rows_off, answers = [], [], []
    for seed in range(NUM_VIDEOS):
        room = drawn_room(seed)
        path = write(cache / f"vr180_{seed}.mp4", frames(room, lens, TIMES), fps=FPS, boxes=boxes)
        clip, media = opened(make_source(Vr180Config(root=str(path), pairs=[pair]), ClipConfig()))
        with media:
            views = [view[0] for view in media.read(0, 1)]
            rays = media.rig.left.rays()
            depth = room.hits(eye_centres(room, 0)[0], rays.reshape(-1, 3), 0.0)[0].reshape(rays.shape[:2])
            u, v = disparity_errors(*views, media.rig.disparity(depth))
            beside, rows_off = [*beside, *np.abs(u)], [*rows_off, *np.abs(v)]
            answers += judged(perceive(clip, media, PerceptionConfig()), room, 1.0)
    kept = sum(holds for _, holds, _ in answers)
    return [
        *turned_rows(cache, lens, pair),
        at_most("vr180: disparity beside the truth, median", float(np.median(beside)), "px", 0.02),
        at_most("vr180: disparity beside the truth, 90th percentile", float(np.percentile(beside, 90)), "px", 0.1),
        at_most("vr180: rows beside each other, 90th percentile", float(np.percentile(rows_off, 90)), "px", 0.05),
        at_least(f"vr180: answers inside their 95 % interval, eyes as assumed ({kept} of {len(answers)})",
                 kept / max(len(answers), 1), "", 0.95),
        at_least("vr180: measured of what was there", len(answers) / (NUM_VIDEOS * len(KINDS)), "", 0.8),
        row("vr180: half width of the 95 % interval, median", float(np.median([w for *_, w in answers])), "relative")]


def turned_rows(cache: Path, lens: Equirectangular, pair: VirtualPair) -> list[Row]:
    """VR180 whose right eye is turned, as cheap cameras' are: found by the rig's self-check?"""
    turn, room = exp_so3(np.radians(TURNED_DEG)), drawn_room(0)
    packed = []
    for t in TIMES:
        left, right = eye_centres(room, t)
        packed.append(np.concatenate([room.colours(left, lens.rays(), t),
                                      room.colours(right, lens.rays() @ turn.T, t)], 1))
    path = write(cache / "vr180_turned.mp4", np.stack(packed), fps=FPS)
    config = Vr180Config(root=str(path), pairs=[pair], fov_deg=(ACROSS, DOWN))
    clip, media = opened(make_source(config, ClipConfig()))
    with media:
        scene = perceive(clip, media, PerceptionConfig())
    answers = judged(scene, room, 1.0)
    off = np.abs(np.degrees(scene.rig.theta) - TURNED_DEG).max()
    return [at_most("vr180: right eye turned by 0.6 degrees: error of what is found", float(off), "°", 0.05),
            at_least(f"vr180: the same: answers in their 95 % interval, of {len(answers)}",
                     sum(holds for _, holds, _ in answers) / max(len(answers), 1), "", 0.8)]


def disparity_errors(left: np.ndarray, right: np.ndarray, true: np.ndarray) -> tuple[list[float], list[float]]:
    """By how many pixels, across and down, the right view is beside the true disparity of the left one: least-squares
    steps of brightness (Lucas and Kanade) in cells of one depth, by the slopes of both views."""
    v, u = np.mgrid[: true.shape[0], : true.shape[1]]
    grey = [np.float32(image.mean(-1)) for image in (left, right)]
    moved = np.float32(map_coordinates(grey[1], [v, u - true], order=3, mode="nearest"))  # cv2.remap rounds to 1/32 px
    mean = (moved + grey[0]) / 2
    across, down = (cv2.Sobel(mean, cv2.CV_32F, 1 - i, i, ksize=3) / 8 for i in (0, 1))
    off = [[], []]
    for rows_ in np.array_split(np.arange(8, true.shape[0] - 8), CELLS):
        for columns in np.array_split(np.arange(24, true.shape[1] - 8), CELLS):
            cell = np.ix_(rows_, columns)
            if np.ptp(true[cell]) < 1:
                slopes = np.stack([across[cell].ravel(), down[cell].ravel()], 1)
                step = np.linalg.lstsq(slopes, (grey[0] - moved)[cell].ravel(), rcond=None)[0]
                for axis in (0, 1):
                    off[axis].append(float(step[axis]))
    return off[0], off[1]


def annotation_rows(cache: Path) -> list[Row]:
    """Stereo4D: files whose eyes and disparities are off by what is stated."""
    view = camera(128)
    answers, wrong = [], 0
    for seed in range(NUM_FILES):
        rng = np.random.default_rng([11, seed])
        room = drawn_room(100 + seed)
        stretch = 1 + EYE_DISTANCE_SIGMA_M / EYES_M * rng.normal()
        tracks = room_tracks(room, view, NUM_FRAMES, FPS, disparity_px=0.05, pixel_px=0.05,
                             plate_bias_px=0.25 * rng.normal(), seed=seed)
        dataset = Dataset(cache / f"stereo4d_{seed}")
        dataset.written = arrays(tracks.points, tracks.path, tracks.time_s)
        dataset.annotate().video("left", np.zeros((NUM_FRAMES, 128, 128, 3), np.uint8))
        _, media = opened(make_source(Stereo4DConfig(root=str(dataset.root)), ClipConfig()))
        with media:
            scene = media.given["scene"]()
        moving = [r for r in scene.regions if r.motion_p < 1e-3]
        wrong += max(len(moving) - 1, 0)
        answers += judged(scene, room, stretch)
    out = []
    for kind in KINDS:
        of_kind = [(holds, width) for name, holds, width in answers if name == kind]
        share = np.mean([holds for holds, _ in of_kind])
        out.append(at_least(f"stereo4d: {kind} in its 95 % interval ({len(of_kind)} files)", float(share), "", 0.85))
    wide = np.median([width for *_, width in answers])
    return [*out, at_least("stereo4d: measured of what was there", len(answers) / (NUM_FILES * len(KINDS)), "", 0.9),
            at_most("stereo4d: regions that move where nothing does", float(wrong), "", 0),
            row("stereo4d: half width of the 95 % interval, median", float(wide), "relative")]
