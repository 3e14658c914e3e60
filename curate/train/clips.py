"""The clips of a shard set by random access: where each one's parts lie, and which of its questions are wanted.

The records are read once at the start; what is kept of them is a few numbers a question. Parts are read when a clip is
shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from curate.questions.draw import Draw, stable_hash
from curate.questions.given import GIVEN
from curate.shards import ShardError, manifest, schema, tar
from curate.shards.reader import find_root, group, load_json
from curate.shards.teacher import TeacherTensors
from curate.shards.teacher_parts import META, PART, from_parts, twin_name
from curate.train.data_config import DataConfig

VIDEO, MARKED = "v0.mp4", "mark.jpg"


class NoSplit(ShardError):
    """A set without the split that is asked for."""


class NothingWanted(ValueError):
    """A set in whose split no question is wanted."""


@dataclass(frozen=True)
class Sample:
    """Where a sample lies. `wanted`: indices of its questions; its twin has the teacher's tensors, part by part."""

    key: str
    shard: Path
    parts: dict[str, tar.Member]
    wanted: tuple[int, ...]
    twin: Path | None = None
    tensors: dict[str, tar.Member] = field(default_factory=dict)

    def read(self, part: str) -> bytes:
        return read_member(self.shard, self.parts[part])

    def record(self) -> dict[str, Any]:
        """The decoded record, with the wanted questions alone.

        Raises:
            ShardError: where it is not what it was at the start.
        """
        where = f"{self.shard}: {self.key}.json"
        record = load_json(self.read("json"), where)
        if record.get("key") != self.key:
            raise ShardError(f"{where}: says key {record.get('key')!r}; the set was replaced or altered, start again")
        return schema.decode(record | {"qa": [record["qa"][i] for i in self.wanted]})

    def teacher(self) -> TeacherTensors:
        """Its teacher tensors, read anew; there must be some."""
        assert self.twin is not None
        parts = {name: read_member(self.twin, member) for name, member in self.tensors.items()}
        return from_parts(parts, f"{self.twin}: {self.key}")


