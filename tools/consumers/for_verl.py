"""verl's own dataset, prompt filter and processing on our exports: python for_verl.py EXPORTS TOKENIZER"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tiny import PATCH, processor, report, without_compiled_parts

MOST_TOKENS = 1 << 15


def check(folder: Path, seen: Any, cache: Path) -> dict[str, Any]:
    """Every row through `RLHFDataset`, whose filter drops what it cannot process, and what a rollout makes of it."""
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
    from verl.utils.tokenizer.tokenizer import build_multimodal_processor_inputs

    config = OmegaConf.create({"cache_dir": str(cache), "max_prompt_length": MOST_TOKENS, "prompt_key": "prompt",
                               "filter_overlong_prompts": True, "filter_overlong_prompts_workers": 1})
    rows = RLHFDataset(str(folder / "train.parquet"), seen.tokenizer, config, seen)
    kept = json.loads((folder / "export.json").read_text("utf-8"))["rows"]
    assert len(rows) == kept, f"{len(rows)} of {kept} rows are left"
    num = {"images": 0, "videos": 0}
    for index in range(len(rows)):
        own, row = rows.dataframe[index], rows[index]
        messages = row["raw_prompt"]
        assert json.loads(row["reward_model"]["ground_truth"])["answer"] == row["extra_info"]["answer"]
        blocks = [block["type"] for message in messages for block in message["content"]]
        assert [blocks.count("image"), blocks.count("video")] == [len(own["images"]), len(own["videos"])]
        images, videos, _ = RLHFDataset._process_multi_modal_info(messages, PATCH, config)
        text = seen.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert own["prompt"][0]["content"].split(">")[-1].strip() in text
        inputs = build_multimodal_processor_inputs(seen, text=[text], images=images, videos=videos)
        for name, kind in (("images", "image"), ("videos", "video")):
            grid = inputs.get(f"{kind}_grid_thw")
            assert len(own[name]) == (0 if grid is None else len(grid))
            pads = (inputs["input_ids"] == seen.tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>")).sum().item()
            assert pads == (0 if grid is None else int(grid.prod(1).sum()) // 4)
            num[name] += len(own[name])
    batch = collate_fn([rows[0], rows[1]])
    assert len(batch["raw_prompt"]) == len(batch["reward_model"]) == 2
    return {"rows": len(rows), **num, "columns": sorted(rows.dataframe.column_names)}


if __name__ == "__main__":
    os.environ.setdefault("FORCE_QWENVL_VIDEO_READER", "decord")
    without_compiled_parts()
    exports = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        seen = processor(sys.argv[2], Path(folder) / "model")
        report(version("verl"), [{"form": "rl", "media": media,
                                  **check(exports / f"verl-rl-{media}", seen, Path(folder) / "cache")}
                                 for media in ("frames", "video")])
