"""Random access to the clips of a shard set, by number or by key.

A shard's headers are read once, when one of its clips is first asked for; from then on a clip is two look-ups and one
read by position for each part, wherever it lies and however large the set is.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from curate.shards import tar
from curate.shards.errors import ShardError
from curate.shards.reader import CACHED_PARTS, Media, _Cache, _Shard, group, read
from curate.storage import RemotePath

OPEN_SHARDS = 64  # files kept open; what is known of a shard is kept of all


class Index(Sequence):
    """The clips of one split, in the order of their keys; a map-style dataset for torch as it is.

        clips = Index("OUT")
        clips[7]["json"]["qa"], clips["00c1f3"]["media"]["v0.mp4"], len(clips)

    Takes what `curate.shards.read` takes. Holds 16 bytes for each part of a clip, and its key. Can be pickled and
    used after a fork: reading moves no position in a file.

    Args:
        path, split, max_part_bytes: as for `curate.shards.read`.

    Raises:
        ShardError: on anything torn, missing or unsafe, as `curate.shards.read`, when it is met.
    """

    def __init__(self, path: Path | str | RemotePath, split: str = "train", *,
                 max_part_bytes: int = tar.MAX_PART_BYTES) -> None:
        self._reader = read(path, split, flatten=False, max_part_bytes=max_part_bytes)
        self._shards, self._files, self._tables = self._reader.shards, OrderedDict(), {}
        self._cache = _Cache(CACHED_PARTS)
        if self._shards and self._shards[0]["samples"] is None:  # a tar without its manifest is counted by reading it
            keys = self._table(0)[0]
            self._shards = [self._shards[0] | {"samples": len(keys), "first_key": next(iter(keys), "")}]
        self._ends = list(accumulate(shard["samples"] for shard in self._shards))
        self._firsts = [shard["first_key"] for shard in self._shards]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, which: int | str) -> dict[str, Any]:
        """`key`, `json` and `media` of a clip, as `curate.shards.read(..., flatten=False)` gives them.

        Raises:
            IndexError: for a number beyond the split. KeyError: for a key that is not in it.
        """
        shard, members = self._find(which)
        sample = shard.sample(members.pop("json"))
        return {"key": sample["key"], "json": sample, "media": Media(shard, members, self._cache)}

    def raw(self, which: int | str) -> dict[str, bytes]:
        """Every part of a clip as it is stored, json too; nothing is decoded or kept."""
        shard, members = self._find(which)
        return {part: shard.read(member) for part, member in members.items()}

    def each(self, order: Iterable[int | str] | None = None) -> Iterator[dict[str, memoryview]]:
        """Parts of one clip after another as they are stored, for who copies or decodes them at once.

        All are read into the same memory, one read a clip: fresh pages for every clip cost more than the reading. What
        is given is valid until the next is asked for; `bytes(part)` keeps it.

        Args:
            order: numbers or keys; default: all clips in order.
        """
        memory = bytearray()
        for which in range(len(self)) if order is None else order:
            shard, members = self._find(which)
            begin = min(member.offset for member in members.values())
            size = max(member.offset + member.size for member in members.values()) - begin
            if len(memory) < size:
                memory = bytearray(size)
            view = memoryview(memory)
            if os.preadv(shard.file.fileno(), [view[:size]], begin) != size:
                raise ShardError(f"{shard.path}: cut while clip {which} was read; fetch the shard again")
            yield {part: view[member.offset - begin:member.offset - begin + member.size]
                   for part, member in members.items()}

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._place(key) is not None

    def keys(self) -> list[str]:
        """Of all clips, in order; reads the headers of every shard."""
        return [key for number in range(len(self._shards)) for key in self._table(number)[0]]

    def _find(self, which: int | str) -> tuple[_Shard, dict[str, tar.Member]]:
        if isinstance(which, str):
            if (place := self._place(which)) is None:
                raise KeyError(which)
        else:
            at = which + len(self) if which < 0 else which
            if not 0 <= at < len(self):
                raise IndexError(f"clip {which} of {len(self)}")
            number = bisect_right(self._ends, at)
            place = number, at - (self._ends[number] - self._shards[number]["samples"])
        number, row = place
        names, parts, spans = self._table(number)
        key = names[row]
        return self._file(number), {part: tar.Member(key, part, int(offset), int(size))
                                    for part, (offset, size) in zip(parts, spans[row])}

    def _place(self, key: str) -> tuple[int, int] | None:
        """(number of its shard, its row there): keys rise over a split."""
        number = bisect_right(self._firsts, key) - 1
        if number < 0:
            return None
        names = self._table(number)[0]
        row = bisect_right(names, key) - 1
        return (number, row) if row >= 0 and names[row] == key else None

    def _table(self, number: int) -> tuple[list[str], list[str], np.ndarray]:
        """Of a shard: keys, names of parts, and [clips, parts, 2] offset and size."""
        if number in self._tables:
            return self._tables[number]
        info, shard = self._shards[number], self._file(number)
        members = tar.walk(shard.file, shard.size, str(shard.path), self._reader.max_part_bytes)
        clips = list(group(members, self._reader.parts, str(shard.path)))
        if info["samples"] not in (None, len(clips)):
            raise ShardError(f"{shard.path}: {len(clips)} samples, the manifest says {info['samples']}; "
                             "fetch the shard again")
        parts = list(clips[0][1]) if clips else []
        spans = np.array([[(m[part].offset, m[part].size) for part in parts] for _, m in clips], np.int64)
        self._tables[number] = [key for key, _ in clips], parts, spans.reshape(len(clips), len(parts), 2)
        return self._tables[number]

    def _file(self, number: int) -> _Shard:
        if number in self._files:
            self._files.move_to_end(number)
            return self._files[number]
        shard = self._files[number] = self._reader._open(self._shards[number])
        if len(self._files) > OPEN_SHARDS:
            self._files.popitem(last=False)
        return shard

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_files": OrderedDict(), "_cache": None, "_reader": self._reader}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _cache=_Cache(CACHED_PARTS))
