"""Reads a shard set for training: by node and worker, clips flattened to questions, reproducible shuffle.

Needs no more than the standard library: no tar reader that takes a cut file for a short one, no torch.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.shards import manifest, schema, tar
from curate.shards.errors import ShardError
from curate.shards.remote import published_root
from curate.shards.teacher import Stored
from curate.shards.teacher_parts import META, from_parts, twin_name
from curate.shards.teacher_parts import PART as TEACHER_PART
from curate.storage import RemotePath, location

CACHED_PARTS = 32
NO_TEACHER = ("they are made while clips are perceived: run again into a new folder with --set teacher.enabled=true "
              "(recipe section `teacher`)")


class _Shard:
    """An open shard, read by position; closed when the last sample that refers to it is gone."""

    def __init__(self, path: Path | RemotePath, sha256: str | None = None) -> None:
        try:
            self.file = path.open("rb", sha256=sha256) if isinstance(path, RemotePath) else path.open("rb")
        except OSError as error:
            raise ShardError(f"{path}: cannot be opened ({error.strerror}); fetch the shard again") from None
        self.path, self.size = path, os.fstat(self.file.fileno()).st_size

    def read(self, member: tar.Member) -> bytes:
        data = os.pread(self.file.fileno(), member.size, member.offset)
        if len(data) != member.size:
            raise ShardError(f"{self.path}: cut while {member.key}.{member.part} was read; fetch the shard again")
        return data

    def sample(self, member: tar.Member) -> dict[str, Any]:
        """The decoded record of a clip, by its json."""
        where = f"{self.path}: {member.key}.json"
        record = load_json(self.read(member), where)
        if record.get("key") != member.key:
            raise ShardError(f"{where} says key {record.get('key')!r}; the shard is altered")
        try:
            return schema.decode(record)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ShardError(f"{where} is not of the schema ({type(error).__name__}: {error}); the shard is altered"
                             ) from None


class _Cache:
    """The parts read last: the questions of one clip share its media."""

    def __init__(self, size: int) -> None:
        self.size, self.parts = size, OrderedDict()

    def get(self, shard: _Shard, member: tar.Member) -> bytes:
        name = (shard.path, member.offset)
        if name in self.parts:
            self.parts.move_to_end(name)
            return self.parts[name]
        data = self.parts[name] = shard.read(member)
        if len(self.parts) > self.size:
            self.parts.popitem(last=False)
        return data


class Media(Mapping[str, bytes]):
    """Part name ("v0.mp4", "mark.jpg") to bytes, read when first asked for. Pickles as a plain dict of bytes."""

    def __init__(self, shard: _Shard, members: dict[str, tar.Member], cache: _Cache) -> None:
        self._shard, self._members, self._cache = shard, members, cache

    def __getitem__(self, part: str) -> bytes:
        return self._cache.get(self._shard, self._members[part])

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return "Media(" + ", ".join(f"{name}: {m.size} bytes" for name, m in self._members.items()) + ")"

    def __reduce__(self) -> tuple[type, tuple[dict[str, bytes]]]:
        return dict, (dict(self),)


@dataclass(frozen=True)
class Place:
    """Which of all consumers this one is: worker `worker` of `num_workers` on node `rank` of `world_size`."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    num_workers: int = 1

    def __post_init__(self) -> None:
        for name, index, count in (("rank", self.rank, self.world_size), ("worker", self.worker, self.num_workers)):
            if not 0 <= index < count:
                raise ValueError(f"{name} is {index}; expected 0..{count - 1}")

    @property
    def index(self) -> int:
        return self.rank * self.num_workers + self.worker

    @property
    def count(self) -> int:
        return self.world_size * self.num_workers

    @staticmethod
    def find(rank: int | None, world_size: int | None, worker: int | None, num_workers: int | None) -> Place:
        """What is not given comes from torch, where someone has imported it, else from RANK and WORLD_SIZE."""
        if (rank is None) != (world_size is None) or (worker is None) != (num_workers is None):
            raise ValueError("give rank together with world_size, and worker together with num_workers")
        torch = sys.modules.get("torch")
        distributed = getattr(torch, "distributed", None)
        if rank is None:
            if distributed and distributed.is_available() and distributed.is_initialized():
                rank, world_size = distributed.get_rank(), distributed.get_world_size()
            else:
                rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if worker is None:
            data = sys.modules.get("torch.utils.data")
            info = data.get_worker_info() if data else None
            worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        return Place(rank, world_size, worker, num_workers)


