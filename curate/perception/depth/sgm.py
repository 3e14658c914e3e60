"""Stereo depth by semi-global matching (Hirschmüller 2008, OpenCV's StereoSGBM), checked, refined, with sigma."""

from __future__ import annotations

import math

import cv2
import numpy as np

from curate.data import calibration
from curate.geometry.cameras import StereoRig
from curate.perception.depth.config import SgmConfig
from curate.perception.depth.metric import metric_depth
from curate.perception.depth.refine import local_step, refine_disparity
from curate.perception.error_model import sigma_px
from curate.perception.estimator import Field, Resources, Window

UNKNOWN = np.float32(-1e4)  # no disparity is near it
SCALES_CAP_PX = 8.0  # larger disagreements say no more
RANGE_MARGIN = 1.1, 8.0  # of the disparities that the look at half size found: factor, px
HOLE_WINDOW = 13  # px


class Sgm:
    """Gives `disparity` [n, H, W] px and `depth` [n, H, W] metres (inf where unknown), each with valid and sigma.

    Every pair is matched at half size in both directions over the whole range, then at full size over the range
    that the scene uses. A pixel is valid where its match is unique and looks alike, no nearer surface hides it from
    the right view, it is not part of a speckle, and sigma is below a bound. Sigma grows where the two sizes disagree
    or half size found nothing, at steps of depth, beside holes, and where the refinement moved far. Occluded pixels
    stay unknown. Uncalibrated rotation of the rig and the scale of the baseline are not in sigma: they are the rig's.
    """

    name = "sgm"
    version = "2"
    needs: tuple[str, ...] = ()
    gives = ("disparity", "depth")
    window = 2
    overlap = 0
    resources = Resources(cpu=1.0, memory_bytes=700 << 20)

    def __init__(self, config: SgmConfig | None = None) -> None:
        self.config = config or SgmConfig()
        if self.config.block % 2 == 0 or self.config.refine_window % 2 == 0:
            raise ValueError(f"sgm: block and refine_window must be odd, got {self.config.block} and "
                             f"{self.config.refine_window}")
        self.error_model = calibration(self.name, self.version)

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def run(self, window: Window) -> dict[str, Field]:
        """
        Raises:
            ValueError: where the window has no stereo rig or fewer than two views.
        """
        rig = window.rig
        if rig is None or len(window.grey) < 2:
            raise ValueError("sgm needs a rectified stereo pair; this window has "
                             f"{len(window.grey)} view(s) and {'no' if rig is None else 'a'} rig")
        left, right = window.grey[0], window.grey[1]
        lowest, count = self.search_range(rig, left.shape[2])
        shape = left.shape
        disparity, sigma = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32)
        valid = np.zeros(shape, bool)
        for i in range(len(left)):
            disparity[i], sigma[i], valid[i] = self.match(left[i], right[i], lowest, count)
        filled_by = f"{self.name}@{self.version}"
        info = {"lowest_px": lowest, "num_disparities": count}
        depth, depth_sigma, depth_valid = metric_depth(disparity, sigma, valid, rig)
        return {"disparity": Field(disparity, valid, sigma, filled_by, info),
                "depth": Field(depth, depth_valid, depth_sigma, filled_by, info)}

    def search_range(self, rig: StereoRig, width: int) -> tuple[int, int]:
        """Lowest disparity and number of disparities (multiple of 16) by the rig, `min_depth_m` and the width."""
        lowest = math.floor(-rig.doffs_px) - 1
        cap = min(rig.left.fx * rig.baseline_m / self.config.min_depth_m, self.config.max_disparity_share * width)
        return lowest, _ceil16(max(cap, 16) + 1)

    def match(self, left: np.ndarray, right: np.ndarray, lowest: int, count: int
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One pair.

        Args:
            left, right: [H, W] uint8.
            lowest, count: disparities searched: lowest .. lowest + count - 1.

        Returns:
            disparity [H, W] float32 px (0 where invalid), sigma [H, W] px (inf where invalid), valid [H, W].
        """
        disparity, terms, valid = self.match_terms(left, right, lowest, count)
        sigma = self.sigma_px(terms)
        valid &= sigma <= self.config.max_sigma_px
        return np.where(valid, disparity, 0), np.where(valid, sigma, np.float32(np.inf)), valid

    def match_terms(self, left: np.ndarray, right: np.ndarray, lowest: int, count: int
                    ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Disparity, the squared terms (px²) of its error model, and validity before the bound on sigma."""
        small = self._half_size(left, right, lowest, count)
        coarse, valid = self._semi_global(left, right, *_used(small, lowest, count))
        valid &= not_hidden(coarse, valid, self.config.max_left_right_px)
        coarse = np.where(valid, coarse, np.float32(lowest))
        disparity, variance, similar = refine_disparity(left.astype(np.float32), right.astype(np.float32), coarse,
                                                        valid, self.config.refine_window, self.config.refine_steps)
        valid &= np.isfinite(variance) & (similar >= self.config.min_correlation)
        at = np.arange(left.shape[1], dtype=np.float32)[None] - disparity
        valid &= (at >= 0) & (at <= left.shape[1] - 1)
        valid &= self.not_speckle(disparity, valid)
        seen = small > UNKNOWN
        holes = 1 - cv2.boxFilter(valid.astype(np.float32), -1, (HOLE_WINDOW, HOLE_WINDOW))
        scales = np.where(seen, np.minimum(np.abs(disparity - small), np.float32(SCALES_CAP_PX)), np.float32(0))
        terms = {"noise": variance, "scales": scales**2, "unconfirmed": (~seen).astype(np.float32),
                 "step": local_step(disparity, valid) ** 2, "change": (disparity - coarse) ** 2, "holes": holes**2}
        return disparity, terms, valid

    def sigma_px(self, terms: dict[str, np.ndarray]) -> np.ndarray:
        """[H, W] px of these terms, with this estimator's calibration."""
        return sigma_px(self.error_model, terms)

    def _half_size(self, left: np.ndarray, right: np.ndarray, lowest: int, count: int) -> np.ndarray:
        """Disparity [H, W] in full-size px matched at half size in both directions; UNKNOWN where they disagree."""
        height, width = left.shape
        small = [cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for image in (left, right)]
        mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in reversed(small)]
        low, number = math.floor(lowest / 2) - 1, _ceil16(count / 2 + 1)
        disparity, valid = self._semi_global(*small, low, number)
        flipped, unique = self._semi_global(*mirrored, low, number)
        valid &= left_right_residual(disparity, np.ascontiguousarray(flipped[:, ::-1]),
                                     np.ascontiguousarray(unique[:, ::-1])) <= self.config.max_left_right_px
        valid &= self.not_speckle(disparity, valid)
        return cv2.resize(np.where(valid, 2 * disparity, UNKNOWN), (width, height), interpolation=cv2.INTER_NEAREST)

    def _semi_global(self, left: np.ndarray, right: np.ndarray, lowest: int, count: int
                     ) -> tuple[np.ndarray, np.ndarray]:
        """Disparity [H, W] float32 of `left` and where it is unique. The strip that OpenCV leaves out at the border
        is matched too, by padding; matches outside the right image are not valid."""
        width = left.shape[1]
        pad_left, pad_right = max(count + lowest, 0), max(-lowest, 0)
        block = self.config.block
        matcher = cv2.StereoSGBM_create(
            minDisparity=lowest, numDisparities=count, blockSize=block, P1=8 * block**2, P2=32 * block**2,
            disp12MaxDiff=1, preFilterCap=31, uniquenessRatio=self.config.uniqueness,
            mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY)
        padded = [cv2.copyMakeBorder(image, 0, 0, pad_left, pad_right, cv2.BORDER_REPLICATE)
                  for image in (left, right)]
        raw = matcher.compute(*padded)[:, pad_left:pad_left + width]
        disparity = raw.astype(np.float32) / 16
        at = np.arange(width, dtype=np.float32)[None] - disparity
        return disparity, (raw >= 16 * lowest) & (at >= 0) & (at <= width - 1)

    def not_speckle(self, disparity: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """[H, W] bool, false on small islands of disparity and where not valid."""
        area = round(self.config.speckle_area * (disparity.shape[1] / 640) ** 2)
        if area == 0:
            return np.ones_like(valid)
        steps = np.where(valid, np.round(disparity * 16), -32768).astype(np.int16)
        cv2.filterSpeckles(steps, -32768, area, 24)
        return steps != -32768


def left_right_residual(left: np.ndarray, right: np.ndarray, right_valid: np.ndarray) -> np.ndarray:
    """|d_left(x) - d_right(x - d_left(x))| px, [H, W]; inf where the right disparity is not known.

    Args:
        left, right: [H, W] disparities of the left and of the right image, both as left minus right.
    """
    height, width = left.shape
    x = np.rint(np.arange(width, dtype=np.float32)[None] - left).astype(np.int32)
    inside = (x >= 0) & (x < width)
    at = np.arange(height, dtype=np.int32)[:, None] * width + np.clip(x, 0, width - 1)
    known = inside & right_valid.ravel()[at]
    return np.where(known, np.abs(left - right.ravel()[at]), np.float32(np.inf))


def not_hidden(disparity: np.ndarray, valid: np.ndarray, tolerance_px: float) -> np.ndarray:
    """Where no nearer surface of the same map meets the same pixel of the right view, [H, W] bool.

    Args:
        disparity: [H, W] float32 px of the left view; valid: [H, W] bool.
    """
    height, width = disparity.shape
    x = np.rint(np.arange(width, dtype=np.float32)[None] - disparity).astype(np.int32)
    on = valid & (x >= 0) & (x < width)
    at = np.arange(height, dtype=np.int32)[:, None] * width + np.clip(x, 0, width - 1)
    nearest = np.full(height * width, UNKNOWN, np.float32)
    np.maximum.at(nearest, at[on], disparity[on])
    return on & (disparity >= nearest[at] - np.float32(tolerance_px))


def _used(disparity: np.ndarray, lowest: int, count: int) -> tuple[int, int]:
    """The part of a search range that a map [H, W] of disparities (UNKNOWN among them) uses, with a margin."""
    seen = disparity[disparity > UNKNOWN]
    if count <= 48 or len(seen) < 1000:
        return lowest, count
    # the nearest thing may be small: the 100th largest pixel counts, or the highest 2000th part
    rank = max(100, len(seen) // 2000)
    low, high = (float(v) for v in np.partition(seen, [rank, len(seen) - rank])[[rank, len(seen) - rank]])
    factor, margin = RANGE_MARGIN
    start = max(lowest, math.floor(low - (factor - 1) * (low - lowest) - margin))
    return start, _ceil16(min(count - (start - lowest), factor * (high - start) + margin))


def _ceil16(count: float) -> int:
    return max(16, 16 * math.ceil(count / 16))
