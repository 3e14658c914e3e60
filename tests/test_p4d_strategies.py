"""Strategies on a real tiny student: their terms, whom gradients reach, what a student is after them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from curate.train.losses import CHANNELS
from curate.train.p4d_config import SIGNALS, SmallTeacherConfig, StrategyConfig
from curate.train.strategies import Strategy, make_strategy
from curate.train.strategies.coords import token_points, world_points
from curate.train.students import tiny_student
from curate.train.teacher.small import SmallTeacher
from tests.p4d_toys import FRAMES, GRID, PIXELS, toy_batch
from tests.test_p4d_losses import numpy_decoder, numpy_latent_loss, numpy_signal_loss

SMALL = {"image_size": 32, "patch_size": 8, "vision_width": 32, "vision_layers": 1, "width": 32, "layers": 2}
ALL = ("sft", "concat", "pe", "coords", "p4d")


class LinearTeacher(nn.Module):
    """One linear map each way, so that numpy can follow it: a token is 8 x 8 pixels of one frame."""

    signals, grid, blocks, model_id = SIGNALS, (FRAMES, 4, 4, 6), 1, "linear"

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(5)
        self.into = nn.Parameter(torch.randn(3 * 64, 6, generator=g) * 0.3)
        self.out = nn.ParameterDict({m: torch.randn(6, c, generator=g) for m, c in CHANNELS.items()})

    def encode(self, video: Tensor, times_s: Tensor) -> Tensor:
        patches = video.unfold(3, 8, 8).unfold(4, 8, 8).permute(0, 1, 3, 4, 2, 5, 6).flatten(4)
        return patches @ self.into + times_s[:, :, None, None, None]

    def decode(self, signal: str, latent: Tensor) -> Tensor:
        value = latent @ self.out[signal]
        return value.exp() if signal == "depth" else value.sigmoid() if signal == "motion" else value


def batch_for(student, seed: int = 0, clips: int = 2):
    """A toy batch with words, its signals on the grid of `LinearTeacher`."""
    batch = toy_batch(seed, clips)
    frames = [[(frame.permute(1, 2, 0) * 255).byte().numpy() for frame in clip] for clip in batch.video]
    texts = [student.processor.prompt("How far is it?", FRAMES)] * clips
    batch.inputs = student.processor(texts, frames, [f"{1.5 + i} m" for i in range(clips)])
    step = GRID // 4
    batch.signals = {m: v[:, :, ::step, ::step].contiguous() for m, v in batch.signals.items()}
    return batch


def strategy(name: str, teacher=None, timestamps: bool = False, **p4d) -> Strategy:
    torch.manual_seed(0)
    student = tiny_student("P+LLM", **SMALL)
    config = StrategyConfig(name=name, timestamps=timestamps, p4d={"hidden": 24, **p4d})
    return make_strategy(config, student, teacher or LinearTeacher())


@pytest.fixture(scope="module")
def batch():
    return batch_for(tiny_student(**SMALL))


def test_p4d_is_the_weighted_sum_that_numpy_gives(batch):
    s = strategy("p4d")
    teacher = s.teacher.teacher
    terms = s.loss(batch)
    with torch.no_grad():
        hidden = s.run(batch).hidden_states[-1]
        tokens = s.learner.visual_tokens(batch.inputs, hidden).double().numpy()
    assert tokens.shape == (2, FRAMES, 4, 4, 32)
    predicted = numpy_decoder(tokens, s.extra["decoder"])
    video = batch.video.double().numpy().reshape(2, FRAMES, 3, 4, 8, 4, 8)
    target = video.transpose(0, 1, 3, 5, 2, 4, 6).reshape(2, FRAMES, 4, 4, 192) @ teacher.into.detach().numpy()
    target = target + batch.times_s.numpy()[:, :, None, None, None]
    expected = {"latent": numpy_latent_loss(predicted, target)}
    for m in SIGNALS:
        value = predicted @ teacher.out[m].detach().double().numpy()
        value = np.exp(value) if m == "depth" else 1 / (1 + np.exp(-value)) if m == "motion" else value
        expected[m] = numpy_signal_loss(value, batch.signals[m].numpy(), np.log if m == "depth" else lambda x: x)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name
    weights = {"latent": 0.5, "depth": 0.1, "flow": 0.01, "motion": 0.005, "camray": 0.005}
    total = terms["sft"].item() + sum(w * expected[m] for m, w in weights.items())
    assert terms["loss"].item() == pytest.approx(total, rel=1e-5)


def test_gradients_reach_the_student_and_never_the_teacher(batch):
    s = strategy("p4d")
    s.loss(batch)["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in s.teacher.teacher.parameters())
    assert all(p.grad is not None for p in s.trainable() if p is not s.student.lm_head.weight)
    assert all(p.grad is None for n, p in s.student.named_parameters() if ".vision_tower." in n)  # P+LLM
    # Each half by itself reaches the projector, whatever the words say.
    for half in (s.predicted_latent(batch, s.run(batch)),
                 s.teacher.decode("depth", s.predicted_latent(batch, s.run(batch)))):
        s.zero_grad()
        half.sum().backward()
        assert s.student.model.multi_modal_projector.linear_1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("settings, terms", [
    ({"signals": []}, {"latent"}),
    ({"latent_weight": 0}, set(SIGNALS)),
    ({"latent_weight": 0, "signals": ["depth"]}, {"depth"}),
    ({"signals": ["depth", "flow"], "weights": {"flow": 0}}, {"latent", "depth"}),
    ({"preset": "released-code"}, {"latent", *SIGNALS}),
    ({"targets": "teacher"}, {"latent", *SIGNALS}),
])
def test_any_subset_of_the_terms_can_be_had(batch, settings, terms):
    s = strategy("p4d", **settings)
    found = s.loss(batch)
    assert set(found) == {"loss", "sft"} | terms
    weight = {"latent": s.settings.latent_weight,
              **{m: s.settings.explicit_weight * getattr(s.settings.weights, m) for m in SIGNALS}}
    total = found["sft"] + sum(weight[m] * found[m] for m in terms)
    torch.testing.assert_close(found["loss"].detach(), total)
    assert not any(term.requires_grad for name, term in found.items() if name != "loss")


def test_explicit_distillation_alone_does_not_run_the_teachers_encoder(batch):
    s = strategy("p4d", latent_weight=0)
    s.teacher.teacher.encode = None
    assert s.loss(batch)["depth"] > 0


def test_stored_latents_take_the_place_of_the_teachers(batch):
    computed, stored = strategy("p4d"), strategy("p4d", latents="shards")
    latent = LinearTeacher().encode(batch.video, batch.times_s).detach()
    with_latent = replace(batch, latent=latent.half().float())
    terms = stored.loss(with_latent)  # the first is compared with the teacher's own
    torch.testing.assert_close(terms, computed.loss(batch), rtol=1e-3, atol=1e-4)
    stored.teacher.teacher.encode = None
    torch.testing.assert_close(stored.loss(with_latent), terms)


def test_stored_latents_of_another_teacher_are_refused(batch):
    other = LinearTeacher()
    with torch.no_grad():
        other.into.mul_(-1)
        latent = other.encode(batch.video, batch.times_s)
    with pytest.raises(ValueError, match=r"clip toy0-0: its stored latent is .* % off the one that teacher linear"):
        strategy("p4d", latents="shards").loss(replace(batch, latent=latent))


@pytest.mark.parametrize("name", ALL)
def test_under_autocast_terms_stay_near(batch, name):
    s = strategy(name)
    full = s.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = s.loss(batch)
    half["loss"].backward()
    assert all(half[n].item() == pytest.approx(full[n].item(), rel=0.05, abs=0.02) for n in full)
    assert all(torch.isfinite(p.grad).all() for p in s.parameters() if p.grad is not None)


def test_a_student_taught_by_p4d_is_the_one_of_sft(batch, tmp_path):
    plain, taught = strategy("sft"), strategy("p4d")
    for s in (plain, taught):
        s.loss(batch)["loss"].backward()
    assert [n for n, _ in plain.student.named_modules()] == [n for n, _ in taught.student.named_modules()]
    assert plain.student.state_dict().keys() == taught.student.state_dict().keys()
    assert num_hooks(taught) == num_hooks(plain) == 0
    for s, folder in ((plain, "sft"), (taught, "p4d")):
        s.learner.save(tmp_path / folder)
    names = [sorted(p.name for p in (tmp_path / f).iterdir()) for f in ("sft", "p4d")]
    assert names[0] == names[1] and not any("strategy" in n or "teacher" in n for n in names[0])
    configs = [(tmp_path / f / "config.json").read_text() for f in ("sft", "p4d")]
    assert configs[0] == configs[1]
    assert taught.generate(batch, 3) == taught.learner.generate(batch, 3)


def num_hooks(s: Strategy) -> int:
    """What changes the frames' features; transformers has hooks of its own elsewhere."""
    return len(s.student.model.multi_modal_projector._forward_pre_hooks)


