"""`curate verify` objects to whatever is done to a byte, a file or a member, and says which clips to make again."""

import json
import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from curate.cli.main import main
from curate.engine.check import check_run
from curate.engine.run import run
from curate.recipe import recipe_from_dict
from curate.shards import verify
from curate.shards.sidecars import CHECKSUMS
from curate.shards.verify import clips_of

SMALL = {"source": {"kind": "rendered", "num_scenes": 3, "seed": 1, "width": 160, "height": 96},
         "clip": {"num_frames": 8, "max_clips": 3}, "engine": {"kind": "inline"}, "shards": {"max_samples": 2}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run(recipe_from_dict(SMALL), out).exit_code == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "out"))


def problems(out, deep=False):
    return [*check_run(out, deep), *verify(out)]


def keys(out) -> list[str]:
    return sorted(p.name for p in (out / "scenes").iterdir())


def in_shards(out) -> dict[str, list[tuple[str, int, int]]]:
    """Shard to (key, begin, end) of its samples."""
    places: dict[str, list[tuple[str, int, int]]] = {}
    for line in (out / "shards" / CHECKSUMS).read_text().splitlines():
        _, size, shard, key = line.split(" ")
        begin = places[shard][-1][2] if shard in places else 0
        places.setdefault(shard, []).append((key, begin, begin + int(size)))
    return places


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << at % 8
    path.write_bytes(data)


def test_a_finished_run_is_whole(out):
    assert problems(out, deep=True) == []
    done = CliRunner().invoke(main, ["verify", str(out), "--deep"])
    assert done.exit_code == 0 and "whole" in done.stdout


@pytest.mark.parametrize("what", ["flip", "cut", "delete", "double", "empty"])
def test_whatever_happens_to_a_staged_file_names_its_clip(whole, tmp_path, what):
    rng = random.Random(what)
    files = sorted(p.relative_to(whole) for p in (whole / "scenes").rglob("*") if p.is_file())
    for index, name in enumerate(rng.sample(files, 12)):
        out = Path(shutil.copytree(whole, tmp_path / str(index)))
        path = out / name
        data = path.read_bytes()
        if what == "flip":
            flip(path, rng.randrange(len(data)))
        elif what == "cut":
            path.write_bytes(data[:rng.randrange(len(data))])
        elif what == "delete":
            path.unlink()
        elif what == "double":
            path.with_name(f"again-{path.name}").write_bytes(data)
        else:
            path.write_bytes(b"")
        found = problems(out)
        assert found, f"{what} {name}"
        assert {path.parent.name} == set(clips_of(p for p in found if p.file.startswith("scenes/"))), f"{what} {name}"
        assert any("curate run" in p.fix for p in found)
        shutil.rmtree(out)


def test_a_flipped_byte_of_a_shard_names_the_clip_it_is_in(out):
    rng = random.Random(7)
    for _ in range(40):
        shard, samples = rng.choice(sorted(in_shards(out).items()))
        key, begin, end = rng.choice(samples)
        path, at = out / "shards" / shard, rng.randrange(begin, end)
        flip(path, at)
        found = problems(out)
        assert key in clips_of(p for p in found if p.file == shard), f"{shard} at {at}"
        assert all("curate" in p.fix for p in found)
        flip(path, at)
    assert problems(out) == []


def test_bytes_taken_out_or_put_into_a_shard_are_found(out):
    rng = random.Random(8)
    for shard, samples in in_shards(out).items():
        path = out / "shards" / shard
        data = path.read_bytes()
        for _ in range(6):
            key, begin, end = rng.choice(samples)
            a, b = sorted(rng.sample(range(begin, end), 2))
            path.write_bytes(data[:a] + data[b:])  # cut out of the middle
            assert key in clips_of(verify(out)), f"{shard} without {a}..{b}"
            path.write_bytes(data[:a])
            assert key in clips_of(verify(out)), f"{shard} cut at {a}"
            path.write_bytes(data[:end] + data[begin:end] + data[end:])  # a sample twice
            assert verify(out), f"{shard} with {key} twice"
            path.write_bytes(data[:begin] + data[end:])  # a sample gone
            assert key in clips_of(verify(out)), f"{shard} without {key}"
        path.unlink()
        assert {key for key, _, _ in samples} <= set(clips_of(verify(out)))
        path.write_bytes(data)
    assert verify(out) == []


