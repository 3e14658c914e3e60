"""A prefix of an object store, or a folder, as publishing and reading need it: whole objects, conditional puts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from curate.storage.redact import redact
from curate.storage.urls import SCHEMES, UrlError, check_url


class StorageError(OSError):
    """A store that cannot be reached or does not do what was asked. The text names the address, never a secret."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.strerror = text  # what readers of files show of an OSError


class Missing(StorageError):
    """There is no such object (or bucket)."""


class Conflict(StorageError):
    """A conditional put was refused: the object is not the one that was expected. Nothing was written."""


@dataclass(frozen=True)
class Stat:
    """What a store says of one object. `sha256`: "" where it was uploaded by another tool and the store cannot say."""

    size: int
    sha256: str


class Store:
    """Objects under one address, by relative names. Each is there whole or not at all.

    Backends give `_read`, `_put`, `_stat`, `_upload`, `_download`, `_list`, `_remove`, and `_copy` where the store
    copies by itself; they raise FileNotFoundError and FileExistsError (a condition that does not hold), and whatever
    their library raises. Callers see StorageError alone.
    """

    no_tag = '"0"'  # the form of a tag, of no object

    def __init__(self, url: str) -> None:
        self.url = url

    def read(self, name: str) -> tuple[bytes, str]:
        """An object's bytes, and the tag of exactly these bytes for `put_if`.

        Raises:
            Missing, StorageError.
        """
        with self._told(name, "read"):
            return self._read(name)

    def put_if(self, name: str, data: bytes, tag: str | None) -> str:
        """Puts `data` if the object is still the one of `tag`; None: if there is none. Returns the new tag.

        Raises:
            Conflict: where it is not. StorageError.
        """
        try:
            with self._told(name, "written"):
                return self._put(name, data, tag)
        except (Conflict, Missing) as error:
            if isinstance(error, Missing) and tag is None:
                raise  # no bucket
            # A retried request meets its own first try: what it wrote is there, and it is told of a conflict.
            try:
                there, its_tag = self.read(name)
            except Missing:
                raise Conflict(str(error)) from error
            if there == data:
                return its_tag
            raise Conflict(str(error)) from error

    def stat(self, name: str) -> Stat | None:
        """Size and checksum of an object; None where there is none."""
        try:
            with self._told(name, "looked up"):
                return self._stat(name)
        except Missing:
            return None

    def upload(self, path: Path, name: str, sha256: str) -> None:
        """A file to an object, with its checksum beside it, so that a later `stat` knows it."""
        with self._told(name, "uploaded"):
            self._upload(path, name, sha256)

    def copy(self, name: str, new: str) -> None:
        """An object to another name, inside the store."""
        with self._told(name, "copied"):
            self._copy(name, new)

    def download(self, name: str, path: Path) -> None:
        """An object's bytes to a file, which is overwritten.

        Raises:
            Missing, StorageError: also where fewer bytes arrive than the object has.
        """
        with self._told(name, "fetched"):
            self._download(name, path)

    def list(self, prefix: str = "") -> dict[str, int]:
        """Name to size of every object whose name starts with the folder `prefix`; {} where there is none."""
        try:
            with self._told(prefix, "listed"):
                return dict(sorted(self._list(prefix).items()))
        except Missing:
            return {}

    def remove(self, names: Iterable[str]) -> None:
        names = list(names)
        if names:
            with self._told(names[0], "removed"):
                self._remove(names)

    def abort_uploads(self, prefix: str = "") -> int:
        """Drops the parts of uploads that never ended, where the store keeps (and bills) them; how many."""
        return 0

    def check_conditions(self, name: str, data: bytes) -> None:
        """
        Raises:
            StorageError: where the store takes a put whose condition does not hold. `name` must be there with `data`.
        """
        for tag in (None, self.no_tag):
            try:
                with self._told(name, "written"):
                    self._put(name, data, tag)
            except Conflict:
                continue
            raise StorageError(f"{self.url}: this store, or its driver, does not honour conditional puts "
                               f"({'If-None-Match' if tag is None else 'If-Match'}), so two publishers could not be "
                               "kept apart; use a newer server or driver, or another store")

    @contextmanager
    def _told(self, name: str, done: str) -> Iterator[None]:
        where = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except StorageError:
            raise
        except FileNotFoundError as error:
            raise Missing(f"{where}: not there, or its bucket is not") from error
        except FileExistsError as error:
            raise Conflict(f"{where}: another process has written it") from error
        except Exception as error:  # whatever the driver's libraries raise
            text = " ".join(redact(error).split()) or "no reason given"
            raise StorageError(f"{where}: cannot be {done} ({type(error).__name__}: {text}){self._hint(error)}"
                               ) from error

    def _hint(self, error: Exception) -> str:
        return ""

    def _read(self, name: str) -> tuple[bytes, str]:
        raise NotImplementedError

    def _put(self, name: str, data: bytes, tag: str | None) -> str:
        raise NotImplementedError

    def _stat(self, name: str) -> Stat:
        raise NotImplementedError

    def _upload(self, path: Path, name: str, sha256: str) -> None:
        raise NotImplementedError

    def _copy(self, name: str, new: str) -> None:
        raise NotImplementedError

    def _download(self, name: str, path: Path) -> None:
        raise NotImplementedError

    def _list(self, prefix: str) -> dict[str, int]:
        raise NotImplementedError

    def _remove(self, names: list[str]) -> None:
        raise NotImplementedError


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Drivers hold threads and connections that a fork does not carry over: one store a process.
_stores: dict[tuple[int, str], Store] = {}


def open_store(url: object) -> Store:
    """The store at an address, or at a folder's path.

    Raises:
        UrlError: for an address that is not taken. StorageError: where the driver is not installed.
    """
    from curate.storage.urls import is_url

    text = check_url(url) if is_url(url) else f"file://{Path(str(url)).expanduser().absolute().as_posix()}"
    place = (os.getpid(), text)
    if place not in _stores:
        _stores[place] = _make(text)
    return _stores[place]


def _make(url: str) -> Store:
    scheme = url.partition("://")[0]
    try:
        if scheme == "s3":
            from curate.storage.s3 import S3Store

            return S3Store(url)
        if scheme == "gs":
            from curate.storage.gs import GsStore

            return GsStore(url)
    except ImportError as error:
        raise StorageError(f"{url}: the Python package {error.name or error} is not installed; "
                           f"pip install 'curate4d[{SCHEMES[scheme]}]'") from error
    if scheme != "file":
        raise UrlError(f"{redact(url)}: no store of scheme {scheme!r}")
    from curate.storage.local import LocalStore

    return LocalStore(url)
