"""Bundle adjustment of one rigid body: its pose in every frame and the depth of every tracked point, together.

Depth from disparity is too coarse to tell how far a distant body has turned, while its own motion over many
frames tells both its relief and its turn. A point is fixed on the ray where its track began; only its
disparity there is free. Solved by Levenberg-Marquardt with the points eliminated (Schur complement).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from curate.geometry.cameras import StereoRig
from curate.geometry.rotations import exp_so3, skew
from curate.lift.rigid import MEDIAN_LENGTH, TUKEY, project

ITERATIONS = 12
POSE = 7  # turn, reference point, disparity offset of a frame


@dataclass
class Matches:
    """Tracks of one body. F frames, N points, M matches (the one a track began with is not among them).

    Args:
        anchor_frame: [N] index of the frame where the track began.
        anchor: [N, 3] (u, v, disparity) there; u and v are exact by definition.
        anchor_sigma: [N] px, of that disparity.
        point, frame: [M] indices.
        uvd: [M, 3], disparity nan where unknown.
        sigma: [M, 3] px.
    """

    anchor_frame: np.ndarray
    anchor: np.ndarray
    anchor_sigma: np.ndarray
    point: np.ndarray
    frame: np.ndarray
    uvd: np.ndarray
    sigma: np.ndarray


@dataclass
class Body:
    """rotation [F, 3, 3] body to camera (identity in frame 0), point [F, 3] the reference point in camera axes;
    disparity [N] px of the points where their tracks began, None for as measured."""

    rotation: np.ndarray
    point: np.ndarray
    disparity: np.ndarray | None = None


@dataclass
class Adjusted:
    """covariance: [F, 3, F, 3] of all reference points jointly; own: [F, 3, 3] the part each frame has to itself.
    turn_covariance: [F, 3, 3] rad², of the rotation, in the axes of each frame's camera.
    agree: [F] share of each frame's matches that fit (1 for frame 0, which began with its own).
    cost: what the errors cost, none more than an outlier does; to choose among starts.
    volume: logarithm of the posterior's volume over that of the prior of turns; with the cost it says how likely the
        matches are under that prior.
    spread: of the residuals in standard deviations of their stated errors, at least 1.
    size: [M] length of each match's residual in standard deviations of its stated error.
    residual: [M, 3] px."""

    body: Body
    covariance: np.ndarray
    own: np.ndarray
    turn_covariance: np.ndarray
    agree: np.ndarray
    cost: float
    volume: float
    spread: float
    size: np.ndarray
    residual: np.ndarray


def adjust(rig: StereoRig, matches: Matches, start: Body, reference: np.ndarray, reference_sigma: np.ndarray,
           effective: np.ndarray, still: np.ndarray, turn_sigma: tuple[float, float],
           bias_sigma: float) -> Adjusted | None:
    """
    Args:
        reference: [3] (u, v, disparity) of the reference point as measured in frame 0; sigma [3] px.
        effective: [F] number of independent matches among those of each frame.
        still: [F, 3, 3] rotations the body would have if it did not turn in the world.
        turn_sigma: radians from one frame to the next about that, and the change of this from frame to frame.
        bias_sigma: px, offset that all disparities of a frame share.

    Returns:
        None where the equations cannot be solved.
    """
    problem = _Problem(rig, matches, reference, reference_sigma, effective, still, turn_sigma, bias_sigma)
    disparity = matches.anchor[:, 2] if start.disparity is None else start.disparity
    state = (start.rotation.copy(), start.point.copy(), np.zeros(len(start.point)), disparity.copy())
    damping, cost = 1e-4, np.inf
    weight = problem.weights(state)
    cost = problem.cost(state, weight)
    for _ in range(ITERATIONS):
        system = problem.equations(state, weight)
        for _ in range(4):
            moved = problem.step(state, system, damping)
            if moved is not None and (new := problem.cost(moved, weight)) < cost:
                break
            damping *= 10
        else:
            break
        gain = (cost - new) / max(cost, 1e-12)
        state, damping = moved, max(damping / 5, 1e-7)
        weight = problem.weights(state)
        cost = problem.cost(state, weight)
        if gain < 1e-4:
            break
    hessian = problem.equations(state, weight)[0]
    try:
        covariance = np.linalg.inv(hessian + 1e-12 * np.diag(np.diag(hessian)))
    except np.linalg.LinAlgError:
        return None
    num = len(state[1])
    index = (np.arange(num)[:, None] * POSE + np.arange(3, 6)).ravel()
    own = np.linalg.inv(hessian.reshape(num, POSE, num, POSE)[np.arange(num), 3:6, np.arange(num), 3:6])
    joint = covariance[np.ix_(index, index)]
    if not np.isfinite(joint).all() or (np.diag(joint) <= 0).any() or (state[1][:, 2] <= 0.05).any():
        return None
    turns = covariance.reshape(num, POSE, num, POSE)[np.arange(num), :3, np.arange(num), :3]
    volume = problem.prior_volume() - 0.5 * float(np.linalg.slogdet(hessian)[1])
    residual = problem.predict(state)[0]
    return Adjusted(Body(state[0], state[1], state[3]), ((joint + joint.T) / 2).reshape(num, 3, num, 3), own, turns,
                    problem.agreement(weight), problem.cost(state, None), volume, float(1 / np.sqrt(weight.max())),
                    np.sqrt((residual**2 * problem.information).sum(1)), residual)


def average(parts: list[tuple[float, Adjusted]]) -> Adjusted:
    """What several priors say together (Bayesian model averaging): (probability, result) of each; the spread
    between them is part of the covariance."""
    share = [p for p, _ in parts]
    best = max(parts, key=lambda part: part[0])[1]
    point = sum(p * r.body.point for p, r in parts)
    away = [r.body.point - point for _, r in parts]
    covariance = sum(p * (r.covariance + d[:, :, None, None] * d) for (p, r), d in zip(parts, away, strict=True))
    own = sum(p * r.own for p, r in parts)
    turned = [small_turn(r.body.rotation @ np.swapaxes(best.body.rotation, 1, 2)) for _, r in parts]
    turn = sum(p * t for p, t in zip(share, turned, strict=True))
    turns = sum(p * (r.turn_covariance + (t - turn)[:, :, None] * (t - turn)[:, None])
                for (p, r), t in zip(parts, turned, strict=True))
    return Adjusted(Body(exp_so3(turn) @ best.body.rotation, point), covariance, own, turns, best.agree, best.cost,
                    best.volume, best.spread, best.size, best.residual)


def small_turn(rotation: np.ndarray) -> np.ndarray:
    """Rotation vectors [N, 3], radians, of matrices [N, 3, 3] that turn by less than half a circle."""
    vector = 0.5 * np.stack([rotation[:, 2, 1] - rotation[:, 1, 2], rotation[:, 0, 2] - rotation[:, 2, 0],
                             rotation[:, 1, 0] - rotation[:, 0, 1]], -1)
    sine = np.linalg.norm(vector, axis=1)
    angle = np.arctan2(sine, (np.trace(rotation, axis1=1, axis2=2) - 1) / 2)
    return vector * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-12), 1.0)[:, None]


class _Problem:
    """Residuals and normal equations. The state is (rotations, reference points, offsets, disparities)."""

    def __init__(self, rig, matches, reference, reference_sigma, effective, still, turn_sigma, bias_sigma) -> None:
        self.rig, self.m = rig, matches
        self.reference, self.reference_information = reference, 1 / reference_sigma**2
        self.still, self.offset = still, 1 / bias_sigma**2
        self.turn, self.change = 1 / turn_sigma[0] ** 2, 1 / turn_sigma[1] ** 2
        self.rates = np.diff(np.eye(len(still)), axis=0)
        self.changes = np.diff(self.rates, axis=0)
        known = np.isfinite(matches.uvd[:, 2])
        self.observed = np.where(np.isfinite(matches.uvd), matches.uvd, 0)
        self.information = 1 / np.where(np.isfinite(matches.sigma), matches.sigma, 1) ** 2
        self.information[:, 2] *= known
        self.known = known
        count = np.bincount(matches.frame, minlength=len(effective))
        self.down = np.minimum(1, effective / np.maximum(count, 1))[matches.frame]
        begun = np.bincount(matches.anchor_frame, minlength=len(effective))
        self.anchor_information = (np.minimum(1, effective / np.maximum(begun, 1))[matches.anchor_frame]
                                   / matches.anchor_sigma**2)

    def predict(self, state):
        rotation, point, bias, disparity = state
        a, t, i = self.m.anchor_frame[self.m.point], self.m.frame, self.m.point
        where = np.column_stack([self.m.anchor[:, :2], disparity])
        start = self.rig.point(where)
        along = self.rig.point_jacobian(where)[:, :, 2]
        arm = start[i] - point[a]
        between = rotation[t] @ np.swapaxes(rotation[a], -1, -2)
        turned = np.einsum("mij,mj->mi", between, arm)
        uvd, jacobian = project(self.rig, turned + point[t])
        uvd[:, 2] += bias[t]
        error = self.observed - uvd
        error[:, 2] *= self.known
        return error, jacobian, between, arm, turned, along[i]

    def weights(self, state) -> np.ndarray:
        error = self.predict(state)[0]
        size = np.sqrt((error**2 * self.information).sum(1))
        spread = max(1.0, float(np.median(size)) / MEDIAN_LENGTH)
        return np.clip(1 - (size / (TUKEY * spread)) ** 2, 0, None) ** 2 / spread**2

    def agreement(self, weight: np.ndarray) -> np.ndarray:
        """[F] share of the matches of a frame that keep at least a third of the greatest weight."""
        num = len(self.still)
        fits = weight > weight.max(initial=0) / 3
        share = np.bincount(self.m.frame[fits], minlength=num) / np.maximum(np.bincount(self.m.frame, minlength=num), 1)
        share[0] = 1
        return share

    def extra(self, state):
        """Errors of: the disparities tracks began with [N], the reference point [3], turns per frame [F - 1, 3]."""
        rotation, point, bias, disparity = state
        began = self.m.anchor[:, 2] - disparity - bias[self.m.anchor_frame]
        uvd, jacobian = project(self.rig, point[:1])
        reference = self.reference - uvd[0] - np.array([0, 0, bias[0]])
        against = np.swapaxes(self.still, -1, -2) @ rotation
        turns = small_turn(against[1:] @ np.swapaxes(against[:-1], -1, -2))
        return began, reference, jacobian[0], turns

    def prior_volume(self) -> float:
        """Half the logarithm of the determinant of the prior's information about turns."""
        bend = self.rates.T @ self.rates * self.turn + self.changes.T @ self.changes * self.change
        return 1.5 * float(np.linalg.slogdet(bend[1:, 1:])[1])

    def cost(self, state, weight) -> float:
        """With weights: the quadratic form they make. Without: every match at most an outlier's cost."""
        error = self.predict(state)[0]
        if weight is None:
            size = (error**2 * self.information).sum(1)
            weight = np.minimum(1, TUKEY**2 / np.maximum(size, 1e-9))
        began, reference, _, turns = self.extra(state)
        return float((error**2 * self.information * (weight * self.down)[:, None]).sum()
                     + (began**2 * self.anchor_information).sum() + (reference**2 * self.reference_information).sum()
                     + self.turn * (turns**2).sum()
                     + self.change * (np.diff(turns, axis=0) ** 2).sum() + self.offset * (state[2] ** 2).sum())

    def equations(self, state, weight):
        """Reduced Hessian [7F, 7F] and gradient, and what is needed to get the points back."""
        error, jacobian, between, arm, turned, along = self.predict(state)
        num, count = len(state[1]), len(self.m.anchor)
        a, t, i = self.m.anchor_frame[self.m.point], self.m.frame, self.m.point
        whole = np.zeros((len(t), 3, 2 * POSE + 1))
        whole[:, :, :3] = -jacobian @ skew(turned)
        whole[:, :, 3:6] = jacobian
        whole[:, 2, 6] = 1
        back = jacobian @ between
        whole[:, :, 7:10] = back @ skew(arm)
        whole[:, :, 10:13] = -back
        whole[:, :, 14] = np.einsum("mij,mj->mi", back, along)
        scaled = whole * (self.information * (weight * self.down)[:, None])[..., None]
        blocks = np.swapaxes(scaled, 1, 2) @ whole  # [M, 15, 15]
        slopes = np.einsum("mij,mi->mj", scaled, error)
        flat_blocks = blocks.reshape(len(t), -1)
        both = self._sum(t * num + a, flat_blocks, num * num).reshape(num, num, 15, 15)
        hessian = both[:, :, :POSE, POSE:14] + both[:, :, POSE:14, :POSE].transpose(1, 0, 2, 3)
        every = np.arange(num)
        hessian[every, every] += both[:, :, :POSE, :POSE].sum(1) + both[:, :, POSE:14, POSE:14].sum(0)
        gradient = self._sum(t, slopes[:, :POSE], num) + self._sum(a, slopes[:, POSE:14], num)
        cross = (self._sum(t * count + i, blocks[:, :POSE, 14], num * count)
                 + self._sum(a * count + i, blocks[:, POSE:14, 14], num * count)).reshape(num, count, POSE)
        depth = np.bincount(i, blocks[:, 14, 14], count)
        depth_slope = np.bincount(i, slopes[:, 14], count)
        began, reference, at_reference, turns = self.extra(state)
        depth += self.anchor_information
        depth_slope += self.anchor_information * began
        anchors = self.m.anchor_frame
        np.add.at(hessian, (anchors, anchors, 6, 6), self.anchor_information)
        np.add.at(gradient, (anchors, 6), self.anchor_information * began)
        cross[anchors, np.arange(count), 6] += self.anchor_information
        at = np.zeros((3, POSE))
        at[:, 3:6], at[2, 6] = at_reference, 1
        hessian[0, 0] += at.T @ (self.reference_information[:, None] * at)
        gradient[0] += at.T @ (self.reference_information * reference)
        hessian[0, 0, :3, :3] += 1e10 * np.eye(3)  # the body's axes are those of frame 0
        hessian[every, every, 6, 6] += self.offset
        gradient[:, 6] -= self.offset * state[2]
        self._add_turns(hessian, gradient, turns)
        flat = cross.transpose(0, 2, 1).reshape(num * POSE, count)
        full = hessian.transpose(0, 2, 1, 3).reshape(num * POSE, num * POSE)
        reduced = full - (flat / depth) @ flat.T
        slope = gradient.ravel() - flat @ (depth_slope / depth)
        return reduced, slope, flat, depth, depth_slope

    @staticmethod
    def _sum(key: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
        """[length, K] sums of `values` [M, K] by `key` [M]."""
        matrix = csr_array((np.ones(len(key)), key, np.arange(len(key) + 1)), shape=(len(key), length))
        return np.asarray(matrix.T @ values)

    def _add_turns(self, hessian, gradient, turns) -> None:
        """The turn of each frame is moved in the axes of frame 0, where rates and their changes are differences."""
        bend = self.rates.T @ self.rates * self.turn + self.changes.T @ self.changes * self.change
        hessian[:, :, :3, :3] += bend[:, :, None, None] * np.einsum("tij,skj->tsik", self.still, self.still)
        pull = self.rates.T @ turns * self.turn + self.changes.T @ np.diff(turns, axis=0) * self.change
        gradient[:, :3] -= np.einsum("tij,tj->ti", self.still, pull)

    def step(self, state, system, damping: float):
        reduced, slope, flat, depth, depth_slope = system
        try:
            move = np.linalg.solve(reduced + damping * np.diag(np.diag(reduced)), slope)
        except np.linalg.LinAlgError:
            return None
        rotation, point, bias, disparity = state
        each = move.reshape(-1, POSE)
        deeper = disparity + (depth_slope - flat.T @ move) / depth
        point = point + each[:, 3:6]
        nearest = self.rig.doffs_px + deeper
        if not np.isfinite(move).all() or (point[:, 2] <= 0.05).any() or (nearest <= 0.2).any():
            return None
        return exp_so3(each[:, :3]) @ rotation, point, bias + each[:, 6], deeper
