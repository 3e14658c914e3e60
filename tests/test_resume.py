"""Runs that are killed, extended, mended and repeated end as one left alone: real drivers, hand-made scenes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from curate.cli.main import main
from curate.cli.retry import KINDS as RETRY_KINDS
from curate.engine.ledger import Out, clips_of
from curate.engine.outcome import Fatal
from curate.engine.run import KINDS
from tests import handmade_runs

ROOT = Path(__file__).parents[1]
NAMES = [f"v{i // 3}-{i}.mp4" for i in range(12)]


def files_of(out: Path, *folders: str) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for folder in folders for p in sorted((out / folder).rglob("*"))
            if p.is_file()}


def ledger_files(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in [*out.glob("*.jsonl"), out / "plan.json"]}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Place:
    """A recipe, a list of clips, and a folder for the run."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.recipe, self.clips, self.out = folder / "r.yaml", folder / "clips.txt", folder / "out"
        self.recipe.write_text(yaml.safe_dump(handmade_runs.RECIPE))
        self.list(names)

    def list(self, names: list[str]) -> None:
        self.clips.write_text("\n".join(names) + "\n")

    def start(self, *args: object, sleep_s: float = 0.0) -> subprocess.Popen:
        """`curate run` in a process of its own."""
        environment = {**os.environ, handmade_runs.CLIPS: str(self.clips), handmade_runs.SLEEP: str(sleep_s)}
        return subprocess.Popen([sys.executable, "-m", "tests.handmade_runs", "run", self.recipe, "--out", self.out,
                                 "--no-preview", "--quiet", *map(str, args)], cwd=ROOT, env=environment,
                                stderr=subprocess.PIPE, text=True)

    def finish(self, code: int = 0) -> None:
        process = self.start()
        _, told = process.communicate(timeout=120)
        assert process.returncode == code, told

    def scenes(self) -> int:
        return len(list((self.out / "scenes").glob("[!.]*")))


def until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Place:
    """A run that nobody disturbed."""
    place = Place(tmp_path_factory.mktemp("alone"), [*NAMES, "bad.mp4 planned-bad", "dark.mp4 filtered"])
    place.finish(3)
    return place


@pytest.fixture
def here(tmp_path, monkeypatch) -> Place:
    """A place whose commands run in this process."""
    place = Place(tmp_path, NAMES[:4])
    monkeypatch.setenv(handmade_runs.CLIPS, str(place.clips))
    for path, value in handmade_runs.patches().items():
        monkeypatch.setattr(path, value)
    return place


def curate(*args: object, code: int = 0):
    done = CliRunner().invoke(main, [str(a) for a in args])
    assert done.exit_code == code, done.output
    return done


def run(place: Place, *args: object, code: int = 0):
    return curate("run", place.recipe, "--out", place.out, "--no-preview", *args, code=code)


def status(place: Place) -> dict:
    return json.loads(curate("status", place.out, "--json").stdout)


def moments(seed: int, count: int) -> list[tuple[str, Callable[[Place], bool], float]]:
    """When to kill: as soon as something is there, and a little later."""
    rng = random.Random(seed)
    found: list[tuple[str, Callable[[Place], bool], float]] = []
    for number in range(count):
        kind = ["lease", "scene", "ledger", "write"][number % 4]
        of = rng.randrange(1, 4)
        there = {"lease": lambda p: (p.out / ".lease").is_dir(),
                 "scene": lambda p, before=of: p.scenes() >= before + p.before,
                 "ledger": lambda p, before=of: p.num_lines() >= before + p.before_lines,
                 "write": lambda p: p.scenes() == len(NAMES)}[kind]
        found.append((kind, there, rng.uniform(0, 0.05)))
    return found


