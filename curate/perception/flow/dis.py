"""Optical flow by dense inverse search (Kroeger et al. 2016, OpenCV's DISOpticalFlow), checked, refined, with sigma."""

from __future__ import annotations

import cv2
import numpy as np

from curate.data import calibration
from curate.perception.depth.refine import local_step
from curate.perception.error_model import sigma_px
from curate.perception.estimator import Field, Resources, Window
from curate.perception.flow.config import DisConfig
from curate.perception.flow.refine import refine_flow

PRESETS = {"fast": cv2.DISOPTICAL_FLOW_PRESET_FAST, "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM}
# Of "medium", down to half size: what the photometric refinement at full size does anyway is not done twice.
PATCH_STRIDE, DESCENT_STEPS, VARIATIONAL_STEPS = 5, 12, 3


class Dis:
    """Gives `flow` [n, H, W, 2] px of view 0 from each frame to the next, with valid and sigma (px per axis).

    The last frame of a window has no next one: zeros, invalid. A pixel is valid where the flow back from the
    next frame returns to it, its target lies in the image and looks alike, and the image fixes it (sigma below a
    bound).
    """

    name = "dis"
    version = "2"
    needs: tuple[str, ...] = ()
    gives = ("flow",)
    window = 2
    overlap = 1
    resources = Resources(cpu=1.0, memory_bytes=500 << 20)

    def __init__(self, config: DisConfig | None = None) -> None:
        self.config = config or DisConfig()
        if self.config.refine_window % 2 == 0:
            raise ValueError(f"dis: refine_window must be odd, got {self.config.refine_window}")
        self.error_model = calibration(self.name, self.version)

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def run(self, window: Window) -> dict[str, Field]:
        grey = window.grey[0]
        flow = np.zeros(grey.shape + (2,), np.float32)
        sigma = np.full(grey.shape, np.inf, np.float32)
        valid = np.zeros(grey.shape, bool)
        for i in range(len(grey) - 1):
            flow[i], sigma[i], valid[i] = self.match(grey[i], grey[i + 1])
        return {"flow": Field(flow, valid, sigma, f"{self.name}@{self.version}")}

    def match(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One pair of [H, W] uint8 frames.

        Returns:
            flow [H, W, 2] float32 px (0 where invalid), sigma [H, W] px (inf where invalid), valid [H, W].
        """
        flow, terms, valid = self.match_terms(first, second)
        sigma = self.sigma_px(terms)
        valid &= sigma <= self.config.max_sigma_px
        flow *= valid[..., None]
        sigma[~valid] = np.inf
        return flow, sigma, valid

    def _matcher(self) -> cv2.DISOpticalFlow:
        matcher = cv2.DISOpticalFlow_create(PRESETS[self.config.preset])
        if self.config.preset == "medium":
            matcher.setPatchStride(PATCH_STRIDE)
            matcher.setGradientDescentIterations(DESCENT_STEPS)
            matcher.setVariationalRefinementIterations(VARIATIONAL_STEPS)
        return matcher

    def match_terms(self, first: np.ndarray, second: np.ndarray
                    ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Flow, the squared terms (px²) of its error model, and validity before the bound on sigma."""
        forward = self._matcher().calc(first, second, None)
        # the way back only has to show whether a pixel is seen again: a coarse one does
        backward = cv2.DISOpticalFlow_create(PRESETS["fast"]).calc(second, first, None)
        residual, inside = forward_backward_residual(forward, backward)
        valid = inside & (residual <= self.config.max_forward_backward_px)
        flow, variance, similar = refine_flow(first.astype(np.float32), second.astype(np.float32), forward, valid,
                                              self.config.refine_window, self.config.refine_steps)
        valid &= np.isfinite(variance) & (similar >= self.config.min_correlation)
        step = local_step(flow[..., 0], valid) ** 2 + local_step(flow[..., 1], valid) ** 2
        return flow, {"noise": variance, "forward_backward": residual**2, "step": step}, valid

    def sigma_px(self, terms: dict[str, np.ndarray]) -> np.ndarray:
        """[H, W] px of these terms, with this estimator's calibration."""
        return sigma_px(self.error_model, terms)


def forward_backward_residual(forward: np.ndarray, backward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|forward(x) + backward(x + forward(x))| px [H, W], and where the target lies in the image [H, W] bool."""
    height, width = forward.shape[:2]
    at = forward.copy()
    at[..., 0] += np.arange(width, dtype=np.float32)[None]
    at[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    inside = (at[..., 0] >= 0) & (at[..., 0] <= width - 1) & (at[..., 1] >= 0) & (at[..., 1] <= height - 1)
    back = cv2.remap(backward, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    back += forward
    return cv2.magnitude(np.ascontiguousarray(back[..., 0]), np.ascontiguousarray(back[..., 1])), inside