@pytest.mark.parametrize("name, needs", [("sft", ()), ("p4d", ()), ("concat", ("teacher",)), ("pe", ("teacher",)),
                                         ("coords", ("depth, intrinsics and poses",))])
def test_what_answering_needs_is_stated_and_true(batch, name, needs):
    s = strategy(name)
    assert s.at_inference == needs
    bare = replace(batch, signals=None, cameras=None)
    if hasattr(s, "teacher"):
        s.teacher.teacher.encode = None
    if needs:
        with pytest.raises((ValueError, TypeError)):
            s.generate(bare, 2)
    else:
        assert len(s.generate(bare, 2)) == 2


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("timestamps", [False, True])
def test_every_strategy_trains_what_it_should_and_leaves_no_hook(batch, name, timestamps):
    s = strategy(name, timestamps=timestamps)
    s.loss(batch)["loss"].backward()
    assert {n.split(".")[0] for n, p in s.named_parameters() if p.requires_grad} == (
        {"student"} if name == "sft" else {"student", "extra"})
    assert all(p.grad is not None for p in s.extra.parameters())
    assert num_hooks(s) == int(timestamps)
    if timestamps or name in ("sft", "p4d", "coords"):  # concat and pe hear of time through their teacher
        later = s.loss(replace(batch, times_s=batch.times_s * 3 + 1))["sft"]
        assert torch.equal(later, s.loss(batch)["sft"]) != (timestamps or name == "coords")


