"""The ideal estimator's error against Monte Carlo of what it is said to be, and what it must depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curate.synth.oracle import Noise, Oracle
from curate.synth.truth import Subject, Truth
from tests.synthetic import body, line, path, scene, wall

T = 9
SPAN = (0, T - 1)
ALONE = Noise(pan_deg=0.0, scale=0.0, shared=0.0, point_px=1e-6, point_disparity_px=1e-6)
ONE = Subject(1, np.zeros(3), 1.0)


def oracle(z: float = 6.0, noise: Noise = ALONE, velocity=(1.0, 0, 0.5)) -> Oracle:
    made = scene(wall(), body(1, "sphere", 1, path(line([-0.4, 0.1, z], velocity, T))),
                 body(2, "sphere", 1, path([1.0, 0, z])), num_frames=T)
    return Oracle(Truth(made), noise=noise)


def test_displacement_is_that_of_a_parabola_through_noisy_positions():
    ideal, area = oracle(), 900.0
    rig, rng = ideal.scene.rig, np.random.default_rng(0)
    sigma = np.array([0.1 * (500 / area) ** 0.5] * 2 + [0.2 * (64 / area) ** 0.5])
    world = ideal.truth.path(ONE, SPAN)
    uvd = np.column_stack([rig.left.project(world), rig.disparity(world[:, 2])])
    noisy = rig.point(uvd + sigma * rng.standard_normal((4000, T, 3)))
    weight = np.linalg.inv(rig.point_covariance(uvd, np.broadcast_to(sigma, (T, 3))))
    basis = np.kron(np.linspace(0, 1, T)[:, None] ** np.arange(3), np.eye(3))
    block = np.zeros((3 * T, 3 * T))
    for t in range(T):
        block[3 * t:3 * t + 3, 3 * t:3 * t + 3] = weight[t]
    fit = np.linalg.solve(basis.T @ block @ basis, basis.T @ block @ noisy.reshape(4000, -1).T)  # [9, S]
    way = fit.T.reshape(4000, 3, 3)[:, 1:].sum(1)
    expected = np.linalg.norm(way, axis=1).std()
    assert ideal.error("object_displacement", [ONE], SPAN, [area]) == pytest.approx(expected, rel=0.05)


def test_distance_is_the_region_s_disparity_and_its_biases():
    quiet = oracle().error("object_camera_distance", [ONE], (0, 0), [900.0])
    z, f_b = 6.0, 300 * 0.2
    slope = np.linalg.norm([-0.4, 0.1, 6.0]) / z  # along the ray a step in depth is this much longer
    assert quiet == pytest.approx(slope * z**2 / f_b * 0.2 * (64 / 900) ** 0.5, rel=0.03)
    panned = oracle(noise=replace(ALONE, pan_deg=0.02)).error("object_camera_distance", [ONE], (0, 0), [900.0])
    assert panned**2 - quiet**2 == pytest.approx((slope * z**2 / f_b * 300 * np.radians(0.02)) ** 2, rel=0.03)
    scaled = oracle(noise=replace(ALONE, scale=0.01)).error("object_camera_distance", [ONE], (0, 0), [900.0])
    assert scaled**2 - quiet**2 == pytest.approx((0.01 * slope * z) ** 2, rel=0.01)


@pytest.mark.parametrize("kind", ["object_displacement", "object_path_length", "object_mean_speed", "object_peak_speed",
                                  "object_direction", "object_camera_distance_change", "apparent_direction"])
def test_large_and_near_is_known_better(kind):
    best = oracle().error(kind, [ONE], SPAN, [4000.0])
    assert 0 < best < oracle().error(kind, [ONE], SPAN, [700.0])
    if kind != "apparent_direction":
        assert best < oracle(z=11.0).error(kind, [ONE], SPAN, [4000.0])


def test_a_pan_does_not_move_what_stands_side_by_side_apart():
    subjects = [ONE, Subject(2, np.zeros(3), 1.0)]
    areas = [900.0, 900.0]
    errors = [oracle(noise=replace(ALONE, pan_deg=pan)).error("object_object_distance", subjects, (0, 0), areas)
              for pan in (0.0, 0.05)]
    assert errors[1] == pytest.approx(np.hypot(errors[0], 1.4 * 6 / 60 * 300 * np.radians(0.05)), rel=0.1)


def test_camera_kinds_and_unknown_ones():
    ideal = oracle(noise=Noise())
    for kind in ("camera_displacement", "camera_path_length", "camera_direction", "camera_rotation"):
        assert np.isfinite(ideal.error(kind, (), SPAN))
    assert ideal.error("camera_rotation", (), SPAN) < np.radians(0.1)
    with pytest.raises(ValueError, match="object_colour"):
        ideal.error("object_colour", [ONE], SPAN, [900.0])


def test_what_a_bias_of_disparity_does_to_the_camera_is_what_least_squares_make_of_it():
    """A camera that drives straight ahead towards things at many depths; its path from biased points, solved anew."""
    ahead = path(line([0, 0, 0], [0, 0, 2.0], T), names=("world", "cam"))
    made = scene(wall(14), body(0, "box", [2, 9, 1], path([-2.5, 0, 6])), body(0, "box", [2, 9, 1], path([3, 0, 9])),
                 num_frames=T, T_world_cam=ahead)
    ideal = Oracle(Truth(made), noise=Noise(camera_cell_px=16, point_px=0.1, point_disparity_px=0.2))
    _, response, told = ideal._camera(0, T - 1)
    rig, bias = made.rig, 0.01
    depth, _ = ideal._seen(0)
    v, u = (a.ravel() for a in np.mgrid[8:180:16, 8:320:16])
    uvd = np.column_stack([u, v, rig.disparity(depth[v, u])]).astype(float)
    world, end = rig.point(uvd), made.camera(T - 1)
    local = end.inverse() @ world
    later = np.column_stack([rig.left.project(local), rig.disparity(local[:, 2])])
    keep = ((later[:, :2] >= 0) & (later[:, :2] <= [319, 179])).all(1)
    wrong = rig.point(uvd[keep] + [0, 0, bias])
    sigma = np.array([0.1, 0.1, 0.2 * 2**0.5])

    def cost(motion):
        from curate.geometry.rotations import exp_so3

        moved = (wrong - end.translation - motion[3:]) @ (exp_so3(motion[:3]) @ end.rotation)
        seen = np.column_stack([rig.left.project(moved), rig.disparity(moved[:, 2])])
        return ((later[keep] + [0, 0, bias] - seen) / sigma).ravel()

    from scipy.optimize import least_squares

    solved = least_squares(cost, np.zeros(6), x_scale=[0.01] * 3 + [0.1] * 3, xtol=1e-14, ftol=1e-14)
    assert solved.x / bias == pytest.approx(response, rel=0.03, abs=2e-4)
    assert 2 * solved.cost / bias**2 == pytest.approx(told, rel=0.05)
    assert response[5] < -0.1  # nearer than they are, they are passed on a shorter way