def test_any_byte_of_any_published_file_counts(out):
    rng = random.Random(9)
    files = sorted(p for p in (out / "shards").rglob("*") if p.is_file())
    for path in files:
        data = path.read_bytes()
        for at in [0, len(data) - 1, *(rng.randrange(len(data)) for _ in range(4))]:
            flip(path, at)
            assert verify(out), f"{path.name} at {at}"
            flip(path, at)
        path.write_bytes(data + b"\0")
        assert verify(out), f"{path.name} with a byte more"
        path.unlink()
        assert verify(out), f"without {path.name}"
        path.write_bytes(data)
    (out / "shards/stray.tar").write_bytes(b"")
    assert any("not in the manifest" in p.what for p in verify(out))


def test_a_set_that_is_consistent_but_another_is_found_by_the_table(out):
    """A table written anew for other answers: each file is as the manifest says, the two tell different things."""
    import hashlib

    import pyarrow.parquet as pq

    from curate.shards import manifest

    path = out / "shards/samples.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    changed, gone, doubled = rows[0], rows[-1], rows[len(rows) // 2]
    changed["answer"] += "1"
    again = [row for row in rows if row["key"] != gone["key"] or row["split"] != gone["split"]]
    again.insert(again.index(doubled) if doubled in again else 0, doubled)
    pq.write_table(table.from_pylist(again, schema=table.schema), path)
    content = manifest.load(out / "shards")
    content["sidecars"]["samples.parquet"] = {"bytes": path.stat().st_size,
                                              "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    content["digest"] = manifest._digest(content)
    (out / "shards/manifest.json").write_bytes(manifest.to_bytes(content))
    found = verify(out)
    assert {p.file for p in found} == {"samples.parquet"}
    assert {changed["key"], gone["key"], doubled["key"]} <= set(clips_of(found))


def test_a_clip_that_is_gone_from_the_scenes_or_from_the_set_is_named(out):
    key = keys(out)[1]
    shutil.rmtree(out / "scenes" / key)
    found = problems(out)
    assert any(p.key == key and "the ledger says that the clip is done" in p.what for p in found)
    assert any("not staged" in p.what and key in p.clips for p in found)


def test_a_plan_that_was_altered_is_found(out):
    clips = next(out.glob("clips-*.jsonl"))
    rng = random.Random(3)
    for _ in range(10):
        at = rng.randrange(clips.stat().st_size)
        flip(clips, at)
        assert problems(out), f"byte {at}"
        flip(clips, at)
    ledger = out / "ledger.jsonl"
    ledger.write_text('{"torn\n' + ledger.read_text())
    assert any("line 1 is torn" in p.what for p in problems(out))


def test_media_that_fit_their_digest_and_do_not_decode_are_found_on_demand(out):
    from curate.engine.stage import digest_of

    folder = out / "scenes" / keys(out)[0]
    video = (folder / "v0.mp4").read_bytes()
    (folder / "v0.mp4").write_bytes(video[:len(video) // 3] + bytes(len(video) - len(video) // 3))
    (folder / "frame.jpg").write_bytes(b"no picture")
    (folder / "digest").write_bytes(digest_of({p.name: p.read_bytes() for p in folder.iterdir()
                                               if p.name != "digest"}))
    assert not [p for p in problems(out) if p.file.startswith("scenes/")]
    found = {Path(p.file).name for p in problems(out, deep=True) if p.file.startswith("scenes/")}
    assert found == {"v0.mp4", "frame.jpg"}


def test_the_command_that_verify_prints_mends_the_run(out, whole):
    key = keys(out)[0]
    flip(out / "scenes" / key / "scene.npz", 1000)
    told = CliRunner().invoke(main, ["verify", str(out), "--json"])
    assert told.exit_code == 1 and json.loads(told.stdout.splitlines()[0])["key"] == key
    done = CliRunner().invoke(main, ["verify", str(out), "--discard"])
    assert done.exit_code == 1 and f"clips to make again (1): {key}" in done.stdout and "--discard" in done.stdout
    assert not (out / "scenes" / key).exists()
    assert run(recipe_from_dict(SMALL), out).exit_code == 0
    assert problems(out, deep=True) == []
    for path in (whole / "shards").rglob("*"):
        if path.is_file():
            assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()