def test_concat_starts_where_sft_does(batch):
    assert strategy("concat").loss(batch)["sft"].item() == pytest.approx(strategy("sft").loss(batch)["sft"].item())
    s = strategy("concat")
    optimizer = torch.optim.SGD(s.trainable(), lr=0.1)
    s.loss(batch)["loss"].backward()
    optimizer.step()
    assert s.extra["join"].weight[:, 32:].abs().max() > 0  # and then listens to the teacher


def test_features_go_to_the_token_they_belong_to(batch):
    s = strategy("pe")
    latent = torch.zeros(2, *s.teacher.grid)
    latent[1, 2, 3, 0] = torch.arange(6.0)
    features = torch.zeros(2, FRAMES, 4, 4, 32)
    s.extra["project"].bias.data.zero_()
    changed = s.joined(features, latent).abs().sum(-1)
    assert changed[1, 2, 3, 0] > 0 and changed.count_nonzero() == 1


def test_points_are_those_of_a_pinhole_camera():
    depth = torch.full((1, 2, 3, 5), 4.0)
    K = torch.tensor([[2.0, 0, 2], [0, 2.0, 1], [0, 0, 1]]).expand(1, 2, 3, 3)
    turn = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # a quarter to the right: z forward becomes x
    pose = torch.stack([torch.eye(3, 4), torch.cat([turn, torch.tensor([[10.0], [0], [0]])], 1)])[None]
    points = world_points(depth, K, pose)
    torch.testing.assert_close(points[0, 0, 1, 2], torch.tensor([0.0, 0, 4]))
    torch.testing.assert_close(points[0, 0, 0, 4], torch.tensor([4.0, -2, 4]))
    torch.testing.assert_close(points[0, 1, 1, 2], torch.tensor([14.0, 0, 0]))
    torch.testing.assert_close(points[0, 1, 1, 3], torch.tensor([14.0, 0, -2]))


def test_a_tokens_place_is_on_one_surface_and_unknown_where_nothing_is_known():
    points = torch.full((1, 1, 4, 4, 3), torch.nan)
    points[0, 0, :2, :2] = torch.tensor([0.0, 0, 2])
    points[0, 0, 0, 0] = torch.tensor([0.0, 0, 50])  # one cell of the wall behind
    points[0, 0, 2, 2] = torch.tensor([1.0, 1, 7])
    places = token_points(points, (2, 2))[0, 0]
    torch.testing.assert_close(places[0, 0], torch.tensor([0.0, 0, 2]))
    torch.testing.assert_close(places[1, 1], torch.tensor([1.0, 1, 7]))
    assert torch.isnan(places[0, 1]).all() and torch.isnan(places[1, 0]).all()
    assert token_points(points, (3, 5)).shape == (1, 1, 3, 5, 3)


