"""Finds every torn, missing, doubled or altered byte of a shard set."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from curate.shards import manifest, schema, tar, teacher_parts
from curate.shards.errors import ShardError
from curate.shards.reader import find_root, group, load_json
from curate.shards.sidecars import CHECKSUMS, COLUMNS, question_rows

REFETCH = "fetch the file again, or run `curate ask OUT --recipe RECIPE` to write the set anew from the staged scenes"
REPUBLISH = "run `curate ask OUT --recipe RECIPE` to write the set anew from the staged scenes"
NAMED = 3  # clips in a line; all of them are in `Problem.clips`


@dataclass(frozen=True)
class Problem:
    """One fault. `key`: the sample it is in, "" where it is the whole file's; `clips`: then those that it concerns."""

    file: str
    key: str
    what: str
    fix: str
    clips: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f", and {len(self.clips) - NAMED} more" if len(self.clips) > NAMED else ""
        where = self.key or ", ".join(self.clips[:NAMED]) + more
        return f"{self.file}{f' [{where}]' if where else ''}: {self.what}. To mend it: {self.fix}."


def clips_of(problems: Iterable[Problem]) -> list[str]:
    """Keys of every clip that a fault concerns, sorted."""
    keys = {key for p in problems for key in (p.key, *p.clips) if key}
    return sorted({re.sub(r"-q\d+$", "", key) for key in keys})


class _Set:
    """What has been seen so far over all shards."""

    def __init__(self, root: Path, content: dict[str, Any]) -> None:
        self.root, self.content = root, content
        self.problems: list[Problem] = []
        self.keys: dict[str, str] = {}
        self.recordings: dict[str, str] = {}
        self.sums: dict[str, list[tuple[str, int, str]]] = {}  # shard to (key, bytes, crc32) of its samples
        self.questions: dict[str, str] = {}  # ids of the clip at hand, and those that do not begin with a clip's key
        self.clip = ""
        self.order: dict[str, Any] = {}  # shard to a hash of its keys and their numbers of frames, in order
        self.rows: dict[str, TextIO] = {}  # split to lines (key, digest of its expected rows in the table)

    def add(self, file: str, what: str, key: str = "", fix: str = REFETCH, clips: Iterable[str] = ()) -> None:
        self.problems.append(Problem(file, key, what, fix, tuple(clips)))

    def expect(self, split: str, key: str, digest: str) -> None:
        if split not in self.rows:
            self.rows[split] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self.rows[split].write(f"{key} {digest}\n")

    def close(self) -> None:
        for file in self.rows.values():
            file.close()


def _rows_digest(rows: Iterable[dict[str, Any]]) -> str:
    return hashlib.sha256("".join(map(_row_digest, rows)).encode()).hexdigest()


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
    if record["clip_key"] != state.clip:  # ids that begin with their clip's key cannot be those of another
        state.questions = {i: at for i, at in state.questions.items() if not i.startswith(f"{state.clip}-")}
        state.clip = record["clip_key"]
    state.order.setdefault(name, hashlib.sha256()).update(_place(key, record["num_frames"]))
    rows = question_rows(shard["split"], name, record)
    for row in rows:
        if row["id"] in state.questions:
            state.add(name, f"question {row['id']!r} is also in {state.questions[row['id']]}", key, REPUBLISH)
        state.questions[row["id"]] = name
    if rows:
        state.expect(shard["split"], key, _rows_digest(rows))
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


def _place(key: str, num_frames: int) -> bytes:
    """What a sample and its teacher tensors must have in common."""
    return f"{key} {num_frames}\n".encode()


def _check_twin(state: _Set, twin: dict[str, Any], file: Any, size: int) -> None:
    """The members of a tar of teacher tensors: each of them readable, of the samples of its shard in their order."""
    name, samples, last, order = twin["name"], 0, "", hashlib.sha256()
    try:
        members = tar.walk(file, size, name, parts=teacher_parts.PART)
        for last, parts in group(members, state.content["teacher"]["parts"], name, teacher_parts.META):
            samples += 1
            data = {}
            for part, member in parts.items():
                file.seek(member.offset)
                data[part] = file.read(member.size)
            tensors = teacher_parts.from_parts(data, f"{name}: {last}")
            if teacher_parts.to_parts(tensors) != data:
                state.add(name, "its teacher tensors are not in the form they are written in; altered", last)
            order.update(_place(last, tensors.num_frames))
    except ShardError as error:
        state.add(name, str(error).removeprefix(f"{name}: "), last)
        return
    if samples != twin["samples"]:
        state.add(name, f"samples: found {samples!r}, the manifest says {twin['samples']!r}")
    whole = all(problem.file != twin["of"] for problem in state.problems)
    if whole and twin["of"] in state.order and order.digest() != state.order[twin["of"]].digest():
        state.add(name, f"its samples, their order or numbers of frames differ from those of {twin['of']}",
                  fix=REPUBLISH)


def _samples_of(state: _Set, shard: dict[str, Any]) -> list[str]:
    """Keys of a shard by the checksums, else the two that the manifest names."""
    keys = [key for key, _, _ in state.sums.get(shard["name"], ())]
    return keys or sorted({shard[name] for name in ("first_key", "last_key") if name in shard})


def _altered(state: _Set, shard: dict[str, Any], file: BinaryIO) -> list[str]:
    """Keys of the samples whose bytes are not where or what they were; all where nothing else tells."""
    keys, at = [], 0
    for key, size, crc in state.sums.get(shard["name"], ()):
        file.seek(at)
        if f"{zlib.crc32(file.read(size)):08x}" != crc:
            keys.append(key)
        at += size
    if at:
        return keys  # none: it is the end mark
    return _samples_of(state, shard)


