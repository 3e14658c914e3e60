"""Who works in OUT: a lease with a heartbeat, safe between processes, machines and takers, without `flock`.

OUT/.lease holds numbered entries. Only the highest counts, and an entry is made once: whoever finds the highest one
released or stale makes the next number with "create unless it exists", looks again, and holds OUT if its own is still
the highest. So of two takers of the same stale lease one makes the entry and the other is refused, and a holder that
slept through its own takeover finds a higher number at its next heartbeat and stops. Entries are never reused: a
released one stays as the mark from which the next number is counted.

A lease is stale where its holder was on this machine and is gone, or where it was not renewed for `STALE_S` seconds by
the clock of the storage (clocks of machines are not compared).
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from curate.engine.errors import OutError
from curate.engine.outcome import Fatal

FOLDER = ".lease"
HEARTBEAT_S = 5.0
STALE_S = 60.0
LEFT_S = 3600.0  # age at which a temporary file is surely nobody's
TRIES = 20  # entries that others made between a look and a try, before giving up


class LeaseStore(Protocol):
    """Where the entries lie. On an object store: a conditional put (`If-None-Match: *`), put, list, head, delete."""

    def names(self) -> list[str]:
        """Names of all entries, in any order; consistent with every create that has returned."""

    def create(self, name: str, data: bytes) -> bool:
        """Makes an entry; False where there is one. Of several callers one gets True."""

    def replace(self, name: str, data: bytes) -> None:
        """Writes an entry whole, in one step."""

    def read(self, name: str) -> bytes | None: ...

    def age_s(self, name: str) -> float | None:
        """Seconds since the entry was last written, by the storage's own clock."""

    def delete(self, name: str) -> None:
        """No error where it is gone."""


class FolderStore:
    """Entries as files of a local or network folder; `create` is O_EXCL, which every file system has.

    Args:
        read_only: ages are then by this machine's clock.
    """

    def __init__(self, root: Path, read_only: bool = False) -> None:
        self.root, self.read_only = root, read_only

    def names(self) -> list[str]:
        with suppress(FileNotFoundError):
            return [path.name for path in self.root.iterdir() if not path.name.startswith(".")]
        return []

    def create(self, name: str, data: bytes) -> bool:
        self.root.mkdir(exist_ok=True)
        try:
            fd = os.open(self.root / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(fd, data)
            os.fsync(fd)
        except OSError:  # a full disk: an entry without a holder would keep everyone out for a while
            self.delete(name)
            raise
        finally:
            os.close(fd)
        for path in self.root.glob(".*"):  # of processes that were killed while they wrote
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFT_S:
                    path.unlink()
        return True

    def replace(self, name: str, data: bytes) -> None:
        temp = self.root / f".{name}.{os.getpid()}.{threading.get_ident()}"
        temp.write_bytes(data)
        temp.replace(self.root / name)

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return (self.root / name).read_bytes()
        return None

    def age_s(self, name: str) -> float | None:
        try:
            written = (self.root / name).stat().st_mtime
        except FileNotFoundError:
            return None
        if self.read_only:
            return max(0.0, time.time() - written)
        probe = self.root / f".now.{os.getpid()}.{threading.get_ident()}"
        probe.write_bytes(b"")  # a file server's clock is not ours: what it says of a file written now is its now
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
        return max(0.0, now - written)

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Holder:
    """Who holds OUT, or held it last.

    Attributes:
        process: tells processes of one machine apart, and the machine from others (see `this_process`).
        since: Unix seconds, by the holder's clock.
        age_s: since the last heartbeat, by the storage's clock.
    """

    host: str
    pid: int
    process: dict[str, Any]
    since: float
    age_s: float
    released: bool = False

    @property
    def gone(self) -> bool:
        """Whether it surely ended: on this machine, and no such process."""
        here = this_process(self.pid)
        if any(self.process.get(name) != here[name] for name in ("host", "boot", "namespace")):
            return False
        return here["started"] is None or self.process.get("started") not in (None, here["started"])

    def stale(self, after_s: float = STALE_S) -> bool:
        return self.gone or self.age_s > after_s

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since)) if self.since else "an unknown time"
        return f"process {self.pid} on {self.host} since {since}, last heartbeat {self.age_s:.0f} s ago"


