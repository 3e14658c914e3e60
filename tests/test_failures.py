"""Failures of real worker processes: hangs and crashes in native code, kills, full disks, and what the run makes of
them."""

from __future__ import annotations

import errno
import os
import time

import pytest

from curate.engine.deadlines import Deadlines
from curate.engine.loop import work
from curate.engine.outcome import Fatal, Outcome, failure, kind_of, vanished
from curate.engine.pools import ChildPool
from curate.engine.stage import put
from curate.recipe import recipe_from_dict
from curate.sources.base import BadInput, ClipSpec

RECIPE = {"source": {"kind": "rendered", "num_scenes": 2, "seed": 1, "width": 160, "height": 96},
          "clip": {"num_frames": 8, "max_clips": 2}, "engine": {"kind": "inline"}}
WORKER = "tests.faulty_workers:FaultyWorker"


def clips(*acts: str) -> list[ClipSpec]:
    return [ClipSpec(f"{i:024x}", "fake", act, f"video{i}", 0, 8) for i, act in enumerate(acts)]


def settle(out, *acts: str, worker: str = WORKER, deadline_s: float = 60.0, **how) -> dict[str, Outcome]:
    """Outcomes by act, of clips worked on by one child."""
    pool = ChildPool(recipe_from_dict(RECIPE), str(out), worker)
    settled: dict[str, Outcome] = {}
    try:
        work(iter(clips(*acts)), pool, lambda c, o: settled.update({c.uri: o}), backoff_s=0,
             deadlines=Deadlines(deadline_s), **how)
    finally:
        pool.close()
    return settled


@pytest.fixture(autouse=True)
def tests_can_be_imported_by_children(monkeypatch, pytestconfig):
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath))


# --- real children ---------------------------------------------------------------------------------------------------

def test_native_code_that_hangs_is_killed_and_says_where_it_was(tmp_path):
    outcomes = settle(tmp_path, "done", "hang", "hang*1-done", "sleep", deadline_s=1.0)
    assert {uri: o.state for uri, o in outcomes.items()} == {
        "done": "done", "hang": "failed", "hang*1-done": "done", "sleep": "done"}
    hung = outcomes["hang"]
    assert (hung.kind, hung.tries) == ("timeout", 2) and outcomes["hang*1-done"].tries == 2
    assert "no result after 1 s" in hung.reason and "in hang" in hung.meta["traceback"]
    assert not list((tmp_path / "scenes").glob(".*"))  # half a scene went with the worker


def test_a_crash_of_native_code_is_the_clips_after_the_second_and_a_kill_after_the_fifth(tmp_path):
    outcomes = settle(tmp_path, "segv", "abort", "sigkill", "exit*1-done", "segv*1-done", "done")
    assert {uri: (o.state, o.kind, o.tries) for uri, o in outcomes.items()} == {
        "segv": ("failed", "lost", 2), "abort": ("failed", "lost", 2), "sigkill": ("failed", "lost", 5),
        "exit*1-done": ("done", None, 2), "segv*1-done": ("done", None, 2), "done": ("done", None, 1)}
    assert outcomes["segv"].meta["signal"] == "SIGSEGV" and "in segv" in outcomes["segv"].meta["traceback"]
    assert "SIGKILL" in outcomes["sigkill"].reason


def test_failures_in_a_child_keep_their_kinds(tmp_path):
    outcomes = settle(tmp_path, "bad", "bug", "flaky", "flaky*2-done")
    assert {uri: (o.kind, o.tries) for uri, o in outcomes.items()} == {
        "bad": ("bad_input", 1), "bug": ("error", 1), "flaky": ("transient", 3), "flaky*2-done": (None, 3)}
    assert outcomes["bad"].reason == "bad: torn" and "ZeroDivisionError" in outcomes["bug"].meta["traceback"]


@pytest.mark.parametrize(("act", "words"), [
    ("full", "full: OSError: .*No space left on device; mend it, and run the same command again"),
    ("missing", "ModuleNotFoundError: No module named 'no_such_package'")])
def test_what_every_clip_would_meet_stops_the_run(tmp_path, act, words):
    with pytest.raises(Fatal, match=words):
        settle(tmp_path, "done", act, "done")


@pytest.mark.parametrize(("worker", "words"), [
    ("NeverReady", r"the workers do not start: some\.onnx: cannot be read; copy it again"),
    ("DiesAtStart", "the workers do not start: SIGABRT"),
    ("NoSuchWorker", "the workers do not start: AttributeError.*NoSuchWorker")])
def test_a_child_that_cannot_start_stops_the_run(tmp_path, worker, words):
    with pytest.raises(Fatal, match=words):
        settle(tmp_path, "done", worker=f"tests.faulty_workers:{worker}")