def kill_again_and_again(place: Place, seed: int, count: int) -> None:
    place.num_lines = lambda: (place.out / "ledger.jsonl").read_bytes().count(b"\n") if (
        place.out / "ledger.jsonl").is_file() else 0
    for kind, there, later_s in moments(seed, count):
        place.before, place.before_lines = min(place.scenes(), len(NAMES) - 4), min(place.num_lines(), len(NAMES) - 4)
        process = place.start(sleep_s=0.01)
        until(lambda: there(place), process)  # noqa: B023
        time.sleep(later_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"{kind}: ended before it was killed"
        if kind == "ledger":  # and the machine was cut off as well
            with (place.out / "ledger.jsonl").open("ab") as file:
                file.write(b'{"key": "0123')


def same_as(place: Place, alone: Place) -> None:
    assert files_of(place.out, "scenes", "shards") == files_of(alone.out, "scenes", "shards")
    curate("compact", place.out)
    curate("compact", alone.out)
    assert ledger_files(place.out) == ledger_files(alone.out)
    assert files_of(place.out, "scenes", "shards") == files_of(alone.out, "scenes", "shards")
    assert not [p for p in [*place.out.glob(".*"), *(place.out / "scenes").glob(".*")] if p.name != ".lease"]


def test_a_driver_killed_at_seeded_moments_is_resumed_to_the_same_bytes(alone, tmp_path):
    place = Place(tmp_path, alone.clips.read_text().splitlines())
    kill_again_and_again(place, seed=1, count=4)
    place.finish(3)
    same_as(place, alone)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_many_kills(alone, tmp_path, seed):
    place = Place(tmp_path, alone.clips.read_text().splitlines())
    kill_again_and_again(place, seed, count=16)
    place.finish(3)
    same_as(place, alone)


def test_two_runs_at_once_and_status_meanwhile_and_after_a_kill(here):
    place = here
    place.list(NAMES)
    first, ledger = place.start(sleep_s=3.0), place.out / "ledger.jsonl"
    until(lambda: ledger.is_file() and ledger.stat().st_size > 0, first)
    assert f"in use by process {first.pid} on " in run(place, code=2).stderr

    seen = status(place)
    assert seen["state"] == "running" and seen["holder"]["pid"] == first.pid and seen["holder_is"] == "at work"
    assert seen["planned"] == 12 and 1 <= seen["counts"]["done"] < 12 and sum(seen["counts"].values()) == 12
    assert seen["clips_per_s"] > 0 and seen["eta_s"] > 0 and seen["published"] is None
    before = {p: p.stat().st_mtime_ns for p in place.out.iterdir() if p.is_file() and p.name != "ledger.jsonl"}
    curate("status", place.out)
    assert {p: p.stat().st_mtime_ns for p in before} == before

    first.kill()
    first.communicate()
    seen = status(place)
    assert (seen["state"], seen["holder_is"], seen["eta_s"]) == ("stopped", "gone", None)
    assert "goes on where it stopped" in curate("status", place.out).stdout
    curate("compact", place.out, code=2)  # there are clips left to do

    run(place)
    seen = status(place)
    assert seen["state"] == "finished" and seen["counts"]["done"] == 12 and seen["holder_is"] == "released"
    assert seen["published"]["samples"] == 12 and seen["published"]["all_done"]


def test_a_ledger_that_is_torn_anywhere_loses_no_scene(here, tmp_path):
    run(here)
    shutil.copytree(here.out, tmp_path / "whole")
    whole, shards = (here.out / "ledger.jsonl").read_bytes(), files_of(here.out, "shards")
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        (here.out / "ledger.jsonl").write_bytes(whole[:cut])
        assert "none needed" in run(here).stdout
        states = {e["key"]: e["state"] for e in clips_of(here.out)}
        assert list(states.values()) == ["done"] * 4 and files_of(here.out, "shards") == shards
    for out in (here.out, tmp_path / "whole"):
        curate("compact", out)
    assert ledger_files(here.out) == ledger_files(tmp_path / "whole")


def test_the_preview_counts_the_clips_of_the_last_plan(here):
    from curate.report.collect import summary

    here.list([NAMES[0], "a.mp4 timeout", "lost.mp4 timeout"])
    run(here, code=3)
    here.list([NAMES[0], "a.mp4 timeout"])
    run(here, code=3)
    seen = summary(here.out)
    assert (seen["planned"], seen["done"], seen["quarantined"], seen["num_failures"]) == (2, 1, 1, 1)


def test_a_plan_that_is_torn_is_made_again(here):
    run(here)
    (here.out / "plan.json").write_text("{")
    curate("status", here.out, code=2)
    run(here)
    assert status(here)["counts"]["done"] == 4


def test_new_inputs_are_a_new_generation_and_lost_ones_are_said(here):
    run(here)
    here.list([*NAMES[1:6]])
    done = run(here)
    assert "generation 1: 2 new clips, 1 lost (v0-0.mp4)" in done.stdout
    seen = status(here)
    numbers = [(g["number"], g["planned"], g["new"], g["lost"]) for g in seen["generations"]]
    assert numbers == [(0, 4, 4, 0), (1, 5, 2, 1)]
    assert seen["generations"][1]["named"] == ["v0-0.mp4"] and seen["counts"]["done"] == 5
    assert "2 new clips, 1 lost (v0-0.mp4)" in curate("status", here.out).stdout
    assert "plan:" not in run(here).stdout
    assert len(status(here)["generations"]) == 2  # nothing came, nothing went
    manifest = json.loads((here.out / "shards/manifest.json").read_text())
    assert manifest["totals"]["samples"] == 5 and here.scenes() == 6  # nothing is deleted


def test_compact_leaves_what_a_run_of_the_last_plan_alone_leaves(here, tmp_path, alone):
    here.list(["gone.mp4", "lost.mp4 timeout", *NAMES[:4]])
    run(here, code=3)
    here.list(alone.clips.read_text().splitlines())
    run(here, code=3)
    (here.out / "scenes/.0123.99").mkdir()
    assert "1 orphans" in curate("compact", here.out, "--dry-run").stdout and here.scenes() == 13
    same_after = curate("compact", here.out)
    assert "orphan:" in same_after.stdout and "2 generations to 1" in same_after.stdout
    same_as(here, alone)


def test_compact_leaves_shards_that_were_asked_anew(here, tmp_path):
    run(here)
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**handmade_runs.RECIPE, "name": "other"}))
    curate("ask", here.out, "--recipe", other, "--no-preview")
    before = files_of(here.out, "shards")
    assert "curate ask" in curate("compact", here.out).stdout
    assert files_of(here.out, "shards") == before


