"""The motion cue: the pan with which poses, points and disparities of the clip agree best.

A pan shifts all disparities alike. The camera's motion in an image depends on depth, and so does the change of
disparity along it; with a shift, the two ask for different depths. Poses, points and pan are estimated together, so
that far points with noisy disparities do not pull (their depths are unknowns with an error, not regressors).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.perception.camera.bundle import CAUCHY_SQUARED, Observations, Points, bundle_adjust
from curate.perception.camera.response import distances, pan_effect, respond
from curate.perception.rig.cells import cells, clustered
from curate.perception.rig.sightings import Sightings

ROUNDS = 8
CONVERGED_RAD = 2e-6
OUTLIER_DISTANCE2 = 16.3  # chi-square, 3 degrees of freedom, 0.1 %
MIN_SIGHTINGS = 3
MIN_POINTS = 30
DAMPING_RAD = np.radians(0.2)  # holds the iteration where the motion says nothing
MAX_STEP_RAD = np.radians(0.3)
INFLATION = 1.2  # of sigma: what rendered rigs err beside the sandwich, whose clusters are few


@dataclass
class MotionCue:
    """pan and its sigma, radians. clear: how many sigmas speak against no pan, from where there is none (score test)
    and from where it is found (Wald), the lesser: a motion that is noise makes either of them large, not both."""

    pan: float
    sigma: float
    clear: float


def motion_cue(rig: StereoRig, sightings: Sightings, disparity: np.ndarray) -> MotionCue | None:
    """
    Args:
        disparity: [m] px of the sightings, corrected by all that is known of the rotation so far.

    Returns:
        The pan left beside that correction. None where too little is seen for long enough.
    """
    obs, points, held, rotation, translation = _problem(sightings, disparity)
    if len(points.uvd) < MIN_POINTS or held.all():
        return None
    pan, good, at_zero = 0.0, np.ones(len(obs), bool), None
    effect = pan_effect(rig, obs.uvd)
    for _ in range(ROUNDS):
        now = replace(obs, uvd=obs.uvd - pan * effect)
        used = now[good]
        bundle = bundle_adjust(rig, rotation, translation, held, points, used, iterations=6)
        response = respond(rig, bundle, used, effect[good], held)
        information = float((bundle.weight[:, None] * response.left**2).sum())
        score = float((bundle.weight[:, None] * response.left * response.residual).sum())
        if at_zero is None:
            at_zero = abs(score) / np.sqrt(max(information, 1e-12) * max(1.0, bundle.variance))
        step = float(np.clip(score / (information + DAMPING_RAD**-2), -MAX_STEP_RAD, MAX_STEP_RAD))
        pan += step
        rotation, translation, points = bundle.rotation, bundle.translation, bundle.points
        if abs(step) < CONVERGED_RAD:
            break
        # judged anew with each pan: what a wrong one made an outlier would hold it there
        distance2 = distances(rig, bundle, now)
        good = distance2 <= OUTLIER_DISTANCE2 * max(1.0, bundle.variance)
    sigma = float(np.hypot(_sigma(rig, used, bundle, response, int((~held).sum())), score / max(information, 1e-12)))
    return MotionCue(pan, sigma, min(at_zero, abs(pan) / sigma))


def _problem(sightings: Sightings, disparity: np.ndarray):
    """Observations and points seen often enough, with the first frame of each segment held."""
    count = np.bincount(sightings.point, minlength=len(sightings.born))
    keep = count[sightings.point] >= MIN_SIGHTINGS
    point = np.unique(sightings.point[keep], return_inverse=True)[1]
    uvd = np.column_stack([sightings.uv[keep], disparity[keep]])
    obs = Observations(sightings.frame[keep], point, uvd, sightings.sigma[keep])
    first = np.unique(point, return_index=True)[1]
    at = obs.frame[first]
    points = Points(sightings.rotation[at], sightings.translation[at], uvd[first].copy())
    segment = sightings.segment
    held = np.r_[True, segment[1:] != segment[:-1]]
    lonely = np.bincount(obs.frame, minlength=len(segment)) < 6
    return obs, points, held | lonely, sightings.rotation, sightings.translation


def _sigma(rig: StereoRig, obs: Observations, bundle, response, num_free: int) -> float:
    """Sandwich over places of the image that a point belongs to for good, and over frames, or what the residuals'
    variance and the information alone say: the largest."""
    weight, left, residual = bundle.weight[:, None], response.left, response.residual
    distance2 = (residual**2).sum(-1)
    slope = np.mean(bundle.weight - 2 * distance2 / 3 * bundle.weight**2 / CAUCHY_SQUARED) / bundle.weight.mean()
    free = 1 - (6 * num_free + 3 * len(bundle.points.uvd)) / (3 * len(obs))
    scores = (weight * left * residual).sum(-1)[:, None] / np.sqrt(max(free, 0.1))
    information = float((weight * left**2).sum()) * max(slope, 0.2)
    inverse = np.array([[1 / max(information, 1e-12)]])
    num = np.maximum(np.bincount(obs.point), 1)
    mean_uv = np.stack([np.bincount(obs.point, obs.uvd[:, k]) / num for k in (0, 1)], -1)
    place = cells(mean_uv, rig.left.width)[obs.point]
    worst = max(clustered(inverse, scores, place)[0, 0], clustered(inverse, scores, obs.frame)[0, 0])
    return INFLATION * float(np.sqrt(max(worst, bundle.variance * inverse[0, 0])))
