"""One process at a time works in a folder: leases between processes and takers, and what a dead holder leaves."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from curate.engine.errors import OutError
from curate.engine.lease import FolderStore, Lease, holder, this_process
from curate.engine.outcome import Fatal

HOLD = ("import sys, time\nfrom pathlib import Path\nfrom curate.engine.lease import FolderStore, Lease\n"
        "lease = Lease(FolderStore(Path(sys.argv[1])), 'OUT')\nprint('held', flush=True)\ntime.sleep(600)\n")


def hold_elsewhere(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def entry(folder: Path) -> Path:
    found, = folder.glob("*.json")
    return found


def of_another_machine(folder: Path, age_s: float) -> None:
    """As if the lease that is there were held by a machine that was last heard of so long ago."""
    content = json.loads(entry(folder).read_text())
    content |= {"host": "far-away", "process": {**content["process"], "host": "far-away", "boot": "other"},
                "released": False}
    entry(folder).write_text(json.dumps(content))
    os.utime(entry(folder), (time.time() - age_s,) * 2)


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path):
    process = hold_elsewhere(tmp_path)
    try:
        words = rf"in use by process {process.pid} on \S+ since \d+-.*, last heartbeat \d+ s"
        with pytest.raises(OutError, match=words):
            Lease(FolderStore(tmp_path), "OUT")
        assert holder(FolderStore(tmp_path, read_only=True)).pid == process.pid
    finally:
        process.kill()
        process.wait()


def test_a_holder_that_was_killed_is_replaced_at_once_even_before_anyone_waited_for_it(tmp_path):
    process = hold_elsewhere(tmp_path)
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while this_process(process.pid)["started"] is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    told = []
    lease = Lease(FolderStore(tmp_path), "OUT", on_event=lambda what, **facts: told.append((what, facts)))
    process.wait()
    assert told[0][0] == "taken over" and f"process {process.pid} " in told[0][1]["before"]
    lease.release()
    assert holder(FolderStore(tmp_path)).released


def test_a_machine_that_fell_silent_is_replaced_after_a_while_and_not_before(tmp_path):
    Lease(FolderStore(tmp_path), "OUT").release()
    of_another_machine(tmp_path, age_s=20)
    with pytest.raises(OutError, match=r"process .* on far-away"):
        Lease(FolderStore(tmp_path), "OUT", stale_s=60)
    of_another_machine(tmp_path, age_s=61)
    Lease(FolderStore(tmp_path), "OUT", stale_s=60).release()


def test_a_pid_that_another_process_has_now_does_not_keep_the_folder(tmp_path):
    Lease(FolderStore(tmp_path), "OUT").release()
    content = json.loads(entry(tmp_path).read_text())
    content["released"] = False
    content["process"]["started"] = "1"  # this very process's number, long before it began
    entry(tmp_path).write_text(json.dumps(content))
    Lease(FolderStore(tmp_path), "OUT").release()


def test_of_many_takers_of_one_stale_lease_one_gets_it(tmp_path):
    for _ in range(20):
        Lease(FolderStore(tmp_path), "OUT").release()
        of_another_machine(tmp_path, age_s=1000)
        got, refused, together = [], [], threading.Barrier(8)

        def take(together=together, got=got, refused=refused):
            together.wait()
            try:
                got.append(Lease(FolderStore(tmp_path), "OUT"))
            except OutError:
                refused.append(1)

        takers = [threading.Thread(target=take) for _ in range(8)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
        assert len(got) == 1 and len(refused) == 7
        got[0].check()
        got[0].release()


def test_a_taker_that_looked_long_ago_cannot_take_from_a_newer_holder(tmp_path):
    """Between its look at the stale lease and its own entry, another has taken and is at work."""

    class Slow(FolderStore):
        def create(self, name: str, data: bytes) -> bool:
            if not others:
                others.append(Lease(FolderStore(tmp_path), "OUT"))  # number 2
                others[0].release()
                others.append(Lease(FolderStore(tmp_path), "OUT"))  # number 3; number 2 is cleared away
            return super().create(name, data)

    others: list[Lease] = []
    Lease(FolderStore(tmp_path), "OUT").release()
    of_another_machine(tmp_path, age_s=1000)
    with pytest.raises(OutError, match="in use"):
        Lease(Slow(tmp_path), "OUT")
    others[1].confirm()
    others[1].release()


def test_a_holder_that_slept_through_its_own_takeover_stops(tmp_path):
    sleeper = Lease(FolderStore(tmp_path), "OUT", heartbeat_s=1000)
    os.utime(entry(tmp_path), (time.time() - 1000,) * 2)
    taker = Lease(FolderStore(tmp_path), "OUT")
    with pytest.raises(Fatal, match=rf"taken over by process {os.getpid()}"):
        sleeper.confirm()
    with pytest.raises(Fatal, match="taken over"):
        sleeper.check()
    sleeper.release()  # says nothing of the other's
    taker.confirm()
    taker.release()


def test_a_storage_that_stumbles_is_borne_until_others_may_take_over(tmp_path):
    class Stumbling(FolderStore):
        broken = False

        def replace(self, name: str, data: bytes) -> None:
            if self.broken:
                raise OSError(5, "no answer")
            super().replace(name, data)

    store = Stumbling(tmp_path)
    lease = Lease(store, "OUT", heartbeat_s=1000, stale_s=0.5)
    store.broken = True
    lease.confirm()
    time.sleep(0.6)
    with pytest.raises(Fatal, match=r"could not be renewed for 0\.5 s \(no answer\)"):
        lease.check()
    lease.release()


def test_heartbeats_are_seen(tmp_path):
    lease = Lease(FolderStore(tmp_path), "OUT", heartbeat_s=0.02)
    first = entry(tmp_path).stat().st_mtime_ns
    deadline = time.monotonic() + 30
    while entry(tmp_path).stat().st_mtime_ns == first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert entry(tmp_path).stat().st_mtime_ns > first
    lease.release()


def test_an_entry_torn_by_a_power_cut_is_a_stale_lease_of_nobody(tmp_path):
    Lease(FolderStore(tmp_path), "OUT").release()
    entry(tmp_path).write_bytes(b"\0\0\0")
    with pytest.raises(OutError, match="an unknown host"):
        Lease(FolderStore(tmp_path), "OUT")
    os.utime(entry(tmp_path), (time.time() - 1000,) * 2)
    Lease(FolderStore(tmp_path), "OUT").release()


def test_a_full_disk_leaves_no_entry_that_keeps_others_out(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            Lease(FolderStore(tmp_path), "OUT")
    Lease(FolderStore(tmp_path), "OUT").release()
