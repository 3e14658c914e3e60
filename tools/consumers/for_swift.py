"""ms-swift's own loader, template and collator on our exports: python for_swift.py EXPORTS TOKENIZER"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tiny import processor, report, without_compiled_parts


def check(folder: Path, form: str, model: Path) -> dict[str, Any]:
    """Every row through `load_dataset` and the template; asserts what must come of it."""
    import transformers
    from swift.dataset import load_dataset
    from swift.model import get_processor
    from swift.template import get_template

    seen = get_processor(str(model), model_type="qwen2_vl", download_model=False)
    template = get_template(seen, max_length=None, template_type="qwen2_vl")
    template.set_mode("train")
    # what the collator asks for positions; an untrained one, as there are no weights
    template.dummy_model = transformers.Qwen2VLForConditionalGeneration(transformers.AutoConfig.from_pretrained(model))
    ids = {kind: seen.tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>") for kind in ("image", "video")}
    template.image_token_id, template.video_token_id = ids["image"], ids["video"]

    ours = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    rows, _ = load_dataset([str(folder / "train.jsonl")], remove_unused_columns=False, strict=True,
                           load_from_cache_file=False)
    assert len(rows) == len(ours), f"{len(rows)} of {len(ours)} rows are left"
    num = {"images": 0, "videos": 0}
    for row, own in zip(rows, ours):
        if form == "rl":
            assert row["solution"] == own["solution"] and row["id"] == own["id"], "columns for rewards are lost"
            row = {**row, "messages": [*row["messages"], {"role": "assistant", "content": "<answer>1 m</answer>"}]}
        encoded = template.encode(dict(row), return_template_inputs=True)
        batch = template.data_collator([encoded])
        tokens, labels = batch["input_ids"][0], batch["labels"][0]
        answer = seen.tokenizer.decode(labels[labels != -100], skip_special_tokens=True)
        assert answer.strip() == row["messages"][-1]["content"].strip(), (answer, row["messages"][-1])
        for name, kind in (("images", "image"), ("videos", "video")):
            grid = batch.get(f"{kind}_grid_thw")
            assert len(own[name]) == (0 if grid is None else len(grid)), f"{own[name]}, grid {grid}"
            pads = (tokens == ids[kind]).sum().item()
            assert pads == (0 if grid is None else int(grid.prod(1).sum()) // 4), f"{pads} tokens of {name}"
            num[name] += len(own[name])
    return {"rows": len(rows), **num, "columns": sorted(ours[0])}


if __name__ == "__main__":
    os.environ.setdefault("FORCE_QWENVL_VIDEO_READER", "decord")
    os.environ.setdefault("USE_HF", "1")
    without_compiled_parts()
    from swift.version import __version__

    exports = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        processor(sys.argv[2], Path(folder))
        report(__version__, [{"form": form, "media": media,
                              **check(exports / f"ms-swift-{form}-{media}", form, Path(folder))}
                             for form in ("sft", "rl") for media in ("frames", "video")])
