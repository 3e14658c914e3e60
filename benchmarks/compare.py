"""Every measured quantity of a perceived scene beside its truth, at the same physical point.

Per kind of measurement one item for each object of a clip: which of the object's regions, which of the spans that the
product measures, and which partner in a pair, is drawn by a stable hash. An item says what was stated, what is true,
where the truth lies in the stated distribution, and whether and how it was asked.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.calibration_stats import inside, normal_score, size_score
from curate.measure import KINDS, measure
from curate.measure.quantity import Quantity
from curate.questions import QuestionsConfig
from curate.questions import ask as ask_scene
from curate.scene import Scene
from curate.shards.sample import make_sample
from curate.shards.schema import decode
from curate.synth.askable import CLEAR, askable
from curate.synth.oracle import Oracle
from curate.synth.renderer import Renderer
from curate.synth.scene import SceneTruth
from curate.synth.score import judge
from curate.synth.truth import Subject, Truth, match

AT_ZERO = 1e-9


def draw(*parts: object) -> float:
    """A number in 0..1 that belongs to its arguments."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def match_regions(scene: Scene, truth: SceneTruth, renderer: Renderer) -> dict[int, Subject | None]:
    """Region id -> what it really is; None where it lies on no one object."""
    seen, out = {}, {}
    for region in scene.regions:
        if region.first not in seen:
            seen[region.first] = renderer.geometry(region.first)
        out[region.id] = match(truth, region.mask_first, *seen[region.first], region.first)
    return out


def compare_scene(scene: Scene, truth: SceneTruth, every: bool = False) -> dict[str, Any]:
    """One scene against its truth.

    Args:
        every: items of all spans, regions and pairs rather than one for each kind and object.

    Returns:
        items: dicts as `benchmarks.calibration_stats` reads them. judged: every question's outcome. askable: what
        could have been asked, from truth alone. regions, unmatched: how many, and how many lie on no one object.
    """
    renderer = Renderer(truth)
    regions = match_regions(scene, truth, renderer)
    quantities = measure(scene)
    questions, dropped = ask_scene(scene, QuestionsConfig(reasoning=False), quantities)
    truths = Truth(truth)
    record = decode(make_sample(scene, {}, questions).json)
    found = {j.id: j for j in judge(record, truth, renderer, regions)}
    judged = [(q, found[q.id]) for q in questions]
    forms: dict[tuple, dict[str, Any]] = defaultdict(dict)
    for q, j in judged:
        forms[q.family, tuple(q.regions), (q.start_frame, q.end_frame)][q.form] = {
            "right": j.right, "covered": j.covered, "relative_error": j.relative_error,
            "half_width": j.relative_half_width, "problem": j.problem}
    for d in dropped:
        forms[d.family, tuple(d.subjects), tuple(d.span)][d.form] = {"dropped": d.reason}
    usable = [q for q in quantities if all(regions[i] is not None for i in q.subjects)]
    depth0 = renderer.geometry(0)[0]
    scene_depth = float(np.median(depth0[np.isfinite(depth0)]))
    oracle = Oracle(truths, renderer)
    items = []
    for quantity in usable if every else one_each(truth.name, usable, regions):
        subjects = [regions[i] for i in quantity.subjects]
        made = item(quantity, subjects, truths)
        if made is None:
            continue
        z = max((_depth(truths, s, quantity.span[0]) for s in subjects), default=scene_depth)
        areas = [float(scene.region(i).mask_first.sum()) for i in quantity.subjects]
        made["oracle"] = oracle_half_width(oracle, quantity, subjects, areas)
        own = forms.get((quantity.kind, tuple(quantity.subjects), tuple(quantity.span)), {})
        items.append(made | {
            "scene": truth.name, "setting": truth.setting, "camera_motion": truth.camera_motion,
            "depth_m": z, "disparity_px": truth.rig.left.fx * truth.rig.baseline_m / z,
            "area_px": areas,
            "first": [int(scene.region(i).first) for i in quantity.subjects],
            "share": [round(s.share, 3) for s in subjects], "forms": own,
            "asked": any("dropped" not in f for f in own.values())})
    return {"items": items, "judged": [asdict(j) for _, j in judged],
            "askable": [asdict(a) for a in askable(truth, renderer)], "regions": len(regions),
            "unmatched": sum(s is None for s in regions.values())}


