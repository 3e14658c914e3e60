"""Mutated shard sets and scene files: a reader says `ShardError` or gives what was written, and `verify` finds it."""

from __future__ import annotations

import io
import random
import shutil
import tarfile
from pathlib import Path
from typing import Any

from benchmarks.fuzz_media import DAMAGE

EXTRA = ("unsafe member", "link member", "huge member", "swapped members", "doubled member", "json replaced", "gzip",
         "another tar")


def unpack(data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(m, tar.extractfile(m).read()) for m in tar.getmembers()]


def pack(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A well-formed tar, so that what is wrong with its members is not hidden by a wrong checksum."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def mutated_tar(rng: random.Random, data: bytes) -> tuple[str, bytes]:
    """What was done, and a tar that differs from `data`."""
    if rng.random() < 0.6:
        how = rng.choice(DAMAGE)
        return how.__name__.replace("_", " "), how(rng, data)
    members, what = unpack(data), rng.choice(EXTRA)
    at = rng.randrange(len(members))
    info, payload = members[at]
    form = tarfile.USTAR_FORMAT
    if what == "unsafe member":
        info.name = rng.choice(("../../etc/cron.d/x", "/etc/passwd", "a/../../b.json", "..", "K.json", "a.b.c.json",
                                "é.json", "a" * 90 + ".json"))
    elif what == "link member":
        info.type, info.linkname, info.size = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), "/etc/passwd", 0
        payload = b""
    elif what == "huge member":
        raw = bytearray(data)
        raw[124:136] = rng.choice((b"77777777777\0", b"\x80" + b"\xff" * 11, b"-0000000001\0", b"00000000000\0"))
        checksum = sum(raw[:148]) + 8 * 32 + sum(raw[156:512])
        raw[148:156] = f"{checksum:06o}\0 ".encode()
        return what, bytes(raw)
    elif what == "swapped members":
        other = (at + 1) % len(members)
        members[other], (info, payload) = members[at], members[other]
    elif what == "doubled member":
        members.insert(at, members[at])
        members = [(m, d) for m, d in members]
        return what, pack(members)
    elif what == "json replaced":
        at = next(i for i, (m, _) in enumerate(members) if m.name.endswith(".json"))
        info, payload = members[at]
        payload = rng.choice((b"", b"{}", b"[" * 100_000, b"null", b'{"version": 1}', payload.replace(b"0", b"NaN", 1),
                              payload + b" ", payload.replace(b":", b": ", 1), b"\xff\xfe", b'{"version": 1e999}'))
        info.size = len(payload)
    elif what == "gzip":
        import gzip

        return what, gzip.compress(data)
    else:
        form = tarfile.PAX_FORMAT
        info.pax_headers = {"path": "../x.json", "comment": "é" * 200}
    members[at] = (info, payload)
    return what, pack(members, form)


def mutate_set(rng: random.Random, good: Path, folder: Path) -> str | None:
    """A copy of the shard set `good` in `folder` with one file changed, removed or added; None where it came out
    unchanged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    shards = sorted(folder.glob("*.tar"))
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    choice = rng.random()
    if choice < 0.7:
        path = rng.choice(shards)
        before = path.read_bytes()
        what, after = mutated_tar(rng, before)
        path.write_bytes(after)
        return what if after != before else None
    path = rng.choice(files)
    if choice < 0.9:
        before, how = path.read_bytes(), rng.choice(DAMAGE)
        after = how(rng, before) if before else b"x"
        path.write_bytes(after)
        return f"{path.suffix} {how.__name__.replace('_', ' ')}" if after != before else None
    if choice < 0.95:
        path.unlink()
        return f"{path.suffix} removed"
    (folder / f"more{rng.choice(('.tar', '.json', ''))}").write_bytes(path.read_bytes())
    return "a file more"


def snapshot(root: Path) -> list[tuple[str, Any, dict[str, bytes]]]:
    """Everything that reading a set gives."""
    from curate.shards import read

    return [(item["key"], repr(item["json"]), dict(item["media"])) for item in read(root, flatten=False)]


def check_set(root: Path, known: dict[str, str]) -> str | None:
    """What is wrong with how a mutated set is met, or None.

    Args:
        known: key to its json's repr, of the good set.
    """
    from curate.shards import ShardError, read, verify

    try:
        for item in read(root, flatten=False):
            dict(item["media"])
            if item["key"] not in known:
                return f"the reader gave a sample {item['key']!r} that nobody wrote"
    except ShardError as error:
        if "\n" in str(error) or not str(error):
            return f"not one line: {str(error)[:200]!r}"
    if not verify(root):
        return "verify found nothing"
    return None


def check_scene(rng: random.Random, data: bytes, path: Path) -> str | None:
    """A mutated scene file: `SceneError`, or a scene."""
    from curate.scene import Scene, SceneError

    path.write_bytes(rng.choice(DAMAGE)(rng, data))
    try:
        Scene.load(path)
    except SceneError as error:
        return None if str(path.name) in str(error) else f"does not name the file: {error}"
    return None
