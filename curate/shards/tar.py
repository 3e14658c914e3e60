"""The narrow dialect of tar that shards are written in: ustar, plain files, fixed metadata, two zero blocks at the end.

Reading accepts exactly that. A general reader takes a cut file for a short one; this one never does.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from curate.shards import schema
from curate.shards.errors import ShardError

BLOCK = 512
RECORD = 20 * BLOCK
MAX_PART_BYTES = 1 << 30
MAX_JSON_BYTES = 64 << 20


@dataclass(frozen=True)
class Member:
    """One file of a shard: `{key}.{part}` at `offset`, `size` bytes."""

    key: str
    part: str
    offset: int
    size: int


def header(name: str, size: int) -> bytes:
    """A 512-byte ustar header whose only variables are the name and the size."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.uid, info.gid, info.mode = size, 0, 0, 0, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8")


def padding(size: int, unit: int = BLOCK) -> bytes:
    return bytes(-size % unit)


def trailer(size: int) -> bytes:
    """What ends a tar of `size` bytes: two zero blocks, filled to a full record."""
    return bytes(2 * BLOCK) + padding(size + 2 * BLOCK, RECORD)


def _octal(field: bytes, what: str, where: str) -> int:
    text = field.rstrip(b"\0 ")
    if not text or any(c not in b"01234567" for c in text):
        raise ShardError(f"{where}: tar header with {what} {field!r}, expected octal digits; "
                         "the shard is torn or altered")
    return int(text, 8)


def _parse(block: bytes, where: str) -> tuple[str, int]:
    if _octal(block[148:156], "checksum", where) != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise ShardError(f"{where}: tar header with a wrong checksum; the shard is torn or altered")
    if block[156:157] not in (b"0", b"\0"):
        raise ShardError(f"{where}: tar entry of type {block[156:157]!r}; only plain files are read")
    if block[345] or block[157]:
        raise ShardError(f"{where}: tar entry in a folder or a link; expected '{{key}}.{{part}}'")
    try:
        name = block[:100].rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise ShardError(f"{where}: tar entry whose name is not ASCII") from None
    return name, _octal(block[124:136], "size", where)


def split_name(name: str, where: str, parts: re.Pattern[str] = schema.PART) -> tuple[str, str]:
    """`{key}.{part}` to its two halves.

    Raises:
        ShardError: on any other name: folders, "..", upper case, unknown parts.
    """
    key, _, part = name.partition(".")
    if not schema.KEY.fullmatch(key) or not parts.fullmatch(part):
        known = ("'{key}.v0.mp4', '{key}.mark.jpg' or '{key}.json'" if parts is schema.PART
                 else "a teacher tensor such as '{key}.depth.npy'")
        raise ShardError(f"{where}: member {name!r}; expected {known} with a lower-case key without dots or folders")
    return key, part


def walk(file: BinaryIO, size: int, where: str, max_part_bytes: int = MAX_PART_BYTES,
         parts: re.Pattern[str] = schema.PART) -> Iterator[Member]:
    """Every member of a shard of `size` bytes, headers only; the file is read by position.

    Args:
        parts: what members may be; of a twin shard `teacher_parts.PART`.

    Raises:
        ShardError: on a cut or altered header, a payload beyond the end, a missing or incomplete end mark,
            an unsafe name, a member over the bound.
    """
    torn = f"{where}: cut after {size} bytes; fetch the shard again"
    offset = 0
    while True:
        if offset + 2 * BLOCK > size:
            raise ShardError(torn)
        file.seek(offset)
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise ShardError(torn)
        if not any(block):
            rest = file.read(RECORD + 1)
            if any(rest) or len(rest) < BLOCK or size % RECORD or offset + BLOCK + len(rest) != size:
                raise ShardError(f"{where}: bad end mark at byte {offset} of {size}; the shard is torn or altered")
            return
        name, length = _parse(block, f"{where} at byte {offset}")
        key, part = split_name(name, where, parts)
        limit = min(max_part_bytes, MAX_JSON_BYTES) if part == "json" else max_part_bytes
        if length > limit:
            raise ShardError(f"{where}: member {name!r} of {length} bytes; at most {limit} are read")
        offset += BLOCK
        if offset + length > size:
            raise ShardError(torn)
        yield Member(key, part, offset, length)
        offset += length + (-length % BLOCK)
