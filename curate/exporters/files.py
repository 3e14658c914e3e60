"""Writes rows: JSON lines, one JSON list, and parquet; each row as it comes, so that a set of any size fits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

from curate.exporters.base import Form

ROW_GROUP = 2000


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def jsonl(folder: Path, split: str, form: Form, rows: Iterable[dict[str, Any]]) -> list[Path]:
    path = folder / f"{split}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(dumps(row) + "\n")
    return [path]


def json_list(folder: Path, split: str, form: Form, rows: Iterable[dict[str, Any]]) -> list[Path]:
    path = folder / f"{split}.json"
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for i, row in enumerate(rows):
            file.write((",\n" if i else "\n") + dumps(row))
        file.write("\n]\n")
    return [path]


def parquet(folder: Path, split: str, form: Form, rows: Iterable[dict[str, Any]]) -> list[Path]:
    """One schema for the whole file, that of its first rows: a value of another type raises pyarrow's error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, rows = folder / f"{split}.parquet", iter(rows)
    first = list(islice(rows, 1))
    table = pa.Table.from_pylist(first)
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        rows = chain(first, rows)
        while block := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(block, table.schema))
    return [path]
