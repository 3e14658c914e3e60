"""Plain ways of working out what `curate.measure` does faster: effects of pose errors one by one, draws row by row."""

from __future__ import annotations

import numpy as np

from curate.geometry.rotations import skew
from curate.measure.modes import systematic
from curate.measure.pose_errors import covariance_root
from curate.measure.strata import stratified_normals


def pose_effect(scene, points, frames):
    """[3n, P] m: how unit draws of the pose errors move world points [n, 3] seen at `frames` [n].

    P is 6 (T − 1), of the steps before; and 6 T more, of each frame's own pose, where the scene states those.
    """
    poses = scene.T_world_cam
    earlier, centre = poses.rotation[:-1], poses.translation[1:]  # step k leads from frame k to k + 1
    lever = points[:, None] - centre[None]  # [n, T-1, 3]
    effect = np.empty((*lever.shape, 6))
    effect[..., :3] = -skew(lever) @ earlier
    effect[..., 3:] = earlier
    before = np.arange(len(centre)) < frames[:, None]
    effect = (effect @ covariance_root(scene.step_cov[1:])) * before[..., None, None]
    effect = effect.transpose(0, 2, 1, 3).reshape(3 * len(points), -1)
    if not scene.pose_cov.any():
        return effect
    turn = poses.rotation[frames]
    own = np.concatenate([-skew(points - poses.translation[frames]) @ turn, turn], -1)
    alone = np.zeros((len(points), 3, len(poses), 6))
    alone[np.arange(len(points)), :, frames] = own @ covariance_root(scene.pose_cov)[frames]
    return np.concatenate([effect, alone.reshape(3 * len(points), -1)], 1)


def draw_rows(smoother, errors, num_parts, rng):
    """`PathSmoother.draw`, one draw after the other: points and velocities [S, T, 3], parts."""
    num, half = len(smoother.time_s), len(errors["own"])
    which, grid, weight = smoother.amplitudes()
    picks = systematic(weight, half, rng)
    hidden = np.flatnonzero(~np.repeat(smoother.seen, 3))
    errors = {name: error.copy() for name, error in errors.items()}
    if len(hidden):
        for error in errors.values():
            error[:, hidden] = 0
        errors["own"][:, hidden] = smoother.extra_sigma[hidden] * stratified_normals(rng, len(hidden), half).T
    normal = stratified_normals(rng, smoother.shapes[0].contrast.shape[1], half).T
    base, deviation = np.empty((2, half, 3 * num))
    parts = {name: np.empty((min(num_parts, half), 3 * num)) for name in errors}
    for row, pick in enumerate(picks):
        shape = smoother.shapes[which[pick]]
        gain = grid[pick] * shape.energy
        shrink = 1 / (1 + gain)
        wander = np.sqrt(gain) * shrink * (normal[row] @ shape.turn)
        base[row] = smoother.data.reshape(-1) - shape.to_data @ (shrink * shape.coefficient)
        total = sum(error[row] for error in errors.values())
        deviation[row] = shape.to_data @ (wander + shrink * (total @ shape.contrast)) - total
        for name in parts:
            if row < num_parts:
                modes = shrink * (errors[name][row] @ shape.contrast) + (wander if name == "own" else 0)
                parts[name][row] = shape.to_data @ modes - errors[name][row]
    parts["own"] += base[:num_parts] - base.mean(0)
    points = np.concatenate([base + deviation, base - deviation]).reshape(2 * half, num, 3)
    return points, {name: part.reshape(-1, num, 3) for name, part in parts.items()}
