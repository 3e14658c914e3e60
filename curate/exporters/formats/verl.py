"""verl: parquet with `prompt`, `images` or `videos`, `reward_model.ground_truth` and `extra_info`.

`curate.rewards.adapters.verl` judges by the ground truth.
"""

from __future__ import annotations

from typing import Any

from curate.exporters.base import Example, Exporter, Form, tags_equal_media
from curate.exporters.files import dumps, parquet


def row(example: Example, form: Form) -> dict[str, Any]:
    qa, index = example.qa, example.qa["id"]
    media: dict[str, Any] = {"images": [{"image": example.absolute(p)} for p in example.images]}
    if example.videos:
        media["videos"] = [{"video": example.absolute(p)} for p in example.videos]
    return {"data_source": f"curate4d/{qa['family']}", "prompt": [{"role": "user", "content": example.prompt()}],
            **media, "ability": qa["answer_type"],
            "reward_model": {"style": "rule", "ground_truth": dumps(example.truth())},
            "extra_info": {"index": index, "split": example.split, "family": qa["family"],
                           "answer": qa["answer"], "clip": example.clip["key"]}}


EXPORTERS = (Exporter("verl", "verl RL: parquet with images or videos", row, parquet, forms=("rl",),
                      rules=(tags_equal_media(lambda r: r["prompt"][0]["content"]),)),)