def shares(num_shards: int, place: Place) -> list[tuple[int, int, int]]:
    """(shard, offset, stride) of what a consumer reads: its samples are `offset, offset + stride, ..` of the shard.

    Over all consumers every sample of every shard is read exactly once. Whole shards go round; where there are
    more consumers than shards, those that share a shard split it by sample.
    """
    if num_shards == 0:
        return []
    if place.count <= num_shards:
        return [(shard, 0, 1) for shard in range(place.index, num_shards, place.count)]
    shard = place.index % num_shards
    return [(shard, place.index // num_shards, len(range(shard, place.count, num_shards)))]


@dataclass
class Reader:
    """An iterable over one split; every `iter()` starts anew. Made by `read`."""

    root: Path | RemotePath
    split: str
    shards: list[dict[str, Any]]
    parts: list[str] | None
    flatten: bool
    shuffle_seed: int | None
    shuffle_buffer: int
    max_part_bytes: int
    place: tuple[int | None, int | None, int | None, int | None]
    digest: str = ""
    twins: dict[str, dict[str, Any]] | None = None  # shard's name to what the manifest says of its teacher tensors
    teacher_parts: list[str] | None = None
    _cache: _Cache = field(default_factory=lambda: _Cache(CACHED_PARTS), repr=False)
    _teacher_cache: _Cache = field(default_factory=lambda: _Cache(CACHED_PARTS), repr=False)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        place = Place.find(*self.place)
        shards = list(self.shards)
        if self.shuffle_seed is None:
            yield from self._items(shards, place)
            return
        random.Random(f"shards {self.shuffle_seed}").shuffle(shards)  # alike for all: the shares stay disjoint
        yield from _shuffled(self._items(shards, place), self.shuffle_buffer,
                             random.Random(f"items {self.shuffle_seed} {place.index}"))

    def num_items(self) -> int:
        """Of the whole split, over all consumers.

        Raises:
            ShardError: for a single tar without manifest, whose count is not known before it is read.
        """
        if self.parts is None:
            raise ShardError(f"{self.root}: a tar without its manifest; the number of items is not known")
        return sum(s["questions" if self.flatten else "samples"] for s in self.shards)

    def _items(self, shards: list[dict[str, Any]], place: Place) -> Iterator[dict[str, Any]]:
        for index, offset, stride in shares(len(shards), place):
            for sample, media, teacher in self._samples(shards[index], offset, stride):
                base = {"key": sample["key"], "json": sample, "media": media}
                if not self.flatten:
                    yield base | teacher()
                    continue
                for qa in sample["qa"]:
                    yield base | {"key": qa["id"], "qa": qa} | teacher()

    def _check_same_set(self) -> None:
        if self.digest and manifest.digest_at(self.root) != self.digest:
            raise ShardError(f"{self.root}: another set was published there since this one was opened; open it again")

    def _open(self, info: dict[str, Any]) -> _Shard:
        """A shard, or a twin, as the manifest says it is."""
        path = self.root / info["name"]
        try:
            shard = _Shard(path, info["sha256"])
        except ShardError:
            self._check_same_set()
            raise
        if not isinstance(self.root, RemotePath):  # there a set never changes its place
            self._check_same_set()  # after opening: sets are replaced whole, so the open shard is of this one too
        if info["bytes"] not in (None, shard.size):
            raise ShardError(f"{path}: {shard.size} bytes, the manifest says {info['bytes']}; fetch the shard again")
        return shard

    def _samples(self, info: dict[str, Any], offset: int, stride: int
                 ) -> Iterator[tuple[dict[str, Any], Media, Callable[[], dict[str, Any]]]]:
        """Record, media, and what makes {"teacher": ...} of each item that is of them ({} where it is not read)."""
        path, shard = self.root / info["name"], self._open(info)
        teachers = self._teachers(info) if self.twins is not None else None
        groups = group(tar.walk(shard.file, shard.size, str(path), self.max_part_bytes), self.parts, str(path))
        count = 0
        for count, (key, members) in enumerate(groups, 1):
            teacher = dict if teachers is None else self._teacher_of(key, teachers, path)
            if (count - 1) % stride != offset:
                continue
            yield shard.sample(members.pop("json")), Media(shard, members, self._cache), teacher
        if info["samples"] not in (None, count):
            raise ShardError(f"{path}: {count} samples, the manifest says {info['samples']}; fetch the shard again")


    def _teachers(self, info: dict[str, Any]) -> Iterator[tuple[str, Media]]:
        """Key and parts of every sample in the twin of a shard."""
        twin = self.twins[info["name"]]
        path, shard = self.root / twin["name"], self._open(twin)
        members = tar.walk(shard.file, shard.size, str(path), self.max_part_bytes, TEACHER_PART)
        for key, parts in group(members, self.teacher_parts, str(path), META):
            yield key, Media(shard, parts, self._teacher_cache)

    def _teacher_of(self, key: str, teachers: Iterator[tuple[str, Media]], path: Any) -> Callable[[], dict[str, Any]]:
        found, parts = next(teachers, ("", None))
        if found != key:
            raise ShardError(f"{path}: its twin has the teacher tensors of {found or 'no further sample'!r} where "
                             f"those of {key!r} are expected; fetch both again")
        # each item has tensors of its own, so that one that waits in a shuffle buffer holds no arrays
        return lambda: {"teacher": Stored(lambda: from_parts(parts, f"{path}: {key}"))}


def load_json(data: bytes, where: str) -> dict[str, Any]:
    """
    Raises:
        ShardError: where it is no json, or not of this schema's version.
    """
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{where}: not json ({error}); the shard is altered") from None
    version = record.get("version") if isinstance(record, dict) else None
    if version != schema.VERSION:
        raise ShardError(f"{where}: version {version!r}; this reads version {schema.VERSION}")
    return record


def group(members: Iterator[tar.Member], parts: list[str] | None, where: str,
          needed: str = "json") -> Iterator[tuple[str, dict[str, tar.Member]]]:
    """Members to samples: neighbours of one key. `parts`: what each must have, `needed` among them; None takes it from
    the first.

    Raises:
        ShardError: on a part that is doubled or missing, or a key that comes again or out of order.
    """
    key, current = "", {}
    for member in members:
        if member.key != key:
            if current:
                parts = parts or list(current)
                yield key, _complete(key, current, parts, where, needed)
            if member.key <= key:
                raise ShardError(f"{where}: key {member.key!r} after {key!r}; keys must rise, the shard is altered")
            key, current = member.key, {}
        if member.part in current:
            raise ShardError(f"{where}: {member.key}.{member.part} is there twice; the shard is altered")
        current[member.part] = member
    if current:
        yield key, _complete(key, current, parts or list(current), where, needed)


def _complete(key: str, members: dict[str, tar.Member], parts: list[str], where: str,
              needed: str) -> dict[str, tar.Member]:
    if set(members) != set(parts) or needed not in members:
        raise ShardError(f"{where}: sample {key!r} has parts {sorted(members)}, expected {sorted({*parts, needed})}; "
                         "the shard is altered")
    return members


def _shuffled(items: Iterator[Any], size: int, rng: random.Random) -> Iterator[Any]:
    buffer = []
    for item in items:
        if len(buffer) < size:
            buffer.append(item)
            continue
        index = rng.randrange(size)
        buffer[index], item = item, buffer[index]
        yield item
    rng.shuffle(buffer)
    yield from buffer


def find_root(path: Path | str | RemotePath) -> Path | RemotePath:
    """The folder with the manifest: `path` itself, `path/shards` of a run's output, or what `curate publish` put there.

    Raises:
        ShardError: where none holds a published set. UrlError: for an address that is not taken.
        StorageError: where a store cannot be reached.
    """
    path = location(path)
    if root := published_root(path):
        return root
    for root in (path, path / "shards"):
        if (root / manifest.NAME).is_file():
            return root
    raise ShardError(f"{path}: no {manifest.NAME} here nor in {path / 'shards'}; "
                     "the set is not published, or this is no shard set")


def read(path: Path | str | RemotePath, split: str = "train", *, flatten: bool = True, shuffle_seed: int | None = None,
         shuffle_buffer: int = 1000, rank: int | None = None, world_size: int | None = None,
         worker: int | None = None, num_workers: int | None = None,
         max_part_bytes: int = tar.MAX_PART_BYTES, teacher: bool = False) -> Reader:
    """Iterates over a shard set.

    Args:
        path: a shard set, a run's output folder, or one `.tar` (then `split` is not looked at). Also an address,
            s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, of what `curate publish` put there, or of a copy of a set: shards
            are fetched one at a time into unnamed temporary files and checked against the manifest. With CURATE_CACHE
            (a folder) and CURATE_CACHE_GIB (its size, default 100) set, they are kept there for the next epoch and for
            the other processes of the machine.
        split: "train", "val", ...
        flatten: one item a question; False gives one a clip.
        shuffle_seed: None reads in order; the same seed gives the same order. Use seed + epoch.
        shuffle_buffer: items held back for shuffling; media are not loaded for it.
        rank, world_size, worker, num_workers: this consumer's place; by default from torch where it is imported
            (distributed and data-loader workers), else from RANK and WORLD_SIZE. Every sample is read by
            exactly one consumer.
        max_part_bytes: larger members are refused.
        teacher: items get `teacher`, a `curate.shards.teacher.TeacherTensors` read when one of its fields is first
            asked for. Only then are the twin shards opened (or fetched).

    Returns:
        An iterable of dicts. `key`; `json`: the clip's record (`curate.shards.schema`, NaN for null, free-form
        records restored, `json["qa"]` equal to the `Question.to_json()` that were written); `media`: part name
        to bytes, read on first use. Flattened: `key` is the question's id, `qa` its record; region 3
        is "<R3>" in its texts and "R3" in `mark.jpg`.

    Raises:
        ShardError: on anything torn, missing or unsafe: a cut shard never ends silently. Where teacher tensors are
            asked for of a set that has none.
    """
    path = location(path)
    place = (rank, world_size, worker, num_workers)
    Place.find(*place)  # a wrong place is reported here, not in a worker
    if shuffle_buffer < 1:
        raise ValueError(f"shuffle_buffer is {shuffle_buffer}; expected at least 1")
    if (isinstance(path, Path) or path.name.endswith(".tar")) and path.is_file():
        shard = {"name": path.name, "bytes": None, "samples": None, "sha256": None}
        twin = shard | {"name": twin_name(path.name)}
        if teacher and not (path.parent / twin["name"]).is_file():
            raise ShardError(f"{path}: no teacher tensors ({twin['name']} beside it); {NO_TEACHER}")
        return Reader(path.parent, split, [shard], None, flatten, shuffle_seed, shuffle_buffer, max_part_bytes, place,
                      twins={path.name: twin} if teacher else None)
    root = find_root(path)
    content = manifest.load(root)
    shards = [s for s in content["shards"] if s["split"] == split]
    if not shards and content["shards"]:
        raise ShardError(f"{root}: no split {split!r}; there is {', '.join(sorted(content['splits']))}")
    twins = {twin["of"]: twin for twin in manifest.twins_of(content)} if teacher else None
    if teacher and shards and not twins:
        raise ShardError(f"{root}: no teacher tensors; {NO_TEACHER}")
    return Reader(root, split, shards, content["parts"], flatten, shuffle_seed, shuffle_buffer, max_part_bytes, place,
                  content["digest"], twins, content["teacher"]["parts"] if twins else None)
