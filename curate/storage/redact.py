"""Takes secrets out of text before it is shown or kept: the one function that every door uses."""

from __future__ import annotations

import os
import re

HIDDEN = "***"

# Of an address: what stands before "@" (user, password), and all that follows "?" (signatures, tokens).
# Bounded, as is all that repeats here: texts come from anywhere, and a long one must cost no more than its length.
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}://)[^\s/?#'\"<>]{0,1000}@")
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}:/{1,2}[^\s?#'\"<>]{0,2000})([?#])[^\s'\"<>]+")
# name=value, "name": "value", name: value
_NAMES = (r"(?:aws_|gcs_|s3_|fsspec_\w{0,20}?)?(?:secret(?:_?access)?(?:_?key)?|session_?token|access_?token|"
          r"refresh_?token|auth_?token|sas_?token|access_?key(?:_?id)?|account_?key|api_?key|private_?key|client_?secret|"
          r"endpoint_?key|password|passwd|x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential))")
_NAMED = re.compile(rf"(?i)(?<![a-z0-9])({_NAMES}[\"']?\s*[=:]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"',;&}})\]]+)")
_HEADER = re.compile(r"(?i)(authorization[\"']?\s*[=:]\s*)[^\"'\n]*[\"']?[^\"'\n,}]+")
# Keys that are known by their looks.
_KEYS = re.compile(r"\b((?:AKIA|ASIA|GOOG)[A-Z0-9])[A-Z0-9]{11,}\b|\b(ya29\.)[\w.-]+")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_ENVIRONMENT = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "FSSPEC_S3_SECRET", "FSSPEC_S3_TOKEN", "FSSPEC_GS_TOKEN")


def redact(text: object) -> str:
    """`text` without what may be a secret; what is left still says where and what.

    Users and passwords of addresses, their queries and fragments, values that stand beside names such as `secret_key`
    or `password`, authorization headers, keys known by their looks, private keys, and the values of the environment's
    own secrets become `***`. Paths and addresses without such parts stay as they are.

    Examples:
        >>> redact("s3://me:pw@bucket/a?X-Amz-Signature=5f: refused")
        's3://***@bucket/a?***: refused'
    """
    text = str(text)
    for name in _ENVIRONMENT:
        if len(value := os.environ.get(name, "")) >= 8:
            text = text.replace(value, HIDDEN)
    text = _PEM.sub(HIDDEN, text)
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    text = _QUERY.sub(lambda m: f"{m[1]}{m[2]}{HIDDEN}{_trail(m[0])}", text)
    text = _HEADER.sub(rf"\1{HIDDEN}", text)
    text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return _KEYS.sub(lambda m: f"{(m[1] or m[2])[:4]}{HIDDEN}", text)


def _trail(matched: str) -> str:
    """The marks that end a sentence, not an address."""
    return matched[len(matched.rstrip(".,;:)]}")):]


def redact_json(value: object) -> object:
    """The same for every text in plain JSON; keys and other values as they are."""
    if isinstance(value, dict):
        return {key: redact_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_json(item) for item in value]
    return redact(value) if isinstance(value, str) else value
