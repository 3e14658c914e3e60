"""LLaMA-Factory: a sharegpt list with `messages`, `images`, `videos`, and `dataset_info.json` that names the columns.

    llamafactory-cli train ... --dataset_dir exported/llama-factory --dataset curate4d_train
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curate.exporters.base import Example, Exporter, Form, tags_equal_media
from curate.exporters.files import json_list

INFO = "dataset_info.json"


def row(example: Example, form: Form) -> dict[str, Any]:
    return {"messages": example.messages(), "images": [example.absolute(p) for p in example.images],
            "videos": [example.absolute(p) for p in example.videos]}


def write(folder: Path, split: str, form: Form, rows: Iterable[dict[str, Any]]) -> list[Path]:
    files = json_list(folder, split, form, rows)
    info = json.loads((folder / INFO).read_text()) if (folder / INFO).exists() else {}
    info[f"curate4d_{split}"] = {
        "file_name": files[0].name, "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images", "videos": "videos"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
                 "system_tag": "system"}}
    (folder / INFO).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    return [*files, folder / INFO]


EXPORTERS = (Exporter("llama-factory", "LLaMA-Factory SFT: sharegpt json and dataset_info.json", row, write,
                      forms=("sft",),
                      rules=(tags_equal_media(lambda r: " ".join(m["content"] for m in r["messages"])),), proof="run"),)
