"""Which texts are addresses of an object store, and which addresses are taken."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from curate.storage.redact import redact

# Scheme to the extra that brings its driver; "" needs none.
SCHEMES = {"s3": "s3", "gs": "gs", "file": ""}
# One slash too: a path type has eaten the other. Two letters at least: C:/ is a drive.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}[A-Za-z0-9]")


class UrlError(ValueError):
    """An address that is not taken; the text says why and what to write instead, without any secret in it."""


def is_url(text: object) -> bool:
    """Whether it is an address (`s3://...`), not the path of a file."""
    return _URL.match(str(text)) is not None


def check_url(text: object) -> str:
    """The address in its one form: lower-case scheme, two slashes, none at the end.

    Raises:
        UrlError: of another scheme, without a bucket, with ".." in it, or with a user, password or query: those
            would end up in recipes, shell histories and process lists.
    """
    text = str(text)
    match = _URL.match(text)
    scheme = match[1].lower() if match else ""
    if scheme not in SCHEMES:
        raise UrlError(f"{redact(text)!r}: expected an address s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
                       f"file:///FOLDER")
    rest = text[match.end():]
    if scheme == "file":
        path = unquote(urlsplit(text).path) if "://" in text else f"/{rest}"
        if not rest.startswith("/") and "://" in text:
            raise UrlError(f"{redact(text)!r}: expected three slashes, file:///FOLDER")
        return f"file://{Path(path).as_posix()}"
    if "@" in rest or "?" in rest or "#" in rest:
        raise UrlError(f"{redact(text)!r}: an address with a user, a key or a query is not taken, they do not stay "
                       f"secret; write {scheme}://BUCKET/PREFIX and give credentials by the environment (for s3: "
                       "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL for another "
                       "server; for gs: GOOGLE_APPLICATION_CREDENTIALS)")
    bucket, *parts = rest.strip("/").split("/")
    if not _BUCKET.fullmatch(bucket):
        raise UrlError(f"{redact(text)!r}: no bucket {bucket!r} can be; expected {scheme}://BUCKET/PREFIX")
    if any(part in ("", ".", "..") for part in parts) or any(ord(c) < 32 for c in rest):
        raise UrlError(f"{redact(text)!r}: expected plain names between the slashes, no '.', '..' or nothing")
    return f"{scheme}://{'/'.join([bucket, *parts])}"


def refuse_out(path: object) -> None:
    """
    Raises:
        UrlError: where a run's folder is named by an address; says how to publish to there instead.
    """
    refuse_url(path, "OUT", "scenes and journal are renamed, locked and appended to, which no object store can. Give a "
               "folder, and publish its shards: `curate run ... --out FOLDER --publish s3://BUCKET/PREFIX`, or `curate "
               "publish FOLDER s3://BUCKET/PREFIX`")


def refuse_url(path: object, what: str, instead: str) -> None:
    """
    Raises:
        UrlError: where `path` is an address, though `what` must be a folder of a file system; says what to do
            `instead`.
    """
    if is_url(path):
        raise UrlError(f"{redact(path)}: {what} must be a folder of this machine's file system or of a shared one, "
                       f"not an address; {instead}")
