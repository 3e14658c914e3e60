"""The rotation left between the two cameras, from both cues and the prior; what of it is corrected, and a warning."""

from __future__ import annotations

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.rotations import exp_so3
from curate.perception.rig.cells import cells
from curate.perception.rig.config import RigConfig
from curate.perception.rig.motion import MotionCue, motion_cue
from curate.perception.rig.rows import RowsCue, rows_cue
from curate.perception.rig.sightings import Sightings, follow
from curate.scene import RigState
from curate.sources.base import Frames

TILT, PAN, ROLL = 0, 1, 2
ROUNDS = 3
WIDE_RAD = np.radians(1.0)  # a prior that holds nothing back
BIAS_PX = 0.01  # a matcher's own, over all of an image
DISAGREE = 3.0  # sigmas
WRONG_ROWS_PX, WRONG_PAN_DEG = 1.5, 0.3


def estimate_rig(frames: Frames, config: RigConfig, seed: int) -> RigState:
    """Looks at a few dozen frames of a stereo clip, each once.

    Args:
        frames: with a rig.
        seed: of the clip.

    Raises:
        BadInput: where the media cannot be decoded.
    """
    return rig_of(frames.rig, follow(frames, config, seed), config)


def rig_of(rig: StereoRig, sightings: Sightings, config: RigConfig) -> RigState:
    """The estimate from sightings alone.

    Tilt and roll come from the rows. The pan comes from the camera's motion; the rows' pan is used with the error
    that a lens gives it, unless it is out of the prior's or the motion's reach: then it is the lens. A motion that
    tells less than the prior is not asked. A rotation is applied where it is significant, a pan only where the motion
    says so.
    """
    prior = np.radians([config.prior_tilt_deg, config.prior_pan_deg, config.prior_roll_deg])
    rows, offset_px = _rows(rig, sightings)
    if rows is None:
        zero = np.zeros(3)
        return RigState(zero, np.diag(prior**2), zero, zero, "prior", "")
    theta = rows.theta.copy()
    theta[PAN] = 0
    right = turned_back(rig, sightings.right, theta)
    motion = motion_cue(rig, sightings, sightings.uv[:, 0] - right[:, 0])
    significance = np.abs(rows.theta) / np.sqrt(np.diag(rows.covariance))
    significance[PAN] = 0.0
    if motion is not None:
        significance[PAN] = motion.clear  # of the mean offset; at one place a matcher and a lens add their own
        here_px = np.hypot(BIAS_PX, np.sqrt(7) * rows.pattern_px)  # what a lens adds to rows it adds to disparities
        motion.sigma = float(np.hypot(motion.sigma, here_px / rig.left.fx))
        if motion.sigma >= prior[PAN]:  # a camera that hardly moves: its error is not known to first order either
            motion, significance[PAN] = None, 0.0
    blunt = np.zeros((3, 3))
    blunt[PAN, PAN] = np.radians(config.lens_deg) ** 2
    information, pull, cue = _joined(rows.theta, rows.covariance + blunt, motion, prior)
    found = significance > config.significance
    # what is found is no longer drawn to what a calibration should leave
    covariance = np.linalg.inv(information + np.diag(np.where(found, WIDE_RAD, prior) ** -2.0))
    theta = covariance @ pull
    applied = np.where(found, theta, 0.0)
    return RigState(theta, (covariance + covariance.T) / 2, applied, significance, cue, _warning(offset_px, motion))


def _rows(rig: StereoRig, sightings: Sightings) -> tuple[RowsCue | None, float]:
    """The rows cue about the rotation it finds itself (exact for large ones), and the median row offset, px."""
    place = cells(sightings.right, rig.left.width)
    theta, cue = np.zeros(3), None
    for _ in range(ROUNDS):
        right = turned_back(rig, sightings.right, theta)
        xy = (right - [rig.left.cx + rig.doffs_px, rig.left.cy]) / [rig.left.fx, rig.left.fy]
        cue = rows_cue(xy, right[:, 1] - sightings.uv[:, 1], rig.left.fx, place)
        if cue is None:
            return None, 0.0
        theta = theta + cue.theta
    cue.theta = theta
    cue.covariance[TILT, TILT] += (BIAS_PX / rig.left.fx) ** 2
    return cue, float(np.median(sightings.right[:, 1] - sightings.uv[:, 1]))


def _joined(theta, covariance, motion: MotionCue | None, prior) -> tuple[np.ndarray, np.ndarray, str]:
    """Information [3, 3] and information times estimate [3] of the cues that can be believed, and which these are."""
    reach, centre = prior[PAN] ** 2 + covariance[PAN, PAN], 0.0
    told = motion is not None
    if told:
        reach, centre = motion.sigma**2 + covariance[PAN, PAN], motion.pan
    agree = abs(theta[PAN] - centre) < DISAGREE * np.sqrt(reach)
    if agree:
        information = np.linalg.inv(covariance)
    else:
        information = np.zeros((3, 3))
        ends = np.ix_([TILT, ROLL], [TILT, ROLL])
        information[ends] = np.linalg.inv(covariance[ends])
    pull = information @ theta
    if motion is not None:
        information[PAN, PAN] += 1 / motion.sigma**2
        pull[PAN] += motion.pan / motion.sigma**2
    return information, pull, {(True, True): "both", (True, False): "motion", (False, True): "rows",
                               (False, False): "prior"}[told, agree]


def _warning(offset_px: float, motion: MotionCue | None) -> str:
    found = []
    if abs(offset_px) > WRONG_ROWS_PX:
        found.append(f"right rows lie {abs(offset_px):.1f} px {'below' if offset_px > 0 else 'above'} the left ones")
    if motion is not None and abs(motion.pan) > np.radians(WRONG_PAN_DEG) + 2 * motion.sigma:
        found.append(f"the right camera is panned by {np.degrees(motion.pan):.2f} degrees")
    if not found:
        return ""
    return (f"the published calibration does not fit this clip: {' and '.join(found)} (expected within "
            f"{WRONG_ROWS_PX:g} px and {WRONG_PAN_DEG:g} degrees); it is corrected as far as it is a rotation; check "
            "that calibration and recording belong together and that both views are rectified, or calibrate again")


def turned_back(rig: StereoRig, right: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Right positions [m, 2] px as a camera without the rotation `theta` would see them."""
    cam = rig.left
    centre = np.array([cam.cx + rig.doffs_px, cam.cy])
    ray = np.column_stack([(right - centre) / [cam.fx, cam.fy], np.ones(len(right))]) @ exp_so3(theta).T
    return ray[:, :2] / ray[:, 2:] * [cam.fx, cam.fy] + centre
