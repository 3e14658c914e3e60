"""verl: parquet with `prompt`, `images`, `videos`, `reward_model.ground_truth` and `extra_info`.

`curate.rewards.adapters.verl` judges by the ground truth.
"""

from __future__ import annotations

from typing import Any

from curate.exporters.base import Example, Exporter, Form, tags_equal_media
from curate.exporters.files import dumps, parquet

COLUMNS = {"data_source": str, "prompt": [{"role": str, "content": str}], "images": [{"image": str}],
           "videos": [{"video": str}], "ability": str, "reward_model": {"style": str, "ground_truth": str},
           "extra_info": {name: str for name in ("index", "split", "family", "answer", "clip")}}


def row(example: Example, form: Form) -> dict[str, Any]:
    qa, index = example.qa, example.qa["id"]
    return {"data_source": f"curate4d/{qa['family']}", "prompt": [{"role": "user", "content": example.prompt()}],
            "images": [{"image": example.absolute(p)} for p in example.images],
            "videos": [{"video": example.absolute(p)} for p in example.videos], "ability": qa["answer_type"],
            "reward_model": {"style": "rule", "ground_truth": dumps(example.truth())},
            "extra_info": {"index": index, "split": example.split, "family": qa["family"],
                           "answer": qa["answer"], "clip": example.clip["key"]}}


EXPORTERS = (Exporter("verl", "verl RL: parquet with images or videos", row, parquet(COLUMNS), forms=("rl",),
                      rules=(tags_equal_media(lambda r: r["prompt"][0]["content"]),), proof="run"),)
