"""An append-only file of JSON lines: nothing lost to a kill, at most a tenth of a second to a power cut."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.storage.sync import sync

SYNC_S = 0.1  # longest that a line waits before it is synced


class Journal:
    """Appends lines. Each is handed to the system before `append` returns, so that it outlives this process; a thread
    syncs what has come in, a few times in `SYNC_S`, so that it outlives the machine. A torn last line is ended first.

    Args:
        path: made if missing.

    Raises:
        OSError: where it cannot be opened; by `append` and `close`, also where an earlier sync failed.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(self._fd).st_size
        if not size:
            sync_folder(path.parent)  # the file's name, too, must outlive a power cut
        elif os.pread(self._fd, 1, size - 1) != b"\n":
            self._write(b"\n")
        self._failed: OSError | None = None
        self._dirty, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._sync_often, name="journal", daemon=True)
        self._thread.start()

    def append(self, entry: dict[str, Any]) -> None:
        if self._failed:
            raise self._failed
        self._write(json.dumps(entry).encode() + b"\n")
        if not self._dirty.is_set():
            self._dirty.set()

    def sync(self) -> None:
        """Everything appended so far is on the disk when this returns."""
        self._dirty.clear()
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd < 0:
            return
        self._end.set()
        self._dirty.set()
        self._thread.join()
        try:
            if self._failed is None:
                os.fsync(self._fd)
        finally:
            os.close(self._fd)
            self._fd = -1
        if self._failed:
            raise self._failed

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data):]

    def _sync_often(self) -> None:
        while True:
            self._dirty.wait()
            if self._end.wait(SYNC_S / 2):
                return
            try:
                self.sync()
            except OSError as error:
                self._failed = error
                return


def sync_folder(path: Path) -> None:
    """The names in a folder are on the disk when this returns, where the file system can say so."""
    try:
        sync(path)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync names by themselves, and say so this way
            raise


def read_lines(path: Path, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """(where it begins, entry) of every line that is whole; a torn one is passed over. Holds one line at a time."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        for line in file:
            begin, start = start, start + len(line)
            if not line.endswith(b"\n"):  # being written, or torn
                return
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield begin, entry


def read_line(path: Path, begin: int) -> dict[str, Any]:
    """The entry that begins there."""
    with path.open("rb") as file:
        file.seek(begin)
        return json.loads(file.readline())
