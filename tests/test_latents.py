"""Latents of an encoder added to a finished set: beside its teacher tensors, all or none of them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from curate.shards import ShardError, manifest, publish_set, read, verify
from curate.shards.latents import add_latents
from curate.shards.publish import publish
from tests import shard_samples
from tests.test_teacher_sets import with_tensors
from tests.test_teacher_tensors import assert_same, made


def encode(item) -> np.ndarray:
    """Something of the clip: its depth on a small grid, over channels."""
    depth = np.nan_to_num(item["teacher"].resized(2, 3).depth[::2])
    return np.stack([depth, 2 * depth], -1)


@pytest.fixture
def out(tmp_path):
    samples = sorted(with_tensors(5), key=lambda s: s.key)
    split = {True: "val", False: "train"}
    publish(tmp_path, [replace(s, json=s.json | {"source": s.json["source"] | {"split": split[i == 4]}})
                       for i, s in enumerate(samples)], max_samples=2)
    return tmp_path


def files(out, name="*") -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "shards").rglob(name)) if p.is_file()}


def test_every_clip_gets_its_own_and_keeps_the_rest(out):
    samples = files(out, "[tv][ra]*.tar")
    content = add_latents(out, encode, "tiny-1")
    assert verify(out) == [] and files(out, "[tv][ra]*.tar") == samples
    assert content == manifest.load(out / "shards") and "latent.npy" in content["teacher"]["parts"]
    assert "latent.npy" in (out / "shards/README.md").read_text()
    for split, count in (("train", 4), ("val", 1)):
        items = list(read(out, split, flatten=False, teacher=True))
        assert len(items) == count
        for item in items:
            assert item["teacher"].latent_id == "tiny-1"
            np.testing.assert_allclose(item["teacher"].latent, encode(item), rtol=2**-10)
            assert_same(replace(item["teacher"], latent=None, latent_id=""), made(int(item["key"], 16), num=6))
    assert not list(out.glob(".*"))


def test_again_gives_the_same_bytes_and_another_encoder_takes_its_place(out, tmp_path):
    add_latents(out, encode, "tiny-1")
    once = files(out)
    add_latents(out, lambda item: encode(item)[..., :1], "tiny-2")
    assert verify(out) == [] and next(iter(read(out, teacher=True)))["teacher"].latent.shape[-1] == 1
    add_latents(out / "shards", encode, "tiny-1")
    assert files(out) == once
    publish_set(out, f"file://{tmp_path / 'store'}")
    with pytest.raises(ShardError, match="in a store"):
        add_latents(f"file://{tmp_path / 'store'}", encode, "tiny-1")


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda item: encode(item)[0], r"of shape \[2, 3, 2\]; expected \[T, h, w, C\]"),
    (lambda item: encode(item)[..., :1 + int(item["key"], 16) % 2], "as of the clips before"),
    (lambda item: encode(item) * np.nan, "not finite"), (lambda item: encode(item) + 1e6, "beyond float16")])
def test_a_latent_that_is_none_leaves_the_set_as_it_was(out, wrong, message):
    before = files(out)
    with pytest.raises(ShardError, match=message):
        add_latents(out, wrong, "tiny-1")
    assert files(out) == before and verify(out) == [] and not list(out.glob(".*"))


def test_a_set_without_teacher_tensors_says_so(tmp_path):
    publish(tmp_path, shard_samples.samples(2))
    assert "teacher" not in json.loads((tmp_path / "shards/manifest.json").read_text())
    with pytest.raises(ShardError, match="no teacher tensors that latents could lie beside"):
        add_latents(tmp_path, encode, "tiny-1")
