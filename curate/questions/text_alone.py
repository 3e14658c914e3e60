"""Questions of a clip without pictures: which families can be answered from places alone, and the table of these.

The table stands before the question, in its text, so that whoever reads a record needs nothing else: where the camera
and each object spoken of were, at times spread over the clip, the question's own among them, in stated axes, rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from curate.questions.region_words import clean_name
from curate.questions.view import View
from curate.questions.wording import Paraphrase
from curate.scene import Region

# What a path sampled about every second tells. Not among them: what is seen in an image, what is asked of an instant
# between two columns, what happens only once, and what a column would say outright.
FAMILIES = frozenset({
    "camera_displacement", "camera_path_length", "camera_mean_speed", "camera_direction", "camera_yaw",
    "object_displacement", "object_path_length", "object_mean_speed", "object_acceleration", "object_direction",
    "lateral_shift", "longitudinal_shift", "object_camera_distance", "object_camera_distance_change",
    "object_object_distance", "object_object_distance_change", "object_object_relation", "object_rotation",
    "object_rotation_direction", "object_size", "viewpoint_relation", "viewpoint_shift", "viewpoint_heading",
    "displacement_comparison", "distance_comparison", "speed_comparison", "depth_order", "count_moving",
    "count_direction", "whose_motion"})
EVERY_S, LEAST, MOST = 1.0, 6, 16  # columns: about one a second, within these bounds
PLACE, SIZE, FACING = 2, 2, 3  # decimals: metres, metres, of a unit vector
_MARK = re.compile(r"<R(\d+)>|\[R(\d+)\]|region (\d+)|<obj_(\d+)>")

# how families speak of axes by the picture that shows them -> how without one
_PICTURED = (("in the image of the camera", "in the axes of the camera"), ("as they point in its image", "of its axes"),
             (" as in its image", " of its axes"), (", not by places in the picture", ""),
             ("in its image", "in its axes"), ("the camera's image", "the camera's axes"))
_PICTURES = re.compile(r"\b(images?|pictures?|videos?|pixels?|screen|visible)\b")


def unpictured(text: str) -> str:
    """A question's words without what they say of a picture."""
    for pictured, plain in _PICTURED:
        text = text.replace(pictured, plain)
    return text


def sayable(wordings: Sequence[Paraphrase], fields: dict[str, str]) -> Sequence[Paraphrase]:
    """Those that speak of no picture, as far as there are any."""
    return [one for one in wordings if not _PICTURES.search(unpictured(one.render(fields)))] or wordings


def table(view: View, subjects: Iterable[int], span: tuple[int, int], said: str) -> str:
    """The table for one question, an empty line after it.

    Args:
        subjects: regions asked about; those that `said`, the question's words, names are in it too.
        span: first and last frame asked about: columns of their own.
    """
    known = {r.id: r for r in view.scene.regions}
    named = [int(next(g for g in found if g)) for found in _MARK.findall(said)]
    rows = [known[i] for i in dict.fromkeys([*subjects, *named]) if i in known]
    frames = columns(view.scene.time_s, span)
    turn, origin = view.scene.T_world_cam.rotation[0], view.scene.T_world_cam.translation[0]
    stands_for = view.scene.clip.get("params", {}).get("viewpoint", "")
    lines = [
        "There is no video. The table says where the camera and the objects were."
        + (f" The camera's optical centre is {stands_for}." if stands_for else ""),
        f"Places are [x, y, z] in metres in the axes of the camera at {view.at(0)} (x right, y down, z forward), which "
        "stay where they are; an object's place is that of the centre of its annotated box. Directions are unit "
        "vectors in the same axes. Sizes are length x width x height in metres. A dash: not known.",
        "| | what | size | " + " | ".join(view.at(f) for f in frames) + " |",
        "|" + "---|" * (3 + len(frames))]
    poses = view.scene.T_world_cam
    lines.append(_line("camera", "place", "", ((poses.translation[frames] - origin) @ turn), PLACE))
    lines.append(_line("camera", "looks", "", poses.rotation[frames][:, :, 2] @ turn, FACING))
    for region in rows:
        lines += _rows(view, region, frames)
    return "\n".join(lines) + "\n\n"


def columns(time_s: np.ndarray, span: tuple[int, int]) -> list[int]:
    """Frames of the columns: the clip's first and last, spread between, and those of the span with its middle."""
    num = int(np.clip(round(float(time_s[-1] - time_s[0]) / EVERY_S) + 1, LEAST, MOST))
    spread = np.searchsorted(time_s, np.linspace(time_s[0], time_s[-1], num) - 1e-9)
    wanted = {*np.minimum(spread, len(time_s) - 1).tolist(), *span, sum(span) // 2}
    return sorted(wanted)


def _rows(view: View, region: Region, frames: list[int]) -> list[str]:
    poses = view.scene.T_world_cam
    turn, origin = poses.rotation[0], poses.translation[0]
    mark, name = view.mark(region.id), clean_name(region.label) or "object"
    size = "-" if region.size_m is None else " x ".join(f"{v:.{SIZE}f}" for v in region.size_m)
    world = np.einsum("tij,tj->ti", poses.rotation[frames], region.point_cam[frames]) + poses.translation[frames]
    seen = region.seen[frames, None]
    out = [_line(f"{mark} {name}", "place", size, np.where(seen, (world - origin) @ turn, np.nan), PLACE)]
    if region.heading_cam is not None:
        facing = np.einsum("tij,tj->ti", poses.rotation[frames], region.heading_cam[frames]) @ turn
        out.append(_line(f"{mark} {name}", "faces", "", np.where(seen, facing, np.nan), FACING))
    return out


def _line(who: str, what: str, size: str, vectors: np.ndarray, places: int) -> str:
    cells = ["-" if np.isnan(vector).any() else
             f"[{', '.join(f'{round(float(x), places) + 0.0:.{places}f}' for x in vector)}]" for vector in vectors]
    return f"| {who} | {what} | {size} | " + " | ".join(cells) + " |"
