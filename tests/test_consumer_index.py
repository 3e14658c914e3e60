"""Random access to a published set: by ours, by number and key, and by the wids library through `index.json`."""

from __future__ import annotations

import json
import pickle
import random
import shutil

import numpy as np
import pytest

from curate import shards
from curate.shards import Index, ShardError
from curate.shards.publish import publish
from tests.shard_samples import samples

NUM_CLIPS = 11


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("index")
    publish(out, samples(NUM_CLIPS), max_samples=3)
    return out / "shards"


@pytest.fixture
def in_order(root):
    return list(shards.read(root, flatten=False))


def test_clips_by_number_and_by_key_are_those_that_are_read_in_order(root, in_order):
    clips = Index(root)
    assert len(clips) == NUM_CLIPS and clips.keys() == [item["key"] for item in in_order]
    order = list(enumerate(in_order))
    random.Random(0).shuffle(order)
    for number, item in order:
        for found in (clips[number], clips[item["key"]], clips[number - NUM_CLIPS]):
            assert found["key"] == item["key"] and dict(found["media"]) == dict(item["media"])
            assert repr(found["json"]) == repr(item["json"])  # nan is not equal to itself
        raw = clips.raw(number)
        assert json.loads(raw.pop("json"))["key"] == item["key"] and raw == dict(item["media"])
    assert [item["key"] for item in clips] == clips.keys() and in_order[4]["key"] in clips


def test_clips_read_into_one_memory_are_those_that_are_read_alone(root, in_order):
    clips = Index(root)
    order = [7, in_order[2]["key"], 0, 10, -1]
    for which, parts in zip(order, clips.each(order)):
        assert {name: bytes(part) for name, part in parts.items()} == clips.raw(which)
    assert [json.loads(bytes(parts["json"]))["key"] for parts in clips.each()] == clips.keys()
    with pytest.raises(IndexError):
        list(clips.each([NUM_CLIPS]))


def test_what_is_not_there_is_said(root, in_order):
    clips = Index(root)
    for number in (NUM_CLIPS, -NUM_CLIPS - 1):
        with pytest.raises(IndexError, match=f"of {NUM_CLIPS}"):
            clips[number]
    for key in ("", "0", in_order[3]["key"] + "0", "zz"):  # before, between and beyond the keys of shards
        assert key not in clips
        with pytest.raises(KeyError):
            clips[key]
    with pytest.raises(ShardError, match="no split 'val'"):
        Index(root, "val")


def test_a_shard_is_opened_and_its_headers_read_once(root, monkeypatch):
    from curate.shards import tar

    walked, walk = [], tar.walk
    monkeypatch.setattr(tar, "walk", lambda file, size, where, *more: walked.append(where) or walk(file, size, where,
                                                                                                  *more))
    clips = Index(root)
    assert walked == []
    for _ in range(3):
        clips[4], clips[5], clips[clips[4]["key"]]
    assert walked == [str(root / "train-000001.tar")]


def test_more_shards_than_files_are_kept_open(root, in_order, monkeypatch):
    from curate.shards import index

    monkeypatch.setattr(index, "OPEN_SHARDS", 2)
    clips = Index(root)
    for number in (0, 10, 4, 7, 1, 9):
        assert clips[number]["key"] == in_order[number]["key"] and len(clips._files) <= 2


def test_it_goes_to_other_processes(root, in_order):
    clips = Index(root)
    first = clips[0]
    again = pickle.loads(pickle.dumps(clips))
    assert again[0]["key"] == first["key"] and again[NUM_CLIPS - 1]["key"] == in_order[-1]["key"]


def test_one_tar_alone_and_what_is_torn(root, tmp_path, in_order):
    path = shutil.copy(root / "train-000000.tar", tmp_path / "one.tar")
    clips = Index(path)
    assert len(clips) == 3 and clips[in_order[2]["key"]]["key"] == in_order[2]["key"]
    copy = shutil.copytree(root, tmp_path / "set")
    (copy / "train-000001.tar").write_bytes((copy / "train-000001.tar").read_bytes()[:-1024])
    clips = Index(copy)
    assert clips[0]["key"] == in_order[0]["key"]
    with pytest.raises(ShardError, match=r"train-000001\.tar: .* bytes, the manifest says"):
        clips[4]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 6])
def test_a_map_style_data_loader_with_more_workers_than_shards(root, in_order, workers):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    clips = Index(root)
    loader = torch.utils.data.DataLoader(clips, batch_size=None, num_workers=workers, shuffle=True,
                                         generator=torch.Generator().manual_seed(0))
    epochs = [[item["key"] for item in loader] for _ in range(2)]
    assert all(sorted(keys) == [item["key"] for item in in_order] for keys in epochs) and epochs[0] != epochs[1]


def test_wids_reads_the_index(root, in_order, tmp_path):
    wids = pytest.importorskip("wids", reason="the wids library is not installed; pip install wids")
    clips = wids.ShardListDataset(str(root / "index.json"), transformations=[], cache_dir=str(tmp_path), keep=True)
    assert len(clips) == NUM_CLIPS
    for number in np.random.default_rng(0).permutation(NUM_CLIPS):
        got, expected = clips[int(number)], in_order[number]
        assert got["__key__"] == expected["key"]
        assert {name[1:]: part.read() for name, part in got.items() if name.startswith((".v", ".m"))} == dict(
            expected["media"])
        assert json.loads(got[".json"].read())["qa"][0]["value"] == 1.8
