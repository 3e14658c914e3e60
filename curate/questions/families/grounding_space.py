"""Where a marked object is in space at a time: its reference point, and what is known of its pose.

`grounding_point`: [x, y, z, t] of the reference point in the axes of the camera at t, m and s. Gate: 99 % of the error
    lies within a tenth of the distance. Open answer (a path of one point), judged by its distance from the truth (ST).
`grounding_3d`: a JSON object in the axes of the camera at the first frame: "centre" R_0ᵀ (P(t) − c_0), gated as above;
    "orientation", the turn of the body since the first frame as a rotation vector log(R_0ᵀ R_t R_body), null where 99 %
    of its error do not lie within 10°. Open answer, judged field by field (ST). "size" is that of an annotated box
    alone: the sides of a box around the surface that one side shows are known to some 30 %, and a field that is always
    null teaches nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np

from curate.geometry.rotations import log_so3
from curate.measure.pose_errors import covariance_root
from curate.questions import gates, places
from curate.questions.claim import Claim, Open
from curate.questions.coordinates import vector
from curate.questions.digits import settle
from curate.questions.families.base import Family, Item
from curate.questions.families.grounding import BEHIND, noted, writer_of
from curate.questions.view import View
from curate.scene import Region

CLOSE = 0.1  # of the distance: what a place must be known to
TURN_RAD = math.radians(10)  # what an orientation must be known to
DIGITS = 2  # decimals of metres
AXES_T = "in the axes of the camera at {start} (x right, y down, z forward, from its optical centre)"
AXES_0 = "in the axes of the camera at the first frame (x right, y down, z forward, from its optical centre)"
JSON = ('"centre" ([x, y, z] in metres) and "orientation" (its turn since the first frame, a rotation vector [x, y, z] '
        'in degrees)')
JSON_SIZED = ('"centre" ([x, y, z] in metres), "orientation" (its turn since the first frame, a rotation vector '
              '[x, y, z] in degrees) and "size" ([length, width, height] of all of it, in metres)')


def time_of(view: View, frame: int) -> tuple[str, float, str]:
    """t as text and as a number, and what it is."""
    if view.config.dialect == "frames":
        return str(frame), float(frame), "the number of the frame, counted from 0"
    seconds = view.times.seconds[frame]
    return f"{seconds:.2f}", round(seconds, 2), "in seconds from the start of the video"


def _spread(away: np.ndarray) -> float:
    return settle(float(np.sqrt((away**2).mean())))


def pointed(view: View) -> Iterator[Claim]:
    writer, draws = writer_of(view), view.draws
    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim((region.id,), view.clip, "camera", refusal=places.OFF)
            continue
        for frame in places.instants(view, region):
            point = region.point_cam[frame]
            close = CLOSE * float(np.linalg.norm(point))
            away = places.away_from(places.camera_points(draws, region, frame) * draws.scale[:, None], point)
            written, number, meaning = time_of(view, frame)
            seconds = view.times.seconds[frame]
            text = writer.place(point, seconds, DIGITS, written)
            target = [[round(float(v), DIGITS) for v in point] + [number]]
            answer = Open(text, target, "trajectory", "st", "Answer with the coordinates alone.",
                          float((away <= close).mean()))

            def steps(item: Item, region=region, frame=frame) -> list[str]:
                (u, v), (x, y, z) = region.centroid_px[frame] + 0.5, region.point_cam[frame]
                return [f"At {item.words['start']} the point is seen at ({u:.1f}, {v:.1f}), in pixels from the image's "
                        f"top left corner, and its depth along the line of sight is {z:.2f} m.",
                        f"Lifted by the camera's focal length, it lies {x:.2f} m to the right of, {y:.2f} m below and "
                        f"{z:.2f} m in front of the optical centre (negative numbers: the other way).",
                        *(writer.converted(item.answer) if writer.dialect == "tokens" else [])]

            yield Claim((region.id,), (frame, frame), f"camera@{frame}", region.reference, open=answer,
                        words={"format": writer.place_format(meaning)}, steps=steps,
                        refusal="" if point[2] > 0 else BEHIND,
                        extra=noted(writer, sigma_m=_spread(away), tolerance_m=settle(close)),
                        coordinates=((0, len(text), vector(*point, seconds)),))


def turned(view: View, region: Region, frame: int) -> list[float] | None:
    """Rotation vector [3] in whole degrees from the first frame to `frame`, axes of the first camera; None where its
    error may be larger than `TURN_RAD`."""
    if region.rotation_cam is None or region.defined_at != gates.MARK_FRAME:
        return None
    rotation, camera, draws = region.rotation_cam[frame], view.scene.T_world_cam.rotation, view.draws
    if not (np.isfinite(rotation).all() and np.isfinite(region.rotation_cov[frame]).all()):
        return None
    own = draws.normals(f"turn {region.id} {frame}", 3) @ covariance_root(region.rotation_cov[frame][None])[0].T
    own *= places.heavy_tail(draws, region)
    error = own @ camera[frame].T + draws.rotation_error[:, frame] - draws.rotation_error[:, 0]
    if not gates.certain(float((places.away_from(error, np.zeros(3)) <= TURN_RAD).mean()), view.config.min_confidence):
        return None
    turn = np.degrees(log_so3(camera[0].T @ camera[frame] @ rotation))
    return [float(round(v)) + 0.0 for v in turn]


def in_json(view: View) -> Iterator[Claim]:
    draws = view.draws
    for region in view.rigid:
        if not places.on_surface(region):
            yield Claim((region.id,), view.clip, "camera", refusal=places.OFF)
            continue
        for frame in places.instants(view, region):
            mean, drawn = places.held_still(draws, region, frame)
            close = CLOSE * float(np.linalg.norm(mean))
            away = places.away_from(drawn * draws.scale[:, None], mean)
            centre = [round(float(v), DIGITS) + 0.0 for v in mean]
            turn = turned(view, region, frame)
            target = {"centre": centre, "orientation": turn}
            written = {"centre": centre, "orientation": turn and [int(v) for v in turn]}
            if region.size_m is not None:
                target["size"] = written["size"] = [round(float(v), DIGITS) for v in region.size_m]
            text = json.dumps(written)
            begin = text.index("[", text.index('"centre"'))
            answer = Open(text, target, "json", "st", "Answer with the JSON object alone.",
                          float((away <= close).mean()))

            def steps(item: Item, region=region, frame=frame, turn=turn, centre=centre) -> list[str]:
                x, y, z = region.point_cam[frame]
                out = [f"At {item.words['start']} the point lies at ({x:.2f}, {y:.2f}, {z:.2f}) m in the axes of the "
                       "camera at that time.",
                       "With the camera's motion since the first frame taken out, that is "
                       f"({', '.join(f'{v:.2f}' for v in centre)}) m in the axes of the camera at the first frame."]
                if turn is not None:
                    out.append(f"Since the first frame the object has turned by {math.hypot(*turn):.0f}°.")
                return out

            yield Claim((region.id,), (frame, frame), "camera@0", region.reference, open=answer, steps=steps,
                        words={"format": JSON if region.size_m is None else JSON_SIZED},
                        extra={"sigma_m": _spread(away), "tolerance_m": settle(close)},
                        coordinates=((begin, text.index("]", begin) + 1,
                                      vector(*centre, view.times.seconds[frame])),))


FAMILIES = (
    Family("grounding_point", pointed, forms=("open",),
           states={"open": ("region", "at", "reference", "axes", "format")}, fields=("format",), axes=AXES_T),
    Family("grounding_3d", in_json, forms=("open",), states={"open": ("region", "at", "reference", "axes", "format")},
           fields=("format",), axes=AXES_0),
)
