"""GMFlow (Xu, Zhang, Cai, Rezatofighi, Tao: Learning Optical Flow via Global Matching, CVPR 2022), two scales with
refinement: written to the published architecture; parameters carry the published names."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from curate.perception.learned.gmflow_backbone_net import Backbone
from curate.perception.learned.gmflow_matching_net import Propagation, Upsampler, global_match, local_match, warp
from curate.perception.learned.gmflow_transformer_net import Transformer, add_position

MULTIPLE = 32  # of height and width: 8 windows at a quarter of the size
# Windows along each side at 1/8 and at 1/4 of the size, and the least pixels of a window: training crops of 320 x 896
# had 20 x 56 and 10 x 28. In smaller windows the matches snap to whole pixels of the coarse grid, so that a small image
# is cut into fewer.
SPLITS, MIN_WINDOW = ((2, 1), (8, 4, 2, 1)), (1000, 280)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def num_splits(level: int, height: int, width: int) -> int:
    """Windows along each side of features [height, width] at 1/8 (level 0) or 1/4 (level 1) of the image's size."""
    return next((s for s in SPLITS[level] if height * width >= s * s * MIN_WINDOW[level]), 1)


class Gmflow(nn.Module):
    """Flow both ways between pairs of images.

    Args:
        precision: type of the encoder's and the transformer's products, in autocast; float32: none.
    """

    match_radius = 4  # of the refinement at 1/4
    spread_radius = 1

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.precision = precision
        self.backbone = Backbone()
        self.transformer = Transformer()
        self.feature_flow_attn = Propagation()
        self.upsampler = Upsampler()

    def _cast(self, device: torch.device) -> AbstractContextManager:
        return nullcontext() if self.precision == torch.float32 else torch.autocast(device.type, self.precision)

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, 3, H, W] RGB 0..255 to features [B, C, H/8, W/8] and [B, C, H/4, W/4]; H, W multiples of 32."""
        mean, std = (torch.tensor(v, device=images.device).reshape(3, 1, 1) for v in (MEAN, STD))
        with self._cast(images.device):
            return self.backbone((images.float() / 255 - mean) / std)

    def match(self, first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
              ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of B first and B second images, as from `encode`, to flow forward and backward [B, 2, H, W] px."""
        splits = [num_splits(level, *first[level].shape[-2:]) for level in (0, 1)]
        eighth = self._attend(first[0], second[0], splits[0])
        a, b = torch.cat(eighth), torch.cat(eighth[::-1])
        flow = self.feature_flow_attn.everywhere(a, global_match(a, b))
        flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
        a, b = torch.cat([first[1], second[1]]).float(), torch.cat([second[1], first[1]]).float()
        a, b = self._attend(a, warp(b, flow), splits[1])
        flow = flow + local_match(a, b, self.match_radius)
        flow = self.feature_flow_attn.nearby(a, flow, self.spread_radius)
        forward, backward = self.upsampler(flow, a).chunk(2)
        return forward, backward

    def _attend(self, first: torch.Tensor, second: torch.Tensor, splits: int) -> tuple[torch.Tensor, torch.Tensor]:
        with self._cast(first.device):
            first, second = self.transformer(add_position(first, splits), add_position(second, splits), splits)
        return first.float(), second.float()

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, 3, H, W] RGB 0..255 each, H and W multiples of 32, to flow there and back [B, 2, H, W] px."""
        eighth, quarter = self.encode(torch.cat([first, second]))
        n = len(first)
        return self.match((eighth[:n], quarter[:n]), (eighth[n:], quarter[n:]))
