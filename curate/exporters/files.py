"""Writes rows: JSON lines, one JSON list, and parquet; each row as it comes, so that a set of any size fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import islice
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


def parquet(columns: dict[str, Any]) -> Callable[[Path, str, Form, Iterable[dict[str, Any]]], list[Path]]:
    """A writer of rows that have the same types in every set, whatever its first rows hold.

    Args:
        columns: name to `str`, [type] or {name: type}.
    """
    def write(folder: Path, split: str, form: Form, rows: Iterable[dict[str, Any]]) -> list[Path]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(name, _arrow(kind)) for name, kind in columns.items()])
        path, rows = folder / f"{split}.parquet", iter(rows)
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            while block := list(islice(rows, ROW_GROUP)):
                assert all(row.keys() == columns.keys() for row in block), "a row has other columns than are declared"
                writer.write_table(pa.Table.from_pylist(block, schema))
        return [path]
    return write


def _arrow(kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(kind, dict):
        return pa.struct([(name, _arrow(inner)) for name, inner in kind.items()])
    return pa.list_(_arrow(kind[0])) if isinstance(kind, list) else {str: pa.string()}[kind]
