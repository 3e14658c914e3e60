"""What stores of objects have in common that fsspec drives: names to keys, listing, fetching."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.storage.store import Stat, Store

SHA256 = "sha256"  # the object's metadata that holds our checksum: a store's own is none of the whole, or another kind


class ObjectStore(Store):
    """`scheme://bucket/prefix`. `fs`: the fsspec file system, which must cache no listings: others write here too."""

    def __init__(self, url: str, fs: Any) -> None:
        super().__init__(url)
        self.fs = fs
        self.bucket, _, self.prefix = url.partition("://")[2].partition("/")

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)

    def _path(self, name: str) -> str:
        return f"{self.bucket}/{self._key(name)}"

    def _copy(self, name: str, new: str) -> None:
        self.fs.cp_file(self._path(name), self._path(new))

    def _download(self, name: str, path: Path) -> None:
        self.fs.get_file(self._path(name), str(path))
        arrived, size = path.stat().st_size, self._stat(name).size
        if arrived != size:
            raise OSError(f"{arrived} bytes arrived of {size}")

    def _stat(self, name: str) -> Stat:
        raise NotImplementedError

    def _list(self, prefix: str) -> dict[str, int]:
        start = len(self._path("x")) - 1
        found = self.fs.find(self._path(prefix), detail=True)
        return {path[start:]: int(info["size"]) for path, info in found.items() if info["type"] == "file"}

    def _remove(self, names: list[str]) -> None:
        self.fs.rm([self._path(name) for name in names])

    def _upload(self, path: Path, name: str, sha256: str) -> None:
        raise NotImplementedError
