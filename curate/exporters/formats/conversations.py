"""`conversations` lists: Qwen-VL's finetuning code, LLaVA and VILA. Turns are from "human" and "gpt".

Qwen-VL takes lists of files under `image` and `video` with a tag for each. LLaVA and VILA write `<image>` for a video
too, so only one of both kinds can be meant: a row has a list of frames, or the path of one video.
"""

from __future__ import annotations

from typing import Any

from curate.exporters.base import IMAGE, Example, Exporter, Form, tags_equal_media
from curate.exporters.files import json_list

FROM = {"system": "system", "user": "human", "assistant": "gpt"}


def _turns(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"from": FROM[m["role"]], "value": m["content"]} for m in messages]


def _text(row: dict[str, Any]) -> str:
    return " ".join(turn["value"] for turn in row["conversations"])


def _media(example: Example) -> dict[str, Any]:
    return {name: files for name, files in (("image", example.images), ("video", example.videos)) if files}


def qwen(example: Example, form: Form) -> dict[str, Any]:
    return {"id": example.qa["id"], **_media(example), "conversations": _turns(example.messages())}


def llava(example: Example, form: Form) -> dict[str, Any]:
    media = _media(example)
    if len(media.get("video", ())) == 1:
        media["video"] = example.videos[0]
    return {"id": example.qa["id"], **media, "conversations": _turns(example.messages(video_tag=IMAGE))}


def one_kind(example: Example, row: dict[str, Any]) -> str:
    if len(example.videos) > 1:
        return "views: a row has one video; export frames"
    both = "image" in row and "video" in row
    return "one kind: <image> stands for videos too, so a row cannot have both; export frames" if both else ""


def no_system(example: Example, row: dict[str, Any]) -> str:
    """Their loaders know turns of "human" and "gpt" alone."""
    known = {turn["from"] for turn in row["conversations"]} <= {"human", "gpt"}
    return "" if known else "roles: the conversation has a turn of the system, which this loader does not know"


def as_many_images(example: Example, row: dict[str, Any]) -> str:
    files = [row[name] for name in ("image", "video") if name in row]
    num = sum(1 if isinstance(f, str) else len(f) for f in files)
    found = _text(row).count(IMAGE)
    return f"tags: {found} {IMAGE} in the text, {num} files" if found != num else ""


EXPORTERS = (
    Exporter("qwen-vl", "Qwen-VL finetuning: json, lists of images or videos", qwen, json_list, forms=("sft",),
             rules=(tags_equal_media(_text, "image", "video"), no_system)),
    Exporter("llava", "LLaVA: json conversations, an <image> a picture or video", llava, json_list, forms=("sft",),
             rules=(one_kind, as_many_images, no_system)),
    Exporter("vila", "VILA / NVILA: json conversations, <image> for videos too", llava, json_list, forms=("sft",),
             rules=(one_kind, as_many_images, no_system)),
)
