"""The files beside the shards that let other tools read them: parquet index, dataset card, Energon, WIDS."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from curate.shards import schema
from curate.shards.writer import ShardInfo

CHECKSUMS = "checksums.txt"  # a line a sample, by which a broken shard tells which clips are to be made again
# the columns of samples.parquet: where a question is, then what a mixture or a study selects by
WHERE = {"split": schema.STRING, "shard": schema.STRING, "key": schema.STRING, "clip_key": schema.STRING,
         "index": schema.INT, "recording": schema.STRING, "uri": schema.STRING, "duration_s": schema.FLOAT}
COLUMNS = WHERE | {name: schema.QUESTION[name] for name in (
    "id", "family", "form", "question", "options", "answer", "letter", "value", "low", "high", "unit", "tolerance",
    "frame", "reference", "start_s", "end_s", "start_frame", "end_frame", "regions", "scale", "template")}


def question_rows(split: str, shard: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of samples.parquet for one sample's (stored) json."""
    where = {"split": split, "shard": shard, "key": record["key"], "clip_key": record["clip_key"],
             "recording": record["recording"], "uri": record["source"]["uri"], "duration_s": record["duration_s"]}
    return [where | {"index": index} | {name: qa[name] for name in COLUMNS if name not in WHERE}
            for index, qa in enumerate(record["qa"])]


def arrow_schema() -> Any:
    import pyarrow as pa

    def convert(spec: Any) -> Any:
        if isinstance(spec, list):
            return pa.list_(convert(spec[0]))
        return {schema.STRING: pa.string(), schema.INT: pa.int64()}.get(spec, pa.float64())

    return pa.schema([(name, convert(spec)) for name, spec in COLUMNS.items()])


class QuestionTable:
    """Writes samples.parquet in row groups of bounded size, so that memory does not grow with the set."""

    ROWS = 5000

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._schema = arrow_schema()
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, split: str, shard: str, record: dict[str, Any]) -> None:
        self._rows += question_rows(split, shard, record)
        if len(self._rows) >= self.ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def feature_list(parts: Iterable[str]) -> list[dict[str, Any]]:
    """The samples' types in the notation of dataset cards (`dataset_info.features`)."""
    def convert(spec: Any) -> dict[str, Any]:
        if isinstance(spec, dict):
            return {"struct": [{"name": name} | convert(inner) for name, inner in spec.items()]}
        if isinstance(spec, list):
            inner = convert(spec[0])
            if set(inner) == {"dtype"}:
                return {"list": inner["dtype"]}
            return {"list": inner["struct"] if set(inner) == {"struct"} else inner}
        return {"dtype": schema.FLOAT if spec == schema.NULLABLE else spec}

    # media are plain bytes: an image column wants Pillow, a decoded video column torchcodec, before any row is read
    return [*({"name": part} | (convert(schema.SAMPLE) if part == "json" else {"dtype": "binary"}) for part in parts),
            {"name": "__key__", "dtype": "string"}, {"name": "__url__", "dtype": "string"}]


_CARD = """
# {name}

Questions about metric 4D space, measured from stereo video, whose answers carry their error.

| split | shards | clips | questions |
|---|---|---|---|
{table}

One sample is one {unit}: {parts}. `json.qa` holds the questions; every numeric answer has its unit, its stated
95 % interval (`low`, `high`) and the tolerance a verifier should allow. A null number means "no number". Fields
that end in `_json` are JSON text. Region 3 is `<R3>` in
the texts and drawn as `R3` in `mark.jpg`. Licences of the media are in `json.source.licence`, clip by clip.

```python
from datasets import load_dataset
ds = load_dataset("path/to/this/folder", split="train", streaming=True)  # the types come from this card
```

Media arrive as bytes, so that neither Pillow nor torchcodec is needed to read; with them,
`ds.cast_column("mark.jpg", Image())` and `ds.cast_column("v0.mp4", Video())` decode.
"""
_TEACHER = """
Beside each shard lies `teacher-*.tar` with teacher tensors of the same samples in the same order, for distillation:
{parts}. `curate.shards.read(..., teacher=True)` gives both; plain readers need not look at them.
"""


def dataset_card(parts: list[str], splits: dict[str, dict[str, int]], layout: str,
                 teacher: Sequence[str] = (), name: str = "curate4d shards") -> str:
    """README.md: front matter with the exact types and the files of each split, then a page for people."""
    front = {
        "pretty_name": name, "task_categories": ["visual-question-answering", "video-text-to-text"],
        "tags": ["webdataset", "stereo", "4D", "spatial reasoning"],
        "configs": [{"config_name": "default",
                     "data_files": [{"split": s, "path": f"{s}-*.tar"} for s in splits]}],
        "dataset_info": {"config_name": "default", "features": feature_list(parts)}}
    table = "\n".join(f"| {s} | {n['shards']} | {n['samples']} | {n['questions']} |" for s, n in splits.items())
    text = _CARD.format(name=name, table=table, unit="clip" if layout == "clip" else "question",
                        parts=", ".join(f"`{{key}}.{p}`" for p in parts))
    if teacher:
        text += _TEACHER.format(parts=", ".join(f"`{{key}}.{p}`" for p in teacher))
    return "---\n" + yaml.safe_dump(front, sort_keys=False, allow_unicode=True) + "---\n" + text


def energon(shards: list[ShardInfo]) -> dict[str, str]:
    """`.nv-meta/*` of Megatron-Energon: raw ("crude") samples, shards of each split, counts of each shard."""
    parts = {split: [s.name for s in shards if s.split == split] for split in ("train", "val", "test")}
    return {
        ".nv-meta/dataset.yaml": "__module__: megatron.energon\n__class__: CrudeWebdataset\n",
        ".nv-meta/split.yaml": yaml.safe_dump({"exclude": [], "split_parts": parts}, sort_keys=False),
        ".nv-meta/.info.json": json.dumps({"shard_counts": {s.name: s.samples for s in shards}}, indent=1) + "\n"}


def wids_index(shards: list[ShardInfo], name: str = "curate4d") -> str:
    """index.json of random-access WebDataset readers: urls and counts."""
    return json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name,
                       "shardlist": [{"url": s.name, "nsamples": s.samples, "filesize": s.bytes} for s in shards]},
                      indent=1) + "\n"


def text_sidecars(parts: list[str], shards: list[ShardInfo], splits: dict[str, dict[str, int]],
                  layout: str, teacher: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """(relative path, text) of every sidecar but the parquet table and the manifest.

    Args:
        teacher: parts of the teacher tensors, which only the card names: other tools read the samples' shards alone.
    """
    yield "README.md", dataset_card(parts, splits, layout, teacher)
    yield "index.json", wids_index(shards)
    yield from energon(shards).items()
