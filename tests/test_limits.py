"""What bounds and ends a run: deadlines, streaks and rates of failures, staged bytes, sizes of pictures, signals."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from curate.engine.deadlines import FLOOR_S, Deadlines
from curate.engine.limits import FailureRules, StagedBytes
from curate.engine.loop import work
from curate.engine.outcome import Fatal, Outcome
from curate.engine.pools import ChildPool
from curate.recipe import recipe_from_dict
from curate.sources.base import ClipSpec
from tests.test_engine import ScriptedPool
from tests.test_failures import RECIPE, WORKER, clips

# --- deadlines -------------------------------------------------------------------------------------------------------

def engine(**settings):
    return recipe_from_dict({**RECIPE, "engine": {"kind": "inline", **settings}}).engine


def done(clip: ClipSpec, seconds: float) -> Outcome:
    return Outcome(clip.key, "done", meta={"seconds": seconds})


def test_a_deadline_follows_what_clips_cost_a_frame():
    from dataclasses import replace

    clip = clips("done")[0]
    deadlines = Deadlines()
    assert deadlines.of(clip) >= 600  # nothing is known yet
    for seconds in (0.8, 0.9, 500.0, 0.8, 0.7, 0.8, 0.8, 0.9):  # one of them was stopped for a while
        deadlines.observe(clip, done(clip, seconds))
    long = replace(clip, num_frames=4000)
    assert deadlines.of(clip) == FLOOR_S
    assert deadlines.of(long) == pytest.approx(20 * 0.1 * 4000, rel=0.1)
    assert deadlines.of(long, alone=True) > 3 * deadlines.of(long)
    assert Deadlines(5.0).of(long) == 5.0


def test_failures_teach_deadlines_nothing():
    clip = clips("done")[0]
    deadlines = Deadlines()
    deadlines.observe(clip, Outcome(clip.key, "failed", "error", meta={"seconds": 0.001}))
    assert deadlines.of(clip) >= 600


# --- what stops a run ------------------------------------------------------------------------------------------------

def run_scripts(scripts: list[list[str]], workers: int = 2, **how) -> Counter:
    made = clips(*["x"] * len(scripts))
    pool = ScriptedPool({c.key: s for c, s in zip(made, scripts)}, workers)
    settled: Counter = Counter()
    work(made, pool, lambda c, o: settled.update([o.state]), backoff_s=0, **how)
    return settled


def test_a_streak_of_failures_stops_the_run_and_says_what_failed_and_how_to_go_on():
    rules = FailureRules(engine(max_failure_streak=6))
    with pytest.raises(Fatal, match=r"6 clips in a row failed, in all 6 errors, most often \(6 times\): error; mend "
                                    r"it, or raise engine\.max_failure_streak; run the same command again"):
        run_scripts([["done"]] * 3 + [["error"]] * 50, rules=rules)


def test_a_streak_is_of_clips_and_not_of_tries():
    rules = FailureRules(engine(max_failure_streak=5, max_failure_rate=1))
    counts = run_scripts([["lost"], ["lost"], ["timeout"], *[["done"]] * 5], rules=rules)
    assert counts == {"failed": 3, "done": 5}


def test_a_node_that_takes_its_clips_with_it_is_no_streak():
    rules = FailureRules(engine(max_failure_streak=5))
    assert run_scripts([["lost", "done"]] * 40 + [["done"]] * 40, workers=40, rules=rules) == {"done": 80}


def test_what_comes_through_at_its_second_try_ends_a_streak():
    rules = FailureRules(engine(max_failure_streak=3))
    assert run_scripts([["lost", "done"]] * 30, workers=1, rules=rules) == {"done": 30}


def test_a_rate_of_failures_stops_the_run_after_a_minimum():
    scripts = [["done"], ["done"], ["error"]] * 100
    with pytest.raises(Fatal, match=r"\(3\d%; engine\.max_failure_rate is 20%\), in all \d+ errors"):
        run_scripts(scripts, rules=FailureRules(engine(failure_rate_after=30)))
    assert run_scripts(scripts[:27], rules=FailureRules(engine(failure_rate_after=30)))["failed"] == 9
    assert run_scripts(scripts, rules=FailureRules(engine(max_failure_rate=0.4)))["failed"] == 100


def test_clips_put_back_to_be_tried_alone_count_as_failed_until_they_come_through():
    """Else a run whose every second clip hangs would wait for each of them before it said so."""
    hangs = [["timeout"], ["done"]] * 100
    with pytest.raises(Fatal, match="timeouts"):
        run_scripts(hangs, rules=FailureRules(engine(failure_rate_after=30)))
    rules = FailureRules(engine(failure_rate_after=30, max_failure_rate=0.6))
    assert run_scripts([["timeout", "done"], ["done"]] * 50, rules=rules) == {"done": 100} and rules.failed == 0


def test_bad_input_is_counted_apart():
    many = [["bad_input"]] * 100 + [["done"]] * 10
    assert run_scripts(many, rules=FailureRules(engine(failure_rate_after=10))) == {"failed": 100, "done": 10}
    with pytest.raises(Fatal, match="20 clips in a row cannot be read, the last: bad_input; if the data are away"):
        run_scripts(many, rules=FailureRules(engine(max_bad_input_streak=20)))


# --- bounds ----------------------------------------------------------------------------------------------------------

class StagingPool(ScriptedPool):
    """Each clip stages 100 bytes."""

    def wait(self, timeout_s: float) -> list[Outcome]:
        item = self.running.pop(0)
        return [Outcome(item.key, "done", meta={"bytes": 100})]


def test_no_clip_is_taken_whose_product_would_not_fit():
    made = clips(*["x"] * 20)
    pool, staged = StagingPool({}, 4), StagedBytes(1000, used=250)
    settled = []
    with pytest.raises(Fatal, match=r"engine\.max_staged_bytes"):
        work(made, pool, lambda c, o: settled.append(c), staged=staged)
    assert len(settled) == 7 and staged.used == 950  # not one byte over, though four were under way


def test_clips_are_taken_one_by_one_as_workers_become_free():
    taken = []

    def source():
        for clip in clips(*["x"] * 100):
            taken.append(clip)
            yield clip

    pool = StagingPool({}, 3)
    work(source(), pool, lambda c, o: None, tick=lambda: None if len(taken) <= pool.tries.total() + 1 else 1 / 0)
    assert len(taken) == 100


# --- signals ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "code", "kind"), [
    ("SIGINT", 130, "inline"), ("SIGTERM", 143, "inline"), pytest.param("SIGINT", 130, "ray", marks=pytest.mark.ray),
    pytest.param("SIGTERM", 143, "ray", marks=pytest.mark.ray)])
def test_a_signal_stops_the_run_without_a_torn_file_and_says_how_to_go_on(tmp_path, name, code, kind):
    """A signal comes to all that share the driver's process group, as a terminal and many schedulers send it: Ray's own
    processes do not answer it, or the driver would wait a minute for them."""
    import signal
    import subprocess
    import sys

    import yaml

    from curate.engine.run import run

    raw = {**RECIPE, "source": {**RECIPE["source"], "num_scenes": 4}, "clip": {"num_frames": 8, "max_clips": 4},
           "engine": {"kind": kind, "workers": 1}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw))
    out = tmp_path / "out"
    driver = subprocess.Popen([sys.executable, "-m", "curate", "run", str(tmp_path / "recipe.yaml"), "--out", str(out),
                               "--no-preview"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while not list(out.glob("scenes/[!.]*/scene.npz")) and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(driver.pid, signal.Signals[name])
    said = driver.communicate(timeout=40)[1]
    assert driver.returncode == code, said
    assert "clips under way get 10 s" in said and said.rstrip().endswith("the same command goes on where it stopped")
    assert not list(out.glob("scenes/.*")) and not (out / "shards").exists()
    before = {p: p.read_bytes() for p in out.glob("scenes/*/scene.npz")}
    assert 1 <= len(before) < 4
    if (name, kind) == ("SIGTERM", "inline"):
        summary = run(recipe_from_dict(raw), out)
        assert summary.exit_code == 0 and summary.counts["done"] == 4
        assert all(p.read_bytes() == data for p, data in before.items())


def test_a_clip_that_does_not_end_in_time_is_given_up_on_a_signal(tmp_path, monkeypatch):
    """The first signal gives clips under way some seconds, the second none."""
    import signal
    import threading

    from curate.engine import loop
    from curate.engine.signals import Stopped, StopRequest

    for times, grace_s in ((1, 0.3), (2, 1e9)):
        monkeypatch.setattr(loop, "GRACE_S", grace_s)
        settled: list[Outcome] = []

        def ended(clip: ClipSpec, outcome: Outcome, settled=settled, times=times) -> None:
            settled.append(outcome)
            for i in range(times):  # the next clip hangs by then
                threading.Timer(0.7 + 0.3 * i, os.kill, [os.getpid(), signal.SIGTERM]).start()

        out = tmp_path / str(times)
        out.mkdir()
        pool = ChildPool(recipe_from_dict(RECIPE), str(out), WORKER)
        with StopRequest() as stop, pytest.raises(Stopped) as stopped:
            work(clips("done", "hang", "done"), pool, ended, stop=stop)
        pool.close()
        assert stopped.value.signum == signal.SIGTERM and [o.state for o in settled] == ["done"]
        assert not list((out / "scenes").glob(".*"))
    assert signal.getsignal(signal.SIGTERM) != stop._note


def test_work_in_this_very_process_is_interrupted_at_once():
    import signal
    import threading

    from curate.engine.signals import Stopped, StopRequest

    class Slow:
        name, num_workers, in_process = "slow", 1, True

        def submit(self, clip: ClipSpec, deadline_s: float) -> None:
            pass

        def wait(self, timeout_s: float) -> list[Outcome]:
            time.sleep(60)

    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    begin = time.monotonic()
    with StopRequest() as stop, pytest.raises(Stopped):
        work(clips("x"), Slow(), lambda c, o: None, stop=stop)
    assert time.monotonic() - begin < 30


# --- sizes -----------------------------------------------------------------------------------------------------------

def test_a_clip_whose_window_is_larger_than_allowed_is_bad_input_before_it_is_decoded(tmp_path, monkeypatch):
    from curate.engine.plan import make_plan
    from curate.engine.stage import ClipWorker
    from curate.sources.rendered import RenderedFrames

    monkeypatch.setattr(RenderedFrames, "read", lambda *a: pytest.fail("nothing may be decoded"))
    raw = {**RECIPE, "source": {**RECIPE["source"], "width": 4096, "height": 2160}}
    recipe = recipe_from_dict({**raw, "engine": {"kind": "inline", "max_window_bytes": 100 << 20}})
    outcome = ClipWorker(recipe, str(tmp_path)).perceive(make_plan(recipe).clips[0])
    assert outcome.kind == "bad_input" and "2 views of 4096x2160 take 405 MiB decoded" in outcome.reason


def test_a_small_file_that_says_it_holds_a_huge_image_costs_no_memory(tmp_path):
    import struct
    import subprocess
    import sys
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    side = 30_000
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))
    script = """
import sys
from pathlib import Path
from curate.sources.base import BadInput
from curate.sources.images import load_image
try:
    load_image(Path(sys.argv[1]))
except BadInput as error:
    print(error)
# not getrusage: its peak is the parent's where that was larger before exec
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "bomb.png")], capture_output=True, text=True)
    said, peak_kib = done.stdout.strip().splitlines()
    assert "more than 67 million pixels, expected at most 8192 a side" in said
    assert int(peak_kib) < 1 << 20  # 7 GB decoded
