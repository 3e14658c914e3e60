"""Pairs of frames through GMFlow, in batches; every frame is encoded once. torch is imported when first needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from curate.perception.learned.config import GmflowConfig
from curate.perception.learned.weights import check_packages, check_weights, digest, load_strictly

if TYPE_CHECKING:
    import torch

    from curate.perception.learned.gmflow_net import Gmflow

WHO = "gmflow"
PACKAGES = ("torch", "safetensors")


@dataclass
class Matches:
    """Flow of n pairs and what its check knows of it.

    Args:
        flow: [n, H, W, 2] float32 px, from the first to the second image.
        residual2: [n, H, W] px², |flow there and back|².
        step2: [n, H, W] px², squared range of the flow over 5 x 5 pixels, both axes summed.
        inside: [n, H, W] bool, the target lies in the second image.
    """

    flow: np.ndarray
    residual2: np.ndarray
    step2: np.ndarray
    inside: np.ndarray


def check(config: GmflowConfig, where: str) -> None:
    """What can be known before anything runs.

    Raises:
        BadInput: no usable file of weights. ModuleNotFoundError: a package is missing.
    """
    check_packages(WHO, *PACKAGES)
    check_weights(WHO, f"{where}.weights", config.weights, ".safetensors")


class GmflowMatcher:
    """
    Args:
        config: weights, device, precision, batch.
        where: the recipe's section, for messages.
    """

    def __init__(self, config: GmflowConfig, where: str) -> None:
        self.config, self.where = config, where
        self.net: Gmflow | None = None

    def setup(self) -> None:
        """Loads the network; one thread, so that results do not depend on the number of cores.

        Raises:
            BadInput: as `check`, or weights of another network. ModuleNotFoundError: no torch.
        """
        check(self.config, self.where)
        import torch

        torch.set_num_threads(1)
        if self.config.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"{self.where}.device is cuda, and torch sees no GPU here; use auto or cpu")
        on_gpu = self.config.device != "cpu" and torch.cuda.is_available()
        self.net = _network(self.config.weights, digest(self.config.weights), "cuda" if on_gpu else "cpu",
                            self.config.precision if on_gpu else "float32")

    def match(self, images: Sequence[np.ndarray], pairs: Sequence[tuple[int, int]]) -> Matches:
        """
        Args:
            images: [H, W, 3] uint8 RGB each, all of one size.
            pairs: (first, second) as indices of `images`.
        """
        import torch

        assert self.net is not None, "setup() was not called"
        device = next(self.net.parameters()).device
        height, width = images[0].shape[:2]
        pad = padding(height, width)
        cut = (Ellipsis, slice(pad[2], pad[2] + height), slice(pad[0], pad[0] + width))
        features: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        parts = []
        with torch.inference_mode():
            for start in range(0, len(pairs), self.config.batch):
                batch = pairs[start:start + self.config.batch]
                fresh = sorted({i for pair in batch for i in pair} - set(features))
                if fresh:
                    encoded = self.net.encode(_padded([images[i] for i in fresh], pad, device))
                    features |= {i: (encoded[0][k], encoded[1][k]) for k, i in enumerate(fresh)}
                first, second = ([torch.stack([features[p[side]][scale] for p in batch]) for scale in (0, 1)]
                                 for side in (0, 1))
                forward, backward = (f[cut].contiguous() for f in self.net.match(first, second))
                parts.append([x.cpu().numpy() for x in _judged(forward, backward)])
                later = {i for pair in pairs[start + len(batch):] for i in pair}
                features = {i: f for i, f in features.items() if i in later}
        return Matches(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@lru_cache(maxsize=2)
def _network(weights: str, content: str, device: str, precision: str) -> Gmflow:
    """Flow and stereo of one recipe share it. `content`: its digest, so that a changed file is another network."""
    import torch

    from curate.perception.learned.gmflow_net import Gmflow

    net = Gmflow(getattr(torch, precision))
    load_strictly(net, check_weights(WHO, "weights", weights, ".safetensors"), WHO)
    return net.eval().requires_grad_(False).to(device)


def padding(height: int, width: int, multiple: int = 32) -> tuple[int, int, int, int]:
    """Pixels to add left, right, above and below so that both sides are multiples; at least 64 px, for the windows."""
    y, x = (max(-size % multiple, 2 * multiple - size) for size in (height, width))
    return x // 2, x - x // 2, y // 2, y - y // 2


def _padded(images: Sequence[np.ndarray], pad: tuple[int, int, int, int], device: torch.device) -> torch.Tensor:
    """[B, 3, H + pad, W + pad] float, the border repeated."""
    import torch

    batch = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float()
    return torch.nn.functional.pad(batch, pad, mode="replicate")


def _judged(forward: torch.Tensor, backward: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """`Matches` of flow both ways [B, 2, H, W], on its device. Where forward leads outside, backward is read at the
    border."""
    import torch
    from torch.nn import functional as F

    height, width = forward.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height, device=forward.device), torch.arange(width, device=forward.device),
                          indexing="ij")
    at_x, at_y = forward[:, 0] + x, forward[:, 1] + y
    inside = (at_x >= 0) & (at_x <= width - 1) & (at_y >= 0) & (at_y <= height - 1)
    at = torch.stack([at_x * (2 / (width - 1)) - 1, at_y * (2 / (height - 1)) - 1], -1)
    back = F.grid_sample(backward, at, mode="bilinear", padding_mode="border", align_corners=True)
    residual2 = (forward + back).square().sum(1)
    step = F.max_pool2d(forward, 5, 1, 2) + F.max_pool2d(-forward, 5, 1, 2)
    return forward.permute(0, 2, 3, 1).contiguous(), residual2, step.square().sum(1), inside
