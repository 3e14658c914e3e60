"""Stereo depth by semi-global matching (Hirschmüller 2008, OpenCV's StereoSGBM), checked, refined, with sigma."""

from __future__ import annotations

import math

import cv2
import numpy as np

from curate.data import calibration
from curate.geometry.cameras import StereoRig
from curate.perception.depth.config import SgmConfig
from curate.perception.depth.refine import local_step, refine_disparity
from curate.perception.error_model import sigma_px
from curate.perception.estimator import Field, Resources, Window


class Sgm:
    """Gives `disparity` [n, H, W] px and `depth` [n, H, W] metres (inf where unknown), each with valid and sigma.

    A pixel is valid where matching left to right and right to left agree, the match is unique, the image fixes
    it (sigma below a bound) and it is not part of a speckle. Occluded pixels stay unknown. Uncalibrated rotation
    of the rig and the scale of the baseline are not in sigma: they are the rig's.
    """

    name = "sgm"
    version = "1"
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
        lowest, count = self.search_range(left, right, rig)
        shape = left.shape
        disparity, sigma = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32)
        valid = np.zeros(shape, bool)
        for i in range(len(left)):
            disparity[i], sigma[i], valid[i] = self.match(left[i], right[i], lowest, count)
        filled_by = f"{self.name}@{self.version}"
        info = {"lowest_px": lowest, "num_disparities": count}
        depth, depth_sigma, depth_valid = self._depth(disparity, sigma, valid, rig)
        return {"disparity": Field(disparity, valid, sigma, filled_by, info),
                "depth": Field(depth, depth_valid, depth_sigma, filled_by, info)}

    def _depth(self, disparity: np.ndarray, sigma: np.ndarray, valid: np.ndarray, rig: StereoRig
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """fx·B / (d + doffs), its sigma to first order; known where the disparity is clear of infinity by 3 sigma."""
        total = disparity + np.float32(rig.doffs_px)
        known = valid & (total > 3 * sigma)
        safe = np.where(known, total, np.float32(1))
        depth = np.where(known, np.float32(rig.left.fx * rig.baseline_m) / safe, np.float32(np.inf))
        return depth, np.where(known, depth * sigma / safe, np.float32(np.inf)), known

    def search_range(self, left: np.ndarray, right: np.ndarray, rig: StereoRig) -> tuple[int, int]:
        """Lowest disparity and number of disparities (multiple of 16) for a window of frames.

        The rig and `min_depth_m` bound it; a look at the first and last frame at half size shows how much of it
        the scene uses, since time grows with it.
        """
        height, width = left.shape[1:]
        lowest = math.floor(-rig.doffs_px) - 1
        cap = min(rig.left.fx * rig.baseline_m / self.config.min_depth_m, self.config.max_disparity_share * width)
        full = _ceil16(max(cap, 16) + 1)
        if full <= 48:
            return lowest, full
        half = (width // 2, height // 2)
        used = 0.0
        for i in sorted({0, len(left) - 1}):
            small = [cv2.resize(image[i], half, interpolation=cv2.INTER_AREA) for image in (left, right)]
            coarse, solid, _ = self._checked(*small, math.floor(lowest / 2), _ceil16(full / 2),
                                             cv2.STEREO_SGBM_MODE_SGBM_3WAY)
            solid &= self.not_speckle(coarse, solid)
            seen = 2 * coarse[solid]
            # the nearest thing may be small: the 100th largest pixel counts, or the highest 2000th part
            rank = min(len(seen), max(100, len(seen) // 2000))
            used = max(used, float(np.partition(seen, -rank)[-rank]) - lowest) if rank else full
        return lowest, min(full, _ceil16(1.1 * used + 8))

    def _semi_global(self, left: np.ndarray, right: np.ndarray, lowest: int, count: int, mode: int
                     ) -> tuple[np.ndarray, np.ndarray]:
        """Disparity [H, W] float32 of `left` and where it is unique. The strip that OpenCV leaves out at the border
        is matched too, by padding; matches outside the right image are not valid."""
        width = left.shape[1]
        pad_left, pad_right = max(count + lowest, 0), max(-lowest, 0)
        block = self.config.block
        matcher = cv2.StereoSGBM_create(
            minDisparity=lowest, numDisparities=count, blockSize=block, P1=8 * block**2, P2=32 * block**2,
            disp12MaxDiff=-1, preFilterCap=31, uniquenessRatio=self.config.uniqueness, mode=mode)
        padded = [cv2.copyMakeBorder(image, 0, 0, pad_left, pad_right, cv2.BORDER_REPLICATE)
                  for image in (left, right)]
        raw = matcher.compute(*padded)[:, pad_left:pad_left + width]
        disparity = raw.astype(np.float32) / 16
        at = np.arange(width, dtype=np.float32)[None] - disparity
        return disparity, (raw >= 16 * lowest) & (at >= 0) & (at <= width - 1)

    def _checked(self, left: np.ndarray, right: np.ndarray, lowest: int, count: int, mode: int
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Disparity of `left`, where matching from the right agrees, and the residual between the two, px."""
        disparity, valid = self._semi_global(left, right, lowest, count, mode)
        flipped, unique = self._semi_global(np.ascontiguousarray(right[:, ::-1]), np.ascontiguousarray(left[:, ::-1]),
                                            lowest, count, mode)
        residual = left_right_residual(disparity, np.ascontiguousarray(flipped[:, ::-1]),
                                       np.ascontiguousarray(unique[:, ::-1]))
        return disparity, valid & (residual <= self.config.max_left_right_px), residual

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
        valid &= self.not_speckle(disparity, valid)
        return np.where(valid, disparity, 0), np.where(valid, sigma, np.float32(np.inf)), valid

    def match_terms(self, left: np.ndarray, right: np.ndarray, lowest: int, count: int
                    ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Disparity, the squared terms (px²) of its error model, and validity before the bound on sigma."""
        coarse, valid, residual = self._checked(left, right, lowest, count, cv2.STEREO_SGBM_MODE_SGBM)
        coarse = np.where(valid, coarse, np.float32(lowest))
        disparity, variance = refine_disparity(left.astype(np.float32), right.astype(np.float32), coarse, valid,
                                               self.config.refine_window, self.config.refine_steps)
        valid &= np.isfinite(variance)
        at = np.arange(left.shape[1], dtype=np.float32)[None] - disparity
        valid &= (at >= 0) & (at <= left.shape[1] - 1)
        terms = {"noise": variance, "left_right": residual**2, "step": local_step(disparity, valid) ** 2}
        return disparity, terms, valid

    def sigma_px(self, terms: dict[str, np.ndarray]) -> np.ndarray:
        """[H, W] px of these terms, with this estimator's calibration."""
        return sigma_px(self.error_model, terms)

    def not_speckle(self, disparity: np.ndarray, valid: np.ndarray) -> np.ndarray:
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


def _ceil16(count: float) -> int:
    return max(16, 16 * math.ceil(count / 16))
