"""Optical flow by GMFlow (Xu et al., CVPR 2022), both ways in one pass, checked; sigma by the calibrator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from curate.perception.estimator import Field, Resources, Window
from curate.perception.learned import gmflow
from curate.perception.learned.config import GmflowFlowConfig


class GmflowFlow:
    """Gives `flow` [n, H, W, 2] px of view 0 from each frame to the next, with valid; sigma is the calibrator's.

    The last frame of a window has no next one: zeros, invalid. A pixel is valid where its target lies in the image
    and the flow back from there returns to it.
    """

    name = "gmflow-flow"
    version = "1"
    needs: tuple[str, ...] = ()
    gives = ("flow",)
    window = 2
    overlap = 1
    resources = Resources(cpu=1.0, memory_bytes=2 << 30)
    packages = gmflow.PACKAGES
    sigma_by_calibrator = True

    def __init__(self, config: GmflowFlowConfig) -> None:
        self.config = config
        self.resources = replace(self.resources, gpu=1.0 if config.device == "cuda" else 0.0)
        self.matcher = gmflow.GmflowMatcher(config, "perception.flow")

    @staticmethod
    def check(config: GmflowFlowConfig) -> None:
        gmflow.check(config, "perception.flow")

    def setup(self) -> None:
        self.matcher.setup()

    def run(self, window: Window) -> dict[str, Field]:
        return self.run_many([window])[0]

    def run_many(self, windows: Sequence[Window]) -> list[dict[str, Field]]:
        """Windows of one image size, their pairs in common batches."""
        images, pairs = [], []
        for window in windows:
            begin = len(images)
            images += list(window.images[0])
            pairs += [(begin + i, begin + i + 1) for i in range(window.num_frames - 1)]
        found = self.matcher.match(images, pairs)
        valid = found.inside & (found.residual2 <= self.config.max_forward_backward_px**2)
        out, begin = [], 0
        for window in windows:
            cut = slice(begin, begin + window.num_frames - 1)
            begin = cut.stop
            # half of a squared step or residual: its share of one axis
            terms = {"forward_backward": 0.5 * found.residual2[cut], "step": 0.5 * found.step2[cut]}
            out.append({"flow": Field(_and_none(found.flow[cut]), _and_none(valid[cut]), None,
                                      f"{self.name}@{self.version}",
                                      {"terms": {n: _and_none(t) for n, t in terms.items()}})})
        return out


def _and_none(values: np.ndarray) -> np.ndarray:
    """[n - 1, ...] to [n, ...]: the window's last frame has no next one."""
    return np.concatenate([values, np.zeros_like(values[:1])])
