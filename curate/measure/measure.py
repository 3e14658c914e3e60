"""Scene to quantities: which kinds, of which regions, over which spans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from curate.measure.draws import SceneDraws
from curate.measure.kinds import KINDS
from curate.measure.magnitude import Sample, Stated, state, summarise
from curate.measure.quantity import LEVELS, Quantity
from curate.scene import Region, Scene

HALF_SPAN_FRAMES = 12  # a clip or region at least this long also gets a span to its middle
MIN_SEEN = 3  # frames that a path needs

Span = tuple[int, int]


def measure(scene: Scene, spans: Sequence[Span] | None = None, kinds: Sequence[str] | None = None,
            draws: SceneDraws | None = None,
            wanted: Callable[[tuple[int, ...], Span], bool] | None = None) -> list[Quantity]:
    """Every quantity of a scene.

    Args:
        scene: a Scene.
        spans: (first, last) frames; default: each region's whole visible span and one to its middle, the whole clip
            and its first half for the camera. Regions not seen at both ends of a span are left out.
        kinds: names of `KINDS`; default all. Metric kinds are left out where the scene's scale is "relative".
        draws: joint draws to reuse; default: made from the scene's key.
        wanted: (subjects, span) -> whether anybody looks at it. What nobody does is not worked out: it is in the list,
            and all its numbers are nan. Default: all are.

    Returns:
        quantities in a fixed order: by kind, subjects, span.

    Raises:
        ValueError: on an unknown kind, or a span outside the clip.
    """
    unknown = sorted(set(kinds or ()) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown kinds of measurement {unknown}; known: {', '.join(KINDS)}")
    for i, j in spans or ():
        if not 0 <= i < j < scene.num_frames:
            raise ValueError(f"span ({i}, {j}) is not inside the clip's frames 0..{scene.num_frames - 1}")
    if scene.num_frames < 2:
        return []
    draws = draws or SceneDraws(scene)
    places = [(name, subjects, span) for name in kinds or KINDS
              if not (scene.scale == "relative" and KINDS[name].metric)
              for subjects, span in _subjects(scene, name, spans)]
    samples = [KINDS[name].sample(draws, subjects, span) if wanted is None or wanted(subjects, span) else None
               for name, subjects, span in places]
    stated = iter(summarise([sample for sample in samples if sample is not None], draws.scale))
    return [_unknown(scene, *place) if sample is None else _quantity(draws, *place, sample, next(stated))
            for place, sample in zip(places, samples)]


def quantity(draws: SceneDraws, kind: str, subjects: tuple[int, ...], span: Span) -> Quantity:
    """One quantity of a scene's draws. Directions have a unit vector as value, and quantiles of its error in rad."""
    sample = KINDS[kind].sample(draws, subjects, span)
    return _quantity(draws, kind, subjects, span, sample, summarise([sample], draws.scale)[0])


def _axes(scene: Scene, kind: str, subjects: tuple[int, ...], span: Span) -> dict[str, str]:
    spec = KINDS[kind]
    return {"unit": spec.unit, "frame": f"camera@{span[0]}" if spec.frame == "camera" else spec.frame,
            "reference": scene.region(subjects[0]).reference if subjects else "camera-centre"}


def _unknown(scene: Scene, kind: str, subjects: tuple[int, ...], span: Span) -> Quantity:
    return Quantity(kind, subjects, span, math.nan, quantiles=(math.nan,) * len(LEVELS), error={},
                    **_axes(scene, kind, subjects, span))


def _quantity(draws: SceneDraws, kind: str, subjects: tuple[int, ...], span: Span, sample: Sample,
              stated: Stated) -> Quantity:
    spec = KINDS[kind]
    out = state(sample, stated, draws.scale_sigma, kind=kind, subjects=subjects, span=span,
                **_axes(draws.scene, kind, subjects, span))
    if not spec.vector:
        return out
    vector = np.array(sample.extra[spec.vector])
    length = float(np.linalg.norm(vector))
    return replace(out, value=[float(x) for x in (vector / length if length > 0 else vector)])


def values(draws: SceneDraws, kind: str, subjects: tuple[int, ...], span: Span) -> np.ndarray:
    """Joint draws [S] of a number, scale included: compare two of them draw by draw, and shared errors cancel."""
    sample = KINDS[kind].sample(draws, subjects, span)
    return sample.draws * draws.scale if sample.scaled else sample.draws


def probability_greater(a: np.ndarray, b: np.ndarray, ratio: float = 1.0) -> float:
    """P(a > ratio · b) of two numbers' joint draws [S]; ties count half."""
    return float((a > ratio * b).mean() + 0.5 * (a == ratio * b).mean())


def usable_frames(region: Region) -> np.ndarray:
    """Frames where the reference point is measured, in space and (where there are pictures) in the image, in order."""
    known = region.seen & np.isfinite(region.point_cam).all(-1)
    return np.flatnonzero(known & np.isfinite(region.centroid_px).all(-1) if region.mask_first.size else known)


def pictured_frames(region: Region) -> np.ndarray:
    """Frames where the reference point is measured in the image, wherever in space that is, in order."""
    return np.flatnonzero(region.seen & np.isfinite(region.centroid_px).all(-1))


def _subjects(scene: Scene, name: str, spans: Sequence[Span] | None) -> Iterator[tuple[tuple[int, ...], Span]]:
    spec = KINDS[name]
    if spec.of == "camera":
        last = scene.num_frames - 1
        default = [(0, last)] + ([(0, last // 2)] if scene.num_frames >= HALF_SPAN_FRAMES else [])
        for span in spans or default:
            yield (), span
        return
    frames_of = pictured_frames if spec.frame == "image" else usable_frames
    usable = {region.id: frames_of(region) for region in scene.regions}
    usable = {region_id: frames for region_id, frames in usable.items() if len(frames) >= MIN_SEEN}
    if spec.of == "pair":
        for a, b in combinations(usable, 2):
            if not spec.instant:
                shared = np.intersect1d(usable[a], usable[b])
                ends = {int(f) for f in shared}
                for span in ([(i, j) for i, j in spans if i in ends and j in ends] if spans else
                             [(int(shared[0]), int(shared[-1]))] if len(shared) > 1 else []):
                    yield (a, b), span
                continue
            instants = {i for i, _ in spans} if spans else {0}
            for frame in sorted(instants & set(usable[a].tolist()) & set(usable[b].tolist())):
                yield (a, b), (frame, frame)
        return
    for region_id, frames in usable.items():
        own = region_spans(frames, spans)
        if spec.instant:
            for frame in sorted({f for span in own for f in span} if spans else {own[0][0], own[0][1]}):
                yield (region_id,), (frame, frame)
        else:
            for span in own:
                yield (region_id,), span


def region_spans(frames: np.ndarray, spans: Sequence[Span] | None) -> list[Span]:
    """Spans of a region that is measured at `frames`: those given that begin and end there; by default all of its
    track, and of a long one the first half too."""
    if spans:
        there = set(frames.tolist())
        return [(i, j) for i, j in spans if i in there and j in there]
    first, last = int(frames[0]), int(frames[-1])
    out = [(first, last)]
    if len(frames) >= HALF_SPAN_FRAMES:
        out.append((first, int(frames[np.argmin(np.abs(frames - (first + last) / 2))])))
    return out
