"""Where a run is killed: after a time, or at the n-th file operation in its folder, seen by an audit hook."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EVENTS = {"open": 0, "os.mkdir": 0, "os.rename": 0, "os.remove": 0, "os.rmdir": 0, "os.link": 1, "os.truncate": 0}
SCENES = "scenes"  # what is put there belongs to perceiving; everything after the last of it, to publishing


@dataclass(frozen=True)
class Fault:
    """One kill. `kind`: "time" (value in seconds), "file" or "publish" (value: which operation)."""

    kind: str
    value: float

    def nearer(self) -> Fault:
        """The same, earlier: for a run that was over before."""
        return Fault(self.kind, self.value / 2 if self.kind == "time" else max(1, int(self.value) // 2))

    def __str__(self) -> str:
        return f"{self.kind}:{self.value:g}"


def _watch(out: Path, on_operation: Callable[[bool], None]) -> None:
    """Calls back before each file operation below `out`, and says whether it is of the shards."""
    root = os.fspath(out.absolute())

    def hook(event: str, args: tuple) -> None:
        at = EVENTS.get(event)
        if at is None or not isinstance(args[at], (str, bytes)):
            return
        path = str(Path(os.fsdecode(args[at])).absolute())
        if path.startswith(root):
            on_operation("shards" in path[len(root):])

    sys.addaudithook(hook)


def arm(fault: Fault, out: Path) -> None:
    """Called in the process that is to die: it kills its own group just before the operation. Nothing for "time"."""
    if fault.kind == "time":
        return
    left, begun = int(fault.value), False

    def count(is_shards: bool) -> None:
        nonlocal left, begun
        begun = begun or is_shards  # publishing begins with the first file of the shards
        if fault.kind == "file" or begun:
            left -= 1
            if left <= 0:
                os.killpg(0, signal.SIGKILL)

    _watch(out, count)


def count_operations(out: Path, target: Path) -> None:
    """Called in a run that is left alone: writes a letter for each operation to `target`."""
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    _watch(out, lambda is_shards: os.write(file, b"s" if is_shards else b"."))


def operations_of(target: Path) -> tuple[int, int]:
    """How many operations, and how many since the first of the shards."""
    letters = target.read_text()
    assert "s" in letters, "a run that was left alone wrote no shards"
    return len(letters), len(letters) - letters.index("s")
