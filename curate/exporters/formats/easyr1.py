"""EasyR1: parquet with `problem`, `answer` and `images`; paths are relative to `data.image_dir`, the export's folder.

It takes images or videos, never both, so frames are exported, the first one with the marks burnt in.
`curate.rewards.adapters.easyr1` judges by `answer`.
"""

from __future__ import annotations

from typing import Any

from curate.exporters.base import Example, Exporter, Form, one_kind_of_media, tags_equal_media
from curate.exporters.files import dumps, parquet

COLUMNS = {"problem": str, "answer": str, "images": [str], "id": str, "problem_type": str}


def row(example: Example, form: Form) -> dict[str, Any]:
    return {"problem": example.prompt(), "answer": dumps(example.truth()), "images": example.images,
            "id": example.qa["id"], "problem_type": example.qa["answer_type"]}


EXPORTERS = (Exporter("easyr1", "EasyR1 RL: parquet, marks burnt into the first image", row, parquet(COLUMNS),
                      ("frames",), ("rl",), (one_kind_of_media, tags_equal_media(lambda r: r["problem"]))),)
