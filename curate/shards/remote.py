"""Puts a published set into an object store, and finds the published one there.

    URL/published.json       which set is published, and who is publishing; changed by conditional puts alone
    URL/sets/{digest}/...    whole sets, byte for byte as in OUT/shards; the digest is the manifest's

A set's objects never change once they are there, so a reader that has found its manifest reads that set and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from curate.shards import manifest
from curate.shards.errors import ShardError
from curate.storage import Missing, RemotePath, Store, location, open_store
from curate.storage.publication import NAME as POINTER
from curate.storage.publication import TTL_S, Publication, peek
from curate.storage.store import sha256_of

SETS = "sets"
DIGITS = 24
BATCH = 500


@dataclass(frozen=True)
class Published:
    """What `publish_set` did. `orphans`: objects under the address that are not of the published set, by size."""

    url: str
    folder: str
    uploaded: int
    copied: int
    kept: int
    bytes_uploaded: int
    orphans: dict[str, int]
    removed: int

    def __str__(self) -> str:
        lines = [f"{self.url}: published {self.folder} ({self.uploaded} files uploaded, "
                 f"{self.bytes_uploaded / 1e6:.1f} MB; {self.copied} copied there, {self.kept} were there)"]
        if self.removed:
            lines.append(f"{self.removed} objects of other sets removed")
        if self.orphans:
            lines.append("not of this set (--prune removes them, once nobody reads them any more):")
            folders = {"/".join(name.split("/")[:2]): [] for name in sorted(self.orphans)}
            for name, size in self.orphans.items():
                folders["/".join(name.split("/")[:2])].append(size)
            lines += [f"  {folder}: {len(sizes)} objects, {sum(sizes) / 1e6:.1f} MB"
                      for folder, sizes in folders.items()]
        return "\n".join(lines)


def folder_of(content: dict[str, Any]) -> str:
    """Where the set of this manifest lies under an address."""
    return f"{SETS}/{content['digest'][:DIGITS]}"


def files_of(content: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    """(relative name, bytes, sha256) of each file but the manifest: shards first, their twins, then sidecars.

    Raises:
        ShardError: where a name leads out of the set.
    """
    for shard in [*content["shards"], *manifest.twins_of(content)]:
        yield shard["name"], shard["bytes"], shard["sha256"]
    for name, record in content["sidecars"].items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ShardError(f"{manifest.NAME}: sidecar {name!r} lies outside the set; publish the set again")
        yield name, record["bytes"], record["sha256"]


def publish_set(path: Path | str, url: str, *, prune: bool = False, ttl_s: float = TTL_S,
                streams: int = 4, on_file: Callable[[str, str], None] | None = None) -> Published:
    """Uploads a published local set, then makes it the published one of `url`: readers see the old or the new one.

    What an interrupted upload left is taken over where size and checksum fit; files that the older set has already
    are copied inside the store.

    Args:
        path: a run's folder or a shard set on this file system.
        url: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, file:///FOLDER or a folder.
        prune: removes what is not of this set afterwards, unfinished uploads too. Readers of older sets fail then.
        ttl_s: seconds without a sign after which another publisher may take this one's place, an hour at most.
        streams: files under way at once.
        on_file: called with ("uploaded" | "copied" | "kept", name) after each file.

    Raises:
        ShardError: where the local set is torn, altered, or replaced meanwhile. UrlError: for the address.
        Held: where another publishes there. StorageError: from the store. The older set stays published then.
    """
    from curate.shards.reader import find_root

    root = find_root(path)
    if isinstance(root, RemotePath):
        raise ShardError(f"{root}: already in a store; publish from the run's folder, or from a copy of the set")
    content = manifest.load(root)
    store, folder = open_store(url), folder_of(content)
    with Publication(store, ttl_s) as held:
        older = _older(store, held.state.folder) if held.state.folder not in ("", folder) else {}
        there = store.list(folder)
        done = {"uploaded": 0, "copied": 0, "kept": 0}
        sent = 0
        files = [*files_of(content), (manifest.NAME, len(manifest.to_bytes(content)), sha256_of(root / manifest.NAME))]

        def bring(name: str, size: int, sha256: str) -> str:
            held.check()
            return _bring(store, root / name, f"{folder}/{name}", size, sha256, there, older.get((size, sha256)))

        with closing(_side_by_side(bring, files, streams)) as brought:
            for (name, size, _), how in brought:
                done[how] += 1
                sent += size if how == "uploaded" else 0
                if on_file:
                    on_file(how, name)
        _check_whole(store, folder, files)
        held.publish(folder, content["digest"])
        ours = {f"{folder}/{name}" for name, *_ in files}
        orphans = {name: size for name, size in store.list(SETS).items() if name not in ours}
        removed = 0
        if prune:
            names = list(orphans)
            for start in range(0, len(names), BATCH):
                held.check()
                store.remove(names[start:start + BATCH])
            removed, orphans = len(orphans) + store.abort_uploads(SETS), {}
    return Published(store.url, folder, **done, bytes_uploaded=sent, orphans=orphans, removed=removed)


def _side_by_side(work: Callable[..., str], items: list[tuple], streams: int) -> Iterator[tuple[tuple, str]]:
    """(item, work(*item)) in the order of the items, some at once; the first failure stops those that wait."""
    with ThreadPoolExecutor(streams, thread_name_prefix="publish") as pool:
        try:
            yield from zip(items, pool.map(lambda item: work(*item), items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _bring(store: Store, path: Path, name: str, size: int, sha256: str, there: dict[str, int],
           older: str | None) -> str:
    """One file into the store, unless it is there; says how."""
    def fits(stat: Any) -> bool:
        return stat is not None and (stat.size, stat.sha256) == (size, sha256)

    if there.get(name) == size and fits(store.stat(name)):
        return "kept"
    if older and fits(store.stat(older)):
        store.copy(older, name)
        if fits(store.stat(name)):
            return "copied"
    before = _identity(path)
    if before[0] != size or sha256_of(path) != sha256:
        raise ShardError(f"{path}: not what the manifest says; `curate verify` tells more, `curate ask` on the staged "
                         "scenes writes the set again")
    store.upload(path, name, sha256)
    if _identity(path) != before:
        raise ShardError(f"{path}: replaced while it was uploaded; run the same command again")
    return "uploaded"


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise ShardError(f"{path}: cannot be read ({error.strerror}); `curate verify` tells more") from None
    return stat.st_size, stat.st_ino, stat.st_mtime_ns


def _older(store: Store, folder: str) -> dict[tuple[int, str], str]:
    """(bytes, sha256) to object of the set that is published now; {} where its manifest cannot be read."""
    try:
        content = manifest.load(location(store.url) / folder)
    except ShardError:
        return {}
    return {(size, sha256): f"{folder}/{name}" for name, size, sha256 in files_of(content)}


def _check_whole(store: Store, folder: str, files: list[tuple[str, int, str]]) -> None:
    there = store.list(folder)
    for name, size, _ in files:
        if there.get(f"{folder}/{name}") != size:
            raise ShardError(f"{store.url}/{folder}/{name}: {there.get(f'{folder}/{name}', 'no')} bytes, expected "
                             f"{size}; something else writes or removes there. Run the same command again")


def published_root(place: Path | RemotePath) -> Path | RemotePath | None:
    """The folder of the set that is published at `place`; None where nothing says so.

    Raises:
        ShardError: where a first publication has begun and not ended, or a set is gone. StorageError.
    """
    if isinstance(place, Path) and not (place / POINTER).is_file():
        return None
    store = open_store(place)
    for _ in range(2):  # a second look where the set was replaced and pruned between the two reads
        try:
            state = peek(store)
        except Missing:
            return None
        if not state.folder:
            raise ShardError(f"{place}: nothing is published yet; the first `curate publish` to there has not ended")
        root = place / state.folder
        if (root / manifest.NAME).is_file():
            return root
    raise ShardError(f"{place}: {POINTER} names {state.folder}, which is not there; publish the set again")
