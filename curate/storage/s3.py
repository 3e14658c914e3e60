"""S3 and what speaks its protocol, through s3fs. Endpoint and credentials come from the environment or profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import s3fs
from fsspec.asyn import sync

from curate.storage.objects import SHA256, ObjectStore
from curate.storage.store import Stat

# What a server answers to a put whose condition does not hold: 412, or 409 where another put is under way.
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


def _code(error: BaseException) -> str:
    response = getattr(error.__cause__ or error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


class S3Store(ObjectStore):
    """`s3://bucket/prefix`. A tag is the object's ETag."""

    def __init__(self, url: str) -> None:
        super().__init__(url, s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True))

    def _call(self, method: str, name: str, **arguments: Any) -> dict[str, Any]:
        return self.fs.call_s3(method, Bucket=self.bucket, Key=self._key(name), **arguments)

    def _read(self, name: str) -> tuple[bytes, str]:
        async def get() -> tuple[bytes, str]:  # one answer: bytes and their ETag belong together
            answer = await self.fs._call_s3("get_object", Bucket=self.bucket, Key=self._key(name))
            async with answer["Body"] as body:
                return await body.read(), answer["ETag"]

        return sync(self.fs.loop, get)

    def _put(self, name: str, data: bytes, tag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            return self._call("put_object", name, Body=data, ContentType="application/json", **condition)["ETag"]
        except OSError as error:
            if _code(error) in _REFUSED:
                raise FileExistsError(name) from error
            raise

    def _stat(self, name: str) -> Stat:
        answer = self._call("head_object", name)
        return Stat(int(answer["ContentLength"]), answer.get("Metadata", {}).get(SHA256, ""))

    def _upload(self, path: Path, name: str, sha256: str) -> None:
        self.fs.put_file(str(path), self._path(name), Metadata={SHA256: sha256})

    def abort_uploads(self, prefix: str = "") -> int:
        with self._told(prefix, "cleared of unfinished uploads"):
            count, place = 0, {}
            while True:
                found = self.fs.call_s3("list_multipart_uploads", Bucket=self.bucket, Prefix=self._key(prefix), **place)
                for upload in found.get("Uploads", []):
                    self.fs.call_s3("abort_multipart_upload", Bucket=self.bucket, Key=upload["Key"],
                                    UploadId=upload["UploadId"])
                    count += 1
                if not found.get("IsTruncated"):
                    return count
                place = {"KeyMarker": found["NextKeyMarker"], "UploadIdMarker": found["NextUploadIdMarker"]}

    def _hint(self, error: Exception) -> str:
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "PermissionError"):
            return "; check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the bucket's policy"
        if type(error).__name__ in ("EndpointConnectionError", "ConnectTimeoutError", "ConnectionError"):
            return "; check the network, and AWS_ENDPOINT_URL where the server is not AWS"
        return ""
