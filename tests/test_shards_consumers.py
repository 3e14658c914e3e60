"""Readers we did not write read what we wrote, with the right types."""

from __future__ import annotations

import json
import os
import tarfile

import pytest
import yaml

from curate import shards
from curate.shards.publish import publish
from tests import shard_samples

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Eight clips in three train shards and one val shard. The first clips have no numbers at all, so that a type
    guessed from them would be wrong."""
    from dataclasses import replace

    from curate.shards.sample import make_sample

    out = tmp_path_factory.mktemp("consumers")

    def samples():
        for seed in range(8):
            made = shard_samples.sample(seed, split="val" if seed >= 6 else "train")
            of, asked = shard_samples.scene(seed), shard_samples.questions(shard_samples.scene(seed))
            if seed < 5:
                asked = [] if seed == 0 else asked[1:]
            if seed == 1:
                of = replace(of, regions=[])
                asked = []
            yield make_sample(of, made.parts, asked, split=made.split)

    publish(out, samples(), max_samples=2)
    return out / "shards"


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    library = pytest.importorskip("datasets", reason="the datasets library is not installed")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path)
    return library


def check_rows(rows, ours):
    assert [r["__key__"] for r in rows] == [c["key"] for c in ours]
    for row, clip in zip(rows, ours):
        assert row["v0.mp4"] == clip["media"]["v0.mp4"] and row["mark.jpg"] == clip["media"]["mark.jpg"]
        record = row["json"]
        assert record["time_s"] == clip["json"]["time_s"]
        assert all(type(v) is float for m in record["camera"]["T_world_cam"] for r in m for v in r)
        assert [q["answer"] for q in record["qa"]] == [q["answer"] for q in clip["json"]["qa"]]
        for qa in record["qa"]:
            assert type(qa["answer"]) is str and type(qa["start_frame"]) is int and type(qa["start_s"]) is float
            assert (qa["value"] is None) == (qa["form"] == "choice")
            assert json.loads(qa["quantities_json"])[0]["kind"] == "object_displacement"
    assert rows[-1]["json"]["qa"][0]["value"] == 1.8


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("split", ["train", "val"])
def test_datasets_reads_the_folder_by_its_card(published, datasets, streaming, split):
    loaded = datasets.load_dataset(str(published), split=split, streaming=streaming)
    check_rows(list(loaded), list(shards.read(published, split, flatten=False)))


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_webdataset_with_the_cards_features(published, datasets, streaming):
    front = yaml.safe_load((published / "README.md").read_text().split("---\n")[1])
    features = datasets.Features._from_yaml_list(front["dataset_info"]["features"])
    assert features["json"]["qa"].feature["options"] == datasets.List(datasets.Value("string"))
    files = {split: str(published / f"{split}-*.tar") for split in ("train", "val")}
    for split in files:
        loaded = datasets.load_dataset("webdataset", data_files=files, split=split, streaming=streaming,
                                       features=features)
        check_rows(list(loaded), list(shards.read(published, split, flatten=False)))


def test_plain_webdataset(published):
    wds = pytest.importorskip("webdataset")
    pattern = str(published / "train-{000000..000002}.tar")
    rows = list(wds.WebDataset(pattern, shardshuffle=False))
    ours = list(shards.read(published, flatten=False))
    assert [r["__key__"] for r in rows] == [c["key"] for c in ours]
    for row, clip in zip(rows, ours):
        assert {k for k in row if not k.startswith("__")} == {"v0.mp4", "v1.mp4", "mark.jpg", "json"}
        assert row["v1.mp4"] == clip["media"]["v1.mp4"] and row["mark.jpg"] == clip["media"]["mark.jpg"]
        assert json.loads(row["json"])["key"] == clip["key"]
    decoded = next(iter(wds.WebDataset(pattern, shardshuffle=False).decode().to_tuple("json", "__key__")))
    assert decoded[0]["key"] == decoded[1]


def test_parquet_has_a_row_per_question(published):
    import pyarrow.parquet as pq

    rows = pq.read_table(published / "samples.parquet").to_pylist()
    items = [i for split in ("train", "val") for i in shards.read(published, split)]
    assert [r["id"] for r in rows] == [i["key"] for i in items]
    assert [r["value"] for r in rows if r["form"] == "numeric"] == [1.8] * 3
    assert {r["value"] for r in rows if r["form"] == "choice"} == {None}
    assert rows[0]["options"] == ["left", "right", "up", "down"]


def test_energon_and_wids_sidecars_count_what_is_there(published):
    counts = json.loads((published / ".nv-meta" / ".info.json").read_text())["shard_counts"]
    assert counts == {"train-000000.tar": 2, "train-000001.tar": 2, "train-000002.tar": 2, "val-000000.tar": 2}
    split = yaml.safe_load((published / ".nv-meta" / "split.yaml").read_text())
    assert sorted(n for names in split["split_parts"].values() for n in names) == sorted(counts)
    index = json.loads((published / "index.json").read_text())
    assert {s["url"]: s["nsamples"] for s in index["shardlist"]} == counts


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [2, 7])  # fewer and more than the three shards of the split
def test_torch_data_loader_workers_share_the_set(published, workers):
    """Two epochs in other orders: each clip once in each, none twice, whoever stays without any."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from torch.utils.data import DataLoader, IterableDataset

    class Clips(IterableDataset):
        def __init__(self):
            self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

        def __iter__(self):
            return iter(shards.read(published, flatten=False, shuffle_seed=int(self.epoch)))

    torch.set_num_threads(1)
    clips, orders = Clips(), []
    loader = DataLoader(clips, batch_size=None, num_workers=workers, persistent_workers=True)
    for epoch in range(2):
        clips.epoch.fill_(epoch)
        rows = list(loader)
        assert all(r["media"]["mark.jpg"] == shard_samples.JPEG for r in rows)
        orders.append([r["key"] for r in rows])
    expected = [c["key"] for c in shards.read(published, flatten=False)]
    assert [sorted(keys) for keys in orders] == [expected] * 2 and orders[0] != orders[1]


def test_keys_have_no_dots_and_parts_and_types_are_the_same_everywhere(published):
    """What loaders take for granted: a key ends at the first dot, and the first sample speaks for all."""
    seen, parts, kinds = [], set(), {}
    for path in sorted(published.glob("*.tar")):
        with tarfile.open(path) as archive:
            names = archive.getnames()
            records = [json.load(archive.extractfile(name)) for name in names if name.endswith(".json")]
        keys = [name.split(".", 1)[0] for name in names]
        assert keys == sorted(keys) and all(name.islower() and "/" not in name for name in names)
        seen += sorted(set(keys))
        parts |= {tuple(name.split(".", 1)[1] for name in names if name.startswith(key + ".")) for key in set(keys)}
        for name, kind in frozenset().union(*map(shape, records)):
            kinds.setdefault(name, set()).add(kind)
    assert len(seen) == len(set(seen)) == 8 and parts == {("mark.jpg", "v0.mp4", "v1.mp4", "json")}
    assert len(kinds) > 80 and all(len(found - {"NoneType"}) == 1 for found in kinds.values()), kinds


def shape(value, where: str = "") -> frozenset[tuple[str, str]]:
    """(place, type) of every value; places in a list are one."""
    if isinstance(value, dict):
        return frozenset().union(*(shape(inner, f"{where}.{name}") for name, inner in value.items()))
    if isinstance(value, list):
        return frozenset({(where, "list")}).union(*(shape(inner, f"{where}[]") for inner in value))
    return frozenset({(where, type(value).__name__)})
