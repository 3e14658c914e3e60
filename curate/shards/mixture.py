"""`mixture.json`: which shard sets are mixed in which stages, how much of each, and what a trainer trains in each.

    {"format", "version", "digest", "name", "seed",
     "sets": {name: {"path", "split", "digest", "parts", "samples", "questions"}},
     "stages": [{"name", "samples", "train": {part: how}, "mix": [{"set", "weight", "families", "forms", "available",
                                                                   "samples"}]}]}

Written by `curate mix`; the sets stay where they are. Paths are relative to the file's folder, or absolute, or
addresses. `digest` of a set is that of its manifest, so that a set that has changed since is not taken for the one that
was mixed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any

from curate.shards import manifest
from curate.shards.errors import ShardError
from curate.shards.reader import find_root
from curate.storage import RemotePath
from curate.storage.urls import is_url

NAME = "mixture.json"
FORMAT = "curate4d-mixture"
VERSION = 1
MAX_BYTES = 16 << 20
PARTS = ("vision", "projector", "llm")
HOWS = ("full", "lora")


def to_bytes(content: dict[str, Any]) -> bytes:
    """The file of a mixture, with the digest of what it says."""
    content = {name: value for name, value in content.items() if name != "digest"}
    return _dump({**content, "digest": hashlib.sha256(_dump(content)).hexdigest()})


def _dump(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def load(path: Path | str) -> dict[str, Any]:
    """Reads and checks a mixture, but not its sets.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        ShardError: where there is none, or it is altered or of another version.
    """
    file = file_of(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ShardError(f"{file}: {size} bytes; at most {MAX_BYTES} are read")
        data = file.read_bytes()
    except OSError as error:
        raise ShardError(f"{file}: no mixture ({error.strerror}); `curate mix RECIPE --out DIR` writes one") from None
    try:
        content = json.loads(data)
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise ShardError(f"{file}: {content['format']!r} of version {content['version']!r}; this reads {FORMAT!r} "
                             f"of version {VERSION}")
        intact = to_bytes(content) == data
    except ShardError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ShardError(f"{file}: not a mixture ({type(error).__name__}: {error}); write it anew with `curate mix`"
                         ) from None
    if not intact:
        raise ShardError(f"{file}: altered or torn (its digest does not fit); write it anew with `curate mix`")
    return content


def file_of(path: Path | str) -> Path:
    return Path(path) / NAME if Path(path).is_dir() or not str(path).endswith(".json") else Path(path)


def stage_of(content: dict[str, Any], name: str, where: str = NAME) -> dict[str, Any]:
    """
    Raises:
        ShardError: where the mixture has no stage of this name; says which it has.
    """
    stages = {stage["name"]: stage for stage in content["stages"]}
    if name not in stages:
        close = difflib.get_close_matches(name, stages, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(stages)}"
        raise ShardError(f"{where}: no stage {name!r}; {hint}")
    return stages[name]


def place_of(entry: dict[str, Any], folder: Path) -> str | Path:
    """Where a set of a mixture in `folder` lies."""
    return entry["path"] if is_url(entry["path"]) else folder / entry["path"]


def check_set(name: str, entry: dict[str, Any], folder: Path) -> Path | RemotePath:
    """The folder of a set.

    Raises:
        ShardError: where it is not there, or not the one that was mixed.
    """
    try:
        root = find_root(place_of(entry, folder))
    except ShardError as error:
        raise ShardError(f"set {name!r} of the mixture: {error}") from None
    digest = manifest.digest_at(root)
    if digest != entry["digest"]:
        raise ShardError(f"set {name!r} of the mixture: {root} has changed since it was mixed (its digest is "
                         f"{digest[:12] or 'not there'}, the mixture has {entry['digest'][:12]}); run `curate mix` "
                         "again, or bring back the set")
    return root
