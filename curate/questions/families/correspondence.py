"""Where a point of an object is at a later time, in pixels of the first (left) view: as the video shows it, and as a
camera that had stayed where it was in the first frame would show it. Never mixed.

`correspondence_seen`: π(R_tᵀ (P(t) − c_t)), the camera's motion and the object's together.
`correspondence_still`: π(R_0ᵀ (P(t) − c_0)), the object's true motion alone, drawn into the first frame.
`correspondence_many`: as `correspondence_seen`, of several objects at once; the order of the answers is shuffled.

P is the reference point. Gates: 99 % of its error in the image lies within 2 % of the image's width; in the choice, the
options stand clear of twice that error. Choice among exchangeable places (`point_options`), where regions are not named
by theirs; open points, judged by PCK at 2 % of the width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from curate.questions import places
from curate.questions.claim import Category, Claim, Open
from curate.questions.coordinates import Writer, vector
from curate.questions.draw import Draw
from curate.questions.families.base import Family, Item
from curate.questions.families.grounding import BEHIND, noted, writer_of
from curate.questions.gates import METRIC_SCALES, UNCERTAIN
from curate.questions.point_options import point_options
from curate.questions.view import View
from curate.scene import Region

CLOSE = 0.02  # of the width: what a point must be known to
ROUNDING_PX = 1.0
MOST_POINTS = 4
POINT_LEAD = "Answer with the coordinates alone."
SEEN = "in the image that the video shows then"
STILL = ("in the image that the camera would take then, had it stayed where it was in the first frame (only the "
         "object's own motion counts)")


def seen(view: View, region: Region, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the reference point is seen: [2] and draws [S, 2], pixels from the image's corner."""
    memo = view.draws.region(region.id).memo
    if ("seen", frame) not in memo:
        drawn = places.camera_points(view.draws, region, frame)
        memo["seen", frame] = seen_point(view, region, frame), places.pixels(view.scene, drawn)
    return memo["seen", frame]


def seen_point(view: View, region: Region, frame: int) -> np.ndarray:
    """Where the reference point is seen [2], without the draws, which take long."""
    return region.centroid_px[frame] + 0.5


