"""Optical flow against closed-form pairs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.calibrate import true_flow
from curate.geometry.cameras import Intrinsics
from curate.perception.estimator import Window
from curate.perception.flow.config import DisConfig
from curate.perception.flow.dis import Dis, forward_backward_residual
from curate.synth import Renderer, sample_scene
from tests.textured import Texture, grid, picture

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
SIZE = (320, 200)


def shifted(shift: tuple[float, float], seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng, texture = np.random.default_rng(seed), Texture(SIZE, seed)
    x, y = grid(SIZE)
    return (picture(texture.at(x, y), rng, noise), picture(texture.at(x - shift[0], y - shift[1]), rng, noise))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, -0.7), (5.3, 2.8), (-11.6, 6.2)])
def test_known_shift(shift):
    first, second = shifted(shift)
    flow, sigma, valid = Dis().match(first, second)
    valid[:20], valid[-20:], valid[:, :20], valid[:, -20:] = False, False, False, False
    assert valid[20:-20, 20:-20].mean() > 0.9
    error = flow[valid] - shift
    assert np.abs(np.median(error, 0)).max() < 0.03
    assert np.mean(np.abs(error) < 2 * sigma[valid][:, None]) > 0.93


def test_rotation_and_zoom():
    rng, texture = np.random.default_rng(1), Texture(SIZE, 1)
    x, y = grid(SIZE)
    cx, cy = SIZE[0] / 2, SIZE[1] / 2
    a = 1.03 * np.array([[np.cos(0.03), -np.sin(0.03)], [np.sin(0.03), np.cos(0.03)]])
    back = np.linalg.inv(a)
    u, v = x - cx, y - cy
    second = texture.at(back[0, 0] * u + back[0, 1] * v + cx, back[1, 0] * u + back[1, 1] * v + cy)
    truth = np.stack([a[0, 0] * u + a[0, 1] * v - u, a[1, 0] * u + a[1, 1] * v - v], -1)
    flow, sigma, valid = Dis().match(picture(texture.at(x, y), rng), picture(second, rng))
    error = (flow - truth)[valid]
    assert valid.mean() > 0.85
    assert np.abs(np.median(error, 0)).max() < 0.03
    assert np.mean(np.abs(error) < 2 * sigma[valid][:, None]) > 0.93


def test_what_leaves_or_is_covered_is_unknown():
    """A patch moves 14 px right over a still background: the strip it covers has no flow."""
    rng, near, far = np.random.default_rng(0), Texture(SIZE, 1), Texture(SIZE, 2)
    x, y = grid(SIZE)
    patch = [(x >= left) & (x < left + 80) & (y >= 50) & (y < 150) for left in (100, 114)]
    first = picture(np.where(patch[0], near.at(x, y), far.at(x, y)), rng)
    second = picture(np.where(patch[1], near.at(x - 14, y), far.at(x, y)), rng)
    flow, _, valid = Dis().match(first, second)
    covered = (x >= 183) & (x < 192) & (y >= 60) & (y < 140)
    inside = (x >= 115) & (x < 165) & (y >= 65) & (y < 135)
    assert valid[covered].mean() < 0.25
    assert np.abs(np.median(flow[inside & valid], 0) - [14, 0]).max() < 0.1
    moved_out = shifted((-30.0, 0.0))
    assert Dis().match(*moved_out)[2][:, :25].mean() < 0.1


def test_sigma_follows_the_noise():
    sigmas = []
    for noise in (1.0, 5.0):
        first, second = shifted((3.3, 1.2), noise=noise)
        flow, sigma, valid = Dis().match(first, second)
        z = (flow[valid] - (3.3, 1.2)) / sigma[valid][:, None]
        assert z.std() < 1.4
        sigmas.append(np.median(sigma[valid]))
    assert sigmas[1] > sigmas[0]


def test_two_sigma_hold_on_a_rendered_scene():
    """Of a seed that no fit has seen; what stands still is exact and left out."""
    scene = sample_scene(9_000, 0, width=384, height=216)
    renderer = Renderer(scene)
    pair = [renderer.render(frame) for frame in (0, 1)]
    truth = true_flow(scene, 0, pair[0].depth, pair[0].ids, pair[1].depth)
    flow, sigma, valid = Dis().match(*(cv2.cvtColor(frame.left, cv2.COLOR_RGB2GRAY) for frame in pair))
    moved = np.linalg.norm(np.nan_to_num(truth), axis=-1) > 0.05
    use = valid & moved
    assert use.sum() > 0.7 * moved.sum() > 1000
    assert np.mean(np.abs(flow[use] - truth[use]) < 2 * sigma[use][:, None]) > 0.92


def test_refinement_takes_out_the_bias_of_dis():
    first, second = shifted((-11.6, 6.2))
    bias = [np.abs(np.median(flow[valid] - (-11.6, 6.2), 0)).max()
            for flow, _, valid in (Dis(DisConfig(refine_steps=s)).match(first, second) for s in (0, 1))]
    assert bias[1] < 0.5 * bias[0]


def test_last_frame_has_none():
    first, second = shifted((2.0, 0.0))
    camera = Intrinsics(300, 300, 160, 100, *SIZE)
    window = Window(0, 0, True, [], [np.stack([first, second])], np.arange(2) / 10, None, camera, 0)
    field = Dis().run(window)["flow"]
    assert field.values.shape == (2, SIZE[1], SIZE[0], 2) and field.values.dtype == np.float32
    assert field.valid[0].any() and not field.valid[1].any() and not field.values[1].any()
    assert field.filled_by == "dis@2"
    again = Dis().run(window)["flow"]
    assert again.values.tobytes() == field.values.tobytes()


def test_forward_backward_of_inverse_flows_is_zero():
    forward = np.zeros((20, 30, 2), np.float32)
    forward[..., 0] = 3
    residual, inside = forward_backward_residual(forward, -forward)
    assert np.allclose(residual, 0) and inside[:, :27].all() and not inside[:, 27:].any()


def test_even_window_is_refused():
    with pytest.raises(ValueError, match="odd"):
        Dis(DisConfig(refine_window=8))


@pytest.mark.shared
def test_motorcycle_as_flow():
    """A rectified pair is an exact flow: (-disparity, 0)."""
    folder = SHARED / "stereopair_middlebury_motorcycle_quarter"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    left, right = (cv2.imread(str(folder / f"motorcycle_{s}.png"), cv2.IMREAD_GRAYSCALE) for s in ("left", "right"))
    truth = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    flow, _, valid = Dis().match(left, right)
    use = valid & np.isfinite(truth)
    assert use.mean() > 0.4
    assert np.median(np.abs(flow[use][:, 0] + truth[use])) < 0.5
    assert np.median(np.abs(flow[use][:, 1])) < 0.3
