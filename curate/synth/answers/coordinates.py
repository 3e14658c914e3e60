"""True answers of questions about coordinates: boxes, points and places, in one view or two."""

from __future__ import annotations

import math
import re

import numpy as np

from curate.shards.sample import decode_rle
from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.scene import SUB
from curate.synth.truth import Subject

SAME_BOX = 0.5  # IoU from which two boxes are of the same thing
TURN = math.radians(10)
HALF = 0.5  # from a projection, whole at a pixel's centre, to the distance from the image's edge


def written(case: Case, text: str) -> np.ndarray:
    """The numbers of a text; image coordinates in pixels from the corner, whatever the dialect."""
    camera = case.truth.scene.rig.left
    tokens = re.findall(r"<(WIDTH|HEIGHT|DEPTH|TEMP)-(\d{3})>", text)
    if tokens:
        bins = {"WIDTH": (200, camera.width), "HEIGHT": (200, camera.height), "TEMP": (100, 1.0)}
        return np.array([0.1 * 2000 ** ((int(k) + 0.5) / 200) if name == "DEPTH" else
                         (int(k) + 0.5) / bins[name][0] * bins[name][1] for name, k in tokens])
    numbers = np.array([float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", text)])
    if case.qa["extra"].get("coordinate_dialect") == "box1000" and case.qa["metric"] != "st":
        numbers *= np.resize([camera.width, camera.height], len(numbers)) / 1000
    return numbers


def _world(case: Case, subject: Subject, frame: int) -> np.ndarray:
    return case.truth.path(subject, (frame, frame))[0]


def _camera(case: Case, subject: Subject, frame: int, seen_from: int | None = None) -> np.ndarray:
    """The reference point at a frame in the axes of the camera at that frame, or at another one."""
    camera = case.truth.scene.camera(case.truth.start + (frame if seen_from is None else seen_from))
    return camera.inverse() @ _world(case, subject, frame)


def _pixel(case: Case, point: np.ndarray) -> np.ndarray:
    return case.truth.scene.rig.left.project(point) + HALF


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    return float(shared / union) if union > 0 else 0.0


def _record(case: Case, region: int) -> dict:
    return next(r for r in case.record["regions"] if r["id"] == region)


def _surface(case: Case, region: int, frame: int) -> np.ndarray:
    """[n, 3] world points at `frame` of the surface that a region's mask shows where it is first seen."""
    subject, record, scene = case.subjects[region], _record(case, region), case.truth.scene
    first = case.truth.start + int(record["first"])
    depth, ids = case.renderer.geometry(first)
    mask = np.asarray(decode_rle(record["mask_rle"]), bool)
    v, u = np.nonzero(mask & (ids == subject.object_id) & np.isfinite(depth))
    points = scene.camera(first) @ scene.rig.left.lift(np.stack([u, v], -1), depth[v, u])
    if subject.object_id:
        body = scene.object(subject.object_id)
        points = body.pose((case.truth.start + frame) * SUB) @ (body.pose(first * SUB).inverse() @ points)
    return points


def _rim(case: Case, region: int) -> np.ndarray:
    """[4] pixels from the box of a region's mask, which leaves out its border, to its box, where it is first seen."""
    record = _record(case, region)
    v, u = np.nonzero(np.asarray(decode_rle(record["mask_rle"]), bool))
    return np.array(record["box"], float) - [u.min(), v.min(), u.max() + 1, v.max() + 1]


def _boxes(case: Case, region: int, frame: int, view: int = 0) -> list[np.ndarray]:
    """True boxes of what a mark may mean: the visible part of its object, and the visible part of its surface."""
    scene, subject = case.truth.scene, case.subjects[region]
    depth, ids = case.renderer.geometry(case.truth.start + frame, view)
    out = []
    if subject.object_id and (ids == subject.object_id).any():
        v, u = np.nonzero(ids == subject.object_id)
        out.append(np.array([u.min(), v.min(), u.max() + 1, v.max() + 1], float))
    local = scene.camera(case.truth.start + frame).inverse() @ _surface(case, region, frame)
    if view:
        local = local - np.array([scene.rig.baseline_m, 0, 0])
    depth_then = np.median((scene.camera(case.truth.start + int(_record(case, region)["first"])).inverse()
                            @ _surface(case, region, int(_record(case, region)["first"])))[:, 2])
    pixels = _pixel(case, local)
    inside = np.isfinite(pixels).all(-1) & (pixels >= 0).all(-1) & (pixels < [depth.shape[1], depth.shape[0]]).all(-1)
    pixels, local = pixels[inside], local[inside]
    if len(pixels):
        at = pixels.astype(int)
        near = np.abs(depth[at[:, 1], at[:, 0]] - local[:, 2]) < 0.05 * local[:, 2]  # not hidden
        if near.any():
            grown = _rim(case, region) * depth_then / np.median(local[near, 2])
            found = np.concatenate([pixels[near].min(0), pixels[near].max(0)]) + grown
            out.append(np.clip(found, 0, np.array(depth.shape[::-1] * 2)))
    return out


def box(case: Case) -> TrueAnswer:
    """Right where it and a true box of the mark's object, or of the marked surface, overlap by half (IoU)."""
    view = int(case.qa["family"] == "view_box")
    true = _boxes(case, case.qa["regions"][0], case.span[0], view)
    given = written(case, case.qa["answer"])
    if not true:
        return TrueAnswer(right=False, text="not visible")
    best = max(true, key=lambda b: _iou(given, b))
    return TrueAnswer(right=_iou(given, best) >= SAME_BOX, text=f"{best.round(1).tolist()} IoU {_iou(given, best):.2f}")


def _id(option: str) -> int:
    return int(re.search(r"\d+", option)[0])


def mark(case: Case) -> TrueAnswer:
    """The mark whose surface is at the point, carried back to where the mask is; or whose box is most like the one."""
    values, frame, scene = case.qa["extra"]["option_values"], case.span[0], case.truth.scene
    place = re.search(r"(?:at the point|inside the box) (\[[^\]]*\]|(?:<[A-Z]+-\d{3}>)+)", case.qa["question"])[1]
    given = written(case, place)
    if len(given) == 4:
        overlap = {v: max((_iou(given, b) for b in _boxes(case, _id(v), frame)), default=0.0) for v in values}
        best = max(values, key=overlap.get)
        return TrueAnswer(category=best if overlap[best] > 0.3 else "", text=str(overlap))
    depth, ids = case.renderer.geometry(case.truth.start + frame)
    u, v = np.minimum(given.astype(int), [depth.shape[1] - 1, depth.shape[0] - 1])
    there = scene.camera(case.truth.start + frame) @ scene.rig.left.lift(given - HALF, depth[v, u])
    found = {}
    for value in values:
        region = _id(value)
        subject, record = case.subjects[region], _record(case, region)
        if subject.object_id != ids[v, u]:
            continue
        first, point = case.truth.start + int(record["first"]), there
        if subject.object_id:
            body = scene.object(subject.object_id)
            point = body.pose(first * SUB) @ (body.pose((case.truth.start + frame) * SUB).inverse() @ there)
        column, row = _pixel(case, scene.camera(first).inverse() @ point)
        rows, columns = np.nonzero(np.asarray(decode_rle(record["mask_rle"]), bool))
        found[value] = float(np.hypot(columns + HALF - column, rows + HALF - row).min())
    best = min(found, key=found.get) if found else ""
    return TrueAnswer(category=best if best and found[best] < 8 else "", text=f"object {ids[v, u]}, {found}")


def place(case: Case) -> TrueAnswer:
    true = _camera(case, case.asked[0], case.span[0])
    text = case.qa["answer"]
    given = written(case, text)
    if "DEPTH" in text:
        given = case.truth.scene.rig.left.lift(given[:2] - HALF, given[2])
    away = float(np.linalg.norm(given[:3] - true))
    return TrueAnswer(right=away <= case.qa["extra"]["tolerance_m"] + 0.01,
                      text=f"{true.round(3).tolist()}, off {away:.3f} m")


def pose(case: Case) -> TrueAnswer:
    subject, (frame, _), stated = case.asked[0], case.span, case.qa["target"]
    true = _camera(case, subject, frame, seen_from=0)
    away = float(np.linalg.norm(np.array(stated["centre"]) - true))
    right, text = away <= case.qa["extra"]["tolerance_m"] + 0.01, f"{true.round(3).tolist()}, off {away:.3f} m"
    if stated["orientation"] is not None:
        from curate.geometry.rotations import exp_so3

        turn = np.eye(3)
        if subject.object_id:
            body, start = case.truth.scene.object(subject.object_id), case.truth.start
            turn = body.pose((start + frame) * SUB).rotation @ body.pose(start * SUB).rotation.T
        first = case.truth.scene.camera(case.truth.start).rotation
        given = exp_so3(np.radians(np.array(stated["orientation"], float)))
        off = np.trace(given.T @ (first.T @ turn @ first))
        angle = float(np.arccos(np.clip((off - 1) / 2, -1, 1)))
        right, text = right and angle <= TURN + 0.02, f"{text}, off {math.degrees(angle):.1f}°"
    return TrueAnswer(right=right, text=text)


def _point_answer(case: Case, true: list[np.ndarray]) -> TrueAnswer:
    camera, text = case.truth.scene.rig.left, f"{[p.round(1).tolist() for p in true]}"
    if case.qa["form"] == "choice":
        values = case.qa["extra"]["option_values"]
        places = np.array([written(case, v) for v in values])
        away = np.linalg.norm(places - true[0], axis=-1)
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        gap = apart[apart > 0].min()
        best = int(np.argmin(away))
        return TrueAnswer(category=values[best] if away[best] <= gap / 2 else "", text=text)
    given = written(case, case.qa["answer"]).reshape(-1, 2)
    away = np.linalg.norm(given - np.array(true), axis=-1)
    close = 0.02 * camera.width + 1.0
    return TrueAnswer(right=bool((away <= close).all()), text=f"{text}, off {away.round(1).tolist()} px")


def seen(case: Case) -> TrueAnswer:
    return _point_answer(case, [_pixel(case, _camera(case, s, case.span[0])) for s in case.asked])


def still(case: Case) -> TrueAnswer:
    return _point_answer(case, [_pixel(case, _camera(case, s, case.span[0], seen_from=0)) for s in case.asked])


def _shift(case: Case, subject: Subject) -> float:
    """Pixels to the left from the first view to the second, which in a mirrored clip is the left one of the pair."""
    rig, side = case.truth.scene.rig, np.sign(case.record.get("baseline_m", 1.0))
    return float(side * rig.left.fx * rig.baseline_m / _camera(case, subject, case.span[0])[2])


def right_point(case: Case) -> TrueAnswer:
    here = _pixel(case, _camera(case, case.asked[0], case.span[0]))
    return _point_answer(case, [here - np.array([_shift(case, case.asked[0]), 0.0])])


def order(case: Case) -> TrueAnswer:
    shifts = [abs(_shift(case, s)) for s in case.asked]
    wants_less = re.search(r"\b(less|smaller|farther)\b", case.qa["question"]) is not None
    best = int(np.argmin(shifts) if wants_less else np.argmax(shifts))
    name = next(v for v in case.qa["extra"]["option_values"] if _id(v) == case.qa["regions"][best])
    return TrueAnswer(category=name, text=f"{np.round(shifts, 2).tolist()} px")


def shift(case: Case) -> TrueAnswer:
    true, values = _shift(case, case.asked[0]), case.qa["extra"]["option_values"]
    sizes = np.array([float(v.split()[0]) for v in values])
    best = int(np.argmin(np.abs(sizes - abs(true))))
    gap = np.abs(np.delete(sizes, best) - sizes[best]).min()
    right = abs(sizes[best] - abs(true)) <= gap / 2 and values[best].endswith("left" if true > 0 else "right")
    return TrueAnswer(category=values[best] if right else "", text=f"{true:.2f} px")


def visible(case: Case) -> TrueAnswer:
    column = _pixel(case, _camera(case, case.asked[0], case.span[0]))[0] - _shift(case, case.asked[0])
    inside = 0 <= column <= case.truth.scene.rig.left.width
    return TrueAnswer(category=next(v for v in case.qa["extra"]["option_values"] if v.startswith("inside") == inside),
                      text=f"column {column:.1f}")


ANSWERS = {"grounding_2d": box, "view_box": box, "grounding_mark": mark, "grounding_point": place, "grounding_3d": pose,
           "correspondence_seen": seen, "correspondence_many": seen, "correspondence_still": still,
           "view_point": right_point, "disparity_order": order, "view_shift": shift, "view_visibility": visible}