@dataclass(frozen=True)
class Clip:
    """A clip and its wanted questions, in one sample, or in several in the layout "question"."""

    key: str
    num_frames: int
    samples: tuple[Sample, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class ClipSet:
    """The clips of one split that have questions wanted, in the order of their keys.

    `digest`: of the ids, to know the set again. `skipped`: clips left out as too short.
    """

    path: str
    clips: tuple[Clip, ...]
    digest: str
    skipped: int

    @cached_property
    def counts(self) -> tuple[int, ...]:
        return tuple(len(clip.ids) for clip in self.clips)


def read_member(path: Path, member: tar.Member) -> bytes:
    """A part's bytes.

    Raises:
        ShardError: where the shard is gone or shorter than it was.
    """
    try:
        with path.open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
    except OSError as error:
        raise ShardError(f"{path}: cannot be read ({error.strerror}); was the set replaced meanwhile?") from None
    if len(data) != member.size:
        raise ShardError(f"{path}: cut while {member.key}.{member.part} was read; fetch the shard again")
    return data


def open_clips(path: str, split: str, config: DataConfig, judged: bool = False) -> ClipSet:
    """Looks through a split of a set.

    Args:
        path: as `curate.shards.read` takes it, on this file system.
        judged: only questions whose answers can be judged: not someone's conversations in free words.

    Raises:
        ShardError: on anything torn; NoSplit on no such split. ValueError: where the set has no video, no teacher
            tensors, or clips that the settings do not fit; NothingWanted where no question is wanted.
    """
    found: dict[str, tuple[dict[str, Any], list[tuple[Sample, list[str]]]]] = {}
    for shard, record, parts in _samples(path, split):
        if VIDEO not in parts:
            raise ValueError(f"{path}: no part {VIDEO} (there is {', '.join(sorted(parts))}); a student is "
                             "shown frames: write the set with its media")
        if config.marks != "none" and MARKED not in parts:
            raise ValueError(f"{path}: no part {MARKED}; set data.marks to none, or write the set with its media")
        wanted = [i for i, qa in enumerate(record["qa"]) if _is_wanted(qa, config)
                  and not (judged and (qa["family"], qa["form"]) == (GIVEN, "open"))]
        if wanted:
            sample = Sample(record["key"], shard, parts, tuple(wanted))
            _, samples = found.setdefault(record["clip_key"], (record, []))
            samples.append((sample, [record["qa"][i]["id"] for i in wanted]))
        record["qa"] = []
    kept = _chosen({key: [name for _, ids in samples for name in ids] for key, (_, samples) in found.items()}, config)
    clips, short = [], []
    for key, (record, samples) in sorted(found.items()):
        trimmed = [(_only(sample, ids, kept), [name for name in ids if name in kept]) for sample, ids in samples]
        trimmed = [(sample, ids) for sample, ids in trimmed if ids]
        if not trimmed:
            continue
        clip = Clip(key, len(record["sampling"]["frame_indices"]), tuple(sample for sample, _ in trimmed),
                    tuple(name for _, ids in trimmed for name in ids))
        is_short = config.frames and clip.num_frames < config.frames and config.short_clips != "repeat"
        (short if is_short else clips).append(clip)
    _check(path, split, config, clips, short)
    if config.teacher:
        clips = _with_tensors(path, clips)
    digest = hashlib.sha256("\n".join(name for clip in clips for name in clip.ids).encode()).hexdigest()
    return ClipSet(path, tuple(clips), digest, len(short))


def _samples(path: str, split: str) -> Iterator[tuple[Path, dict[str, Any], dict[str, tar.Member]]]:
    """(shard, stored record, parts) of each sample."""
    place = Path(path)
    if "://" in path:
        raise ValueError(f"{path}: training reads clips in any order; copy the set to this machine first")
    if place.is_file():
        root, parts, shards = place.parent, None, [{"name": place.name, "bytes": None}]
    else:
        root = find_root(place)
        content = manifest.load(root)
        parts, shards = content["parts"], [s for s in content["shards"] if s["split"] == split]
        if not shards:
            raise NoSplit(f"{root}: no split {split!r}; there is {', '.join(sorted(content['splits'])) or 'none'}")
    for info in shards:
        shard = root / info["name"]
        for key, members in _members(shard, info["bytes"], parts):
            record = load_json(read_member(shard, members["json"]), f"{shard}: {key}.json")
            try:
                yield shard, {name: record[name] for name in ("key", "clip_key", "sampling", "qa")}, members
            except KeyError as error:
                raise ShardError(f"{shard}: {key}.json has no {error}; the shard is altered") from None


def _members(shard: Path, size: int | None, parts: list[str] | None) -> list[tuple[str, dict[str, tar.Member]]]:
    try:
        with shard.open("rb") as file:
            found = shard.stat().st_size
            if size not in (None, found):
                raise ShardError(f"{shard}: {found} bytes, the manifest says {size}; fetch the shard again")
            return list(group(tar.walk(file, found, str(shard)), parts, str(shard)))
    except OSError as error:
        raise ShardError(f"{shard}: cannot be opened ({error.strerror}); fetch the shard again") from None


def _is_wanted(qa: dict[str, Any], config: DataConfig) -> bool:
    if qa["form"] not in config.forms or (config.families is not None and qa["family"] not in config.families):
        return False
    share = config.family_shares.get(qa["family"], 1.0)
    return share == 1 or Draw(qa["id"], config.seed, "family share").uniform() < share


def _chosen(ids: dict[str, list[str]], config: DataConfig) -> set[str]:
    """The questions within the bounds of clip and set: those of least hash, so that a larger bound adds to them."""
    def least(names: list[str], bound: int | None, what: str) -> list[str]:
        return names if bound is None else sorted(names, key=lambda n: stable_hash(what, config.seed, n))[:bound]

    of_clips = [name for names in ids.values() for name in least(names, config.max_per_clip, "clip")]
    return set(least(of_clips, config.max_questions, "set"))


def _only(sample: Sample, ids: list[str], kept: set[str]) -> Sample:
    wanted = tuple(i for i, name in zip(sample.wanted, ids) if name in kept)
    return Sample(sample.key, sample.shard, sample.parts, wanted)


def _check(path: str, split: str, config: DataConfig, clips: list[Clip], short: list[Clip]) -> None:
    if short and config.short_clips == "error":
        raise ValueError(f"{path}: {len(short)} of {len(short) + len(clips)} clips have fewer than data.frames "
                         f"{config.frames} frames ({short[0].key} has {short[0].num_frames}); lower data.frames, "
                         "or set data.short_clips to skip or repeat")
    if not clips:
        why = f"; {len(short)} clips are too short" if short else ""
        raise NothingWanted(f"{path}: split {split!r} has no question of families {config.families or 'all'} and forms "
                            f"{', '.join(config.forms)}{why}; widen data.families, data.forms or the split")
    if config.frames is None and len(lengths := sorted({c.num_frames for c in clips})) > 1:
        raise ValueError(f"{path}: clips of {', '.join(map(str, lengths[:5]))}{', ..' if len(lengths) > 5 else ''} "
                         f"frames; a batch needs equally many: set data.frames, {lengths[0]} at most")


def _with_tensors(path: str, clips: list[Clip]) -> list[Clip]:
    """The same clips, their samples with where their teacher tensors lie: in a tar beside the shard, its twin."""
    twins: dict[Path, tuple[Path, dict[str, dict[str, tar.Member]]]] = {}
    for shard in {sample.shard for clip in clips for sample in clip.samples}:
        twin = shard.parent / twin_name(shard.name)
        if not twin.is_file():
            raise ValueError(f"{path}: no teacher tensors ({twin.name} is not there); make the set with --set "
                             "teacher.enabled=true, or set data.teacher to false")
        with twin.open("rb") as file:
            members = tar.walk(file, twin.stat().st_size, str(twin), parts=PART)
            twins[shard] = twin, dict(group(members, None, str(twin), META))

    def tied(sample: Sample) -> Sample:
        twin, found = twins[sample.shard]
        if sample.key not in found:
            raise ShardError(f"{twin}: no teacher tensors of {sample.key}; it is of another set: fetch both again")
        return replace(sample, twin=twin, tensors=found[sample.key])

    return [replace(clip, samples=tuple(map(tied, clip.samples))) for clip in clips]
