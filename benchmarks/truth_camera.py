"""Camera motion on real sequences, perceived whole: path and rotation, stillness, intervals, and what it costs."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.calibration_stats import SCORES, inside, normal_score
from benchmarks.campaign import put
from benchmarks.discover import Sequence
from benchmarks.table import Row, at_most, row
from curate.geometry.poses import Pose
from curate.geometry.rotations import log_so3
from curate.geometry.trajectories import path_length, steps
from curate.measure.quantity import LEVELS
from curate.scene import Scene

TRUTH_M = 0.10  # what published poses of driving data are good to, at the end of an excerpt
TRUTH_SIGMA_M, TRUTH_SIGMA_RAD = TRUTH_M / 2, np.radians(0.25)  # the same as deviations of one pose
PATH_PERCENT, ROTATION_DEG = 0.5, 0.5
STILL_PX, STILL_FRAMES = 1.0, 8
STILL_BOUND_M = 0.01
SECONDS_PER_FRAME = 0.6
COST_PIXELS = (1226 * 370, 0.15)  # the size that the cost is stated for, and how near a picture must come to it
PIECE_FRAMES = 10
SLIP_FRAMES = 5
MAX_SPANS = 300


@dataclass
class Perceived:
    """A scene and what it cost.

    Args:
        seconds: stage -> CPU seconds of one core over all frames.
        R_rectified_left: turns the published left camera's axes into those of the scene's camera.
    """

    sequence: Sequence
    scene: Scene
    seconds: dict[str, float]
    R_rectified_left: np.ndarray


def perceive(sequence: Sequence, cache: Path) -> Perceived:
    """The whole sequence as one clip with default settings; kept in `cache` by settings, versions and content.

    Raises:
        BadInput, ValueError: as the product does.
    """
    from curate.perception import pipeline
    from curate.recipe import Recipe
    from curate.sources import make_source
    from curate.sources.config import ClipConfig

    recipe = Recipe(source=sequence.config, clip=ClipConfig(num_frames=4096, min_frames=2))
    source = make_source(recipe.source, recipe.clip)
    clip = next(c for c in source.plan() if not isinstance(c, tuple))
    parts = json.dumps(recipe.perception_parts(), sort_keys=True, default=str)
    name = f"{clip.key}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"
    scene_file, timing_file = cache / f"{name}.npz", cache / f"{name}.json"
    frames = source.open(clip)
    try:
        if not (scene_file.is_file() and timing_file.is_file()):
            seconds: dict[str, float] = {}
            # the pipeline's own clock, but of this process alone: whatever else the machine does
            with mock.patch.object(pipeline, "time", SimpleNamespace(perf_counter=time.process_time)):
                scene = pipeline.perceive(clip, frames, recipe.perception, (), seconds)
            put(scene_file, scene.to_bytes())
            put(timing_file, json.dumps(seconds).encode())
        return Perceived(sequence, Scene.load(scene_file), json.loads(timing_file.read_text()),
                         np.asarray(frames.R_rectified_left))
    finally:
        frames.close()


def true_poses(found: Perceived) -> Pose:
    """T_world_cam [T] of the scene's camera, world = that camera at the first frame."""
    sequence = found.sequence
    reference_left = sequence.reference_cam
    left_cam = Pose("left", "cam", found.R_rectified_left.T, np.zeros(3))
    reference_cam = Pose("reference", "left", reference_left.rotation, reference_left.translation) @ left_cam
    num = len(sequence.poses)
    given = sequence.poses @ Pose("reference", "cam", np.broadcast_to(reference_cam.rotation, (num, 3, 3)),
                                  np.broadcast_to(reference_cam.translation, (num, 3)))
    start = given[0].inverse()
    return Pose("world", "world0", start.rotation, start.translation) @ Pose(
        "world0", "cam", given.rotation, given.translation)


