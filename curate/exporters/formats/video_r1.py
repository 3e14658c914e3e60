"""Video-R1's list: `problem`, `problem_type`, `options`, `solution` in tags, `path` of one video."""

from __future__ import annotations

from typing import Any

from curate.exporters.base import Example, Exporter, Form
from curate.exporters.files import json_list
from curate.marks import in_video
from curate.questions.forms import final_answer

TYPES = {"choice": "multiple choice", "number": "regression"}


def row(example: Example, form: Form) -> dict[str, Any]:
    qa, truth = example.qa, example.truth()
    stem = qa["question"].split("\nAnswer with the letter")[0] if qa["options"] else qa["question"]
    number = truth["answer_type"] == "number"
    return {"problem_id": qa["id"], "problem": stem, "data_type": "video",
            "problem_type": TYPES.get(truth["answer_type"], "free-form"),
            "options": [f"{letter}. {text}" for letter, text in zip("ABCDE", qa["options"])],
            "process": f"<think>{' '.join(qa['reasoning'])}</think>" if qa["reasoning"] else "",
            "solution": f"<answer>{qa['answer'] if number else final_answer(qa)}</answer>",
            "path": example.media.video, "data_source": f"curate4d/{qa['family']}"}


def no_marks(example: Example, row: dict[str, Any]) -> str:
    """One video is all that a row has."""
    if not example.speaks_of_marks or in_video(example.clip):
        return ""
    return ("marks: the question speaks of marked regions and the row has one video alone; use box or point words "
            "(--regions box), or burn the marks into the video")


EXPORTERS = (Exporter("video-r1", "Video-R1: json, one video a problem", row, json_list, ("video",), ("rl",),
                      (no_marks,), text_only=False, two_views=False),)
