"""The losses of P4D against a second writing of them in numpy, and what they do with what is not known."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.train.losses import CHANNELS, check_latent, check_targets, latent_loss, resized, signal_loss
from curate.train.p4d import PerceptionDecoder, rearrange
from curate.train.p4d_config import PRESETS, P4DConfig, StrategyConfig

SEEDS = st.integers(0, 10_000)


def smooth_l1(a: float, b: float) -> float:
    d = abs(a - b)
    return 0.5 * d * d if d < 1 else d - 0.5


def numpy_latent_loss(predicted: np.ndarray, target: np.ndarray) -> float:
    clips = []
    for p_clip, t_clip in zip(predicted, target):
        frames = [np.mean([smooth_l1(a, b) for a, b in zip(p.ravel(), t.ravel())]) for p, t in zip(p_clip, t_clip)]
        clips.append(sum(frames))
    return float(np.mean(clips))


def numpy_signal_loss(predicted: np.ndarray, target: np.ndarray, change=lambda x: x) -> float:
    clips = []
    for p_clip, t_clip in zip(predicted, target):
        total = 0.0
        for p, t in zip(p_clip, t_clip):
            known = [smooth_l1(change(a), change(b)) for a, b in zip(p.ravel(), t.ravel()) if not math.isnan(b)]
            total += np.mean(known) if known else 0.0
        clips.append(total)
    return float(np.mean(clips))


def numpy_decoder(x: np.ndarray, decoder: PerceptionDecoder) -> np.ndarray:
    layers = [m for m in decoder.per_block[0] if isinstance(m, torch.nn.Linear)]
    for i, layer in enumerate(layers):
        x = x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        if i < 2:
            x = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return x


def draws(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(SEEDS)
def test_latent_loss_is_that_of_numpy(seed):
    g = draws(seed)
    shape = (g.integers(1, 3), g.integers(1, 4), g.integers(1, 4), g.integers(1, 4), g.integers(1, 6))
    a, b = g.normal(0, 2, shape), g.normal(0, 2, shape)
    ours = latent_loss(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert ours == pytest.approx(numpy_latent_loss(a, b), rel=1e-5)
    assert latent_loss(torch.from_numpy(a), torch.from_numpy(b), "mse").item() == pytest.approx(
        np.mean([sum(np.square(p - t).mean() for p, t in zip(*c)) for c in zip(a, b)]), rel=1e-5)


@given(SEEDS, st.sampled_from(sorted(CHANNELS)), st.sampled_from(["log", "inverse", "metres"]))
def test_signal_loss_is_that_of_numpy_and_leaves_out_what_is_unknown(seed, signal, space):
    g = draws(seed)
    shape = (2, 3, *g.integers(1, 5, 2), CHANNELS[signal])
    predicted, target = g.normal(0, 2, shape), g.normal(0, 2, shape)
    change = {"log": math.log, "inverse": lambda x: 1 / x, "metres": lambda x: x}[space]
    if signal == "depth":
        predicted, target = np.exp(predicted), np.exp(target)
    else:
        change = lambda x: x  # noqa: E731
    target[g.random(shape) < 0.4] = np.nan
    target[0, 1] = np.nan
    ours = signal_loss(signal, torch.from_numpy(predicted), torch.from_numpy(target), space).item()
    # Depths within 1e-3 m of zero are compared as 1e-3 m; exp of a normal of sigma 2 is never there.
    assert ours == pytest.approx(numpy_signal_loss(predicted, target, change), rel=1e-5, abs=1e-9)


@given(SEEDS, st.sampled_from(sorted(CHANNELS)))
def test_what_is_unknown_has_neither_loss_nor_gradient(seed, signal):
    g = draws(seed)
    predicted = torch.from_numpy(np.exp(g.normal(0, 1, (1, 2, 3, 3, CHANNELS[signal])))).requires_grad_()
    target = np.exp(g.normal(0, 1, predicted.shape))
    target[g.random(target.shape) < 0.5] = np.nan
    signal_loss(signal, predicted, torch.from_numpy(target)).backward()
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad.numpy()[np.isnan(target)] == 0).all()
    nothing = signal_loss(signal, predicted, torch.full(predicted.shape, torch.nan))
    nothing.backward()
    assert nothing.item() == 0


@given(SEEDS)
def test_rearrangement_means_over_equal_shares_and_interpolates_between(seed):
    g = draws(seed)
    sizes, grid = g.integers(1, 6, 3), g.integers(1, 6, 3)
    grid[0] = min(grid[0], sizes[0])
    x = g.normal(size=(1, *sizes, 2)).astype(np.float32)
    expected = x.astype(float)
    for axis, (size, out) in enumerate(zip(sizes, grid), start=1):
        if out <= size:  # each cell cut into `out` equal pieces, then `size` pieces averaged: exact shares
            pieces = np.repeat(expected, out, axis)
            expected = np.stack(np.split(pieces, out, axis), axis).mean(axis + 1)
        else:
            centres = (np.arange(out) + 0.5) * size / out - 0.5
            expected = np.apply_along_axis(lambda v, c=centres: np.interp(c, np.arange(len(v)), v), axis, expected)
    np.testing.assert_allclose(rearrange(torch.from_numpy(x), tuple(grid)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_rearrangement_is_exact_where_sizes_divide():
    x = torch.arange(2 * 4 * 6 * 9 * 3, dtype=torch.float32).reshape(2, 4, 6, 9, 3)
    assert torch.equal(rearrange(x, (4, 6, 9)), x)
    blocks = x.reshape(2, 2, 2, 3, 2, 3, 3, 3).mean(dim=(2, 4, 6))
    torch.testing.assert_close(rearrange(x, (2, 3, 3)), blocks)


def test_the_decoder_is_an_mlp_of_three_layers_that_starts_without_biases():
    torch.manual_seed(0)
    decoder = PerceptionDecoder(12, 7, hidden=20)
    weights = [p for p in decoder.parameters() if p.ndim == 2]
    assert [tuple(w.shape) for w in weights] == [(20, 12), (20, 20), (7, 20)]
    for weight in weights:  # Xavier: uniform within sqrt(6 / (in + out))
        bound = math.sqrt(6 / sum(weight.shape))
        assert weight.abs().max() <= bound and weight.abs().max() > 0.8 * bound
    assert all((p == 0).all() for p in decoder.parameters() if p.ndim == 1)
    x = draws(1).normal(size=(2, 3, 12)).astype(np.float32)
    np.testing.assert_allclose(decoder(torch.from_numpy(x)).detach().numpy(), numpy_decoder(x, decoder), rtol=1e-5,
                               atol=1e-6)
    assert P4DConfig().hidden == 2560


def test_each_block_of_the_teacher_has_a_linear_decoder_of_its_own_in_the_released_way():
    torch.manual_seed(0)
    decoder = PerceptionDecoder(32, 4 * 40, kind="linear", blocks=4)
    assert [tuple(p.shape) for p in decoder.parameters() if p.ndim == 2] == [(40, 32)] * 4
    weights = torch.cat([p.flatten() for p in decoder.parameters() if p.ndim == 2])
    assert weights.std().item() == pytest.approx(0.1, rel=0.05)
    assert decoder(torch.zeros(1, 2, 3, 3, 32)).shape == (1, 2, 3, 3, 160)


def test_a_signal_on_another_grid_is_brought_to_the_targets():
    flow = torch.ones(1, 2, 4, 4, 2) * torch.tensor([1.0, 2.0])
    grown = resized(flow, (8, 16), is_flow=True)
    torch.testing.assert_close(grown, torch.ones(1, 2, 8, 16, 2) * torch.tensor([4.0, 4.0]))
    assert signal_loss("flow", flow, grown).item() == pytest.approx(0, abs=1e-9)
    depth = torch.full((1, 2, 4, 4, 1), 5.0)
    assert signal_loss("depth", depth, torch.full((1, 2, 6, 6, 1), 5.0)).item() == pytest.approx(0, abs=1e-9)


def test_presets_are_those_of_the_paper_and_of_its_code():
    paper, released = P4DConfig(), P4DConfig(preset="released-code")
    assert (paper.latent_weight, paper.explicit_weight, paper.decoder, paper.latent_loss) == (
        0.5, 0.1, "mlp", "smooth-l1")
    assert paper.weights.model_dump() == {"depth": 1.0, "flow": 0.1, "motion": 0.05, "camray": 0.05}
    assert (released.latent_weight, released.decoder, released.latent_loss) == (0.01, "linear", "mse")
    effective = {m: released.explicit_weight * w for m, w in released.weights.model_dump().items()}
    assert effective == {"depth": 0.1, "flow": 0.001, "motion": 0.01, "camray": 1e-5}
    assert released.depth_space == "log"


def test_what_is_written_beside_a_preset_wins():
    config = P4DConfig(preset="released-code", latent_weight=0.3, weights={"flow": 0.5})
    assert (config.latent_weight, config.weights.flow, config.weights.depth) == (0.3, 0.5, 0.1)
    assert P4DConfig.model_validate(config.model_dump()) == config
    assert set(PRESETS["paper"]) == set(PRESETS["released-code"])


@pytest.mark.parametrize("settings, says", [
    ({"latent_weight": 0, "signals": []}, "plain sft"),
    ({"latent_weight": 0, "explicit_weight": 0}, "plain sft"),
    ({"signals": ["depth", "depth"]}, "twice"),
    ({"preset": "mine"}, "paper"),
    ({"signals": ["normals"]}, "camray"),
])
def test_settings_that_teach_nothing_are_refused(settings, says):
    with pytest.raises(ValidationError, match=says):
        StrategyConfig(name="p4d", p4d=settings)


def test_targets_that_cannot_be_learned_from_are_refused_by_name():
    def target(value: float, channels: int = 1) -> torch.Tensor:
        out = torch.ones(2, 3, 4, 4, channels)
        out[1, 0, 0, 0, 0] = value
        return out

    keys = ["clip-a", "clip-b"]
    check_targets({"depth": target(torch.nan)}, ["depth"], keys)
    with pytest.raises(ValueError, match=r"teacher.enabled=true"):
        check_targets(None, ["depth"], keys)
    with pytest.raises(ValueError, match="no 'flow'"):
        check_targets({"depth": target(1)}, ["flow"], keys)
    with pytest.raises(ValueError, match=r"clip-b: depth is infinite or not positive in 1 "):
        check_targets({"depth": target(0)}, ["depth"], keys)
    with pytest.raises(ValueError, match="clip-b: flow is infinite"):
        check_targets({"flow": target(torch.inf, 2)}, ["flow"], keys)
    with pytest.raises(ValueError, match=r"expected \[B, frames, height, width, 2\]"):
        check_targets({"flow": target(1)}, ["flow"], keys)
    with pytest.raises(ValueError, match="clip-b: the teacher's latent holds nan"):
        check_latent(target(torch.nan), keys)


def test_grids_that_do_not_fit_say_what_to_change():
    tokens = torch.zeros(1, 4, 3, 3, 8)
    with pytest.raises(ValueError, match="8 steps in time, the student is shown 4 frames"):
        rearrange(tokens, (8, 3, 3))
    with pytest.raises(ValueError, match="without visual tokens"):
        rearrange(torch.zeros(1, 4, 0, 3, 8), (4, 3, 3))
    with pytest.raises(ValueError, match="differ in their grid"):
        latent_loss(torch.zeros(1, 4, 3, 3, 8), torch.zeros(1, 4, 3, 3, 16))
    with pytest.raises(ValueError, match="number of frames shown"):
        signal_loss("depth", torch.ones(1, 4, 3, 3, 1), torch.ones(1, 8, 3, 3, 1))