def _load_sums(state: _Set) -> None:
    try:
        data = (state.root / CHECKSUMS).read_bytes()
        if hashlib.sha256(data).hexdigest() != state.content["sidecars"][CHECKSUMS]["sha256"]:
            return  # `_check_sidecars` says so
    except (OSError, KeyError):
        return
    for line in data.decode().splitlines():
        crc, size, shard, key = line.split(" ")
        state.sums.setdefault(shard, []).append((key, int(size), crc))


def _check_shard(state: _Set, shard: dict[str, Any],
                 check_members: Callable[[_Set, dict[str, Any], Any, int], None]) -> None:
    path = state.root / shard["name"]
    try:
        file = path.open("rb")
    except OSError as error:
        state.add(shard["name"], f"cannot be opened ({error.strerror})", clips=_samples_of(state, shard))
        return
    with file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        if size != shard["bytes"]:
            state.add(shard["name"], f"{size} bytes, the manifest says {shard['bytes']}")
        if digest != shard["sha256"]:
            state.add(shard["name"], f"sha256 is {digest[:12]}.., the manifest says {shard['sha256'][:12]}..",
                      clips=_altered(state, shard, file))
        check_members(state, shard, file, size)


def _check_sidecars(state: _Set) -> None:
    for name, record in state.content["sidecars"].items():
        path = state.root / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            state.add(manifest.NAME, f"sidecar {name!r} lies outside the set", fix=REPUBLISH)
            continue
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
                if size != record["bytes"] or digest != record["sha256"]:
                    state.add(name, f"altered: {size} bytes, the manifest says {record['bytes']} with another sha256",
                              fix=REPUBLISH)
                elif name == "samples.parquet":
                    file.seek(0)
                    _check_table(state, file)
        except OSError as error:
            state.add(name, f"cannot be read ({error.strerror})", fix=REPUBLISH)


def _check_table(state: _Set, data: Any) -> None:
    """Compares samples.parquet with the shards, both of which rise by key in each split: one clip at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = "samples.parquet"
    expected = {split: _Expected(file) for split, file in state.rows.items()}
    try:
        table = pq.ParquetFile(data)
        rows = (row for batch in table.iter_batches(1024) for row in batch.to_pylist())
        for (split, key), own in itertools.groupby(rows, lambda row: (row["split"], row["key"])):
            own = list(own)
            stream = expected.get(split)
            while stream and stream.key and stream.key < key:
                state.add(name, "its questions are missing from the table", stream.key, REPUBLISH)
                stream.advance()
            if not stream or stream.key != key:
                state.add(name, f"question {own[0]['id']!r} is not in the shards, or twice in the table", key,
                          REPUBLISH)
                continue
            if stream.digest != _rows_digest(own):
                state.add(name, f"the row of question {own[0]['id']!r}, or of another of this clip, differs from the "
                                f"shard's", key, REPUBLISH)
            stream.advance()
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        state.add(name, f"cannot be read ({type(error).__name__}: {error})", fix=REPUBLISH)
        return
    for stream in expected.values():
        while stream.key:
            state.add(name, "its questions are missing from the table", stream.key, REPUBLISH)
            stream.advance()


class _Expected:
    """What the shards of a split say that the table holds, clip by clip; `key` is "" at the end."""

    def __init__(self, file: TextIO) -> None:
        file.seek(0)
        self._file = file
        self.advance()

    def advance(self) -> None:
        self.key, _, self.digest = self._file.readline().rstrip("\n").partition(" ")


def _check_sums(state: _Set) -> None:
    shards = state.content["shards"]
    for where, stated, own in [("totals", state.content["totals"], shards),
                               *((f"splits.{name}", stated, [s for s in shards if s["split"] == name])
                                 for name, stated in state.content["splits"].items())]:
        if stated != (sums := manifest.totals(own)):
            state.add(manifest.NAME, f"{where} {stated} differ from their shards' {sums}", fix=REPUBLISH)
    twins = manifest.twins_of(state.content)
    if twins and state.content["teacher"]["totals"] != (sums := manifest.twin_totals(twins)):
        state.add(manifest.NAME, f"teacher.totals differ from their shards' {sums}", fix=REPUBLISH)
    if twins and sorted(t["of"] for t in twins) != sorted(s["name"] for s in shards):
        state.add(manifest.NAME, "not every shard has its tar of teacher tensors", fix=REPUBLISH)
    names = [s["name"] for s in [*shards, *twins]]
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
    form, no recording in two splits, unique question ids, the teacher tensors of the same samples in
    twin shards. `samples.parquet` is compared clip by clip. Where a shard is
    not what it was, `checksums.txt` tells which of its samples.

    Returns:
        All problems; empty where the set is whole.
    """
    try:
        root = find_root(path)
        content = manifest.load(root)
    except ShardError as error:
        return [Problem(str(path), "", str(error).removeprefix(f"{path}: "), REPUBLISH)]
    state = _Set(root, content)
    try:
        _check_sums(state)
        _load_sums(state)
        for shard in content["shards"]:
            _check_shard(state, shard, _check_members)
        for twin in manifest.twins_of(content):
            _check_shard(state, twin, _check_twin)
        _check_sidecars(state)
        return state.problems
    finally:
        state.close()


def summary(problems: Iterable[Problem]) -> str:
    """One line for people."""
    problems = list(problems)
    files = len({p.file for p in problems})
    return f"{len(problems)} problems in {files} files" if problems else "whole: every byte as it was written"
