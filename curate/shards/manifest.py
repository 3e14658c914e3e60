"""The manifest: written last, it is the publication. It counts and fingerprints every other file of the set."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curate.shards import schema
from curate.shards.errors import ShardError
from curate.storage import RemotePath

NAME = "manifest.json"
FORMAT = "curate4d-shards"
_DIGEST = re.compile(rb'\{\s*"digest": "([0-9a-f]{64})"')
_SHARD = re.compile(r"[a-z0-9][a-z0-9_-]*\.tar")


def _dump(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(_dump({k: v for k, v in manifest.items() if k != "digest"})).hexdigest()


def totals(shards: Iterable[dict[str, Any]]) -> dict[str, int]:
    shards = list(shards)
    return {"shards": len(shards)} | {name: sum(s[name] for s in shards) for name in ("samples", "questions", "bytes")}


def twins_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The tars with teacher tensors; none in a set without."""
    return manifest.get("teacher", {}).get("shards", [])


def teacher_entry(parts: Iterable[str], twins: list[dict[str, Any]]) -> dict[str, Any]:
    return {"parts": list(parts), "shards": twins, "totals": twin_totals(twins)}


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """With the digest of what it says now."""
    manifest = {name: value for name, value in manifest.items() if name != "digest"}
    return manifest | {"digest": _digest(manifest)}


def twin_totals(twins: list[dict[str, Any]]) -> dict[str, int]:
    return {"shards": len(twins)} | {name: sum(t[name] for t in twins) for name in ("samples", "bytes")}


def build(shards: list[dict[str, Any]], *, parts: Iterable[str], layout: str, generation: int,
          sidecars: dict[str, dict[str, Any]], fingerprints: dict[str, str], run: dict[str, Any],
          teacher_parts: Iterable[str] = (), twins: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """The manifest of a finished set.

    Args:
        sidecars: relative path to {"bytes", "sha256"}.
        teacher_parts, twins: parts and tars of the teacher tensors; a set without has no field for them.
    """
    twins = list(twins)
    splits = {split: totals(s for s in shards if s["split"] == split) for split in sorted({s["split"] for s in shards})}
    manifest = {"format": FORMAT, "version": schema.VERSION, "layout": layout, "generation": generation,
                "parts": list(parts), "shards": shards, "splits": splits, "totals": totals(shards),
                "sidecars": sidecars, "fingerprints": fingerprints, "run": run}
    if twins:
        manifest["teacher"] = teacher_entry(teacher_parts, twins)
    return sealed(manifest)


def to_bytes(manifest: dict[str, Any]) -> bytes:
    return _dump(manifest)


def digest_at(root: Path | RemotePath) -> str:
    """The digest that the manifest states, from its first bytes (keys are sorted); "" where there is none."""
    try:
        with (root / NAME).open("rb") as file:
            match = _DIGEST.match(file.read(128))
    except OSError:
        return ""
    return match[1].decode() if match else ""


def load(root: Path | RemotePath) -> dict[str, Any]:
    """Reads and checks the manifest of a set, its own digest included.

    Raises:
        ShardError: where there is none (the set was never published), or it is altered or of another version.
    """
    path = root / NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ShardError(f"{path}: no manifest ({error.strerror}); the set is not published, or this is no shard set"
                         ) from None
    try:
        manifest = json.loads(data)
        if manifest["format"] != FORMAT:
            raise ShardError(f"{path}: format {manifest['format']!r}, expected {FORMAT!r}")
        if manifest["version"] != schema.VERSION:
            raise ShardError(f"{path}: version {manifest['version']}; this reads version {schema.VERSION}")
        intact = manifest["digest"] == _digest(manifest) and data == _dump(manifest)
    except ShardError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path}: not a manifest ({type(error).__name__}: {error}); publish the set again") from None
    if not intact:
        raise ShardError(f"{path}: altered or torn (its digest does not fit); publish the set again")
    for shard in [*manifest["shards"], *twins_of(manifest)]:
        if not _SHARD.fullmatch(shard["name"]):
            raise ShardError(f"{path}: shard name {shard['name']!r}; expected a plain '*.tar' in the same folder")
    return manifest
