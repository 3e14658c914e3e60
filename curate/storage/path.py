"""A read-only path into a store that behaves as pathlib's does, as far as readers of shard sets go."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from curate.storage.cache import Cache
from curate.storage.store import Missing, StorageError, Store, open_store
from curate.storage.urls import check_url, is_url


@dataclass(frozen=True, order=True)
class RemotePath:
    """`name` under the address `url`. Holds no connection: it can be pickled and carried over a fork."""

    url: str
    inside: str = ""

    @property
    def store(self) -> Store:
        return open_store(self.url)

    @property
    def name(self) -> str:
        return PurePosixPath(self.inside or self.url).name

    @property
    def parent(self) -> RemotePath:
        if self.inside:
            folder = PurePosixPath(self.inside).parent.as_posix()
            return RemotePath(self.url, "" if folder == "." else folder)
        return RemotePath(self.url.rsplit("/", 1)[0])

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.url, f"{self.inside}/{name}".strip("/"))  # ".." is a name like any other in a store

    def __str__(self) -> str:
        return f"{self.url}/{self.inside}" if self.inside else self.url

    def is_file(self) -> bool:
        if not self.inside:
            return self.parent.store.stat(self.name) is not None if self.url.count("/") > 2 else False
        return self.store.stat(self.inside) is not None

    def exists(self) -> bool:
        return self.is_file() or bool(self.store.list(self.inside))

    def read_bytes(self) -> bytes:
        """
        Raises:
            OSError: FileNotFoundError where there is none.
        """
        try:
            return self.store.read(self.inside)[0]
        except Missing as error:
            raise FileNotFoundError(2, "not there", str(self)) from error

    def open(self, mode: str = "rb", *, sha256: str | None = None) -> BinaryIO:
        """Fetches the object into an unnamed temporary file, so that it can be read by position at a disk's speed.

        Args:
            sha256: of its bytes, checked as they arrive where it is given. Then the file may come from the cache that
                the environment names (`curate.storage.cache`), and is put there.

        Raises:
            OSError: where it is missing, arrives torn, or is not what `sha256` says.
        """
        assert mode == "rb", mode
        where = self if self.inside else RemotePath(self.parent.url, self.name)

        def fetch(path: Path) -> None:
            where.store.download(where.inside, path)

        try:
            if sha256 is not None and (cache := Cache.of_environment()):
                return cache.open(sha256, fetch)
            return _fetched(fetch, sha256)
        except Missing as error:
            raise FileNotFoundError(2, "not there", str(self)) from error

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        assert pattern == "*", pattern
        return (_Listed(self.url, name) for name in self.store.list(self.inside))

    def relative_to(self, root: RemotePath) -> PurePosixPath:
        assert root.url == self.url, (root, self)
        return PurePosixPath(self.inside).relative_to(root.inside) if root.inside else PurePosixPath(self.inside)


def _fetched(fetch: Callable[[Path], None], sha256: str | None) -> BinaryIO:
    with tempfile.TemporaryDirectory(prefix="curate-fetch-") as folder:  # gone at once; the open file stays
        path = Path(folder) / "object"
        fetch(path)
        file = path.open("rb")
    if sha256 is not None and hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        file.close()
        raise StorageError("what arrived is not what the manifest says")
    file.seek(0)
    return file


class _Listed(RemotePath):
    """One that a listing has just named: not asked for again."""

    def is_file(self) -> bool:
        return True


def location(path: Path | str | RemotePath) -> Path | RemotePath:
    """A path where the text is one (or `file://`), a RemotePath where it is an address.

    Raises:
        UrlError: for an address that is not taken.
    """
    if isinstance(path, RemotePath):
        return path
    if not is_url(path):
        return Path(path)
    url = check_url(path)
    return Path(url.removeprefix("file://")) if url.startswith("file://") else RemotePath(url)
