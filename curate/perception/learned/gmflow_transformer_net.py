"""Features of two images that know of each other: self- and cross-attention in shifted windows (GMFlow, section 3.1).

Windows follow Swin (Liu et al., ICCV 2021): the map is cut into `splits` x `splits` windows, and every second block
shifts them by half a window, with what comes from across the border masked.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from curate.perception.learned.gmflow_backbone_net import CHANNELS


class AttentionLayer(nn.Module):
    """Single-head attention from `source` to `target`, added to `source`; with a feed-forward part or without."""

    def __init__(self, feed_forward: bool) -> None:
        super().__init__()
        self.q_proj = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.k_proj = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.v_proj = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.merge = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.norm1 = nn.LayerNorm(CHANNELS)
        self.feed_forward = feed_forward
        if feed_forward:
            self.mlp = nn.Sequential(nn.Linear(2 * CHANNELS, 8 * CHANNELS, bias=False), nn.GELU(),
                                     nn.Linear(8 * CHANNELS, CHANNELS, bias=False))
            self.norm2 = nn.LayerNorm(CHANNELS)

    def forward(self, source: torch.Tensor, target: torch.Tensor, splits: int, shifted: bool,
                mask: torch.Tensor | None) -> torch.Tensor:
        """source, target [B, H, W, C]; mask [splits², n, n] bool, True where attention is allowed."""
        q, k, v = self.q_proj(source), self.k_proj(target), self.v_proj(target)
        height, width = source.shape[1:3]
        shift = (height // splits // 2, width // splits // 2)
        if shifted:
            q, k, v = (torch.roll(x, (-shift[0], -shift[1]), (1, 2)) for x in (q, k, v))
        q, k, v = (to_windows(x, splits) for x in (q, k, v))
        message = F.scaled_dot_product_attention(q, k, v, attn_mask=mask if shifted else None)
        message = from_windows(message, splits, height, width)
        if shifted:
            message = torch.roll(message, shift, (1, 2))
        message = self.norm1(self.merge(message))
        if self.feed_forward:
            message = self.norm2(self.mlp(torch.cat([source, message], -1)))
        return source + message


class Block(nn.Module):
    """Self-attention, then cross-attention to the other image with a feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = AttentionLayer(feed_forward=False)
        self.cross_attn_ffn = AttentionLayer(feed_forward=True)

    def forward(self, source: torch.Tensor, target: torch.Tensor, splits: int, shifted: bool,
                mask: torch.Tensor | None) -> torch.Tensor:
        source = self.self_attn(source, source, splits, shifted, mask)
        return self.cross_attn_ffn(source, target, splits, shifted, mask)


class Transformer(nn.Module):
    """Six blocks, the same weights for both images and both scales."""

    def __init__(self, num_blocks: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block() for _ in range(num_blocks))

    def forward(self, first: torch.Tensor, second: torch.Tensor, splits: int) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, C, H, W] each, in and out; H and W multiples of `splits`."""
        both = torch.cat([first, second]).permute(0, 2, 3, 1)  # [2B, H, W, C]
        mask = None
        if splits > 1:
            mask = shift_mask(both.shape[1], both.shape[2], splits, both.device).repeat(len(both), 1, 1)[:, None]
        for number, layer in enumerate(self.layers):
            other = torch.cat(both.chunk(2)[::-1])
            both = layer(both, other, splits, splits > 1 and number % 2 == 1, mask)
        first, second = both.permute(0, 3, 1, 2).chunk(2)
        return first, second


def to_windows(x: torch.Tensor, splits: int) -> torch.Tensor:
    """[B, H, W, C] -> [B · splits², 1, H/splits · W/splits, C] (one head)."""
    b, h, w, c = x.shape
    x = x.reshape(b, splits, h // splits, splits, w // splits, c).transpose(2, 3)
    return x.reshape(b * splits * splits, 1, -1, c)


def from_windows(x: torch.Tensor, splits: int, height: int, width: int) -> torch.Tensor:
    """The inverse of `to_windows`: -> [B, H, W, C]."""
    c = x.shape[-1]
    x = x.reshape(-1, splits, splits, height // splits, width // splits, c).transpose(2, 3)
    return x.reshape(-1, height, width, c)


def shift_mask(height: int, width: int, splits: int, device: torch.device) -> torch.Tensor:
    """[splits², n, n] bool: which pixels of a shifted window were neighbours before the shift wrapped them round."""
    window = (height // splits, width // splits)
    zone = torch.zeros(1, height, width, 1, device=device)
    for size, length, axis in ((height, window[0], 1), (width, window[1], 2)):
        at = torch.arange(size, device=device)
        # 0 before the last window, 1 in it, 2 in its part that came from the other side
        own = (at >= size - length).float() + (at >= size - length // 2).float()
        zone = zone + own.reshape([-1 if i == axis else 1 for i in range(4)]) * (3 if axis == 1 else 1)
    zone = to_windows(zone, splits)[:, 0, :, 0]
    return zone[:, :, None] == zone[:, None, :]


def sine_position(height: int, width: int, device: torch.device, temperature: float = 10_000.0) -> torch.Tensor:
    """[C, height, width] sines and cosines of the position over the window (Carion et al., ECCV 2020): C/2 channels of
    the row, then C/2 of the column; positions run from 1/n to 1 of a full turn."""
    half = CHANNELS // 2
    period = temperature ** (2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half)

    def waves(size: int) -> torch.Tensor:  # [size, C/2]
        at = torch.arange(1, size + 1, device=device) / (size + 1e-6) * (2 * math.pi)
        phase = at[:, None] / period
        return torch.stack([phase[:, 0::2].sin(), phase[:, 1::2].cos()], -1).flatten(1)

    shape = (half, height, width)
    return torch.cat([waves(height).T[:, :, None].expand(shape), waves(width).T[:, None, :].expand(shape)])


def add_position(features: torch.Tensor, splits: int) -> torch.Tensor:
    """[B, C, H, W] plus the position inside its window."""
    height, width = features.shape[-2] // splits, features.shape[-1] // splits
    return features + sine_position(height, width, features.device).repeat(1, splits, splits)