def motion_rows(found: Perceived) -> list[Row]:
    """Path, rotation and step length against published poses."""
    name, measured, truth = found.sequence.name, found.scene.T_world_cam, true_poses(found)
    length = path_length(truth)
    error = 100 * (path_length(measured) / length - 1)
    target = max(PATH_PERCENT, 100 * TRUTH_M / length)
    lengths = [np.linalg.norm(steps(p).translation, axis=-1) for p in (measured, truth)]
    turn = np.degrees(np.linalg.norm(log_so3(truth.rotation[-1].T @ measured.rotation[-1])))
    rows = [at_most(f"{name}: path length error", abs(error), "%", round(target, 3)),
            row(f"{name}: path length error, signed", error, "%"),
            row(f"{name}: path length, truth", length, "m"),
            row(f"{name}: RMSE of step length", 1000 * float(np.sqrt(np.mean((lengths[0] - lengths[1]) ** 2))), "mm"),
            at_most(f"{name}: rotation error over all frames", float(turn), "deg", ROTATION_DEG),
            row(f"{name}: frames with a measured step", 100 * float(found.scene.camera_valid.mean()), "%")]
    if (slips := [slip_range_deg(p) for p in (truth, measured)])[0] is not None:
        rows += [row(f"{name}: direction of travel wanders in the camera's axes, {who}", slip, "deg")
                 for who, slip in zip(("published", "measured"), slips)]
    items = span_items(found, [(0, found.scene.num_frames - 1)])
    for item in (i for i in items if i["kind"] in ("camera_path_length", "camera_rotation")):
        rows.append(row(f"{name}: {item['kind'].removeprefix('camera_').replace('_', ' ')} as answered, normal score "
                        "of the truth", item["z"], "sigma"))
    return rows


def slip_range_deg(poses: Pose) -> float | None:
    """How far the direction of travel strays in the camera's own axes, degrees, of means over SLIP_FRAMES steps; None
    where it does not drive ahead.

    What rolls on wheels goes where it points: poses in which this wanders on a straight road have an error of heading,
    and no measurement can agree with them better than that.
    """
    way = steps(poses).translation
    if len(way) < 2 * SLIP_FRAMES or np.median(way[:, 2] / np.linalg.norm(way, axis=1)) < 0.98:
        return None
    slip = np.degrees(np.arctan2(way[:, 0], way[:, 2]))
    return float(np.ptp(np.convolve(slip, np.full(SLIP_FRAMES, 1 / SLIP_FRAMES), "valid")))