def test_failed_clips_are_tried_again_by_kind(here):
    here.list([NAMES[0], "a.mp4 timeout", "b.mp4 crash", "c.mp4 lost", "d.mp4 bad_input", "e.mp4 filtered"])
    run(here, "--set", "engine.max_failure_streak=0", code=3)
    assert status(here)["failures"] == {"bad_input": 1, "crash": 1, "lost": 1, "timeout": 1}
    told = {e["uri"]: e for e in lines(here.out / "quarantine.jsonl")}
    assert set(told) == {"a.mp4", "b.mp4", "c.mp4", "d.mp4"}
    assert told["a.mp4"]["kind"] == "timeout" and told["a.mp4"]["frames"] == [0, 6] and told["a.mp4"]["reason"]
    assert "curate retry OUT --kind timeout" in told["a.mp4"]["retry"] and "mend" in told["d.mp4"]["retry"]
    assert told["b.mp4"]["kind"] == "crash" and told["b.mp4"]["tries"] > 1

    tries = told["a.mp4"]["tries"]
    done = curate("retry", here.out, "--kind", "timeout", "--no-preview", code=3)  # it times out once more
    assert re.search(r"quarantined +4\n", done.stdout)
    told = {e["uri"]: e for e in lines(here.out / "quarantine.jsonl")}
    assert told["a.mp4"]["tries"] == 2 * tries and set(told) == {"a.mp4", "b.mp4", "c.mp4", "d.mp4"}

    here.list([NAMES[0], "a.mp4", "b.mp4", "c.mp4 lost", "d.mp4 bad_input", "e.mp4"])
    curate("retry", here.out, "--kind", "timeout", "--kind", "crash", "--no-preview", code=3)
    seen = status(here)
    assert seen["counts"] == {"done": 3, "filtered": 1, "quarantined": 2, "missing": 0}
    assert [g["again"] for g in seen["generations"]] == [{}, {"timeout": 1}, {"crash": 1, "timeout": 1}]
    curate("retry", here.out, "--kind", "filtered", "--no-preview", code=3)
    here.list([NAMES[0], "a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"])
    run(here, "--retry")
    seen = status(here)
    assert seen["counts"]["done"] == 6 and seen["last_failures"] == []
    assert (here.out / "quarantine.jsonl").read_text() == ""


