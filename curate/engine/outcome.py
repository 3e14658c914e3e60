"""How one clip ended, and what a failure means for it and for the run."""

from __future__ import annotations

import errno
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["bad_input", "transient", "fatal", "timeout", "lost", "error"]

# A full or read-only disk, a limit of file sizes, or too many open files, will meet every clip: stop and say so.
FATAL_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE)
# What a network file system or a machine short of memory says of a file that is whole. EIO is not among them:
# FFmpeg says it of truncated media.
PASSING_ERRNO = (errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.ENOTCONN, errno.ECONNRESET, errno.EHOSTDOWN,
                 errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH)
# Signals by which a process kills itself: the clip's own doing, where SIGKILL may be anyone's.
CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL")
MAX_REASON, MAX_TRACE = 2000, 4000  # characters


@dataclass(frozen=True)
class Outcome:
    """What came back for a clip.

    Attributes:
        state: "failed" may be tried again; what the loop settles as failed is so for good.
        kind: of a failure. bad_input: the media or its calibration. transient: may pass. fatal: every clip would meet
            it. timeout: over its deadline. lost: the worker vanished. error: a bug.
        reason: one line for a person.
        meta: small: counts, bytes and seconds, never pixels. "seconds" is the worker's time for the clip; "bytes" what
            it staged; "signal" the name of the signal that ended a worker, where known; "cause" "node" where the worker
            went with its node, "memory" where Ray ended it for want of memory; "traceback" of a failure.
        tries: how often the clip was tried; filled in by the loop.
    """

    key: str
    state: Literal["done", "filtered", "failed"]
    kind: Kind | None = None
    reason: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    tries: int = 1


class Fatal(RuntimeError):
    """A failure that every clip would meet; the run stops."""


def cannot_start(error: BaseException) -> Fatal:
    """What every clip would meet, said once: a missing package, weights that do not load."""
    from curate.sources.base import BadInput

    text = one_line(error)
    who = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
    return Fatal(f"the workers do not start: {who}{text}")


def failure(key: str, error: BaseException) -> Outcome:
    """Sorts an exception into the failure kinds. The reason is one line; `meta.traceback` has the rest."""
    kind = kind_of(error)
    text = one_line(error)
    if kind != "bad_input":
        text = f"{type(error).__name__}: {text}"
    trace = "" if kind == "bad_input" else "".join(traceback.format_exception(error))[-MAX_TRACE:]
    return Outcome(key, "failed", kind, text[:MAX_REASON], {"traceback": trace} if trace else {})


def kind_of(error: BaseException) -> Kind:
    """The failure kind of an exception. What the system said below it decides: a disk that is full while a video is
    opened is no fault of the video."""
    from curate.sources.base import BadInput

    for cause in _causes(error):
        number = getattr(cause, "errno", None)
        if isinstance(cause, ImportError) or number in FATAL_ERRNO:
            return "fatal"
        if number in PASSING_ERRNO or isinstance(cause, MemoryError) or _no_memory(cause):
            return "transient"
    if isinstance(error, BadInput):
        return "bad_input"
    return "transient" if isinstance(error, OSError) else "error"


def vanished(key: str, status: int, trace: str = "") -> Outcome:
    """The outcome of a clip whose worker process ended by itself.

    Args:
        status: as `subprocess.Popen.returncode`: the exit status, or minus the number of a signal.
        trace: where it was, if it could still say.
    """
    meta: dict[str, Any] = {"traceback": trace[-MAX_TRACE:]} if trace else {}
    if status >= 0:
        return Outcome(key, "failed", "lost", f"the worker vanished: it exited with status {status}", meta)
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (the system may be short of memory)" if name == "SIGKILL" else ""
    return Outcome(key, "failed", "lost", f"the worker vanished: {name}{hint}", {**meta, "signal": name})


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from. What merely happened before it (`__context__`) says nothing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__


def _no_memory(error: BaseException) -> bool:
    """OpenCV's and torch's ways to say that memory ran out; neither is a MemoryError."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return name in ("torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError") or (
        name in ("cv2.error", "cv2.cv2.error") and getattr(error, "code", None) == -4)
