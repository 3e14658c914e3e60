"""Google Cloud Storage through gcsfs. Credentials come from the environment, as its own tools find them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gcsfs

from curate.storage.objects import SHA256, ObjectStore
from curate.storage.store import Stat


class GsStore(ObjectStore):
    """`gs://bucket/prefix`. A tag is the object's generation."""

    no_tag = "1"

    def __init__(self, url: str) -> None:
        super().__init__(url, gcsfs.GCSFileSystem(use_listings_cache=False, skip_instance_cache=True))

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
        mark = uuid.uuid4().hex
        about = json.dumps({"name": self._key(name)}).encode()
        body = b"".join(b"--%s\r\nContent-Type: application/json\r\n\r\n%s\r\n" % (mark.encode(), part)
                        for part in (about, data)) + b"--%s--" % mark.encode()
        # Generation 0 stands for "there is none"; gcsfs answers 412 with FileExistsError. Not as type "media": some
        # servers forget the condition there.
        answer = self.fs.call("POST", f"{self.fs._location}/upload/storage/v1/b/{quote(self.bucket)}/o",
                              uploadType="multipart", ifGenerationMatch=tag or "0", data=body, json_out=True,
                              headers={"Content-Type": f'multipart/related; boundary="{mark}"'})
        return str(answer["generation"])

    def _stat(self, name: str) -> Stat:
        answer = self._object(name)
        return Stat(int(answer["size"]), answer.get("metadata", {}).get(SHA256, ""))

    def _upload(self, path: Path, name: str, sha256: str) -> None:
        self.fs.put_file(str(path), self._path(name), metadata={SHA256: sha256})

    def _hint(self, error: Exception) -> str:
        if type(error).__name__ in ("DefaultCredentialsError", "RefreshError") or "Forbidden" in str(error):
            return "; check GOOGLE_APPLICATION_CREDENTIALS (or `gcloud auth application-default login`) and the " \
                   "bucket's policy"
        return ""
