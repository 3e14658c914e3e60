"""Damaged, wrong and malicious inputs: a reason in words, never a crash. What fuzzing found, and a small run of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from benchmarks import fuzz, fuzz_shards
from curate.shards.publish import publish
from curate.sources import make_source
from curate.sources.config import SideBySideConfig, StereoPairConfig
from tests.shard_samples import samples
from tests.source_media import eyes, refused, write_packed, write_pair


def packed_source(root, **fields):
    return make_source(SideBySideConfig(root=str(root), **fields))


def test_a_video_behind_a_link_out_of_the_root_is_not_read(tmp_path):
    write_packed(tmp_path / "private/a.mp4", eyes(), 2)
    write_packed(tmp_path / "in/b.mp4", eyes(), 2)
    (tmp_path / "in/a.mp4").symlink_to(tmp_path / "private/a.mp4")
    (bad, reason), good = list(packed_source(tmp_path / "in").plan())
    assert bad.uri == "a.mp4" and "leads out of" in reason and good.uri == "b.mp4"
    with pytest.raises(Exception, match="leads out of"):
        packed_source(tmp_path / "in").open(replace(good, uri="../private/a.mp4"))


def test_a_calibration_behind_a_link_out_of_the_root_is_not_read(tmp_path):
    write_packed(tmp_path / "in/a.mp4", eyes(), 2)
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "in/a.calib.json").unlink()
    (tmp_path / "in/a.calib.json").symlink_to(tmp_path / "secret.json")
    assert "leads out of" in refused(packed_source(tmp_path / "in"), "a.calib.json")


def test_a_root_that_is_itself_a_link_and_links_within_it_are_fine(tmp_path):
    write_packed(tmp_path / "real/a.mp4", eyes(), 2)
    (tmp_path / "real/b.mp4").symlink_to("a.mp4")
    (tmp_path / "real/b.calib.json").symlink_to("a.calib.json")
    (tmp_path / "in").symlink_to("real")
    assert [clip.uri for clip in packed_source(tmp_path / "in").plan()] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("name", ["left", "calib.json", "times.txt"])
def test_nothing_of_a_pair_may_lie_outside_of_the_root(tmp_path, name):
    write_pair(tmp_path / "in")
    (tmp_path / "in/times.txt").write_text("".join(f"{i / 10}\n" for i in range(10)))
    (tmp_path / "in" / name).rename(tmp_path / name)
    (tmp_path / "in" / name).symlink_to(tmp_path / name)
    source = make_source(StereoPairConfig(root=str(tmp_path / "in"), timestamps="times.txt"))
    assert name in refused(source, "leads out of")


@pytest.mark.parametrize(("fields", "words"), [
    ({"baseline_m": 1e-300}, "baseline is 1e-300 m.*in metres"), ({"baseline_m": 1e300}, r"baseline is 1e\+300 m"),
    ({"fx": 1e-5}, "fx of the left camera is 1e-05 px"), ({"fy": 1e300}, "fy of the left camera")])
def test_lengths_of_no_camera_are_refused(tmp_path, fields, words):
    write_packed(tmp_path / "a.mp4", eyes(), 2, {"fx": 80.0, "baseline_m": 0.1} | fields)
    refused(packed_source(tmp_path), words)


@pytest.mark.parametrize("time", ["1e40", "1e10000", "9" * 30, "nan"])
def test_times_that_no_clock_shows_are_refused(tmp_path, time):
    write_pair(tmp_path)
    (tmp_path / "times.txt").write_text("".join(f"{i / 10}\n" for i in range(9)) + f"{time}\n")
    refused(make_source(StereoPairConfig(root=str(tmp_path), timestamps="times.txt")), r"times\.txt:10: found")


def test_times_in_a_wrong_unit_are_refused(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "times.txt").write_text("".join(f"{i * 1e-7:.8f}\n" for i in range(10)))
    refused(make_source(StereoPairConfig(root=str(tmp_path), timestamps="times.txt")), "100 ns apart.*in seconds")


@pytest.mark.parametrize(("text", "words"), [
    ("[" * 100_000, "a.calib.json: not a calibration"), ('{"fx": ' + "9" * 5000 + "}", "a.calib.json"),
    ('{"fx": "' + "x" * 5000 + '"}', r"a.calib.json: fx: .*found 'x+\.\.\."),
    ('{"fx": 80, "baseline_m": 1, "rotation_right_left": [1, 0, 0, 0, -1, 0, 0, 0, 1]}', "a.calib.json: .*mirrors")])
def test_a_calibration_that_is_none_is_refused_in_one_short_line(tmp_path, text, words):
    write_packed(tmp_path / "a.mp4", eyes(), 2)
    (tmp_path / "a.calib.json").write_text(text)
    assert len(refused(packed_source(tmp_path), words)) < 600


def test_pictures_smaller_than_any_estimator_takes_are_refused(tmp_path):
    write_packed(tmp_path / "a.mp4", [eye[:, :16, :16] for eye in eyes()], 2, {"fx": 8.0, "baseline_m": 0.1})
    refused(packed_source(tmp_path), "16x16 for an eye, expected at least 32")


def test_a_mutated_shard_set_is_refused_or_read_and_its_change_is_found(tmp_path):
    publish(tmp_path, samples(4), max_samples=2)
    known = {key: "" for key, _, _ in fuzz_shards.snapshot(tmp_path / "shards")}
    for number in range(60):
        what = fuzz_shards.mutate_set(random.Random(number), tmp_path / "shards", tmp_path / "mutated")
        assert what is None or fuzz_shards.check_set(tmp_path / "mutated", known) is None, (number, what)


@pytest.mark.parametrize("record", [b"[" * 100_000, b'{"version": 1}', b"\xff"])
def test_a_sample_whose_json_is_none_is_refused_by_the_reader(tmp_path, record):
    from curate.shards import ShardError, read

    publish(tmp_path, samples(1))
    (shard,) = (tmp_path / "shards").glob("*.tar")
    members = [(info, record if info.name.endswith(".json") else data)
               for info, data in fuzz_shards.unpack(shard.read_bytes())]
    for info, data in members:
        info.size = len(data)
    (tmp_path / "one.tar").write_bytes(fuzz_shards.pack(members))
    with pytest.raises(ShardError, match="json"):
        list(read(tmp_path / "one.tar"))


def test_the_check_of_mutated_sets_can_fail(tmp_path):
    publish(tmp_path, samples(2))
    assert fuzz_shards.check_set(tmp_path / "shards", {}).startswith("the reader gave a sample")
    assert fuzz_shards.check_set(tmp_path / "shards", {f"{n:024x}": "" for n in range(2)}) == "verify found nothing"


def test_a_reason_must_name_the_input_and_be_no_traceback():
    entry = {"start": 0, "num_frames": 6, "state": "quarantined", "kind": "bad_input", "reason": "00007.mp4: empty"}
    for fields, faults in (({}, 0), ({"reason": "00007.mp4: KeyError"}, 0), ({"reason": "KeyError: 3"}, 1),
                           ({"reason": "empty"}, 1), ({"reason": ""}, 1), ({"kind": "error"}, 1)):
        found = fuzz.Findings()
        fuzz.judge(7, "zero bytes", [entry | fields], found)
        assert len(found.faults) == faults, json.dumps(fields)
    found = fuzz.Findings()
    fuzz.judge(7, "zero bytes", [], found)
    fuzz.judge(7, "link out of the root", [entry | {"state": "done"}], found)
    assert len(found.faults) == 2


def test_inputs_and_recipes_of_a_small_fuzz_are_all_accounted_for(tmp_path):
    """In a process of its own, as it forks: this one may have threads."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "benchmarks.fuzz", "--seed", "3", "--inputs", "24", "--recipes", "60",
                           "--shards", "0", "--out", str(tmp_path / "rows.json")], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert rows["mutated inputs tried"] == 24 and rows["mutated recipes tried"] == 60
