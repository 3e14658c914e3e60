"""Finds every torn, missing, doubled or altered byte of a shard set."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.shards import manifest, schema, tar
from curate.shards.errors import ShardError
from curate.shards.reader import find_root, group, load_json
from curate.shards.sidecars import COLUMNS, question_rows

REFETCH = "fetch the file again, or run `curate ask` on the staged scenes"
REPUBLISH = "run `curate ask` on the staged scenes to publish the set again"


@dataclass(frozen=True)
class Problem:
    """One fault. `key`: the sample it is in, "" where it is the whole file's."""

    file: str
    key: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}{f' [{self.key}]' if self.key else ''}: {self.what}. To mend it: {self.fix}."


class _Set:
    """What has been seen so far over all shards."""

    def __init__(self, root: Path, content: dict[str, Any]) -> None:
        self.root, self.content = root, content
        self.problems: list[Problem] = []
        self.keys: dict[str, str] = {}
        self.questions: dict[str, str] = {}
        self.recordings: dict[str, str] = {}
        self.row_digests: dict[str, str] = {}  # question id to the digest of its expected parquet row

    def add(self, file: str, what: str, key: str = "", fix: str = REFETCH) -> None:
        self.problems.append(Problem(file, key, what, fix))


def _row_digest(row: dict[str, Any]) -> str:
    plain = {n: None if isinstance(row[n], float) and math.isnan(row[n]) else row[n] for n in COLUMNS}
    plain |= {n: float(plain[n]) for n, spec in COLUMNS.items()
              if spec in (schema.FLOAT, schema.NULLABLE) and plain[n] is not None}
    return hashlib.sha256(schema.dump_free(plain).encode()).hexdigest()


def _check_sample(state: _Set, shard: dict[str, Any], key: str, data: bytes) -> int:
    """Number of questions of one sample's json."""
    name = shard["name"]
    try:
        record = load_json(data, f"{key}.json")
    except ShardError as error:
        state.add(name, str(error), key)
        return 0
    if found := schema.problems(record):
        state.add(name, "; ".join(found[:5]), key, REPUBLISH)
        return 0
    if record["key"] != key:
        state.add(name, f"its json says key {record['key']!r}", key)
    if schema.to_bytes(record) != data:
        state.add(name, "json is not in the canonical form it is written in; altered", key)
    if record["source"]["split"] != shard["split"]:
        state.add(name, f"is of split {record['source']['split']!r} in a shard of {shard['split']!r}", key, REPUBLISH)
    other = state.recordings.setdefault(record["recording"], shard["split"])
    if other != shard["split"]:
        state.add(name, f"recording {record['recording']!r} is in {other!r} and in {shard['split']!r}", key, REPUBLISH)
    for row in question_rows(shard["split"], name, record):
        if row["id"] in state.questions:
            state.add(name, f"question {row['id']!r} is also in {state.questions[row['id']]}", key, REPUBLISH)
        state.questions[row["id"]] = name
        state.row_digests[row["id"]] = _row_digest(row)
    return len(record["qa"])


def _check_members(state: _Set, shard: dict[str, Any], file: Any, size: int) -> None:
    name, samples, questions = shard["name"], 0, 0
    first = last = ""
    try:
        for key, members in group(tar.walk(file, size, name), state.content["parts"], name):
            samples += 1
            first, last = first or key, key
            if key in state.keys:
                state.add(name, f"sample is also in {state.keys[key]}", key, REPUBLISH)
            state.keys[key] = name
            file.seek(members["json"].offset)
            questions += _check_sample(state, shard, key, file.read(members["json"].size))
            if members.keys() - {"json"} and not all(m.size for m in members.values()):
                state.add(name, f"empty parts: {[p for p, m in members.items() if not m.size]}", key, REPUBLISH)
    except ShardError as error:
        state.add(name, str(error).removeprefix(f"{name}: "), last)
    for what, found in (("samples", samples), ("questions", questions), ("first_key", first), ("last_key", last)):
        if found != shard[what]:
            state.add(name, f"{what}: found {found!r}, the manifest says {shard[what]!r}")


