"""Google Cloud Storage through gcsfs. Credentials come from the environment, as its own tools find them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import gcsfs

from curate.storage.store import Stat, Store

_SHA256 = "sha256"


class GsStore(Store):
    """`gs://bucket/prefix`. A tag is the object's generation."""

    no_tag = "1"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.bucket, _, self.prefix = url.removeprefix("gs://").partition("/")
        self.fs = gcsfs.GCSFileSystem(use_listings_cache=False, skip_instance_cache=True)

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)

    def _path(self, name: str) -> str:
        return f"{self.bucket}/{self._key(name)}"

    def _object(self, name: str) -> dict[str, Any]:
        """The object's resource, straight from the server."""
        return self.fs.call("GET", "b/{}/o/{}", self.bucket, self._key(name), json_out=True)

    def _read(self, name: str) -> tuple[bytes, str]:
        while True:
            tag = str(self._object(name)["generation"])
            data = self.fs.cat_file(self._path(name))
            if str(self._object(name)["generation"]) == tag:  # else replaced meanwhile: bytes of which?
                return data, tag

    def _put(self, name: str, data: bytes, tag: str | None) -> str:
        # gcsfs answers 412 with FileExistsError. Generation 0 stands for "there is none".
        answer = self.fs.call("POST", f"{self.fs._location}/upload/storage/v1/b/{quote(self.bucket)}/o",
                              uploadType="media", name=self._key(name), ifGenerationMatch=tag or "0",
                              headers={"Content-Type": "application/json"}, data=data, json_out=True)
        return str(answer["generation"])

    def _stat(self, name: str) -> Stat:
        answer = self._object(name)
        return Stat(int(answer["size"]), answer.get("metadata", {}).get(_SHA256, ""))

    def _upload(self, path: Path, name: str, sha256: str) -> None:
        self.fs.put_file(str(path), self._path(name), metadata={_SHA256: sha256})

    def _copy(self, name: str, new: str) -> None:
        self.fs.cp_file(self._path(name), self._path(new))

    def _download(self, name: str, file: BinaryIO) -> int:
        with self.fs.open(self._path(name), "rb", block_size=8 << 20, cache_type="readahead") as source:
            while piece := source.read(8 << 20):
                file.write(piece)
            size = source.size
        if file.tell() != size:
            raise OSError(f"{file.tell()} bytes arrived of {size}")
        return size

    def _list(self, prefix: str) -> dict[str, int]:
        start = len(self._path("x")) - 1
        found = self.fs.find(self._path(prefix), detail=True)
        return {path[start:]: int(info["size"]) for path, info in found.items() if info["type"] == "file"}

    def _remove(self, names: list[str]) -> None:
        self.fs.rm([self._path(name) for name in names])
