"""Shard sets with teacher tensors: the same bytes however they come about, and what is altered is named."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.augment import Variant
from curate.augment.teacher import apply_to_teacher
from curate.engine.check import check_run
from curate.engine.compact import compact
from curate.engine.outcome import Fatal
from curate.engine.run import run, write_again
from curate.engine.teacher import staged_teacher
from curate.recipe import recipe_from_dict
from curate.shards import ShardError, manifest, publish_set, read, verify
from curate.shards.publish import publish
from curate.shards.teacher_parts import STAGED, from_parts, to_parts
from curate.shards.verify import clips_of
from tests import shard_samples
from tests.test_teacher import SMALL
from tests.test_teacher_tensors import assert_same, made

RECIPE = SMALL | {"shards": {"max_samples": 512}}


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for folder in ("scenes", "shards")
            for p in sorted((out / folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "out"
    assert run(recipe_from_dict(RECIPE), out).exit_code == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "out"))


def twin(out: Path) -> Path:
    return out / "shards/teacher-train-000000.tar"


@pytest.mark.ray
def test_two_workers_give_the_same_bytes(whole, tmp_path):
    summary = run(recipe_from_dict(RECIPE, ["engine.kind=ray", "engine.workers=2"]), tmp_path)
    assert summary.workers == "2 ray" and files_of(tmp_path) == files_of(whole)


def test_a_run_that_was_killed_gives_the_same_bytes(whole, tmp_path):
    recipe, out = tmp_path / "r.yaml", tmp_path / "out"
    recipe.write_text(json.dumps(RECIPE))
    process = subprocess.Popen([sys.executable, "-m", "curate", "run", recipe, "--out", out, "--no-preview", "--quiet"],
                               env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not list((out / "scenes").glob("[!.]*")):  # a clip is staged, another is under way
        assert process.poll() is None and time.monotonic() < end, process.stderr.read()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert run(recipe_from_dict(RECIPE), out).exit_code == 0
    assert files_of(out) == files_of(whole)


def test_a_clip_that_is_lost_and_a_set_that_is_compacted_come_back_to_the_byte(whole, out):
    shutil.rmtree(next((out / "scenes").iterdir()))
    assert run(recipe_from_dict(RECIPE), out).exit_code == 0
    twin(out).unlink()
    compact(out)
    assert files_of(out) == files_of(whole)


def test_asking_again_keeps_the_tensors_of_the_run(whole, out):
    write_again(out, recipe_from_dict(RECIPE | {"teacher": {}}, ["questions.seed=9"]))
    assert verify(out) == [] and twin(out).read_bytes() == twin(whole).read_bytes()


def test_only_sets_with_tensors_have_another_fingerprint():
    plain, enabled = recipe_from_dict(RECIPE | {"teacher": {}}), recipe_from_dict(RECIPE)
    assert "teacher" not in plain.perception_parts()
    sized = recipe_from_dict(RECIPE | {"teacher": {"height": 99}})  # of no effect while it is off
    assert plain.perception_fingerprint() == sized.perception_fingerprint() != enabled.perception_fingerprint()
    assert plain.writing_fingerprint() == enabled.writing_fingerprint()


def test_variants_have_the_tensors_of_what_they_show(out):
    augment = [{"mirror": True}, {"reverse": True}, {"playback": 2.0}]
    write_again(out, recipe_from_dict(RECIPE | {"augment": augment}))
    assert verify(out) == []
    items = {item["key"]: item for item in read(out, flatten=False, teacher=True)}
    assert len(items) == 8
    for key, item in items.items():
        own, _, suffix = key.partition("-")
        staged = staged_teacher(out / "scenes" / own)
        expected = apply_to_teacher(staged, Variant.split(key)[1]) if suffix else staged
        assert_same(item["teacher"], from_parts(to_parts(expected)))
        valid = np.logical_and.accumulate(item["json"]["camera"]["valid"])
        known = np.isfinite(item["teacher"].T_world_cam[:, 0, 0])
        if suffix != "r":  # what a reversed clip knows of a camera that was lost is less than its scene does
            np.testing.assert_array_equal(known, valid)
        poses = np.array(item["json"]["camera"]["T_world_cam"])
        np.testing.assert_allclose(item["teacher"].T_world_cam[known], poses[known], atol=1e-5)
        np.testing.assert_allclose(item["teacher"].time_s, item["json"]["time_s"], atol=1e-9)


def test_a_published_set_is_read_with_its_tensors(out, tmp_path):
    url = f"file://{tmp_path / 'store'}"
    publish_set(out, url)
    assert verify(url) == []
    for ours, theirs in zip(read(out, flatten=False, teacher=True), read(url, flatten=False, teacher=True)):
        assert_same(theirs["teacher"], ours["teacher"])


def test_one_tar_is_read_with_its_twin_beside_it(out, tmp_path):
    shard = shutil.copy(out / "shards/train-000000.tar", tmp_path / "some.tar")
    with pytest.raises(ShardError, match=r"teacher-some\.tar beside it"):
        read(shard, teacher=True)
    shutil.copy(twin(out), tmp_path / "teacher-some.tar")
    expected = list(read(out, flatten=False, teacher=True))
    for ours, theirs in zip(expected, read(shard, flatten=False, teacher=True), strict=True):
        assert_same(theirs["teacher"], ours["teacher"])


def with_tensors(count: int, num_frames: int = 6, **more):
    for index, sample in enumerate(shard_samples.samples(count)):
        yield replace(sample, teacher=to_parts(made(index, num=num_frames, **more)))


def test_one_sample_a_question_has_the_tensors_of_its_clip(tmp_path):
    content = publish(tmp_path, with_tensors(3), layout="question", max_samples=4)
    assert verify(tmp_path) == []
    assert [t["samples"] for t in content["teacher"]["shards"]] == [s["samples"] for s in content["shards"]] == [4, 2]
    for item in read(tmp_path, teacher=True):
        assert_same(item["teacher"], made(int(item["json"]["clip_key"], 16), num=6))


def test_latents_are_stored_with_the_name_of_their_teacher(tmp_path):
    content = publish(tmp_path, with_tensors(2, latent=True))
    assert "latent.npy" in content["teacher"]["parts"] and verify(tmp_path) == []
    item = next(iter(read(tmp_path, teacher=True)))
    assert item["teacher"].latent.shape == (2, 2, 3, 8) and item["teacher"].latent_id == "small"


def test_a_set_in_which_some_have_none_is_not_written(tmp_path):
    samples = list(with_tensors(2))
    for mixed in ([samples[0], replace(samples[1], teacher=None)], [replace(samples[0], teacher=None), samples[1]]):
        with pytest.raises(ShardError, match="Every sample of a set must have the same"):
            publish(tmp_path, mixed)
    assert not (tmp_path / "shards").exists()


def test_webdataset_reads_both_tars_as_they_are(out):
    webdataset = pytest.importorskip("webdataset")
    pairs = [list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
             for path in (out / "shards/train-000000.tar", twin(out))]
    assert [s["__key__"] for s in pairs[0]] == [s["__key__"] for s in pairs[1]]
    item = next(iter(read(out, flatten=False, teacher=True)))
    depth = np.lib.format.read_array(io.BytesIO(pairs[1][0]["depth.npy"]))
    np.testing.assert_array_equal(depth, item["teacher"].depth.astype(np.float16))


def test_every_altered_byte_of_a_twin_is_found_and_names_a_clip(out):
    rng, path = random.Random(3), twin(out)
    data = path.read_bytes()
    clips = {p.name for p in (out / "scenes").iterdir()}
    for _ in range(12):
        at = rng.randrange(len(data) // 2)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:])
        found = [p for p in verify(out) if p.file == path.name]
        assert found and set(clips_of(found)) <= clips and clips_of(found), at
    for cut in (0, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        assert [p for p in verify(out) if p.file == path.name]
        with pytest.raises(ShardError):
            [item["teacher"].depth for item in read(out, flatten=False, teacher=True)]
        assert len(list(read(out, flatten=False))) == 2  # who does not ask for them does not meet it
    path.unlink()
    assert [p for p in verify(out) if p.file == path.name]


def put_twin_of(other: Path, root: Path) -> None:
    """The twin of another set, and a manifest that says it is this set's."""
    shutil.copy(other / "shards/teacher-train-000000.tar", root / "shards")
    content = manifest.sealed(manifest.load(root / "shards") | {"teacher": manifest.load(other / "shards")["teacher"]})
    (root / "shards/manifest.json").write_bytes(manifest.to_bytes(content))


@pytest.mark.parametrize("wrong", [{"count": 2}, {"count": 3, "num_frames": 5}])
def test_tensors_of_other_clips_or_lengths_are_found(tmp_path, wrong):
    (tmp_path / "other").mkdir()
    publish(tmp_path, with_tensors(3))
    publish(tmp_path / "other", with_tensors(**wrong))
    put_twin_of(tmp_path / "other", tmp_path)
    assert ["differ from those of train-000000.tar" in p.what for p in verify(tmp_path)] == [True]
    if wrong["count"] < 3:
        with pytest.raises(ShardError, match="no further sample"):
            list(read(tmp_path, teacher=True))


def test_a_torn_staged_file_is_found_and_stops_the_write_pass_by_name(out):
    path = next((out / "scenes").glob(f"*/{STAGED}"))
    path.write_bytes(path.read_bytes()[:-40])
    found = [p for p in check_run(out, deep=True) if p.file.endswith(STAGED)]
    assert {p.key for p in found} == {path.parent.name} and any("sha256" in p.what for p in found)
    before = files_of(out)
    with pytest.raises(Fatal, match=rf"{path.parent.name}: torn"):
        write_again(out, recipe_from_dict(RECIPE))
    assert files_of(out) == before
