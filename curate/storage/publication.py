"""The one object that says which set is published, and who is publishing: changed by conditional puts alone.

Lease and pointer share an object, so that every put of a publisher depends on the lease: one that was taken over, or
slept too long, has a tag that no longer fits, and its last put is refused by the store itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.storage.store import Conflict, Missing, StorageError, Store

NAME = "published.json"
FORMAT = "curate4d-publication"
MAX_TTL_S = 3600.0
TTL_S = 60.0  # a publisher not heard of for so long is taken for dead


class Held(StorageError):
    """Another process is publishing there, or has taken this one's place; the text names it."""


@dataclass(frozen=True)
class State:
    """What the object says. `folder`: of the published set, "" before the first; `lease`: {} where nobody publishes."""

    folder: str = ""
    digest: str = ""
    lease: dict[str, Any] | None = None

    def to_bytes(self) -> bytes:
        content = {"format": FORMAT, "version": 1, "set": self.folder, "digest": self.digest, "lease": self.lease or {}}
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def parse(data: bytes, where: str) -> State:
    """
    Raises:
        StorageError: where it is something else, or of another version.
    """
    try:
        content = json.loads(data)
        if content["format"] != FORMAT or content["version"] != 1:
            raise ValueError(f"format {content['format']!r}, version {content['version']!r}")
        folder, digest, lease = content["set"], content["digest"], content["lease"]
        if not all(isinstance(v, str) for v in (folder, digest)) or not isinstance(lease, dict):
            raise ValueError("fields of other types")
        if any(part in ("", ".", "..") for part in folder.split("/")) and folder:
            raise ValueError(f"set {folder!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{where}: not what `curate publish` writes ({type(error).__name__}: {error}); "
                           "name another prefix, or remove that object") from None
    return State(folder, digest, lease)


def peek(store: Store) -> State:
    """Raises Missing where nothing was ever published there."""
    return parse(store.read(NAME)[0], f"{store.url}/{NAME}")


def _machine() -> str:
    """Tells processes whose ids can be compared: one boot, one space of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _is_dead(lease: dict[str, Any]) -> bool:
    if lease.get("machine") != _machine() or not isinstance(lease.get("pid"), int):
        return False
    try:
        os.kill(lease["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _number(lease: dict[str, Any], name: str) -> float:
    value = lease.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


class Publication:
    """The right to publish under an address, held until the block ends. Renews itself from a thread.

    Args:
        store: where.
        ttl_s: seconds without a sign after which another may take over, an hour at most. Clocks of two machines that
            differ by more make one of the publishers stop, never a mixture.

    Raises:
        Held: on entering, where another holds it. StorageError: where the store honours no conditions.
    """

    def __init__(self, store: Store, ttl_s: float = TTL_S) -> None:
        self.store, self.ttl_s = store, ttl_s
        self.state = State()
        self._tag: str | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._lost: StorageError | None = None
        self._heard_s = 0.0
        self._thread = threading.Thread(target=self._beat, name="publication-lease", daemon=True)

    def __enter__(self) -> Publication:
        self._take()
        self.store.check_conditions(NAME, self.state.to_bytes() + b" ")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            if self._lost is None:
                with contextlib.suppress(StorageError):  # else it runs out by itself
                    self._put(State(self.state.folder, self.state.digest))

    def check(self) -> None:
        """
        Raises:
            Held: where another has taken over, or may have. StorageError: where the store was not reached for `ttl_s`.
        """
        if self._lost is not None:
            raise self._lost
        if time.monotonic() - self._heard_s > self.ttl_s:
            raise Held(f"{self.store.url}: no sign could be given for {self.ttl_s:.0f} s (stopped, or asleep?), so "
                       "another may publish there now; run the same command again")

    def publish(self, folder: str, digest: str) -> None:
        """Makes `folder` the published set, in one put that depends on the lease still being ours.

        Raises:
            Held, StorageError: then the older set is still the published one.
        """
        with self._lock:
            if self._lost is not None:
                raise self._lost
            try:
                self._put(State(folder, digest, self.state.lease))
            except Conflict:
                self._lost = self._taken()
                raise self._lost from None

    def _take(self) -> None:
        try:
            data, tag = self.store.read(NAME)
            now = parse(data, f"{self.store.url}/{NAME}")
        except Missing:
            now, tag = State(), None
        lease = now.lease or {}
        silent_s = time.time() - _number(lease, "unix_s")
        patience_s = min(_number(lease, "ttl_s") or TTL_S, MAX_TTL_S)  # as the holder has promised
        if lease and not _is_dead(lease) and silent_s < patience_s:
            raise Held(f"{self.store.url}: {lease.get('holder', 'another process')} is publishing there (last heard "
                       f"{max(0, silent_s):.0f} s ago); wait for it or stop it. It is taken over {patience_s:.0f} s "
                       "after its last sign")
        self._tag, self.state = tag, now
        mine = {"holder": f"process {os.getpid()} on {socket.gethostname()}", "machine": _machine(),
                "pid": os.getpid(), "token": uuid.uuid4().hex, "ttl_s": self.ttl_s, "unix_s": time.time()}
        try:
            self._put(State(now.folder, now.digest, mine))
        except Conflict:
            raise self._taken() from None

    def _put(self, state: State) -> None:
        try:
            self._tag = self.store.put_if(NAME, state.to_bytes(), self._tag)
        except Conflict:
            data, tag = self.store.read(NAME)
            mine = (self.state.lease or {}).get("token")
            if mine is None or (parse(data, NAME).lease or {}).get("token") != mine:
                raise
            # An earlier put of ours was carried out although its answer never came.
            self._tag = self.store.put_if(NAME, state.to_bytes(), tag)
        self.state, self._heard_s = state, time.monotonic()

    def _beat(self) -> None:
        while not self._stop.wait(self.ttl_s / 4):
            with self._lock:
                if self._lost is not None:
                    return
                try:
                    self._put(State(self.state.folder, self.state.digest, self.state.lease | {"unix_s": time.time()}))
                except Conflict:
                    self._lost = self._taken()
                except StorageError as error:
                    if time.monotonic() - self._heard_s > self.ttl_s:
                        self._lost = error

    def _taken(self) -> Held:
        try:
            lease = peek(self.store).lease or {}
        except StorageError:
            lease = {}
        return Held(f"{self.store.url}: {lease.get('holder', 'another process')} publishes there now; this one has "
                    "stopped, and what it uploaded is not published")
