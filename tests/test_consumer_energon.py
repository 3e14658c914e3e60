"""Megatron-Energon reads a published set as it lies, by its `.nv-meta` and the index beside each shard."""

from __future__ import annotations

import json
import struct
import tarfile
from collections import Counter
from itertools import islice

import pytest

from curate import shards
from curate.shards.publish import publish
from tests.shard_samples import sample

NUM_TRAIN, NUM_VAL = 7, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("energon")
    publish(out, [sample(s, split="val" if s >= NUM_TRAIN else "train") for s in range(NUM_TRAIN + NUM_VAL)],
            max_samples=3)
    return out / "shards"


def test_the_index_says_where_samples_start(root):
    for path in sorted(root.glob("*.tar")):
        with tarfile.open(path) as archive:
            starts = {member.name.split(".")[0]: member.offset for member in reversed(archive.getmembers())}
            end = archive.offset
        index = (path.parent / f"{path.name}.idx").read_bytes()
        assert struct.unpack(f"<{len(index) // 8}Q", index) == (*sorted(starts.values()), end)


@pytest.fixture
def energon():
    return pytest.importorskip("megatron.energon",
                               reason="Megatron-Energon is not installed; pip install megatron-energon")


@pytest.fixture
def encoder(energon):
    """Samples as they are stored, one a batch."""
    @energon.stateless
    def cook(sample):
        return sample

    class Encoder(energon.DefaultTaskEncoder):
        cookers = (energon.Cooker(cook),)
        decoder = None

        @energon.stateless
        def encode_sample(self, sample):
            return sample

        def batch(self, samples):
            return samples[0]

    return Encoder


def check(samples, ours):
    for row in samples:
        clip = ours[row["__key__"]]
        assert row["v0.mp4"] == clip["media"]["v0.mp4"] and row["mark.jpg"] == clip["media"]["mark.jpg"]
        record = json.loads(row["json"])
        assert record["key"] == row["__key__"] and [q["answer"] for q in record["qa"]] == ["1.8", "right"]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
@pytest.mark.parametrize("world_size", [1, 5])
def test_ranks_more_than_shards_share_the_clips(energon, encoder, root, world_size):
    ours = {item["key"]: item for item in shards.read(root, flatten=False)}
    seen = Counter()
    for rank in range(world_size):
        place = energon.WorkerConfig(rank=rank, world_size=world_size, num_workers=0)
        data = energon.get_val_dataset(root, split_part="train", worker_config=place, batch_size=1,
                                       task_encoder=encoder())
        rows = list(energon.get_loader(data))
        check(rows, ours)
        seen.update(row["__key__"] for row in rows)
    assert seen == Counter(list(ours))


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_training_repeats_the_clips_of_its_split_alone(energon, encoder, root):
    ours = {item["key"]: item for item in shards.read(root, flatten=False)}
    place = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    data = energon.get_train_dataset(root, worker_config=place, batch_size=1, shuffle_buffer_size=None,
                                     max_samples_per_sequence=None, task_encoder=encoder())
    rows = list(islice(energon.get_loader(data), 2 * NUM_TRAIN))
    check(rows, ours)
    for epoch in (rows[:NUM_TRAIN], rows[NUM_TRAIN:]):
        assert sorted(row["__key__"] for row in epoch) == sorted(ours)
