"""Stereo depth by GMFlow (Xu et al., CVPR 2022): the flow between the two views of a rectified pair, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from curate.perception.depth.metric import metric_depth
from curate.perception.estimator import Field, Resources, Window
from curate.perception.learned import gmflow
from curate.perception.learned.config import GmflowStereoConfig


class GmflowStereo:
    """Gives `disparity` [n, H, W] px and `depth` [n, H, W] metres (inf where unknown); sigma is the calibrator's.

    A pixel is valid where its match lies in the right image and on its own row, matching back returns to it, and the
    disparity is one the rig allows.
    """

    name = "gmflow-stereo"
    version = "1"
    needs: tuple[str, ...] = ()
    gives = ("disparity", "depth")
    window = 2
    overlap = 0
    resources = Resources(cpu=1.0, memory_bytes=2 << 30)
    packages = gmflow.PACKAGES
    sigma_by_calibrator = True

    def __init__(self, config: GmflowStereoConfig) -> None:
        self.config = config
        self.resources = replace(self.resources, gpu=1.0 if config.device == "cuda" else 0.0)
        self.matcher = gmflow.GmflowMatcher(config, "perception.depth")

    @staticmethod
    def check(config: GmflowStereoConfig) -> None:
        gmflow.check(config, "perception.depth")

    def setup(self) -> None:
        self.matcher.setup()

    def run(self, window: Window) -> dict[str, Field]:
        """
        Raises:
            ValueError: where the window has no stereo rig or fewer than two views.
        """
        return self.run_many([window])[0]

    def run_many(self, windows: Sequence[Window]) -> list[dict[str, Field]]:
        """Windows of one image size, their pairs in common batches. `disparity` alone: `derive` adds the depth."""
        images, pairs = [], []
        for window in windows:
            if window.rig is None or len(window.images) < 2:
                raise ValueError(f"{self.name} needs a rectified stereo pair; this window has {len(window.images)} "
                                 f"view(s) and {'no' if window.rig is None else 'a'} rig")
            for left, right in zip(*window.images[:2], strict=True):
                pairs.append((len(images), len(images) + 1))
                images += [left, right]
        found = self.matcher.match(images, pairs)
        disparity, vertical2 = -found.flow[..., 0], found.flow[..., 1] ** 2
        valid = found.inside & (found.residual2 <= self.config.max_forward_backward_px**2)
        valid &= vertical2 <= self.config.max_vertical_px**2
        out, begin = [], 0
        for window in windows:
            cut = slice(begin, begin + window.num_frames)
            begin = cut.stop
            valid[cut] &= disparity[cut] >= math.floor(-window.rig.doffs_px) - 1
            terms = {"forward_backward": found.residual2[cut], "vertical": vertical2[cut], "step": found.step2[cut]}
            out.append({"disparity": Field(disparity[cut], valid[cut], None, f"{self.name}@{self.version}",
                                           {"terms": terms})})
        return out

    def derive(self, window: Window, fields: dict[str, Field]) -> dict[str, Field]:
        """`depth` of a `disparity` that has its sigma."""
        part = fields["disparity"]
        depth, sigma, valid = metric_depth(part.values, part.sigma, part.valid, window.rig)
        return {"depth": Field(depth, valid, sigma, part.filled_by, part.info)}
