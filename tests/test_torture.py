"""A small torture: a run that is killed at seeded moments ends with the bytes of one that was left alone."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys

import pytest

from benchmarks.torture import schedule
from benchmarks.torture_account import Reference


@pytest.fixture(scope="module")
def tortured(tmp_path_factory):
    """In a process of its own, as it forks: this one may have threads."""
    rows = tmp_path_factory.mktemp("torture") / "rows.json"
    done = subprocess.run([sys.executable, "-m", "benchmarks.torture", "--seed", "1", "--recordings", "1",
                           "--inline-kills", "20", "--ray-kills", "0", "--workers", "0", "--nodes", "0",
                           "--out", str(rows)], capture_output=True, text=True, timeout=600)
    return done, {row["name"]: row["value"] for row in json.loads(rows.read_text())["rows"]}


def test_drivers_killed_at_seeded_moments_leave_the_bytes_of_a_run_left_alone(tortured):
    done, rows = tortured
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows["driver, inline: kills"] == 20
    assert rows["driver, inline: rounds that differ from the run left alone"] == 0
    assert rows["driver, inline: hangs"] == 0


def test_the_schedule_is_said_first_and_comes_from_the_seed(tortured):
    faults = " ".join(map(str, schedule(1, 20, (4, 1), 100, 30)))
    assert faults == " ".join(map(str, schedule(1, 20, (4, 1), 100, 30)))
    assert faults != " ".join(map(str, schedule(2, 20, (4, 1), 100, 30)))
    said = next(line for line in tortured[0].stdout.splitlines() if line.startswith("driver kills inline: "))
    assert len(said.split(": ", 1)[1].split()) == 20
    assert {kind.split(":")[0] for kind in said.split(": ", 1)[1].split()} == {"time", "file", "publish"}


def test_the_comparison_finds_a_changed_a_missing_and_a_further_file_and_another_end(tmp_path):
    from curate.shards.publish import publish
    from tests.shard_samples import samples

    def make(name):
        out = tmp_path / name
        (out / "scenes/aa").mkdir(parents=True)
        (out / "scenes/aa/scene.npz").write_bytes(b"scene")
        (out / "ledger.jsonl").write_text(json.dumps({"key": "aa", "state": "done"}) + "\n")
        (out / "questions.json").write_text(json.dumps({"questions": 4}))
        publish(out, samples(2))
        return out

    reference, out = Reference(make("one")), make("two")
    assert reference.differences(out) == []
    with (out / "ledger.jsonl").open("a") as f:
        f.write('{"key": "aa", "st')  # a line that a kill tore changes nothing
    assert reference.differences(out) == []
    (out / "scenes/aa/scene.npz").write_bytes(b"Scene")
    (out / "scenes/.bb.77").mkdir()
    (out / "questions.json").unlink()
    assert "questions.json" in reference.differences(out)[0]
    shutil.copy(tmp_path / "one/questions.json", out)
    (out / "ledger.jsonl").write_text(json.dumps({"key": "aa", "state": "quarantined", "kind": "lost"}) + "\n")
    shard = random.Random(0).choice(sorted((out / "shards").glob("*.tar")))
    shard.write_bytes(shard.read_bytes()[:-512])
    found = "\n".join(reference.differences(out))
    for words in ("scenes/aa/scene.npz: other bytes", "clip aa: ended ('quarantined', 'lost'", "scenes/.bb.77: left",
                  f"shards/{shard.name}: other bytes", "verify: "):
        assert words in found, found
