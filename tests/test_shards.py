"""Shards: what is written is what is read, by us and by others; nothing torn or altered passes."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import tarfile
from dataclasses import fields
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import shards
from curate.questions.question import Question
from curate.shards import ShardError, manifest, schema, tar
from curate.shards.publish import publish
from curate.shards.reader import Place, shares
from curate.shards.sample import decode_rle, encode_rle
from curate.shards.writer import ShardWriter, split_of
from tests import shard_samples

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Seven clips in three shards; not to be changed."""
    out = tmp_path_factory.mktemp("published")
    publish(out, shard_samples.samples(7), run_info={"planned": 7}, fingerprints={"writing": "ab"}, max_samples=3)
    return out / "shards"


@pytest.fixture
def copy(published, tmp_path):
    """A copy to break."""
    import shutil

    return Path(shutil.copytree(published, tmp_path / "set"))


def as_lists(value):
    """Tuples as JSON reads them, NaN as something equal to itself."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, dict):
        return {k: as_lists(v) for k, v in value.items()}
    return [as_lists(v) for v in value] if isinstance(value, list | tuple) else value


def test_schema_has_every_field_of_a_question():
    names = {f.name for f in fields(Question)}
    stored = {n.removesuffix("_json") for n in schema.QUESTION}
    assert names == stored


def test_roundtrip(published):
    items = list(shards.read(published))
    made = [s for s in shard_samples.samples(7)]
    expected = [q.to_json() for s in range(7) for q in shard_samples.questions(shard_samples.scene(s))]
    assert as_lists([i["qa"] for i in items]) == as_lists(expected)
    assert math.isnan(items[1]["qa"]["value"])
    assert items[0]["qa"]["quantities"][0]["extra"]["far"] == math.inf
    clips = list(shards.read(published.parent, flatten=False))
    assert [c["key"] for c in clips] == [s.key for s in made]
    assert all(dict(c["media"]) == s.parts for c, s in zip(clips, made))
    assert shards.read(published).num_items() == 14
    region = shard_samples.scene(0).regions[0]
    assert (decode_rle(clips[0]["json"]["regions"][0]["mask_rle"]) == region.mask_first).all()


def test_media_are_lazy_shared_and_picklable(published):
    first, second = list(shards.read(published))[:2]
    assert first["media"]["v0.mp4"] is second["media"]["v0.mp4"]
    assert pickle.loads(pickle.dumps(first["media"])) == dict(first["media"])


def test_same_bytes_again(published, tmp_path):
    publish(tmp_path, shard_samples.samples(7), run_info={"planned": 7}, fingerprints={"writing": "ab"}, max_samples=3)
    names = sorted(p.relative_to(published) for p in published.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path / "shards") for p in (tmp_path / "shards").rglob("*") if p.is_file())
    assert len(names) == 2 * 3 + 8  # shards, the index of each, and what lies beside them
    for name in names:
        assert (published / name).read_bytes() == (tmp_path / "shards" / name).read_bytes(), name


def test_whole_set_verifies(published):
    assert shards.verify(published) == [] == shards.verify(published.parent)


def test_metadata_is_fixed(published):
    with tarfile.open(published / "train-000000.tar") as archive:
        members = archive.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}
    assert [m.name.split(".", 1)[1] for m in members[:4]] == ["mark.jpg", "v0.mp4", "v1.mp4", "json"]


def test_shards_split_by_bytes_and_samples(tmp_path):
    sizes = publish(tmp_path, shard_samples.samples(5), max_bytes=1, max_samples=10)
    assert [s["samples"] for s in sizes["shards"]] == [1] * 5
    assert shards.verify(tmp_path) == []


def test_splits_and_text_only(tmp_path):
    made = [shard_samples.sample(i, split="val" if i // 2 == 1 else "train", text_only=True) for i in range(5)]
    content = publish(tmp_path, made)
    assert content["parts"] == ["json"]
    assert {k: v["samples"] for k, v in content["splits"].items()} == {"train": 3, "val": 2}
    assert [c["key"] for c in shards.read(tmp_path, "val", flatten=False)] == [made[2].key, made[3].key]
    with pytest.raises(ShardError, match="no split 'test'; there is train, val"):
        shards.read(tmp_path, "test")


def test_question_layout(tmp_path):
    publish(tmp_path, shard_samples.samples(3), layout="question")
    clips = list(shards.read(tmp_path, flatten=False))
    assert [c["key"][-5:] for c in clips] == ["-q000", "-q001"] * 3
    assert all(len(c["json"]["qa"]) == 1 for c in clips)
    assert shards.verify(tmp_path) == []


def test_empty_set(tmp_path):
    publish(tmp_path, [])
    assert list(shards.read(tmp_path)) == []
    assert shards.verify(tmp_path) == []


def test_failed_publication_keeps_the_old_set(tmp_path):
    publish(tmp_path, shard_samples.samples(2))
    before = {p.name: p.read_bytes() for p in (tmp_path / "shards").glob("*.*") if p.is_file()}

    def broken():
        yield shard_samples.sample(0)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        publish(tmp_path, broken())
    assert {p.name: p.read_bytes() for p in (tmp_path / "shards").glob("*.*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["shards"]


def test_interrupted_swap_is_mended(tmp_path):
    publish(tmp_path, shard_samples.samples(2))
    (tmp_path / "shards").rename(tmp_path / ".shards.replaced")
    (tmp_path / ".shards.partial").mkdir()
    publish(tmp_path, shard_samples.samples(3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shards"]
    assert shards.verify(tmp_path) == []


@pytest.mark.parametrize("order, message", [([1, 0], "in key order"), ([0, 0], "in key order")])
def test_writer_wants_key_order(tmp_path, order, message):
    with pytest.raises(ShardError, match=message), ShardWriter(tmp_path, "train") as writer:
        for seed in order:
            writer.add(shard_samples.sample(seed))
    assert list(tmp_path.iterdir()) == []


def test_writer_wants_the_same_parts(tmp_path):
    with pytest.raises(ShardError, match="same parts"), ShardWriter(tmp_path, "train") as writer:
        writer.add(shard_samples.sample(0))
        writer.add(shard_samples.sample(1, text_only=True))


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("up"), "up: missing"),
    (lambda s: s.update(colour="red"), "colour: not a field"),
    (lambda s: s.update(baseline_m=np.float64(1.0)), r"baseline_m: expected float64, got numpy\.float64"),
    (lambda s: s.update(baseline_m=math.nan), "write null"),
    (lambda s: s.update(baseline_m=None), "expected float64"),
    (lambda s: s.update(num_frames=True), "expected int64"),
    (lambda s: s.update(key="A.b"), "no dots"),
    (lambda s: s["qa"][0].update(answer=1.8), "expected string"),
    (lambda s: s["qa"][1].update(letter="A"), "the answer is 'right'"),
    (lambda s: s["qa"][0].update(regions=[77]), "not among the sample's regions"),
    (lambda s: s["qa"][0].update(end_frame=6), "not in 0..5"),
    (lambda s: s["qa"][0].update(extra_json="{"), "not JSON text"),
    (lambda s: s["qa"][1].update(id=s["qa"][0]["id"]), "occurs twice"),
    (lambda s: s["regions"][0]["mask_rle"]["counts"].append(1), "counts sum"),
    (lambda s: s["camera"]["T_world_cam"].pop(), "T_world_cam"),
    (lambda s: s["time_s"].__setitem__(1, 0.0), "strictly increasing"),
    (lambda s: s.update(version=1), "this reads version 2"),
])
def test_validation_names_the_field(change, message):
    record = json.loads(schema.to_bytes(shard_samples.sample(0).json))
    schema.validate(record)
    change(record)
    with pytest.raises(ShardError, match=message):
        schema.validate(record)


def test_json_schema_fits_what_is_written():
    exported = schema.json_schema()
    jsonschema.Draft202012Validator.check_schema(exported)
    record = json.loads(schema.to_bytes(shard_samples.sample(0).json))
    jsonschema.validate(record, exported)
    record["qa"][0]["value"] = "1.8"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, exported)


FREE = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=9)


@given(FREE)
def test_free_records_come_back(value):
    text = schema.dump_free(value)
    json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert as_lists(schema.load_free(text)) == as_lists(value)


@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_run_lengths_come_back(height, width, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width)))
    mask = mask.reshape(height, width)
    rle = encode_rle(mask)
    assert sum(rle["counts"][1::2]) == mask.sum()
    assert (decode_rle(rle) == mask).all()


def test_split_of_keeps_a_recording_together():
    names = [f"video-{i}" for i in range(2000)]
    share = np.mean([split_of(n, 0.1) == "val" for n in names])
    assert abs(share - 0.1) < 0.03
    assert {split_of(n, 0) for n in names} == {"train"} and {split_of(n, 1) for n in names} == {"val"}
    assert all(split_of(n, 0.3) == "val" for n in names if split_of(n, 0.1) == "val")


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(1, 6), st.integers(1, 6))
def test_every_sample_goes_to_exactly_one_consumer(counts, world_size, num_workers):
    read = []
    for rank in range(world_size):
        for worker in range(num_workers):
            for shard, offset, stride in shares(len(counts), Place(rank, world_size, worker, num_workers)):
                read += [(shard, i) for i in range(offset, counts[shard], stride)]
    assert sorted(read) == [(s, i) for s, n in enumerate(counts) for i in range(n)]


@pytest.mark.parametrize("world_size, num_workers", [(1, 1), (2, 1), (2, 2), (5, 3)])
@pytest.mark.parametrize("seed", [None, 3])
def test_partition_of_a_real_set(published, world_size, num_workers, seed):
    keys = [item["key"] for rank in range(world_size) for worker in range(num_workers)
            for item in shards.read(published, shuffle_seed=seed, shuffle_buffer=3, rank=rank, world_size=world_size,
                                    worker=worker, num_workers=num_workers)]
    assert len(keys) == 14 and set(keys) == {i["key"] for i in shards.read(published)}


def test_place_from_the_environment(published, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    clips = [c["key"] for c in shards.read(published, flatten=False)]
    assert clips == [c["key"] for c in shards.read(published, flatten=False, rank=1, world_size=3)]
    assert 0 < len(clips) < 7
    with pytest.raises(ValueError, match="rank is 3"):
        shards.read(published, rank=3, world_size=3)


def test_shuffle_is_reproducible(published):
    def order(seed):
        return [i["key"] for i in shards.read(published, shuffle_seed=seed, shuffle_buffer=5)]

    plain = [i["key"] for i in shards.read(published)]
    assert order(1) == order(1) != order(2) != plain
    assert sorted(order(1)) == sorted(plain)
    reader = shards.read(published, shuffle_seed=1)
    assert list(map(str, reader)) == list(map(str, reader))


def test_every_cut_is_noticed(copy):
    path = copy / "train-000001.tar"
    data = path.read_bytes()
    for cut in [*range(0, len(data), 997), *range(0, len(data), 512), len(data) - 1, len(data) - 512]:
        path.write_bytes(data[:cut])
        with pytest.raises(ShardError):
            list(shards.read(copy))
        with pytest.raises(ShardError):
            list(shards.read(path))  # without the manifest
    path.write_bytes(data[: len(data) // 2])
    assert {p.file for p in shards.verify(copy)} >= {path.name, }


def test_a_missing_shard_is_noticed(copy):
    (copy / "train-000001.tar").unlink()
    with pytest.raises(ShardError, match=r"train-000001\.tar"):
        list(shards.read(copy))
    assert any("cannot be opened" in p.what for p in shards.verify(copy))


@given(data=st.data())
def test_every_altered_byte_is_found(published, data):
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(published, Path(folder) / "set"))
        path = data.draw(st.sampled_from(sorted(p for p in copy.rglob("*") if p.is_file())))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        problems = shards.verify(copy)
        assert problems, f"{path.name} at {at}"
        assert all(p.file and p.what and p.fix for p in problems)


def test_verify_names_the_sample(copy):
    path = copy / "train-000000.tar"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"answer":"1.8"', b'"answer":"1.9"', 1))
    problems = shards.verify(copy)
    assert {p.file for p in problems} == {"train-000000.tar", "samples.parquet"}
    assert any("sha256" in p.what for p in problems)
    assert any(p.key == f"{0:024x}" and "row of question" in p.what for p in problems)


def test_verify_finds_doubled_samples_and_strangers(copy):
    (copy / "train-000009.tar").write_bytes(b"")
    content = manifest.load(copy)
    again = content["shards"][0] | {"name": "train-000003.tar"}
    (copy / "train-000003.tar").write_bytes((copy / "train-000000.tar").read_bytes())
    content["shards"].append(again)
    content.pop("digest")
    content["digest"] = manifest._digest(content)
    (copy / manifest.NAME).write_bytes(manifest.to_bytes(content))
    found = " ".join(map(str, shards.verify(copy)))
    assert "sample is also in train-000000.tar" in found
    assert "train-000009.tar: is not in the manifest" in found
    assert "totals" in found


def test_unpublished_is_said(tmp_path):
    with pytest.raises(ShardError, match="not published"):
        shards.read(tmp_path)
    assert "not published" in shards.verify(tmp_path)[0].what


def hostile(name: str, kind: bytes = tarfile.REGTYPE, size: int = 3, fmt: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else "", size
        archive.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


@pytest.mark.parametrize("data, message", [
    (hostile("../evil.json"), "member"), (hostile("/etc/passwd.json"), "member"), (hostile("a/b.json"), "member"),
    (hostile("A.json"), "member"), (hostile("a.pkl"), "member"), (hostile("a.b.json"), "member"),
    (hostile("a.json", tarfile.SYMTYPE, 0), "plain files"), (hostile("a.json", tarfile.DIRTYPE, 0), "plain files"),
    (hostile("é.json", fmt=tarfile.PAX_FORMAT), "plain files"), (hostile("a" * 120 + ".json", fmt=tarfile.GNU_FORMAT),
                                                                 "plain files"),
    (tar.header("a.json", 1 << 32) + bytes(10240), "at most"),
    (tar.header("a.v0.mp4", 1 << 32) + bytes(9728), "at most"),
    (b"", "cut"), (bytes(10240)[:-1], "end mark"), (b"x" * 10240, "octal"),
])
def test_hostile_tars_are_refused(tmp_path, data, message):
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(ShardError, match=message):
        list(shards.read(path))


def test_hostile_manifest_is_refused(copy):
    content = manifest.load(copy)
    content["shards"][0]["name"] = "../../x.tar"
    content.pop("digest")
    content["digest"] = manifest._digest(content)
    (copy / manifest.NAME).write_bytes(manifest.to_bytes(content))
    with pytest.raises(ShardError, match="shard name"):
        shards.read(copy)


def test_video_size_is_read_from_the_file():
    av = pytest.importorskip("av", reason="PyAV is not installed")
    from curate.shards.sample import mp4_size
    from curate.video.encode import H264Encoder

    assert av
    encoder = H264Encoder(64, 48, fps=10)
    encoder.add(np.zeros((3, 48, 64, 3), np.uint8))
    assert mp4_size(encoder.finish()) == (64, 48)
    assert mp4_size(b"tkhd" * 40) == (0, 0) == mp4_size(b"")


@pytest.mark.parametrize("count", [2, 3, 6, 25])
def test_the_demo_holds_out_a_third_of_its_recordings_whatever_their_names(count):
    from curate.cli.demo_training import share_of
    from curate.shards.writer import split_of

    for seed in range(40):
        names = [f"scene-{seed}-{i:04d}-abc" for i in range(count)]
        held_out = sum(split_of(name, share_of(names)) == "val" for name in names)
        assert held_out == max(1, round(count / 3))
    assert share_of(["one"]) == 0