def test_tokens_without_depth_get_one_learned_vector(batch):
    s = strategy("coords")
    s.extra["unknown"].vector.data.fill_(7.0)
    features = torch.zeros(2, FRAMES, 4, 4, 32)
    K, pose = torch.eye(3).expand(2, FRAMES, 3, 3), torch.eye(3, 4).expand(2, FRAMES, 3, 4)
    depth = torch.full((2, FRAMES, 4, 4), 3.0)
    depth[0, 1, 2, 3] = torch.nan
    code = s.embedded(world_points(depth, K, pose), batch, features)
    assert (code[0, 1, 2, 3] == 7).all() and not (code[0, 1, 2, 2] == 7).any()
    assert torch.isfinite(code).all()


@pytest.mark.parametrize("name", ALL)
def test_its_own_parameters_come_back_from_disk(batch, name, tmp_path):
    s, other = strategy(name), strategy(name)
    with torch.no_grad():
        for p in s.extra.parameters():
            p.add_(0.25)
    s.save(tmp_path)
    other.load(tmp_path)
    torch.testing.assert_close(other.loss(batch), s.loss(batch), rtol=0, atol=0)


def test_parameters_of_other_settings_are_refused(tmp_path):
    s = strategy("p4d")
    s.save(tmp_path)
    with pytest.raises(ValueError, match=r"strategy 'p4d' instead of 'pe'"):
        strategy("pe").load(tmp_path)
    with pytest.raises(ValueError, match=r"'latent_weight': 0\.5"):
        strategy("p4d", latent_weight=0.25).load(tmp_path)
    with pytest.raises(ValueError, match="timestamps"):
        strategy("p4d", timestamps=True).load(tmp_path)
    teacher = LinearTeacher()
    teacher.model_id = "another"
    with pytest.raises(ValueError, match="teacher 'linear' instead of 'another'"):
        strategy("p4d", teacher).load(tmp_path)
    save_file({"decoder.per_block.0.0.weight": torch.zeros(2, 2)}, tmp_path / "strategy.safetensors")
    with pytest.raises(ValueError, match="is missing"):
        s.load(tmp_path)
    (tmp_path / "strategy.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        s.load(tmp_path)
    with pytest.raises(ValueError, match=r"expected strategy\.json"):
        s.load(tmp_path / "nowhere")


def test_what_cannot_be_learned_from_says_what_to_change(batch):
    with pytest.raises(ValueError, match="curate train teacher"):
        make_strategy(StrategyConfig(name="pe"), SimpleNamespace(), None)
    s = strategy("p4d")
    with pytest.raises(ValueError, match=r"teacher\.enabled=true"):
        s.loss(replace(batch, signals=None))
    bad = {**batch.signals, "depth": batch.signals["depth"].clone()}
    bad["depth"][1, 0, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="clip toy0-1: depth"):
        s.loss(replace(batch, signals=bad))
    with pytest.raises(ValueError, match="hold no latents"):
        strategy("p4d", latents="shards").loss(batch)
    latent = torch.zeros(2, *LinearTeacher.grid)
    with pytest.raises(ValueError, match=r"grid \[3, 4, 4, 6\]"):
        strategy("p4d", latents="shards").loss(replace(batch, latent=latent[:, :3]))
    latent[0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="clip toy0-0: the teacher's latent"):
        strategy("p4d", latents="shards").loss(replace(batch, latent=latent))
    with pytest.raises(ValueError, match="coords reads depth"):
        strategy("coords").loss(replace(batch, cameras=None))
    flat = LinearTeacher()
    flat.signals = ("depth",)
    with pytest.raises(ValueError, match="flow, motion, camray, the teacher has depth"):
        strategy("p4d", flat)


def test_a_teacher_of_more_frames_than_are_shown_does_not_fit(batch):
    large = SmallTeacher(SmallTeacherConfig(frames=8, height=PIXELS, width=PIXELS, patch=8, tubelet=1, channels=32,
                                            blocks=1), SIGNALS, (4, 4))
    with pytest.raises(ValueError, match=r"8 steps in time, the student is shown 4"):
        strategy("p4d", large, latent_weight=0).loss(batch)
    with pytest.raises(ValueError, match=r"sees 8 frames, the batch shows 4"):
        strategy("concat", large).loss(batch)


def test_what_the_student_perceives_can_be_drawn(batch):
    seen = strategy("p4d").predicted_signals(batch)
    assert {m: tuple(v.shape) for m, v in seen.items()} == {m: (2, FRAMES, 4, 4, c) for m, c in CHANNELS.items()}
