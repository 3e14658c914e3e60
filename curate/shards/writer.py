"""Packs samples into tars: fixed metadata, temp + fsync + rename, the same samples give the same bytes."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curate.shards import schema, tar, teacher_parts
from curate.shards.errors import ShardError
from curate.shards.sample import Sample

MAX_SAMPLES = 1000
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class ShardInfo:
    """What the manifest says of one shard."""

    name: str
    split: str
    samples: int
    questions: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TwinInfo:
    """What the manifest says of the tar with the teacher tensors of a shard's samples."""

    name: str
    of: str
    split: str
    samples: int
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def split_of(recording: str, val_share: float, test_share: float = 0.0, seed: int = 0) -> str:
    """"val" for about `val_share` of all source recordings, "test" for `test_share`, "train" for the others.

    By hash of the recording: clips of one video are never on both sides, and a set that grows moves none.

    Raises:
        ValueError: where a share, or their sum, is not in 0..1.
    """
    if not 0 <= val_share <= 1:
        raise ValueError(f"val_share is {val_share}; expected a share between 0 and 1")
    if not 0 <= test_share <= 1 - val_share:
        raise ValueError(f"test_share is {test_share}; expected a share between 0 and 1 that leaves val_share "
                         f"({val_share}) its own")
    place = place_of(recording, seed)
    return "val" if place < val_share else "test" if place >= 1 - test_share else "train"


def place_of(recording: str, seed: int = 0) -> float:
    """Where a recording stands between 0 and 1, by its hash: those below `val_share` are held out."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{recording}".encode()).digest()[:7], "big") / 2**56


def shard_name(split: str, index: int, generation: int = 0) -> str:
    return f"{split}-{index:06d}.tar" if not generation else f"{split}-g{generation:03d}-{index:06d}.tar"


def index_name(shard: str) -> str:
    """What Megatron-Energon reads beside a shard: `TarFile.index`."""
    return f"{shard}.idx"


class TarFile:
    """A tar that is being written: beside its place, synced and renamed there when it is whole."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.size, self.starts = name, 0, []
        self._final, self._temp = folder / name, folder / f".{name}.partial"
        self._file, self._digest = self._temp.open("wb"), hashlib.sha256()

    def add(self, key: str, payload: list[tuple[str, bytes]]) -> str:
        """Writes the members of a sample; its line of checksums: crc32 of its bytes, their number, shard, key."""
        crc, start = 0, self.size
        for name, data in payload:
            for piece in (tar.header(f"{key}.{name}", len(data)), data, tar.padding(len(data))):
                self._write(piece)
                crc = zlib.crc32(piece, crc)
        self.starts.append(start)
        return f"{crc:08x} {self.size - start} {self.name} {key}\n"

    @property
    def samples(self) -> int:
        return len(self.starts)

    def index(self) -> bytes:
        """Where each sample starts and the last one ends, 8 bytes each, little endian."""
        return struct.pack(f"<{self.samples + 1}Q", *self.starts, self.size)

    def finish(self) -> str:
        """Its sha256."""
        self._write(tar.trailer(self.size))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temp.rename(self._final)
        return self._digest.hexdigest()

    def abort(self) -> None:
        self._file.close()
        self._temp.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)


