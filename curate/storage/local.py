"""A folder as a store: temp, fsync, rename; conditional puts under a file lock."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.storage.store import Stat, Store, sha256_of
from curate.storage.sync import sync

_TEMP = ".partial-"


class LocalStore(Store):
    """`file:///folder`. Made when first written to. A tag is the content's sha256."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.root = Path(url.removeprefix("file://"))

    def _read(self, name: str) -> tuple[bytes, str]:
        data = (self.root / name).read_bytes()
        return data, hashlib.sha256(data).hexdigest()

    def _put(self, name: str, data: bytes, tag: str | None) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = sha256_of(path) if path.is_file() else None
            if now != tag:
                raise FileExistsError(name)
            with self._replacing(path) as temp:
                temp.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def _stat(self, name: str) -> Stat:
        path = self.root / name
        return Stat(path.stat().st_size, sha256_of(path))

    def _upload(self, path: Path, name: str, sha256: str) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._replacing(target) as temp:
            shutil.copyfile(path, temp)

    def _copy(self, name: str, new: str) -> None:
        self._upload(self.root / name, new, "")

    def _download(self, name: str, path: Path) -> None:
        shutil.copyfile(self.root / name, path)

    def _list(self, prefix: str) -> dict[str, int]:
        return {path.relative_to(self.root).as_posix(): path.stat().st_size
                for path in (self.root / prefix).rglob("*")
                if path.is_file() and not (path.name.startswith(".") and path.name.endswith(".lock"))}

    def _remove(self, names: list[str]) -> None:
        for name in names:
            path = self.root / name
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.root or any(folder.iterdir()):
                    break
                folder.rmdir()

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[Path]:
        temp = path.with_name(f".{path.name}{_TEMP}{uuid.uuid4().hex[:8]}")
        try:
            yield temp
            for place in (temp, path.parent):
                if place == path.parent:
                    temp.rename(path)
                sync(place)
        finally:
            temp.unlink(missing_ok=True)
