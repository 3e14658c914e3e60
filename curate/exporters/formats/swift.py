"""ms-swift: jsonl with `messages`, `images`, `videos`; extra columns (`solution`) reach the reward functions.

For GRPO the conversation ends with the user's turn; `curate.rewards.adapters.swift` reads `solution`.
"""

from __future__ import annotations

from typing import Any

from curate.exporters.base import Example, Exporter, Form, tags_equal_media
from curate.exporters.files import dumps, jsonl


def row(example: Example, form: Form) -> dict[str, Any]:
    media = {"images": [example.absolute(p) for p in example.images],
             "videos": [example.absolute(p) for p in example.videos]}
    if form == "sft":
        return {"messages": example.messages(), **media, "id": example.qa["id"]}
    return {"messages": [{"role": "user", "content": example.prompt()}], **media, "id": example.qa["id"],
            "solution": dumps(example.truth())}


EXPORTERS = (Exporter("ms-swift", "ms-swift SFT and GRPO: jsonl, frames or video", row, jsonl,
                      rules=(tags_equal_media(lambda r: " ".join(m["content"] for m in r["messages"])),), proof="run"),)
