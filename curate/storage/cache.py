"""A bounded folder of objects by their sha256, shared by the processes of a machine: each is fetched once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from curate.storage.store import StorageError

FOLDER, GIB = "CURATE_CACHE", "CURATE_CACHE_GIB"  # of the environment
DEFAULT_GIB = 100.0
ABANDONED_S = 86_400  # a fetch that wrote nothing for so long was killed
_DIGITS = frozenset("0123456789abcdef")


class Cache:
    """Files named by their content. The ones not used for longest go when it grows over `max_bytes`.

    A file that is open elsewhere stays readable there when it goes: its bytes are freed with the last reader.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    @staticmethod
    def of_environment() -> Cache | None:
        """The one that CURATE_CACHE (a folder) and CURATE_CACHE_GIB (default 100) name; None without the first.

        Raises:
            StorageError: where the size is no positive number.
        """
        if not (folder := os.environ.get(FOLDER)):
            return None
        text = os.environ.get(GIB, str(DEFAULT_GIB))
        try:
            size = float(text)
        except ValueError:
            size = 0.0
        if not 0 < size < 1 << 30:
            raise StorageError(f"{GIB} is {text!r}; expected the size of the cache in GiB, such as 100")
        return Cache(Path(folder), int(size * (1 << 30)))

    def open(self, sha256: str, fetch: Callable[[Path], object]) -> BinaryIO:
        """The open file of that content; where it is not there, `fetch` writes it to the path that it is given.

        Raises:
            StorageError: where what arrives has another sha256; OSError: where the folder cannot be written.
        """
        import fcntl  # of POSIX systems; what imports this does not need it before

        if len(sha256) != 64 or not _DIGITS.issuperset(sha256):  # it becomes a file's name
            raise StorageError(f"{sha256!r}: expected a sha256 of 64 hex digits")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / sha256
        with (self.folder / f".{sha256[:3]}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits, and finds it there
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
                return path.open("rb")
            temp = self.folder / f".partial-{uuid.uuid4().hex}"
            try:
                fetch(temp)
                with temp.open("rb+") as arrived:
                    os.fsync(arrived.fileno())
                    if hashlib.file_digest(arrived, "sha256").hexdigest() != sha256:
                        raise StorageError("what arrived is not what the manifest says")
                temp.rename(path)
            finally:
                temp.unlink(missing_ok=True)
            file = path.open("rb")
        self._make_room(path)
        return file

    def _make_room(self, newest: Path) -> None:
        files = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                if not path.name.endswith(".lock"):
                    stat = path.stat()
                    if path.name.startswith(".partial-") and time.time() - stat.st_mtime > ABANDONED_S:
                        path.unlink()
                        continue
                    files.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                break
            if path != newest and not path.name.startswith(".partial-"):
                path.unlink(missing_ok=True)
                total -= size
