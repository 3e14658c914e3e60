"""LLaMA-Factory's own loader, template and collator on our exports: python for_llama_factory.py EXPORTS TOKENIZER"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tiny import processor, report, without_compiled_parts


def check(folder: Path, model: Path) -> dict[str, Any]:
    """Every row through `get_dataset` and the collator of supervised training; asserts what must come of it."""
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    from llamafactory.model import load_tokenizer
    from transformers import Seq2SeqTrainingArguments

    asked = ModelArguments(model_name_or_path=str(model))
    data = DataArguments(template="qwen2_vl", dataset="curate4d_train", dataset_dir=str(folder), cutoff_len=1 << 15,
                         overwrite_cache=True)
    training = Seq2SeqTrainingArguments(output_dir=str(model / "out"), use_cpu=True, report_to=[])
    read = load_tokenizer(asked)
    tokenizer, seen = read["tokenizer"], read["processor"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    rows = get_dataset(template, asked, data, training, stage="sft", tokenizer=tokenizer, processor=seen)
    rows = rows["train_dataset"]

    ours = json.loads((folder / "train.json").read_text("utf-8"))
    assert len(rows) == len(ours), f"{len(rows)} of {len(ours)} rows are left"
    collate = SFTDataCollatorWith4DAttentionMask(tokenizer=tokenizer, template=template, processor=seen)
    num = {"images": 0, "videos": 0}
    for row, own in zip(rows, ours):
        assert [list(row[name] or []) for name in num] == [own[name] for name in num]
        batch = collate([dict(row)])
        ids, labels = batch["input_ids"][0], batch["labels"][0]
        answer = tokenizer.decode(labels[labels != -100], skip_special_tokens=True)
        assert answer.strip() == own["messages"][1]["content"].strip(), (answer, own["messages"][1])
        for name, kind in (("images", "image"), ("videos", "video")):
            grid = batch.get(f"{kind}_grid_thw")
            files = len(own[name])
            assert files == (0 if grid is None else len(grid)), f"{files} {name}, grid {grid}"
            pads = (ids == tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>")).sum().item()
            assert pads == (0 if grid is None else int(grid.prod(1).sum()) // 4), f"{pads} tokens of {name}"
            num[name] += files
    return {"rows": len(rows), **num, "columns": sorted(ours[0])}


if __name__ == "__main__":
    without_compiled_parts()
    from llamafactory.extras.env import VERSION

    exports = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        processor(sys.argv[2], Path(folder))
        report(VERSION, [{"form": "sft", "media": media,
                          **check(exports / f"llama-factory-sft-{media}", Path(folder))}
                         for media in ("frames", "video")])
