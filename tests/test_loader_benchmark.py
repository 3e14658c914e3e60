"""The loader's benchmark gives its figures, whatever they are."""

from __future__ import annotations

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.loader import loader_rows
from curate.train.data_config import DataConfig
from curate.train.students import tiny_student
from tests.train_sets import clip_sample, write_set


def test_the_loader_is_held_against_a_step(tmp_path):
    path = write_set(tmp_path, [clip_sample(i, questions=4) for i in range(3)])
    config = DataConfig(sets=path, frames=4, batch_size=2)
    student = tiny_student(image_size=32, patch_size=16, vision_layers=1, layers=1)
    before = {name: p.detach().clone() for name, p in student.model.named_parameters()}
    rows = loader_rows(config, student, num_batches=2, num_steps=2)
    assert rows[0]["name"].startswith("step: 2 questions of 4 frames") and all(r["value"] > 0 for r in rows)
    assert [r["target"] for r in rows if r["target"]] == ["\u2265 3"]
    assert any((p != before[name]).any() for name, p in student.model.named_parameters()), "the step trains"
    seen = []
    loader_rows(config, student, step=lambda batch: seen.append(batch.ids), num_batches=1, num_steps=2)
    assert len(seen) == 3 and all(len(ids) == 2 for ids in seen)