class ShardWriter:
    """Writes the shards of one split. Samples must come in key order: which shard a clip lands in depends on
    nothing but the keys and sizes before it. Teacher tensors go into a twin of each shard, of the same samples.

    Args:
        out: folder of the shard set; it must exist.
        split: "train", "val", ...
        generation: 0, or the number of the retry.
        max_samples, max_bytes: a shard is closed before it would exceed either.
        on_sample: called with (split, shard's name, json record) for each sample written.

    Raises:
        ShardError: on keys out of order, a sample with other parts than the first, a sample of another split.
    """

    def __init__(self, out: Path | str, split: str, generation: int = 0, max_samples: int = MAX_SAMPLES,
                 max_bytes: int = MAX_BYTES,
                 on_sample: Callable[[str, str, dict[str, Any]], None] | None = None) -> None:
        if max_samples < 1 or max_bytes < 1:
            raise ValueError(f"max_samples and max_bytes must be positive, got {max_samples} and {max_bytes}")
        if not schema.KEY.fullmatch(split):
            raise ValueError(f"split {split!r}; expected lower-case letters, digits, '_' and '-'")
        self.out, self.split, self.generation = Path(out), split, generation
        self.max_samples, self.max_bytes = max_samples, max_bytes
        self.on_sample = on_sample
        self.shards: list[ShardInfo] = []
        self.twins: list[TwinInfo] = []
        self.parts: tuple[str, ...] | None = None
        self.teacher_parts: tuple[str, ...] | None = None  # () in a set without teacher tensors
        self.checksum = ""  # lines of the sample written last: crc32 of its bytes in a shard, their number, shard, key
        self._last_key = ""
        self._shard: TarFile | None = None
        self._twin: TarFile | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def add(self, sample: Sample) -> None:
        parts = (*sorted(sample.parts), "json")
        self._check(sample, parts)
        payload = [(name, sample.parts[name]) for name in parts[:-1]]
        payload.append(("json", sample.data or schema.to_bytes(sample.json)))
        size = sum(tar.BLOCK + len(data) + len(tar.padding(len(data))) for _, data in payload)
        if self._shard and (self._shard.samples >= self.max_samples or self._shard.size + size > self.max_bytes):
            self._finish()
        if not self._shard:
            self._start(sample.key)
        self.checksum = self._shard.add(sample.key, payload)
        if self._twin:
            self.checksum += self._twin.add(sample.key, sorted(sample.teacher.items()))
        self._questions += len(sample.json["qa"])
        self._last_key = sample.key
        if self.on_sample:
            self.on_sample(self.split, self._shard.name, sample.json)

    def close(self) -> list[ShardInfo]:
        if self._shard:
            self._finish()
        return self.shards

    def abort(self) -> None:
        """Drops the open shard; finished ones stay, unpublished."""
        for file in filter(None, (self._shard, self._twin)):
            file.abort()
        self._shard = self._twin = None

    def _check(self, sample: Sample, parts: tuple[str, ...]) -> None:
        if sample.key != sample.json.get("key"):
            raise ShardError(f"sample {sample.key!r}: its json says key {sample.json.get('key')!r}")
        if sample.key <= self._last_key:
            raise ShardError(f"sample {sample.key!r} after {self._last_key!r}: "
                             "samples must come once each, in key order")
        if sample.split != self.split:
            raise ShardError(f"sample {sample.key!r} is of split {sample.split!r}, this writer's is {self.split!r}")
        if self.parts is not None and parts != self.parts:
            raise ShardError(f"sample {sample.key!r} has parts {list(parts)}; the shard set has {list(self.parts)}. "
                             "Every sample of a set must have the same parts")
        for name in parts:
            tar.split_name(f"{sample.key}.{name}", "writer")
            if name != "json" and len(sample.parts[name]) > tar.MAX_PART_BYTES:
                raise ShardError(f"{sample.key}.{name}: {len(sample.parts[name])} bytes; at most {tar.MAX_PART_BYTES}")
        self.parts, self.teacher_parts = parts, self._teacher_parts(sample)

    def _teacher_parts(self, sample: Sample) -> tuple[str, ...]:
        """The parts of a sample's teacher tensors, checked."""
        teacher = tuple(sorted(sample.teacher or ()))
        if self.teacher_parts is not None and teacher != self.teacher_parts:
            raise ShardError(f"sample {sample.key!r} has the teacher tensors {list(teacher)}; the shard set has "
                             f"{list(self.teacher_parts)}. Every sample of a set must have the same")
        for name in teacher:
            tar.split_name(f"{sample.key}.{name}", "writer", teacher_parts.PART)
        return teacher

    def _start(self, first_key: str) -> None:
        name = shard_name(self.split, len(self.shards), self.generation)
        self._shard = TarFile(self.out, name)
        self._twin = TarFile(self.out, teacher_parts.twin_name(name)) if self.teacher_parts else None
        self._first_key, self._questions = first_key, 0

    def _finish(self) -> None:
        shard, twin = self._shard, self._twin
        (self.out / index_name(shard.name)).write_bytes(shard.index())
        digest = shard.finish()
        self.shards.append(ShardInfo(shard.name, self.split, shard.samples, self._questions, shard.size, digest,
                                     self._first_key, self._last_key))
        self._shard = None
        if twin:
            digest = twin.finish()
            self.twins.append(TwinInfo(twin.name, shard.name, self.split, twin.samples, twin.size, digest))
            self._twin = None