def oracle_half_width(oracle: Oracle, quantity: Quantity, subjects: list[Subject], areas: list[float]) -> float:
    """Half of the 95 % interval an ideal estimator would state; nan where it has no error to first order (a length
    that is not three of its errors clear of zero, a camera that turned away from all it saw)."""
    kind, span = quantity.kind, quantity.span
    try:
        error = oracle.error(kind, subjects, span, areas)
        size = oracle.truth.value(kind, subjects, span).value
        if kind in ("camera_direction", "object_direction"):
            kind_of_length = kind.replace("direction", "displacement")
            size = oracle.truth.value(kind_of_length, subjects, span).value
            if size < CLEAR * oracle.error(kind_of_length, subjects, span, areas):
                return math.nan
        elif kind != "apparent_direction" and kind != "object_camera_distance_change" and size < CLEAR * error:
            return math.nan
    except ValueError:
        return math.nan
    return oracle.half_width95(kind, error)


def one_each(name: str, quantities: Iterable[Quantity], regions: dict[int, Subject | None]) -> list[Quantity]:
    """One of each kind and object by stable hash. Every region of the still world stands for itself."""
    groups: dict[tuple, list[Quantity]] = defaultdict(list)
    for q in quantities:
        objects = [regions[i].object_id or -i for i in q.subjects]
        for one in objects or [0]:
            groups[q.kind, one].append(q)
    best = {}
    for group in groups.values():
        picked = min(group, key=lambda q: draw(name, q.kind, q.subjects, q.span))
        best[picked.kind, picked.subjects, picked.span] = picked  # a pair may be drawn by both of its objects
    return list(best.values())


def item(quantity: Quantity, subjects: list[Subject], truths: Truth) -> dict[str, Any] | None:
    """What was stated and what is true; None where there is no truth (the direction of what stands still)."""
    spec = KINDS[quantity.kind]
    true = truths.value(quantity.kind, subjects, quantity.span, quantity.reference)
    value = quantity.value
    if spec.vector:
        if true.vector is None or not np.linalg.norm(true.vector) > AT_ZERO:
            return None
        value, true_value = 0.0, angle_between(np.asarray(quantity.value, float), true.vector)
    else:
        true_value = true.value
    quantiles = [float(q) for q in quantity.quantiles]
    if not (math.isfinite(true_value) and math.isfinite(value) and np.isfinite(quantiles).all()):
        return None
    one_sided = bool(spec.vector)
    held = inside(true_value, quantiles, one_sided)
    low, high = (0.0 if one_sided else quantiles[1]), quantiles[7]
    at_zero = abs(true_value) <= AT_ZERO and not one_sided
    place = normal_score(true_value, quantiles)
    score = size_score(place) if one_sided else place
    return {"kind": quantity.kind, "regions": list(quantity.subjects), "objects": [s.object_id for s in subjects],
            "span": list(quantity.span), "unit": "rad" if one_sided else quantity.unit, "value": float(value),
            "truth": float(true_value), "quantiles": quantiles, "z": score, "inside": held, "at_zero": at_zero,
            "miss": 0 if held["95"] else (1 if score > 0 else -1),
            "half_width": high if one_sided else (high - low) / 2, "error": quantity.error,
            "relative_error": abs(value - true_value) / abs(true_value) if not one_sided and not at_zero else math.nan,
            "p_zero": float(quantity.p_zero), "category": quantity.extra.get("category", ""),
            "true_category": true.category}


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle of two vectors [2] or [3], rad."""
    a, b = (np.append(v, 0.0) if len(v) == 2 else np.asarray(v, float) for v in (a, b))
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def _depth(truths: Truth, subject: Subject, frame: int) -> float:
    world = truths.path(subject, (frame, frame))[0]
    return float((truths.scene.camera(truths.start + frame).inverse() @ world)[2])
