"""What only a second view can tell: the shift between the left and the right view of one instant.

A point at depth z along the line of sight (of both rectified views) is d = f B / z − (cx_r − cx_l) pixels farther left
in the right view than in the left one, in the same row. Depths are of the reference point; scenes of unknown scale have
disparities too. The first view, which marks and boxes are of, is the left one; in a mirrored clip it is the right one:
B is negative, everything shifts right on the way to the second, and the questions name the sides as they are.

`disparity_order`: which of two marked objects shifts more (or less), and so is nearer (or farther) along the line of
    sight. Choice of marks, certain from joint draws.
`view_shift`: how many pixels an object shifts, and which way. Choice among numbers by the role rule.
`view_point`: where the reference point is in the second view. Choice among places of one row; open, judged by PCK.
`view_box`: the box around the visible part in the second view: the first one's, shifted. Gate: what the shift differs
    by over the object's depth is a small part of the box. Open, judged by IoU.
`view_visibility`: whether the reference point lies within the second view's image, asked where it is no farther from
    the border than twice the shift, so that both may be. Choice, certain from joint draws.

All of the first frame, where the marks are, and of the last one of the region; nothing without a second view.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from curate.measure.magnitude import quantiles
from curate.questions import gates, places
from curate.questions.claim import Category, Claim, Open
from curate.questions.digits import round_to, significant_digits, text
from curate.questions.draw import Draw
from curate.questions.families.base import Family, Item
from curate.questions.families.correspondence import point_claim, seen
from curate.questions.families.grounding import AGREES, BEHIND, NOT_CARRIED, noted, writer_of
from curate.questions.options import number_options
from curate.questions.view import View
from curate.scene import Region

LEAST_PX = 2.0  # a shift that is told in pixels
SLANT = 0.25  # of a box's width: by how much its parts may shift differently
BETWEEN = "from the {} view to the {} view of the same instant"
IN_OTHER = "in the {} view of the same instant"
SLANTED = "its parts shift by different amounts"
FAR = "too far from the border to leave the second view"
SMALL = "the shift is too small to be told in pixels"
SIDES = {True: "left", False: "right"}
INSIDE, OUTSIDE = "inside the {} view's image", "beyond the edge of the {} view's image"


def _words(view: View) -> dict[str, str]:
    """Which view is which, and how a place in the second is stated."""
    first, other = places.sides(view.scene)
    return {"first": first, "other": other, "axes": IN_OTHER.format(other)}


def _between(view: View) -> str:
    return BETWEEN.format(*places.sides(view.scene))


def _frames(view: View, region: Region) -> list[int]:
    """The marked frame and the last one of a region."""
    frames = view.frames(region)
    return sorted({int(frames[0]), int(frames[-1])}) if frames[0] == gates.MARK_FRAME else [int(frames[-1])]


def _shift(view: View, region: Region, frame: int) -> tuple[float, np.ndarray]:
    """Pixels to the left, and their draws [S]."""
    memo = view.draws.region(region.id).memo
    if ("shift", frame) not in memo:
        drawn = places.camera_points(view.draws, region, frame)[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            memo["shift", frame] = (float(places.disparity(view.scene, region.point_cam[frame, 2])),
                                    np.where(drawn > 0, places.disparity(view.scene, drawn), np.nan))
    return memo["shift", frame]


def ordered(view: View) -> Iterator[Claim]:
    if not places.has_second_view(view.scene):
        return
    frame = gates.MARK_FRAME
    there = [r for r in view.regions if frame in view.frames(r) and places.on_surface(r)]
    sign = 1 if view.scene.baseline_m > 0 else -1
    here_side, other_side = places.sides(view.scene)
    for a, b in combinations(there, 2):
        draw = Draw(view.scene.key, view.config.seed, "disparity_order", a.id, b.id)
        larger = draw.pick((True, False))
        first, second = draw.shuffled([a, b])
        (x, drawn_x), (y, drawn_y) = (_shift(view, r, frame) for r in (first, second))
        more = float((sign * (drawn_x - drawn_y) > 0).mean())  # nan counts for neither
        less = float((sign * (drawn_x - drawn_y) < 0).mean())
        names = tuple(view.mark(r.id) for r in (first, second))
        wins = (more if larger else less), (less if larger else more)
        best = int(wins[1] > wins[0])

        def steps(item: Item, x=x, y=y, names=names, larger=larger) -> list[str]:
            return [f"From the {here_side} view to the {other_side} one {names[0]} shifts by {abs(x):.1f} pixels and "
                    f"{names[1]} by {abs(y):.1f}.",
                    f"The {'larger' if larger else 'smaller'} shift belongs to the {'nearer' if larger else 'farther'} "
                    f"one: {item.answer}."]

        yield Claim((first.id, second.id), (frame, frame), "image", first.reference, steps=steps,
                    category=Category(names[best], wins[best], names),
                    words={"more": "more" if larger else "less", "larger": "larger" if larger else "smaller",
                           "nearer": "nearer" if larger else "farther", "axes": _between(view)})


def shifted(view: View) -> Iterator[Claim]:
    if not places.has_second_view(view.scene):
        return
    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim((region.id,), view.clip, "image", refusal=places.OFF)
            continue
        for frame in _frames(view, region):
            value, drawn = _shift(view, region, frame)
            side, value, drawn = SIDES[value > 0], abs(value), np.abs(drawn)
            common = {"subjects": (region.id,), "span": (frame, frame), "frame": "image",
                      "reference": region.reference, "words": {"axes": _between(view)}}
            if not (value >= LEAST_PX and np.isfinite(drawn).all()):
                yield Claim(**common, refusal=SMALL)
                continue
            levels = tuple(quantiles(drawn[None])[0])
            num_digits = significant_digits(gates.relative_half_width(value, levels))
            answer = round_to(value, num_digits)
            draw = Draw(view.scene.key, view.config.seed, "view_shift", region.id, frame)
            found = number_options(answer, gates.option_gap(answer, levels), num_digits, (), view.config.num_options,
                                   draw)
            if found is None:
                yield Claim(**common, refusal=gates.CROWDED)
                continue
            texts = tuple(f"{text(v, num_digits)} pixels to the {side}" for v in found.values)
            size = text(answer, num_digits)

            def steps(item: Item, region=region, frame=frame, size=size) -> list[str]:
                focal, base = view.scene.camera.fx, abs(view.scene.baseline_m)
                if view.scene.scale not in gates.METRIC_SCALES:
                    return [f"Matched from one view to the other, the point shifts by {size} pixels."]
                return [f"The point is {region.point_cam[frame, 2]:.2f} m deep along the line of sight; the focal "
                        f"length is {focal:.1f} pixels and the views are {base:.3f} m apart.",
                        f"The shift is focal length times distance of the views over depth, {size} pixels."]

            yield Claim(**common, category=Category(texts[found.index], 1.0, texts), steps=steps)


def in_other(view: View) -> Iterator[Claim]:
    if not places.has_second_view(view.scene):
        return
    writer, scene = writer_of(view), view.scene
    here_side, other_side = places.sides(scene)

    def moved(region: Region, frame: int) -> np.ndarray:
        return region.centroid_px[frame] + 0.5 - np.array([_shift(view, region, frame)[0], 0.0])

    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim((region.id,), view.clip, "image", refusal=places.OFF)
            continue
        for frame in _frames(view, region):
            shift, drawn_shift = _shift(view, region, frame)
            drawn = seen(view, region, frame)[1].copy()
            drawn[:, 0] -= drawn_shift
            here = moved(region, frame), drawn
            others = [moved(r, frame) for r in view.rigid if r is not region and frame in view.frames(r)]
            others = [p for p in others if places.inside(scene, p)]

            def steps(item: Item, region=region, frame=frame, shift=shift, here=here) -> list[str]:
                u, v = region.centroid_px[frame] + 0.5
                return [f"In the {here_side} view the point is seen at ({u:.0f}, {v:.0f}), in pixels.",
                        f"In the {other_side} view it is in the same row, {abs(shift):.1f} pixels farther to the "
                        f"{SIDES[shift > 0]}: ({here[0][0]:.0f}, {here[0][1]:.0f}).",
                        *writer.converted(item.answer)]

            yield point_claim(view, writer, here, others, [(shift, 0.0), (2 * shift, 0.0)], name="view_point",
                              subjects=(region.id,), frame=frame, images="image", reference=region.reference,
                              words=_words(view), steps=steps, along_row=True)


def other_boxes(view: View) -> Iterator[Claim]:
    if not places.has_second_view(view.scene):
        return
    writer, scene = writer_of(view), view.scene
    here_side, other_side = places.sides(scene)
    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim((region.id,), view.clip, "image", refusal=places.OFF)
            continue
        for frame in _frames(view, region):
            common = {"subjects": (region.id,), "span": (frame, frame), "frame": "image"}
            shift, _ = _shift(view, region, frame)
            box, length = region.box[frame], float(region.extent_m[np.isfinite(region.extent_m)].max(initial=0.0))
            depth = region.point_cam[frame, 2]
            nearer = float(places.disparity(scene, max(depth - length / 2, depth / 2)))
            moved = box - shift * np.array([1.0, 0.0, 1.0, 0.0])
            carried = places.carried_box(scene, region, frame, gates.MARK_FRAME)
            if abs(nearer - shift) > SLANT * (box[2] - box[0]):
                yield Claim(**common, refusal=SLANTED)
            elif not places.box_iou(box, carried) >= AGREES or box[0] < 1 or box[2] > scene.camera.width - 1:
                yield Claim(**common, refusal=NOT_CARRIED)  # or the first view cuts it
            elif moved[0] < 0 or moved[2] > scene.camera.width:
                yield Claim(**common, refusal=BEHIND)
            else:
                there = [float(v) for v in moved]

                def steps(item: Item, box=box, shift=shift) -> list[str]:
                    return [f"In the {here_side} view the visible part spans columns {box[0]:.0f} to {box[2]:.0f} and "
                            f"rows {box[1]:.0f} to {box[3]:.0f}; in the {other_side} view it is {abs(shift):.1f} "
                            f"pixels farther to the {SIDES[shift > 0]}.", *writer.converted(item.answer)]

                yield Claim(**common, steps=steps, words=_words(view) | {"format": writer.box_format},
                            extra=noted(writer), coordinates=writer.box_spans(there, view.times.seconds[frame]),
                            open=Open(writer.box(*there), writer.numbers(*there), "box", "iou",
                                      "Answer with the box alone."))


def visible(view: View) -> Iterator[Claim]:
    if not places.has_second_view(view.scene):
        return
    width, (here_side, other_side) = view.scene.camera.width, places.sides(view.scene)
    vocabulary = INSIDE.format(other_side), OUTSIDE.format(other_side)
    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim((region.id,), view.clip, "image", refusal=places.OFF)
            continue
        for frame in _frames(view, region):
            shift, drawn = _shift(view, region, frame)
            left = float(region.centroid_px[frame][0]) + 0.5
            column = seen(view, region, frame)[1][:, 0] - drawn
            common = {"subjects": (region.id,), "span": (frame, frame), "frame": "image",
                      "reference": region.reference, "words": _words(view)}
            if (left if shift > 0 else width - left) > 2 * abs(shift):
                yield Claim(**common, refusal=FAR)
                continue
            share = float(((column > 0) & (column < width)).mean())
            name, confidence = (vocabulary[0], share) if share >= 0.5 else (vocabulary[1], 1 - share)

            def steps(item: Item, left=left, shift=shift) -> list[str]:
                return [f"In the {here_side} view the point is in column {left:.0f}, in the {other_side} one it would "
                        f"be in column {left - shift:.0f} of an image {width} pixels wide."]

            yield Claim(**common, steps=steps, category=Category(name, confidence, vocabulary))


ONE = ("region", "at", "reference", "axes")
FAMILIES = (
    Family("disparity_order", ordered, states={"category": ("region_a", "region_b", "at", "reference", "axes")},
           fields=("more", "larger", "nearer"), metric=False),
    Family("view_shift", shifted, states={"category": ONE}, metric=False),
    Family("view_point", in_other, forms=("choice", "open"),
           states={"category": (*ONE, "format"), "open": (*ONE, "format")}, fields=("format", "first", "other"),
           metric=False),
    Family("view_box", other_boxes, forms=("open",), states={"open": ("region", "at", "axes", "format")},
           fields=("format", "first", "other"), metric=False),
    Family("view_visibility", visible, states={"category": ("region", "at", "reference", "other")},
           fields=("other",), metric=False),
)