class Lease:
    """A lease that this process holds, renewed by a thread until `release`.

    Args:
        store: of the folder's entries.
        where: the folder, for messages.
        heartbeat_s, stale_s: seconds between renewals, and without any before others may take over.
        on_event: called with a word ("taken", "taken over", "lost", "released") and facts.

    Raises:
        OutError: where someone else holds it; names the holder.
    """

    def __init__(self, store: LeaseStore, where: str, *, heartbeat_s: float = HEARTBEAT_S, stale_s: float = STALE_S,
                 on_event: Callable[..., None] = lambda *_, **__: None) -> None:
        self._store, self._where, self._on_event = store, where, on_event
        self._heartbeat_s, self._stale_s = heartbeat_s, stale_s
        self._mine = {"host": socket.gethostname(), "pid": os.getpid(), "process": this_process(os.getpid()),
                      "since": time.time()}
        self.lost = ""  # why this lease is not ours any more
        self.number, before = self._take()
        if before is None:
            on_event("taken", number=self.number)
        else:
            on_event("taken over", number=self.number, before=str(before))
        self.before = before
        self._end = threading.Event()
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """
        Raises:
            Fatal: where another process took over, or nothing could be renewed for so long that one may have.
        """
        if not self.lost and time.monotonic() - self._renewed > self._stale_s:
            self._renew()  # this process slept: look before anything is written
        if self.lost:
            raise Fatal(f"{self._where}: {self.lost}; this process stops, and what it staged stays")

    def confirm(self) -> None:
        """As `check`, with a look at the storage now: before something that cannot be taken back."""
        self._renew()
        self.check()

    def release(self) -> None:
        """Ends the heartbeat; the next process may start at once."""
        self._end.set()
        self._thread.join()
        if not self.lost:
            with suppress(OSError):
                self._write(released=True)
        self._on_event("released", number=self.number)

    def _take(self) -> tuple[int, Holder | None]:
        for _ in range(TRIES):
            highest = _highest(self._store)
            before = None
            if highest:
                before = _holder(self._store, highest)
                if before is None:  # cleared by a newer holder while we looked
                    continue
                if not before.released and not before.stale(self._stale_s):
                    raise OutError(f"{self._where}: in use by {before}; wait for it or stop it"
                                   f" (taken over {self._stale_s:g} s after its last heartbeat)")
            number = highest + 1
            if not self._store.create(_name(number), self._bytes()):
                continue  # another taker was first; see whether it lives
            if _highest(self._store) > number:
                self._store.delete(_name(number))
                continue
            for name in self._store.names():
                if _number(name) < number:
                    self._store.delete(name)
            return number, None if before is None or before.released else before
        raise OutError(f"{self._where}: others take it at this moment; try again")

    def _bytes(self, released: bool = False) -> bytes:
        return json.dumps({**self._mine, "released": released}).encode()

    def _write(self, released: bool = False) -> None:
        self._store.replace(_name(self.number), self._bytes(released))

    def _beat(self) -> None:
        while not self._end.wait(self._heartbeat_s) and not self.lost:
            self._renew()

    def _renew(self) -> None:
        try:
            highest = _highest(self._store)
            if highest == self.number:
                self._write()
                self._renewed = time.monotonic()
                return
            taker = _holder(self._store, highest) if highest else None
            self.lost = f"taken over by {taker}" if taker else "its lease was deleted"
        except OSError as error:
            if time.monotonic() - self._renewed <= self._stale_s:
                return  # a storage that stumbles; others may not take over yet
            self.lost = f"the lease could not be renewed for {self._stale_s:g} s ({error.strerror})"
        self._on_event("lost", number=self.number, reason=self.lost)


def holder(store: LeaseStore) -> Holder | None:
    """Who holds the folder or held it last; None where nobody did. Changes nothing."""
    highest = _highest(store)
    return _holder(store, highest) if highest else None


def this_process(pid: int) -> dict[str, Any]:
    """What tells a process of this machine from any other, pids being used again: `started` is None where there is
    none (a zombie counts as none), and the other fields name the machine, its boot and the space of its pids."""
    return {"host": socket.gethostname(), "boot": _text("/proc/sys/kernel/random/boot_id"),
            "namespace": _link("/proc/self/ns/pid"), "started": _started(pid)}


def _started(pid: int) -> str | None:
    stat = _text(f"/proc/{pid}/stat")
    if stat:
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    if Path("/proc/self").is_dir():
        return None
    try:  # no /proc: whether there is one is all that can be known
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text().strip()
    return ""


def _link(path: str) -> str:
    with suppress(OSError):
        return str(Path(path).readlink())
    return ""


def _name(number: int) -> str:
    return f"{number:08d}.json"


def _number(name: str) -> int:
    stem = name.removesuffix(".json")
    return int(stem) if stem.isascii() and stem.isdigit() else 0


def _highest(store: LeaseStore) -> int:
    return max(map(_number, store.names()), default=0)


def _holder(store: LeaseStore, number: int) -> Holder | None:
    data, age = store.read(_name(number)), store.age_s(_name(number))
    if data is None or age is None:
        return None
    try:
        entry = json.loads(data)
        return Holder(str(entry["host"]), int(entry["pid"]), dict(entry["process"]), float(entry["since"]), age,
                      bool(entry["released"]))
    except (ValueError, KeyError, TypeError):  # just being made, or torn by a power cut: its age decides
        return Holder("an unknown host", 0, {}, 0.0, age)
