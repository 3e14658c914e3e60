"""The teacher's signals in a batch: of the frames shown, in the first one's camera, unknown where they are unknown."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch")

from curate.train.data import Examples  # noqa: E402
from curate.train.data_config import DataConfig  # noqa: E402
from tests.train_sets import clip_sample, clip_teacher, write_set  # noqa: E402


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    samples = [clip_sample(i, num_frames=7, fps=(5, 12, 30)[i], questions=2, teacher=clip_teacher) for i in range(3)]
    return write_set(tmp_path_factory.mktemp("set"), samples, max_samples=2)


def first(path, **changes):
    settings = {"frames": 3, "image_size": (24, 32), "batch_size": 4, "teacher": True}
    return next(iter(Examples(DataConfig(sets=path, **settings | changes), epochs=1, shuffle=False, drop_last=False)))


def test_signals_have_the_shapes_of_the_contract_and_nan_where_unknown(path):
    batch = first(path)
    shapes = {name: tuple(value.shape) for name, value in batch.signals.items()}
    assert shapes == {"depth": (4, 3, 12, 16, 1), "flow": (4, 3, 12, 16, 2), "motion": (4, 3, 12, 16, 1),
                      "camray": (4, 3, 12, 16, 6)}
    depth = batch.signals["depth"]
    assert depth[..., :5, :].isnan().all() and (depth[..., 5:, :] == 5).all()
    assert (batch.signals["motion"] == 1).all() and batch.latent is None
    assert torch.isfinite(batch.video).all() and torch.isfinite(batch.times_s).all(), "unknown stays where it is"
    assert batch.to("cpu").signals["depth"].shape == depth.shape


def test_flow_is_between_the_frames_shown_and_unknown_in_the_first(path):
    flow = first(path).signals["flow"]
    assert flow[:, 0].isnan().all()
    # The wall goes a cell a frame to the right and every third frame is shown: three cells back to the left.
    inner = flow[:, 1:, :, 6:, 0]
    assert torch.allclose(inner, torch.tensor(-3.0)) and (flow[:, 1:, :, 6:, 1] == 0).all()
    assert torch.allclose(first(path, frames=None).signals["flow"][:, 1:, :, 6:, 0], torch.tensor(-1.0))


def test_rays_are_in_the_axes_of_the_first_camera(path):
    batch = first(path)
    camray, K = batch.signals["camray"].double(), batch.cameras["K"].double()
    direction, moment = camray[..., :3], camray[..., 3:]
    assert torch.allclose(direction.norm(dim=-1), torch.ones(()).double(), atol=1e-6)
    assert not moment[:, 0].any(), "the first camera is where the world begins"
    u, v = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="xy")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1).double() @ torch.linalg.inv(K[0, 0]).T
    assert torch.allclose(direction[0, 0], pixels / pixels.norm(dim=-1, keepdim=True), atol=1e-6)
    angle, centre = np.radians(3), torch.tensor([0.3, 0, 0]).double()  # of the second frame shown, the clip's fourth
    turn = torch.tensor([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    assert torch.allclose(direction[0, 1], direction[0, 0] @ turn.T, atol=1e-6)
    assert torch.allclose(moment[0, 1], torch.linalg.cross(centre.expand_as(direction[0, 1]), direction[0, 1]),
                          atol=1e-6)
    assert torch.allclose(batch.cameras["T_world_cam"][:, 0], torch.eye(4)[:3])


def test_signals_come_on_the_grid_asked_for(path):
    batch = first(path, signal_size=(6, 8))
    assert batch.signals["camray"].shape[2:] == (6, 8, 6)
    assert torch.allclose(batch.signals["flow"][:, 1:, :, 4:, 0], torch.tensor(-1.5)), "in cells of that grid"
    assert torch.allclose(batch.cameras["K"][..., 0, 0], torch.tensor(8.0))


def test_the_marked_picture_as_one_more_frame_has_the_first_ones_signals(path):
    plain, extra = first(path), first(path, marks="extra")
    for name in ("depth", "motion", "camray"):
        assert torch.equal(extra.signals[name][:, 1:].nan_to_num(-1), plain.signals[name].nan_to_num(-1))
        assert torch.equal(extra.signals[name][:, 0].nan_to_num(-1), plain.signals[name][:, 0].nan_to_num(-1))
    assert torch.equal(extra.signals["flow"][:, 2:].nan_to_num(9), plain.signals["flow"][:, 1:].nan_to_num(9))


def test_lengths_without_scale_are_unknown_and_angles_are_not(tmp_path):
    batch = first(write_set(tmp_path, [clip_sample(0, teacher=partial(clip_teacher, metric=False))]))
    assert batch.signals["depth"].isnan().all() and batch.signals["camray"][..., 3:].isnan().all()
    assert torch.isfinite(batch.signals["camray"][..., :3]).all() and batch.signals["flow"][:, 1:].isfinite().any()


def test_infinite_targets_are_unknown_too(tmp_path):
    def odd(scene):
        tensors = clip_teacher(scene)
        tensors.depth[:, 3, 8], tensors.T_world_cam[1] = np.inf, np.nan
        return tensors

    batch = first(write_set(tmp_path, [clip_sample(0, teacher=odd)]), frames=None)
    assert not any(value.isinf().any() for value in batch.signals.values())
    assert batch.signals["depth"][:, :, 3, 8].isnan().all() and (batch.signals["depth"][:, :, 3, 9] == 5).all()
    assert batch.signals["camray"][:, 1].isnan().all() and batch.signals["camray"][:, 2:].isfinite().all()


def test_latents_pass_through(tmp_path):
    shape = (2, 3, 4, 5)
    batch = first(write_set(tmp_path, [clip_sample(i, teacher=partial(clip_teacher, latent=shape)) for i in (0, 1)]))
    assert torch.equal(batch.latent[3], torch.arange(120.0).reshape(shape)) and batch.latent.shape == (4, *shape)


def test_bad_teacher_tensors_say_what_to_change(tmp_path):
    def refused(name, *teachers, **changes):
        samples = [clip_sample(i, teacher=teacher, questions=2) for i, teacher in enumerate(teachers)]
        with pytest.raises(ValueError) as caught:
            first(write_set(tmp_path / name, samples), **changes)
        return str(caught.value)

    assert "make the set with --set teacher.enabled=true, or set data.teacher to false" in refused("none", None)
    grids = refused("grids", clip_teacher, partial(clip_teacher, grid=(10, 16)))
    assert "set data.signal_size" in grids and "clip0001" in grids
    latents = refused("latents", partial(clip_teacher, latent=(1, 2, 2, 3)), partial(clip_teacher, latent=(1, 2, 2, 4)))
    assert "stored latents" in latents and "data.teacher to false" in latents
    late = refused("late", lambda scene: replace(clip_teacher(scene), time_s=scene.time_s * 2))
    assert "clip0000: its teacher tensors have no frame at" in late


def test_a_twin_of_another_set_is_refused(tmp_path):
    paths = [write_set(tmp_path / str(i), [clip_sample(i, teacher=clip_teacher)]) for i in (0, 1)]
    name = "shards/teacher-train-000000.tar"
    (tmp_path / "0" / name).write_bytes((tmp_path / "1" / name).read_bytes())
    with pytest.raises(ValueError, match=r"no teacher tensors of clip0000; .* fetch both again"):
        first(paths[0])
