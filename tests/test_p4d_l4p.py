"""The adapter for L4P's checkpoint, on made-up files of its form: no real one could be tried."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from curate.train.p4d import PerceptionDecoder
from curate.train.p4d_config import TeacherConfig
from curate.train.teacher.base import Teacher
from curate.train.teacher.l4p import ENCODER, HEADS, Encoder, Shape, head_weights, load_l4p
from curate.train.teacher.store import load_teacher

TINY = Shape(frames=4, pixels=28, patch=14, tubelet=2, width=32, depth=4, heads=2, mlp=48, blocks=(1, 2))


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    state = {ENCODER + n: v for n, v in Encoder(TINY).state_dict().items()}
    state |= {ENCODER + "blocks.3.norm1.weight": torch.ones(32), HEADS + "depth.out.weight": torch.ones(1, 64)}
    path = tmp_path / "l4p.ckpt"
    torch.save({"epoch": 3, "state_dict": state}, path)
    return path


def test_its_latents_are_those_of_the_kept_blocks_side_by_side(checkpoint):
    teacher = load_l4p(checkpoint, shape=TINY)
    assert isinstance(teacher, Teacher) and teacher.signals == ()
    assert teacher.grid == (2, 2, 2, 64) and teacher.blocks == 2
    video, times = torch.rand(1, 4, 3, 40, 40), torch.arange(4.0)[None]
    latent = teacher.encode(video, times)
    assert latent.shape == (1, 2, 2, 2, 64)
    kept = []
    hooks = [teacher.encoder.blocks[i].register_forward_hook(lambda m, a, out: kept.append(out)) for i in (1, 2)]
    teacher.encode(video, times)
    torch.testing.assert_close(latent.flatten(1, 3), torch.cat(kept, -1))
    for hook in hooks:
        hook.remove()
    decoder = PerceptionDecoder(8, teacher.grid[3], kind="linear", blocks=teacher.blocks)
    assert decoder(torch.zeros(1, 2, 2, 2, 8)).shape == latent.shape


def test_heads_of_a_users_own_are_filled_from_it(checkpoint):
    weights = head_weights(checkpoint)
    assert list(weights) == ["depth"] and list(weights["depth"]) == ["out.weight"]
    head = torch.nn.Linear(64, 1, bias=False)
    head.weight.data.copy_(weights["depth"]["out.weight"])
    teacher = load_l4p(checkpoint, {"depth": head}, TINY)
    latent = torch.ones(1, 2, 2, 2, 64, requires_grad=True)
    teacher.decode("depth", latent).sum().backward()
    assert latent.grad.abs().sum() > 0 and head.weight.grad is None


def test_the_published_shape_is_that_of_videomae_v2_giant():
    with torch.device("meta"):
        encoder = Encoder(Shape())
    assert Shape().grid == (8, 16, 16) and len(encoder.blocks) == 37
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(0.94e9, rel=0.02)  # 1.01e9 of all 40 blocks


def test_other_files_are_refused_with_what_is_expected(checkpoint, tmp_path):
    def config(path) -> TeacherConfig:
        return TeacherConfig(kind="l4p", path=str(path))

    with pytest.raises(ValueError, match=r"is no file.*bring your own"):
        load_teacher(config(tmp_path / "nothing.ckpt"))
    with pytest.raises(ValueError, match=r"has shape|is missing"):
        load_teacher(config(checkpoint))  # of a smaller encoder than the published one
    other = tmp_path / "other.ckpt"
    torch.save({"weights": torch.ones(2)}, other)
    with pytest.raises(ValueError, match=r"holds .*'weights'.*expected a checkpoint of L4P"):
        load_teacher(config(other))
    other.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="cannot be read as tensors alone"):
        load_teacher(config(other))
    torch.save({"state_dict": {}, "hyper_parameters": Shape()}, other)  # an object of a class
    with pytest.raises(ValueError, match="could run any code"):
        load_teacher(config(other))