def with_truths_error(kind: str, quantiles: tuple[float, ...], truth: Pose, span: tuple[int, int]) -> list[float]:
    """Quantiles of stated error and the truth's own together: what a truth of TRUTH_SIGMA_* should be held against."""
    length = float(np.linalg.norm(truth.translation[span[1]] - truth.translation[span[0]]))
    sigma = 2**0.5 * {"camera_rotation": TRUTH_SIGMA_RAD, "camera_direction": np.hypot(
        TRUTH_SIGMA_RAD, TRUTH_SIGMA_M / max(length, 0.1))}.get(kind, TRUTH_SIGMA_M)
    q = np.array(quantiles)
    if kind == "camera_direction":  # an angle from zero: both are Rayleigh's, their squares add
        return list(np.hypot(q, sigma * np.sqrt(-2 * np.log1p(-np.array(LEVELS)))))
    middle = q[len(q) // 2]
    return list(middle + np.sign(SCORES) * np.hypot(q - middle, sigma * SCORES))


def span_items(found: Perceived, spans: list[tuple[int, int]] | None = None, widened: bool = False
               ) -> list[dict[str, Any]]:
    """The camera's quantities over pieces of a sequence that do not overlap, against published poses.

    Args:
        widened: with the error of the truth itself added to what is stated.
    """
    from curate.measure import KINDS, SceneDraws, quantity

    scene, truth = found.scene, true_poses(found)
    last = scene.num_frames - 1
    spans = spans or [(i, i + PIECE_FRAMES) for i in range(0, last - PIECE_FRAMES + 1, PIECE_FRAMES)]
    draws, items = SceneDraws(scene), []
    for span in spans:
        for kind in ("camera_displacement", "camera_path_length", "camera_direction", "camera_rotation"):
            made = quantity(draws, kind, (), span)
            true = _true_value(kind, truth, span, np.asarray(made.value, float))
            one_sided = bool(KINDS[kind].vector)
            quantiles = with_truths_error(kind, made.quantiles, truth, span) if widened else made.quantiles
            held = inside(true, quantiles, one_sided)
            score = normal_score(true, quantiles)
            items.append({"kind": kind, "scene": found.sequence.name, "span": list(span), "z": score, "inside": held,
                          "miss": 0 if held["95"] else int(np.sign(score)), "at_zero": False, "depth_m": None,
                          "value": 0.0 if one_sided else float(made.value), "truth": true, "error": made.error,
                          "half_width": made.half_width, "quantiles": list(quantiles),
                          "relative_error": abs(made.value - true) / true if not one_sided and true else float("nan")})
    return items


def _true_value(kind: str, truth: Pose, span: tuple[int, int], stated: np.ndarray) -> float:
    from benchmarks.compare import angle_between

    first, last = span
    way = truth.translation[last] - truth.translation[first]
    if kind == "camera_displacement":
        return float(np.linalg.norm(way))
    if kind == "camera_path_length":
        return float(np.linalg.norm(np.diff(truth.translation[first:last + 1], axis=0), axis=1).sum())
    if kind == "camera_direction":
        return angle_between(stated, truth.rotation[first].T @ way)
    return float(np.linalg.norm(log_so3(truth.rotation[first].T @ truth.rotation[last])))


def hardly_moves(sequence: Sequence) -> tuple[bool, float]:
    """Whether the pictures of a sequence without poses stay as they are, and the median flow, px, over 8 frames."""
    import cv2

    from curate.sources import make_source
    from curate.sources.config import ClipConfig

    source = make_source(sequence.config, ClipConfig(num_frames=4096, min_frames=2))
    with source.open(next(c for c in source.plan() if not isinstance(c, tuple))) as frames:
        step = min(STILL_FRAMES, frames.num_frames - 1)
        moved = []
        for start in range(0, frames.num_frames - step, step):
            first, second = (cv2.cvtColor(frames.read(k, k + 1)[0][0], cv2.COLOR_RGB2GRAY)
                             for k in (start, start + step))
            flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(first, second, None)
            moved.append(float(np.median(np.linalg.norm(flow, axis=-1))))
    return max(moved) <= STILL_PX, max(moved)


AT_REST = ("neither",)  # of a turn to one side or the other: the right answer here


def still_rows(found: Perceived, flow_px: float) -> list[Row]:
    """A camera that stands: nobody may be asked how it moves, and every displacement may be nothing."""
    from curate.measure import measure
    from curate.questions import QuestionsConfig, ask

    name, scene = found.sequence.name, found.scene
    last = scene.num_frames - 1
    spans = [(i, j) for i in range(last) for j in range(i + 1, last + 1)]
    spans = [spans[k] for k in np.unique(np.linspace(0, len(spans) - 1, MAX_SPANS).astype(int))]
    quantities = measure(scene, spans)
    questions, _ = ask(scene, QuestionsConfig(reasoning=False))
    moving = [q for q in questions if q.family.startswith("camera_") and q.answer not in AT_REST]
    lower = {who: max((q.quantiles[1] for q in quantities if q.kind == f"{who}_displacement"), default=0.0)
             for who in ("camera", "object")}
    upper = max(q.quantiles[7] for q in quantities if q.kind == "camera_displacement")
    return [at_most(f"{name}: questions that take the still camera for a moving one", len(moving), "", 0),
            at_most(f"{name}: largest lower bound of a displacement of the camera", 100 * lower["camera"], "cm",
                    100 * STILL_BOUND_M),
            at_most(f"{name}: largest lower bound of a displacement of an object", 100 * lower["object"], "cm",
                    100 * STILL_BOUND_M),
            row(f"{name}: largest upper bound of a displacement of the camera", 100 * upper, "cm"),
            row(f"{name}: median flow over {min(STILL_FRAMES, last)} frames", flow_px, "px")]


def cost_rows(found: list[Perceived]) -> list[Row]:
    """CPU seconds of a frame by stage, of the sequence nearest to the stated size; [] where none is near."""
    pixels, slack = COST_PIXELS
    near = [f for f in found if abs(f.scene.camera.width * f.scene.camera.height / pixels - 1) <= slack]
    if not near:
        return []
    one = min(near, key=lambda f: (abs(f.scene.camera.width * f.scene.camera.height - pixels), f.sequence.name))
    size = f"{one.scene.camera.width}x{one.scene.camera.height}"
    frames = one.scene.num_frames
    total = sum(one.seconds.values()) / frames
    return [at_most(f"cost: perceiving a {size} stereo frame on one core", total, "s", SECONDS_PER_FRAME),
            *(row(f"cost: of which {stage}", seconds / frames, "s") for stage, seconds in one.seconds.items())]