def still(view: View, region: Region, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """The same, had the camera stayed where it was in the first frame."""
    memo = view.draws.region(region.id).memo
    if ("held still", frame) not in memo:
        memo["held still", frame] = tuple(places.pixels(view.scene, p)
                                          for p in places.held_still(view.draws, region, frame))
    return memo["held still", frame]


def still_point(view: View, region: Region, frame: int) -> np.ndarray:
    """The same [2], had the camera stayed where it was in the first frame."""
    return places.pixels(view.scene, places.held_still_point(view.draws, region, frame))


def point_claim(view: View, writer: Writer, place, place_of_others, slips, *, name: str, subjects: tuple[int, ...],
                frame: int, images: str, reference: str, words: dict, steps, along_row: bool = False) -> Claim:
    """A claim about one image point.

    Args:
        place: [2] and draws [S, 2], pixels from the corner. place_of_others: [2] of other objects' points.
        slips: vectors [2] to plausible mistakes. name: of the family. images: the claim's frame.
    """
    scene, (point, drawn) = view.scene, place
    common = {"subjects": subjects, "span": (frame, frame), "frame": images, "reference": reference}
    if not places.inside(scene, point):
        return Claim(**common, refusal=BEHIND)
    width, height = scene.camera.width, scene.camera.height
    close, away = CLOSE * width, places.away_from(drawn, point)
    error = places.radius(away)
    if not math.isfinite(error):
        return Claim(**common, refusal=UNCERTAIN)
    category = None
    if not places.says_where(view):
        draw = Draw(scene.key, view.config.seed, name, *subjects, frame, "places")
        found = point_options(point, place_of_others, slips, 2.5 * error + 2 * ROUNDING_PX, (width, height),
                              view.config.num_options, draw, along_row)
        if found:
            texts = tuple(writer.point(*p) for p in found)
            category = Category(texts[0], 1.0, texts) if len(set(texts)) == len(texts) else None
    text, seconds = writer.point(*point), view.times.seconds[frame]
    close_here = close * (1000 / width if writer.dialect == "box1000" else 1.0)
    answer = Open(text, [writer.numbers(*point)], "points", "pck", POINT_LEAD, float((away <= close).mean()))
    return Claim(**common, category=category, open=answer, words={"format": writer.point_format} | words, steps=steps,
                 extra=noted(writer, threshold_px=round(close_here, 3)),
                 coordinates=((0, len(text), vector(*point, math.nan, seconds)),))


def _steps(view: View, writer: Writer, region: Region, frame: int, where: np.ndarray, still_too: bool):
    def steps(item: Item) -> list[str]:
        x, y, z = region.point_cam[frame]
        is_metric = view.scene.scale in METRIC_SCALES
        out = [f"At {item.words['start']} the point lies at ({x:.2f}, {y:.2f}, {z:.2f}) m in the axes of the "
               "camera."] if is_metric else []
        if still_too and is_metric:
            x, y, z = places.held_still(view.draws, region, frame)[0]
            out.append("With the camera's motion since the first frame taken out, that is "
                       f"({x:.2f}, {y:.2f}, {z:.2f}) m in the axes of the camera at the first frame.")
        return [*out, f"The camera's focal length and centre place it at ({where[0]:.0f}, {where[1]:.0f}), in pixels.",
                *writer.converted(item.answer)]
    return steps


def _followed(view: View, name: str, how) -> Iterator[Claim]:
    """`how`: where it is asked for, `seen` or `still`; the other is the way it is taken for."""
    writer, scene = writer_of(view), view.scene
    point_of, other = (seen_point, still_point) if how is seen else (still_point, seen_point)
    for region in view.rigid:
        if not places.on_surface(region) or region.point == "cuboid":  # a box's centre is no spot that one sees
            yield Claim((region.id,), view.clip, "image", refusal=places.OFF)
            continue
        for frame in places.instants(view, region):
            place = how(view, region, frame)
            start = places.pixels(scene, region.point_cam[0])
            slips = [s for s in (other(view, region, frame) - place[0], start - place[0]) if np.isfinite(s).all()]
            others = [point_of(view, r, frame) for r in view.rigid if r is not region and r.first <= frame <= r.last
                      and np.isfinite(r.point_cam[frame]).all()]
            others = [p for p in others if places.inside(scene, p)]
            yield point_claim(view, writer, place, others, slips, name=name, subjects=(region.id,), frame=frame,
                              images="image" if how is seen else "camera@0", reference=region.reference, words={},
                              steps=_steps(view, writer, region, frame, place[0], how is still))


def as_seen(view: View) -> Iterator[Claim]:
    yield from _followed(view, "correspondence_seen", seen)


def held(view: View) -> Iterator[Claim]:
    yield from _followed(view, "correspondence_still", still)


def many(view: View) -> Iterator[Claim]:
    writer, scene = writer_of(view), view.scene
    clear = []
    span = view.common_span(view.rigid) if len(view.rigid) > 1 else None
    if span is None:
        return
    frame = span[1]
    close = CLOSE * scene.camera.width
    for region in view.rigid:
        point, drawn = seen(view, region, frame)
        if places.inside(scene, point) and places.on_surface(region) and region.point != "cuboid":
            clear.append((region, point, places.away_from(drawn, point) <= close))
    for group in _groups(clear):
        draw = Draw(scene.key, view.config.seed, "correspondence_many", frame, *(r.id for r, _, _ in group))
        order = draw.shuffled(group)
        subjects = tuple(r.id for r, _, _ in order)
        text, spans, seconds = "", [], view.times.seconds[frame]
        for _, point, _ in order:
            text += ", " if text else ""
            written = writer.point(*point)
            spans.append((len(text), len(text) + len(written), vector(*point, math.nan, seconds)))
            text += written
        right = np.logical_and.reduce([near for _, _, near in order])
        target = [writer.numbers(*point) for _, point, _ in order]
        names = [view.mark(i) for i in subjects]
        scale = 1000 / scene.camera.width if writer.dialect == "box1000" else 1.0

        def steps(item: Item, order=order) -> list[str]:
            return [f"At {item.words['start']}, {view.mark(r.id)} is seen at ({p[0]:.0f}, {p[1]:.0f}), in pixels."
                    for r, p, _ in order] + writer.converted(item.answer)

        yield Claim(subjects, (frame, frame), "image", order[0][0].reference, steps=steps,
                    open=Open(text, target, "points", "pck", "Answer with the coordinates alone, in this order.",
                              float(right.mean())),
                    words={"format": writer.point_format, "order": f"{', '.join(names[:-1])} and then {names[-1]}",
                           "legend": view.legend},
                    extra=noted(writer, threshold_px=round(close * scale, 3)), coordinates=tuple(spans))


def _groups(clear: list) -> list[tuple]:
    """All of them where they are few, and each pair of a larger number: at most four points and six questions."""
    if len(clear) < 2:
        return []
    whole = [tuple(clear[:MOST_POINTS])]
    return whole + (list(combinations(clear[:MOST_POINTS], 2)) if len(clear) > 2 else [])


POINT = ("region", "at", "reference", "axes", "format")
FAMILIES = (
    Family("correspondence_seen", as_seen, forms=("choice", "open"), states={"category": POINT, "open": POINT},
           fields=("format",), axes=SEEN, metric=False),
    Family("correspondence_still", held, forms=("choice", "open"), states={"category": POINT, "open": POINT},
           fields=("format",), axes=STILL, metric=False),
    Family("correspondence_many", many, forms=("open",),
           states={"open": ("order", "legend", "at", "reference", "axes", "format")},
           fields=("format", "order", "legend"), axes=SEEN, metric=False),
)