def test_a_child_goes_with_its_driver_however_that_ends(tmp_path):
    """The driver is killed while its child hangs with the interpreter's lock held."""
    import signal
    import subprocess
    import sys
    from pathlib import Path

    script = ("import sys; from tests.test_failures import *; pool = ChildPool(recipe_from_dict(RECIPE), sys.argv[1], "
              "WORKER); pool.submit(clips('hang')[0], 1e9)\n"
              "print(pool._child.pid, flush=True)\nwhile True: pool.wait(1)")
    driver = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True,
                              cwd=Path(__file__).resolve().parents[1])
    child = int(driver.stdout.readline())
    end = time.monotonic() + 60
    while not list((tmp_path / "scenes").glob(".*")) and time.monotonic() < end:
        time.sleep(0.05)  # until it hangs
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_gives_the_same_scene_as_this_process(tmp_path):
    from curate.engine.plan import make_plan
    from curate.engine.pools import InlinePool

    recipe = recipe_from_dict(RECIPE)
    clip = make_plan(recipe).clips[0]
    made = []
    for pool in (InlinePool(recipe, str(tmp_path / "a")), ChildPool(recipe, str(tmp_path / "b"))):
        work([clip], pool, lambda c, o: made.append(o))
        pool.close()
    files = [{p.name: p.read_bytes() for p in (tmp_path / name / "scenes" / clip.key).iterdir()} for name in "ab"]
    assert [o.state for o in made] == ["done", "done"] and files[0] == files[1] and "scene.npz" in files[0]


def test_a_run_whose_clip_hangs_ends_and_the_quarantine_says_why(tmp_path, monkeypatch):
    import json

    from curate.engine.run import run

    monkeypatch.setattr("curate.engine.run.inline_pool",
                        lambda recipe, out: ChildPool(recipe, out, "tests.faulty_workers:AlwaysHangs"))
    raw = {**RECIPE, "clip": {"num_frames": 8, "max_clips": 1}, "engine": {"kind": "inline", "timeout_s": 1}}
    summary = run(recipe_from_dict(raw), tmp_path)
    assert summary.exit_code == 3 and summary.counts["quarantined"] == 1
    entry = json.loads((tmp_path / "quarantine.jsonl").read_text())
    assert (entry["kind"], entry["tries"]) == ("timeout", 2) and "no result after 1 s" in entry["reason"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs more rights than this user has")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_stops_the_run_and_room_makes_it_go_on(small_disk):
    """The real system's refusal, in a real child, with a real scene half written."""
    worker = "tests.faulty_workers:FaultyWorker"
    (small_disk / "ballast").write_bytes(b"x" * (40 << 10))
    with pytest.raises(Fatal, match=r"No space left on device; mend it, and run the same command again to go on"):
        settle(small_disk, "done", "large", "done", worker=worker)
    assert [p.name for p in (small_disk / "scenes").iterdir()] == [clips("done")[0].key]
    (small_disk / "ballast").unlink()
    assert settle(small_disk, "done", "large", "done", worker=worker)["large"].state == "done"


def test_one_worker_is_a_process_that_can_be_killed_unless_the_recipe_says_otherwise(tmp_path):
    from curate.engine.pools import InlinePool
    from curate.engine.run import make_pool

    for settings, expected in (({"workers": 1}, ChildPool), ({"kind": "inline"}, ChildPool),
                               ({"kind": "inline", "isolate": False}, InlinePool)):
        pool = make_pool(recipe_from_dict({**RECIPE, "engine": settings}), tmp_path, 5)
        pool.close()
        assert type(pool) is expected and pool.in_process == (expected is InlinePool)


# --- kinds -----------------------------------------------------------------------------------------------------------

def raised(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_what_the_system_said_decides_and_not_who_said_it_last():
    torn = BadInput("a.mp4: not readable as a video")
    assert kind_of(torn) == "bad_input"
    assert kind_of(raised(torn, OSError(errno.EMFILE, "too many open files"))) == "fatal"
    assert kind_of(raised(torn, OSError(errno.ESTALE, "stale file handle"))) == "transient"
    assert kind_of(raised(torn, OSError(errno.EIO, "what FFmpeg says of a torn file"))) == "bad_input"
    assert kind_of(raised(RuntimeError("in a plug-in"), ImportError("no such"))) == "fatal"
    assert kind_of(MemoryError()) == "transient" and kind_of(KeyError("x")) == "error"


def test_opencv_without_memory_may_pass():
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    with pytest.raises(cv2.error) as caught:
        cv2.resize(np.zeros((8, 8), np.uint8), (1 << 20, 1 << 20))
    assert failure("k", caught.value).kind == "transient"


def test_the_reason_of_a_lost_worker_names_its_signal():
    assert vanished("k", -11).meta["signal"] == "SIGSEGV" and "status 7" in vanished("k", 7).reason


def test_a_disk_that_fills_leaves_nothing_torn(tmp_path, monkeypatch):
    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        put(tmp_path, "aa", {"scene.npz": b"scene"})
    assert not list((tmp_path / "scenes").iterdir())