def _check_shard(state: _Set, shard: dict[str, Any]) -> None:
    path = state.root / shard["name"]
    try:
        file = path.open("rb")
    except OSError as error:
        state.add(shard["name"], f"cannot be opened ({error.strerror})")
        return
    with file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        if size != shard["bytes"]:
            state.add(shard["name"], f"{size} bytes, the manifest says {shard['bytes']}")
        if digest != shard["sha256"]:
            state.add(shard["name"], f"sha256 is {digest[:12]}.., the manifest says {shard['sha256'][:12]}..")
        _check_members(state, shard, file, size)


def _check_sidecars(state: _Set) -> None:
    for name, record in state.content["sidecars"].items():
        path = state.root / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            state.add(manifest.NAME, f"sidecar {name!r} lies outside the set", fix=REPUBLISH)
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            state.add(name, f"cannot be read ({error.strerror})", fix=REPUBLISH)
            continue
        if len(data) != record["bytes"] or hashlib.sha256(data).hexdigest() != record["sha256"]:
            state.add(name, f"altered: {len(data)} bytes, the manifest says {record['bytes']} with another sha256",
                      fix=REPUBLISH)
        elif name == "samples.parquet":
            _check_table(state, data)


def _check_table(state: _Set, data: bytes) -> None:
    import pyarrow.parquet as pq

    name, missing = "samples.parquet", dict(state.row_digests)
    for batch in pq.ParquetFile(io.BytesIO(data)).iter_batches():
        for row in batch.to_pylist():
            expected = missing.pop(row["id"], None)
            if expected is None:
                state.add(name, f"question {row['id']!r} is not in the shards, or twice in the table", fix=REPUBLISH)
            elif expected != _row_digest(row):
                state.add(name, f"the row of question {row['id']!r} differs from the shard's", row["key"], REPUBLISH)
    if missing:
        state.add(name, f"{len(missing)} questions of the shards are missing, such as {next(iter(missing))!r}",
                  fix=REPUBLISH)


def _check_sums(state: _Set) -> None:
    shards = state.content["shards"]
    for where, stated, own in [("totals", state.content["totals"], shards),
                               *((f"splits.{name}", stated, [s for s in shards if s["split"] == name])
                                 for name, stated in state.content["splits"].items())]:
        if stated != (sums := manifest.totals(own)):
            state.add(manifest.NAME, f"{where} {stated} differ from their shards' {sums}", fix=REPUBLISH)
    names = [s["name"] for s in shards]
    for name in sorted({n for n in names if names.count(n) > 1}):
        state.add(manifest.NAME, f"names shard {name} twice", fix=REPUBLISH)
    known = {*names, *state.content["sidecars"], manifest.NAME}
    present = (p.relative_to(state.root).as_posix() for p in sorted(state.root.rglob("*")) if p.is_file())
    for name in present:
        if name not in known:
            state.add(name, "is not in the manifest", fix="remove it, or publish the set again")


def verify(path: Path | str) -> list[Problem]:
    """Checks a whole shard set; reads every byte once or twice, holds one sample at a time.

    Compared with the manifest: sha256 and size of each file, counts, sums, which files there are. In the shards:
    every tar header, unique dot-free keys in order, the same parts in each sample, json of the schema in canonical
    form, no recording in two splits, unique question ids. `samples.parquet` is compared row by row.

    Returns:
        All problems; empty where the set is whole.
    """
    try:
        root = find_root(path)
        content = manifest.load(root)
    except ShardError as error:
        return [Problem(str(path), "", str(error).removeprefix(f"{path}: "), REPUBLISH)]
    state = _Set(root, content)
    _check_sums(state)
    for shard in content["shards"]:
        _check_shard(state, shard)
    _check_sidecars(state)
    return state.problems


def summary(problems: Iterable[Problem]) -> str:
    """One line for people."""
    problems = list(problems)
    files = len({p.file for p in problems})
    return f"{len(problems)} problems in {files} files" if problems else "whole: every byte as it was written"
