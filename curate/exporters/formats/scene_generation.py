"""Records for unified models that also generate: a caption, the first frame, target frames and camera poses.

One a clip, where a dense caption was asked: Uni4D-LLM's generation task. Poses are world from camera, the world being
the first camera; metres where the scale is metric.
"""

from __future__ import annotations

from typing import Any

from curate.exporters.base import Example, Exporter, Form
from curate.exporters.files import jsonl
from curate.marks import in_video

TASK = ("Generate the frames of this scene that follow the first one, seen along the given camera path, as the caption "
        "says.")


def row(example: Example, form: Form) -> dict[str, Any]:
    media, clip = example.media, example.clip
    view = clip["views"][0]
    poses, valid = clip["camera"]["T_world_cam"], clip["camera"]["valid"]
    sx, sy = media.width / view["width"], media.height / view["height"]
    return {"id": example.qa["id"], "task": "scene_generation", "prompt": TASK, "caption": example.qa["answer"],
            "first_frame": media.frames[0], "target_frames": list(media.frames[1:]), "time_s": list(media.time_s),
            "T_world_cam": [poses[i] for i in media.indices], "pose_valid": [valid[i] for i in media.indices],
            "K": [[view["fx"] * sx, 0.0, view["cx"] * sx], [0.0, view["fy"] * sy, view["cy"] * sy], [0.0, 0.0, 1.0]],
            "scale": clip["scale"], "duration_s": clip["duration_s"]}


def is_caption(example: Example, row: dict[str, Any]) -> str:
    return "" if example.qa["family"] == "dense_caption" else "caption: only dense captions become scenes"


def is_unmarked(example: Example, row: dict[str, Any]) -> str:
    return "marks: they are burnt into the first frame, which would be generated too" if in_video(example.clip) else ""


EXPORTERS = (Exporter("scene-generation", "caption, camera path, first frame and target frames: jsonl", row, jsonl,
                      ("frames",), ("sft",), (is_caption, is_unmarked), text_only=False, two_views=False),)
