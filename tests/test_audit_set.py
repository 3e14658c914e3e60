"""`curate audit`, and what the audit finds of clips: pictures that look alike, videos of benchmarks."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from curate.cli.main import main
from curate.engine.audit_set import audit_set
from curate.engine.run import run
from curate.engine.write import AuditFailed, write
from curate.marks import _jpeg, read_jpeg
from curate.questions import pictures
from curate.questions.overlap import Overlap, read_ids
from curate.questions.pictures import Pictures, near_pairs, picture_hash
from curate.recipe import recipe_from_dict
from curate.shards.publish import publish
from tests import shard_samples

SMALL = {"source": {"kind": "rendered", "num_scenes": 4, "seed": 1, "width": 160, "height": 96},
         "clip": {"num_frames": 8, "max_clips": 4}, "engine": {"kind": "inline"},
         "shards": {"val_share": 0.3, "test_share": 0.3},
         "questions": {"families": ["camera_displacement", "object_displacement", "object_camera_distance"]}}


def picture(seed: int, size=(96, 160)) -> np.ndarray:
    """Blobs of grey, the same picture at any size."""
    rng = np.random.default_rng(seed)
    y, x = (np.linspace(0, 1, n) for n in size)
    grey = sum(rng.uniform(-80, 80) * np.exp(-((y[:, None] - rng.uniform()) ** 2 + (x - rng.uniform()) ** 2) / 0.03)
               for _ in range(30))
    return np.repeat(np.clip(grey + 128, 0, 255).astype(np.uint8)[..., None], 3, 2)


# ---- pictures ----

def bits(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()


@pytest.mark.parametrize("change", [
    lambda p: read_jpeg(_jpeg(p, 60)), lambda p: (p * 0.8).astype(np.uint8), lambda p: p[..., 0],
    lambda p: np.clip(p.astype(int) + 12, 0, 255).astype(np.uint8)], ids=["compressed", "darker", "grey", "brighter"])
def test_a_hash_stands_what_copies_do_to_a_picture(change):
    for seed in range(5):
        assert bits(picture_hash(picture(seed)), picture_hash(change(picture(seed)))) <= pictures.MOST_BITS
        assert bits(picture_hash(picture(seed)), picture_hash(picture(seed, (241, 323)))) <= pictures.MOST_BITS
        assert bits(picture_hash(picture(seed)), picture_hash(picture(seed + 5))) > 20


def test_a_flat_picture_has_no_hash():
    assert picture_hash(np.full((40, 60, 3), 7, np.uint8)) == b"" == picture_hash(np.zeros((5, 5, 3), np.uint8))


def test_clips_of_different_recordings_that_look_alike_are_told_by_their_keys():
    held = Pictures()
    for seed, recording, split in [(1, "a", "train"), (2, "b", "train"), (1, "c", "val"), (1, "a", "train"),
                                   (3, "d", "train"), (3, "d", "train"), (2, "e", "train")]:
        held.add(picture_hash(picture(seed)), recording, split)
    held.add(b"", "f", "train")
    found = held.report([f"k{i}" for i in range(8)])
    assert found == {"compared": 7, "groups": 2, "clips": 5, "across_splits": 1,
                     "listed": [["k0", "k2", "k3"], ["k1", "k6"]]}


def test_near_hashes_are_found_as_by_comparing_each_with_each():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (60, 16)).astype(np.uint8)
    copies = hashes.copy()
    for row in copies:
        for bit in rng.integers(0, 128, int(rng.integers(0, 10))):
            row[bit // 8] ^= 1 << (bit % 8)
    both = np.concatenate([hashes, copies])
    recordings = np.arange(120).astype(np.uint64)
    found = {(min(i, j), max(i, j)) for a, b in near_pairs(both, recordings) for i, j in zip(a.tolist(), b.tolist())}
    assert found == {(i, j) for i in range(120) for j in range(i + 1, 120)
                     if bits(both[i].tobytes(), both[j].tobytes()) <= pictures.MOST_BITS}


# ---- benchmarks ----

@pytest.mark.parametrize("line,uri,found", [
    ("https://x.org/videos_real/davis/Aerobatics.mp4", "raw/aerobatics.MP4", True),
    ("dQw4-9WgXcQ", "yt/left_dqw4-9wgxcq_0001.mp4", True), ("dQw4-9WgXcQ", "dQw4-9WgXcQ/v0.mp4", True),
    ("aerobatics", "aerobatics2.mp4", False), ("0001", "clip_0001.mp4", False), ("0001", "0001.mp4", True),
    ("2011_09_26_drive_0005_sync", "kitti/2011_09_26/2011_09_26_drive_0005_sync/image_02", True)])
def test_an_id_is_met_whole_and_not_within_a_word(tmp_path, line, uri, found):
    (tmp_path / "ids.txt").write_text(f"# videos\n\n{line}\n")
    overlap = Overlap(read_ids([tmp_path / "ids.txt"]))
    overlap.add("k", uri, "recording")
    assert overlap.report() == {"ids": 1, "clips": int(found), "videos": int(found),
                                "listed": {line: f"k ({uri})"} if found else {}}


@pytest.mark.parametrize("data,said", [(None, "no such file"), (b"\n# none\n", "no id"), (b"\xff\xfe\x00a", "UTF-8")])
def test_a_list_that_is_none_is_refused_by_name(tmp_path, data, said):
    if data is not None:
        (tmp_path / "ids.txt").write_bytes(data)
    with pytest.raises(ValueError, match=said) as caught:
        read_ids([tmp_path / "ids.txt"])
    assert "ids.txt" in str(caught.value)


# ---- the run, the command ----

@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("audited") / "out"
    assert run(recipe_from_dict(SMALL), path).exit_code == 0
    return path


@pytest.fixture(scope="module")
def leaking(tmp_path_factory):
    """A set whose right answer is always B."""
    path = tmp_path_factory.mktemp("leaking")
    publish(path, shard_samples.samples(210, num_bytes=10))
    return path


def curate(*args):
    return CliRunner().invoke(main, ["audit", *map(str, args)])


def test_a_run_and_the_command_say_the_same(out):
    told = json.loads((out / "questions.json").read_text())
    done = curate(out, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["families"] == told["audit"]["families"]
    assert found["duplicates"]["compared"] == 4 and found["duplicates"] == told["audit"]["duplicates"]
    assert {name: own["clips"] for name, own in found["splits"].items()} == {
        name: own["clips"] for name, own in told["splits"].items()}
    assert sum(own["clips"] for own in told["splits"].values()) == 4


def test_a_set_that_leaks_ends_with_1_and_names_the_guesser(leaking):
    done = curate(leaking)
    assert done.exit_code == 1 and "option leak:  fail" in done.stdout
    assert "object_direction (letter B: 100% right, chance 25%)" in done.stderr
    found = json.loads(curate(leaking, "--json").stdout)
    assert found["verdict"] == "fail" and found["families"][0]["recordings"] == 105
    assert found["duplicates"]["compared"] == 0  # nothing is staged beside the shards
    assert "letter B" in curate(leaking, "--all").stdout


def test_a_video_of_a_benchmark_ends_with_1(out, leaking, tmp_path):
    (tmp_path / "ids.txt").write_text("scene-1-0000\nother\n")
    done = curate(out, "--benchmark-ids", tmp_path / "ids.txt")
    assert done.exit_code == 1 and "scene-1-0000" in done.stderr and "clips of 1 of 2 videos" in done.stdout
    assert audit_set(out, ids=read_ids([tmp_path / "ids.txt"]), overlap_fails=False)["verdict"] != "fail"


def test_a_recipe_with_benchmark_ids_stops_the_run_before_it_publishes(out, tmp_path):
    (tmp_path / "ids.txt").write_text("scene-1-0000")
    keys = [p.name for p in (out / "scenes").iterdir()]
    before = (out / "shards/manifest.json").read_bytes()
    recipe = recipe_from_dict(SMALL, [f"questions.audit.benchmark_ids=[{tmp_path / 'ids.txt'}]"])
    with pytest.raises(AuditFailed, match="scene-1-0000"):
        write(out, keys, recipe, {})
    assert (out / "shards/manifest.json").read_bytes() == before
    assert recipe.writing_fingerprint() == recipe_from_dict(SMALL).writing_fingerprint()  # no question is another
    reported = recipe_from_dict(SMALL, [f"questions.audit.benchmark_ids=[{tmp_path / 'ids.txt'}]",
                                        "questions.audit.overlap=report"])
    assert write(out, keys, reported, {})["audit"]["overlap"]["videos"] == 1


def test_a_mixture_is_in_the_report_and_in_the_manifest(out):
    keys = [p.name for p in (out / "scenes").iterdir()]
    recipe = recipe_from_dict(SMALL, ["questions.mixture={by: r4d, shares: {DP: 1, DM: 1}, tolerance: 0}"])
    made = write(out, keys, recipe, {})
    told = json.loads((out / "shards/manifest.json").read_text())["run"]["mixture"]
    assert told == made["mixture"] == json.loads((out / "questions.json").read_text())["mixture"]
    share = {c["column"]: c["questions"] for c in told["columns"]}
    assert share["DP"] == share["DM"] > 0 and share.get("other", 0) == 0
    assert made["questions"] == share["DP"] + share["DM"]
    assert sum(own["questions"] for own in made["splits"].values()) == made["questions"]


def test_the_summary_holds_mixture_splits_and_audit_and_a_missing_list_is_a_fault_of_the_recipe(out, tmp_path):
    def ask(*settings):
        (tmp_path / "r.yaml").write_text(json.dumps(SMALL))
        return CliRunner().invoke(main, ["ask", str(out), "--recipe", str(tmp_path / "r.yaml"), "--no-preview",
                                         *(part for s in settings for part in ("--set", s))])

    done = ask("questions.mixture=mllm4d")
    assert done.exit_code == 0 and "mixture by mllm4d" in done.stdout and "option leak:  not judged" in done.stdout
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("lateral_shift"))
    assert row[:5] == ["lateral_shift", "14.3", "0.0", "0", "0"]
    done = ask("questions.audit.benchmark_ids=[none.txt]")
    assert done.exit_code == 2 and "benchmark_ids: none.txt: no such file" in done.stderr


def test_what_is_no_set_is_said(tmp_path):
    assert curate(tmp_path / "none").exit_code == 2 and "no such folder" in curate(tmp_path / "none").stderr
    done = curate(tmp_path)
    assert done.exit_code == 1 and "manifest" in done.stderr
    assert curate(tmp_path, "--benchmark-ids", tmp_path / "ids.txt").exit_code == 2
