"""How one clip ended, and what a failure means for it and for the run."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["bad_input", "transient", "fatal", "timeout", "lost", "error"]

# A full or read-only disk, or too many open files, will meet every clip: stop and say so.
FATAL_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class Outcome:
    """What came back for a clip. `meta` is small: counts, bytes and seconds, never pixels."""

    key: str
    state: Literal["done", "filtered", "failed"]
    kind: Kind | None = None
    reason: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


class Fatal(RuntimeError):
    """A failure that every clip would meet; the run stops."""


def cannot_start(error: BaseException) -> Fatal:
    """What every clip would meet, said once: a missing package, weights that do not load."""
    from curate.sources.base import BadInput

    text = " ".join(str(error).split()) or type(error).__name__
    who = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
    return Fatal(f"the workers do not start: {who}{text}")


def failure(key: str, error: BaseException) -> Outcome:
    """Sorts an exception into the failure kinds. The reason is one line; `meta.traceback` has the rest."""
    from curate.sources.base import BadInput

    if isinstance(error, BadInput):
        kind: Kind = "bad_input"
    elif isinstance(error, ImportError):
        kind = "fatal"
    elif isinstance(error, MemoryError):
        kind = "transient"
    elif isinstance(error, OSError):
        kind = "fatal" if error.errno in FATAL_ERRNO else "transient"
    else:
        kind = "error"
    text = " ".join(str(error).split()) or type(error).__name__
    if kind != "bad_input":
        text = f"{type(error).__name__}: {text}"
    trace = "" if kind == "bad_input" else "".join(traceback.format_exception(error))[-4000:]
    return Outcome(key, "failed", kind, text[:2000], {"traceback": trace} if trace else {})
