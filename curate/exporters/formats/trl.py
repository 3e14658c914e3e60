"""trl's SFTTrainer and GRPOTrainer: conversations and a list of images, which the trainer puts before the first user
turn by itself, so the texts have no tags. It has no video column: frames go as images.

    from curate.exporters.formats.trl import load
    SFTTrainer(..., train_dataset=load("exported/trl"))
    GRPOTrainer(..., train_dataset=load("exported/trl-rl"), reward_funcs=[reward_function("score")])
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.exporters.base import IMAGE, VIDEO, Example, Exporter, Form
from curate.exporters.files import dumps, jsonl


def row(example: Example, form: Form) -> dict[str, Any]:
    tags = {"video_tag": "", "image_tag": ""}
    base = {"id": example.qa["id"]}
    if example.clip["views"]:  # with such a column, even an empty one, trl wants a model that sees
        base["images"] = example.images
    if form == "sft":
        return {**base, "messages": [{**m, "content": m["content"].lstrip()} for m in example.messages(**tags)]}
    return {**base, "prompt": [{"role": "user", "content": example.prompt(**tags).lstrip()}],
            "ground_truth": dumps(example.truth())}


def no_tags(example: Example, row: dict[str, Any]) -> str:
    texts = " ".join(m["content"] for m in row.get("messages") or row["prompt"])
    has = IMAGE in texts or VIDEO in texts
    return f"tags: the text has {IMAGE} or {VIDEO}; trl places images itself" if has else ""


def load(folder: str | Path, split: str = "train"):
    """The export as a `datasets.Dataset` whose images are decoded when asked for.

    Raises:
        FileNotFoundError: where the folder has no such split.
    """
    from datasets import Dataset, Image, Sequence

    folder = Path(folder).resolve()
    if not (folder / f"{split}.jsonl").is_file():
        raise FileNotFoundError(f"{folder / f'{split}.jsonl'}: no such file; `curate export OUT --to trl` writes it")
    data = Dataset.from_json(str(folder / f"{split}.jsonl"))
    if "images" not in data.column_names:  # a set of text alone
        return data
    return data.map(lambda r: {"images": [str(folder / name) for name in r["images"]]}).cast_column(
        "images", Sequence(Image()))


EXPORTERS = (Exporter("trl", "trl SFTTrainer and GRPOTrainer: jsonl, frames as images", row, jsonl, ("frames",),
                      rules=(no_tags,), proof="run"),)