def test_a_retry_that_is_killed_is_gone_on_with_by_a_plain_run(here, monkeypatch):
    here.list([NAMES[0], "a.mp4 timeout", "b.mp4 timeout"])
    run(here, code=3)
    here.list([NAMES[0], "a.mp4", "b.mp4"])

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("curate.engine.run.work", killed)
        curate("retry", here.out, "--kind", "timeout", "--no-preview", code=130)
    assert status(here)["counts"] == {"done": 1, "filtered": 0, "quarantined": 0, "missing": 2}
    run(here)
    assert status(here)["counts"]["done"] == 3


def test_retry_and_status_say_what_they_need(here, tmp_path):
    assert "no such folder" in curate("status", tmp_path / "nowhere", code=2).stderr
    assert "not a run" in curate("status", tmp_path, code=2).stderr
    assert "not a run's folder" in curate("retry", tmp_path, "--kind", "lost", code=2).stderr
    assert "not a run's folder" in curate("compact", tmp_path, code=2).stderr
    assert "'slow' is not one of" in curate("retry", tmp_path, "--kind", "slow", code=2).stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clips.txt", "r.yaml"]  # nothing is left behind
    assert set(RETRY_KINDS) == {*KINDS, "filtered"}


def test_other_perception_settings_are_refused_with_old_and_new_values(here):
    run(here)
    done = run(here, "--set", "source.width=352", "--set", "clip.num_frames=24", code=2)
    assert "source.width: 640 -> 352" in done.stderr and "clip.num_frames: 48 -> 24" in done.stderr
    assert status(here)["counts"]["done"] == 4


def test_shards_stay_where_the_lease_was_lost_while_new_ones_were_written(here, monkeypatch):
    run(here)
    before, calls = files_of(here.out, "shards"), []

    def confirm(self):
        calls.append(1)
        if len(calls) == 2:  # the first is before the write pass, the second before shards change places
            raise Fatal("taken over by process 7 on far-away")

    here.list(NAMES[:6])
    with monkeypatch.context() as patch:
        patch.setattr(Out, "confirm", confirm)
        assert "taken over by process 7" in run(here, code=1).stderr
    assert files_of(here.out, "shards") == before and not list(here.out.glob(".*partial"))
    assert not status(here)["published"]["all_done"]
    run(here)
    assert status(here)["published"] == {"samples": 6, "questions": status(here)["published"]["questions"],
                                         "all_done": True}


def test_json_logs_tell_every_step_without_secrets(here):
    here.list([NAMES[0], "a.mp4 timeout", "https://me:swordfish@host/b.mp4?sig=hunter2 bad_input"])
    done = run(here, "--json-logs", code=3)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    names = [e["event"] for e in events]
    assert names[0] == "lease" and names[-1] == "lease" and names.count("settled") == 3
    assert names.count("failure") >= 3  # a timeout is tried once more
    settled = {e["uri"]: e["state"] for e in events if e["event"] == "settled"}
    assert settled[NAMES[0]] == "done" and settled["a.mp4"] == "quarantined"
    last = next(e for e in events if e["event"] == "report")
    assert (last["planned"], last["done"], last["quarantined"], last["worked"]) == (3, 1, 2, 3)
    assert last["clips_per_s"] > 0 and last["stages"] == {"handmade": 0.01} and last["exit_code"] == 3
    assert "publish" in names and "swordfish" not in done.output and "hunter2" not in done.output
    assert "clips/s" in done.stdout and "handmade" in done.stdout
