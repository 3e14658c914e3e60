"""From features to flow: softmax matching, propagation by self-similarity, convex upsampling (GMFlow, 3.2 to 3.5).

Coordinates of a thousand pixels need more than half precision: everything here is computed in float32.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from curate.perception.learned.gmflow_backbone_net import CHANNELS

MAX_SCORES = 1 << 27  # elements of a score matrix held at once, 512 MiB of float32


def soft_lookup(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(query · keyᵀ / √C) · value, a slice of queries at a time.

    Args:
        query: [B, N, C]; key: [B, M, C]; value: [B, M, D].

    Returns:
        [B, N, D].
    """
    step = max(1, MAX_SCORES // (len(key) * key.shape[1]))
    key = key.transpose(1, 2) / key.shape[-1] ** 0.5
    return torch.cat([torch.softmax(part @ key, -1) @ value for part in query.split(step, 1)], 1)


def pixel_grid(height: int, width: int, device: torch.device) -> torch.Tensor:
    """[2, H, W]: x, y of every pixel."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y]).float()


def tokens(x: torch.Tensor) -> torch.Tensor:
    """[B, C, H, W] -> [B, HW, C]."""
    return x.flatten(2).transpose(1, 2)


def global_match(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Flow [B, 2, H, W] as the expected position over all pixels of the second image. Features [B, C, H, W]."""
    b, _, h, w = first.shape
    grid = pixel_grid(h, w, first.device)
    at = soft_lookup(tokens(first), tokens(second), tokens(grid[None]).expand(b, -1, -1))
    return at.transpose(1, 2).reshape(b, 2, h, w) - grid


def local_match(first: torch.Tensor, second: torch.Tensor, radius: int) -> torch.Tensor:
    """Flow [B, 2, H, W] as the expected position within `radius` pixels; pixels outside the image do not count."""
    c, h, w = first.shape[1:]
    side = 2 * radius + 1
    padded = F.pad(second, [radius] * 4)
    inside = F.pad(torch.ones(1, h, w, dtype=torch.bool, device=first.device), [radius] * 4)
    scores, steps = [], []
    for dy in range(side):
        for dx in range(side):
            cut = (slice(None), slice(dy, dy + h), slice(dx, dx + w))
            score = (first * padded[:, *cut]).sum(1) / c**0.5
            scores.append(score.masked_fill(~inside[cut], -1e9))
            steps.append((dx - radius, dy - radius))
    share = torch.softmax(torch.stack(scores, 1), 1)  # [B, side², H, W]
    return torch.einsum("bnhw,nd->bdhw", share, torch.tensor(steps, dtype=share.dtype, device=share.device))


def warp(features: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Features [B, C, H, W] read at x + flow [B, 2, H, W], bilinear, zero outside."""
    h, w = features.shape[-2:]
    at = pixel_grid(h, w, features.device) + flow
    scale = torch.tensor([2 / (w - 1), 2 / (h - 1)], device=features.device).reshape(2, 1, 1)
    return F.grid_sample(features, (at * scale - 1).permute(0, 2, 3, 1), mode="bilinear", padding_mode="zeros",
                         align_corners=True)


class Propagation(nn.Module):
    """Flow averaged over pixels of the same image that look alike, which carries it into what is hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(CHANNELS, CHANNELS)
        self.k_proj = nn.Linear(CHANNELS, CHANNELS)

    def everywhere(self, features: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        """features [B, C, H, W], flow [B, 2, H, W] -> [B, 2, H, W]."""
        query = self.q_proj(tokens(features))
        # the published weights were trained with the key made of the projected query
        out = soft_lookup(query, self.k_proj(query), tokens(flow))
        return out.transpose(1, 2).reshape(flow.shape)

    def nearby(self, features: torch.Tensor, flow: torch.Tensor, radius: int) -> torch.Tensor:
        """As `everywhere`, over the (2 radius + 1)² neighbours; beyond the border lie zeros, as in training."""
        b, c, h, w = features.shape
        side = 2 * radius + 1
        query = self.q_proj(tokens(features)).transpose(1, 2).reshape(b, c, h, w)
        key = F.pad(self.k_proj(tokens(features)).transpose(1, 2).reshape(b, c, h, w), [radius] * 4)
        cuts = [(Ellipsis, slice(dy, dy + h), slice(dx, dx + w)) for dy in range(side) for dx in range(side)]
        share = torch.softmax(torch.stack([(query * key[cut]).sum(1) / c**0.5 for cut in cuts], 1), 1)
        value = F.pad(flow, [radius] * 4)
        return sum(share[:, n, None] * value[cut] for n, cut in enumerate(cuts))


class Upsampler(nn.Sequential):
    """Flow at a quarter of the size to full size: each pixel a convex mixture of the 3 x 3 coarse ones around it
    (Teed and Deng, RAFT, ECCV 2020)."""

    factor = 4

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2 + CHANNELS, 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 9 * self.factor**2, 1))

    def forward(self, flow: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """flow [B, 2, H, W], features [B, C, H, W] -> [B, 2, 4H, 4W]."""
        b, _, h, w = flow.shape
        k = self.factor
        share = super().forward(torch.cat([flow, features], 1)).reshape(b, 1, 9, k, k, h, w).softmax(2)
        around = F.unfold(k * flow, 3, padding=1).reshape(b, 2, 9, 1, 1, h, w)
        fine = (share * around).sum(2)  # [B, 2, k, k, H, W]
        return fine.permute(0, 1, 4, 2, 5, 3).reshape(b, 2, k * h, k * w)
