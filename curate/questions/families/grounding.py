"""Where a marked object is in the image at a time, and which mark is at a place. The image is the first (left) view's.

`grounding_2d`: box around the visible part of a region in the frame at t, as [x0, y0, x1, y1]. Gate: the box measured
    there agrees (IoU) with the one of the marked frame carried along with the reference point and scaled by its depth.
    Open answer, judged by IoU.
`grounding_mark`: which mark is at a point, or in a box, in the frame at t. Gates: the point, where the reference point
    is seen at t, lies inside the region by more than its error, most of it is visible, and nothing nearer is known
    there; the box agrees as above and no other region has one like it. Choice of marks, accuracy. Not asked where
    regions are named by their place.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.questions import gates, places
from curate.questions.claim import Category, Claim, Open
from curate.questions.coordinates import Canvas, Writer
from curate.questions.families.base import Family, Item
from curate.questions.view import View
from curate.scene import Region

AGREES = 0.6  # IoU of the measured box and the carried one
APART = 0.3  # IoU below which another region's box is clearly not the one stated
MIN_VISIBLE = 0.6  # of its largest visible area, to say what is at a point
SPARE_PX = 2.0  # between a point's error and the region's border
NOT_CARRIED = "its box does not keep to the object"
AT_BORDER = "the point is too near to the region's border"
AMBIGUOUS = "another region is there too"
BEHIND = "behind the camera or outside of the image"


def writer_of(view: View) -> Writer:
    return Writer(view.config.coordinate_dialect, Canvas.of(view.scene))


def noted(writer: Writer, **more) -> dict:
    """What a reader of the answer needs beside it."""
    return {"coordinate_dialect": writer.dialect, "canvas": writer.canvas.to_json()} | more


def boxed(view: View) -> Iterator[Claim]:
    writer, scene = writer_of(view), view.scene
    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim((region.id,), view.clip, "image", refusal=places.OFF)
            continue
        for frame in places.instants(view, region):
            box, seconds = region.box[frame], view.times.seconds[frame]
            common = {"subjects": (region.id,), "span": (frame, frame), "frame": "image"}
            carried = places.carried_box(scene, region, frame, gates.MARK_FRAME)
            if not places.box_iou(box, carried) >= AGREES:
                yield Claim(**common, refusal=NOT_CARRIED)
                continue
            box = [float(v) for v in box]
            answer = Open(writer.box(*box), writer.numbers(*box), "box", "iou", "Answer with the box alone.")

            def steps(item: Item, box=box) -> list[str]:
                return [f"At {item.words['start']} the object's visible part spans columns {box[0]:.0f} "
                        f"to {box[2]:.0f} and rows {box[1]:.0f} to {box[3]:.0f}, in pixels.",
                        *writer.converted(item.answer)]

            yield Claim(**common, open=answer, words={"format": writer.box_format}, steps=steps,
                        extra=noted(writer), coordinates=writer.box_spans(box, seconds))


def clearance(region: Region) -> int:
    """How many pixels the reference point is inside the region, where that is defined."""
    u, v = np.rint(region.centroid_px[region.defined_at]).astype(int)
    mask = region.mask_first
    reach = min(u, v, mask.shape[1] - 1 - u, mask.shape[0] - 1 - v)
    for r in range(reach + 1):
        if not mask[v - r:v + r + 1, u - r:u + r + 1].all():
            return r - 1
    return int(reach)


def marked(view: View) -> Iterator[Claim]:
    names = {r.id: view.mark(r.id) for r in view.regions}
    if len(names) < 2 or places.says_where(view):
        return
    writer, subjects = writer_of(view), tuple(sorted(names))
    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim(subjects, view.clip, "image", refusal=places.OFF)
            continue
        for frame in places.instants(view, region):
            for variant, refusal, place in ((f"point.r{region.id}", *_point(view, region, frame, writer)),
                                            (f"box.r{region.id}", *_only_box(view, region, frame, writer))):
                common = {"subjects": subjects, "span": (frame, frame), "frame": "image", "variant": variant}
                if refusal:
                    yield Claim(**common, refusal=refusal)
                    continue

                def steps(item: Item, region=region, frame=frame) -> list[str]:
                    u, v = region.centroid_px[frame] + 0.5
                    return [f"Followed from the first frame to {item.words['start']}, {item.answer} is seen about "
                            f"({u:.0f}, {v:.0f}), in pixels."]

                yield Claim(**common, category=Category(names[region.id], 1.0, tuple(names[i] for i in subjects)),
                            words={"place": place, "format": writer.units}, steps=steps,
                            extra=noted(writer, asked_about=region.id))


def _point(view: View, region: Region, frame: int, writer: Writer) -> tuple[str, str]:
    """Why the point of a region does not tell it from the others, or the point as text."""
    scene, point = view.scene, region.centroid_px[frame] + 0.5
    if not places.inside(scene, point):
        return BEHIND, ""
    drawn = places.pixels(scene, places.camera_points(view.draws, region, frame))
    error = places.radius(places.away_from(drawn, point))
    depth = region.point_cam[frame, 2]
    room = clearance(region) * region.point_cam[region.defined_at, 2] / depth
    if room < error + SPARE_PX or region.visible_fraction[frame] < MIN_VISIBLE:
        return AT_BORDER, ""
    for other in scene.regions:
        box = other.box[frame]
        if other is not region and other.seen[frame] and np.isfinite(box).all() and not (
                other.point_cam[frame, 2] > depth) and (box[:2] <= point).all() and (point <= box[2:]).all():
            return AMBIGUOUS, ""
    return "", "at the point " + writer.point(*point)


def _only_box(view: View, region: Region, frame: int, writer: Writer) -> tuple[str, str]:
    box = region.box[frame]
    if not places.box_iou(box, places.carried_box(view.scene, region, frame, gates.MARK_FRAME)) >= AGREES:
        return NOT_CARRIED, ""
    for other in view.scene.regions:
        if other is not region and other.seen[frame] and places.box_iou(other.box[frame], box) > APART:
            return AMBIGUOUS, ""
    return "", "inside the box " + writer.box(*(float(v) for v in box))


FAMILIES = (
    Family("grounding_2d", boxed, forms=("open",), states={"open": ("region", "at", "format")}, fields=("format",),
           metric=False),
    Family("grounding_mark", marked, forms=("choice",), states={"category": ("place", "at", "format")},
           fields=("place", "format"), metric=False),
)
