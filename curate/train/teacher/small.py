"""A small 4D perception model: tokens of a video in space and time, and a head per signal that reads them alone.

What helps a model of this size to see motion is given to it: each frame comes with its difference from the one before
and with how well its 2-pixel cells match the cells around them in that one. Times enter as sinusoids of seconds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curate.train.losses import CHANNELS
from curate.train.p4d_config import SmallTeacherConfig
from curate.train.teacher.base import check_video

STEM, SEEN = 48, 12  # channels at a quarter of the size (half as many at a half), and of what is matched
MATCH_SHARPNESS = 10.0
LOG_DEPTH_RANGE = (-4.6, 9.3)  # 1 cm to 11 km: keeps exp finite under a student's wild latents


class SmallTeacher(nn.Module):
    """
    Latents are standardised, as Theia does with those of its teachers (arXiv 2407.20179): what they are at a place on
    average tells nothing of a video, but is more than half of their variance, and a student would learn it first.

    Args:
        config: of the encoder.
        signals: which heads.
        signal_size: (ht, wt) of the signals.

    Attributes:
        centre, spread: buffers, the encoder's mean [N', h', w', C] and its channels' deviation about it [C] over the
            training split; 0 and 1 until it is fitted.
    """

    blocks = 1

    def __init__(self, config: SmallTeacherConfig, signals: tuple[str, ...], signal_size: tuple[int, int]) -> None:
        super().__init__()
        self.config, self.signals, self.signal_size = config, tuple(signals), tuple(signal_size)
        self.model_id = "small-unfitted"
        self.encoder = VideoEncoder(config)
        self.heads = nn.ModuleDict({m: Head(m, config, self.signal_size) for m in signals})
        self.register_buffer("centre", torch.zeros(self.grid))
        self.register_buffer("spread", torch.ones(self.grid[3]))

    @property
    def grid(self) -> tuple[int, int, int, int]:
        c = self.config
        return c.frames // c.tubelet, c.height // c.patch, c.width // c.patch, c.channels

    @torch.no_grad()
    def encode(self, video: Tensor, times_s: Tensor) -> Tensor:
        return self.latents(video, times_s)

    def latents(self, video: Tensor, times_s: Tensor) -> Tensor:
        """As `encode`, with gradients: for fitting."""
        check_video(video, times_s, self.config.frames)
        size = (self.config.height, self.config.width)
        frames = video.flatten(0, 1).float()
        if frames.shape[-2:] != size:
            frames = F.interpolate(frames, size=size, mode="bilinear", antialias=True)
        return (self.encoder(frames.unflatten(0, video.shape[:2]), times_s.float()) - self.centre) / self.spread

    def decode(self, signal: str, latent: Tensor) -> Tensor:
        head = self.heads[signal]
        return head.in_units(head(self.centre + self.spread * latent))


class VideoEncoder(nn.Module):
    """Video [B, N, 3, H, W] 0..1 and times [B, N] to tokens [B, N', h', w', C], each of zero mean and unit variance."""

    def __init__(self, config: SmallTeacherConfig) -> None:
        super().__init__()
        self.config = config
        width, matches = config.channels, (2 * config.search + 1) ** 2 + 2 if config.search else 0
        self.fine = nn.Sequential(nn.Conv2d(6, STEM // 2, 3, stride=2, padding=1), nn.GELU())
        self.seen = nn.Conv2d(STEM // 2, SEEN, 3, padding=1)
        self.coarse = nn.Sequential(nn.Conv2d(STEM // 2 + matches, STEM, 3, stride=2, padding=1), nn.GELU())
        self.patch = nn.Conv2d(STEM, width, config.patch // 4, stride=config.patch // 4)
        self.tubelet = nn.Linear(config.tubelet * width, width)
        self.layers = nn.ModuleList(Block(width, config.heads) for _ in range(config.blocks))
        rows, columns = config.height // config.patch, config.width // config.patch
        place = torch.cat([sinusoid(torch.arange(rows), width // 2, 1000)[:, None].expand(-1, columns, -1),
                           sinusoid(torch.arange(columns), width // 2, 1000)[None].expand(rows, -1, -1)], dim=-1)
        self.register_buffer("place", place, persistent=False)

    def forward(self, video: Tensor, times_s: Tensor) -> Tensor:
        b, n, t = *video.shape[:2], self.config.tubelet
        frames = 2 * video - 1
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        x = self.fine(torch.cat([frames, frames - before], dim=2).flatten(0, 1))
        if self.config.search:
            seen = self.seen(x).unflatten(0, (b, n))
            earlier = torch.cat([seen[:, :1], seen[:, :-1]], dim=1)
            x = torch.cat([x, matches(seen.flatten(0, 1), earlier.flatten(0, 1), self.config.search)], dim=1)
        x = self.coarse(x)
        x = self.patch(x).unflatten(0, (b, n // t, t))  # [B, N', tubelet, C, h', w']
        x = self.tubelet(x.permute(0, 1, 4, 5, 2, 3).flatten(4))
        x = x + self.place + sinusoid(times_s.unflatten(1, (n // t, t)).mean(2), x.shape[-1], 10_000)[:, :, None, None]
        shape = x.shape
        x = x.flatten(1, 3)
        for layer in self.layers:
            x = layer(x)
        return F.layer_norm(x, x.shape[-1:]).reshape(shape)


class Block(nn.Module):
    """Attention over all tokens of the clip, then each token by itself; normalised before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class Head(nn.Module):
    """Latents to a signal [B, Nt, ht, wt, C_m], as a departure from the training split's mean signal.

    Buffers, set from the training split: `mean` [ht, wt, C_m] and `spread` [C_m] about it; depth's in log metres,
    motion's mean a logit.
    """

    def __init__(self, signal: str, config: SmallTeacherConfig, size: tuple[int, int]) -> None:
        super().__init__()
        self.signal, self.size, self.tubelet, self.channels = signal, size, config.tubelet, CHANNELS[signal]
        rows, columns = config.height // config.patch, config.width // config.patch
        self.zoom = max(1, math.ceil(max(size[0] / rows, size[1] / columns)))
        self.mix = nn.Conv2d(config.channels, config.head_channels, 3, padding=1)
        self.spell = nn.Conv2d(config.head_channels, self.tubelet * self.channels * self.zoom**2, 1)
        nn.init.normal_(self.spell.weight, std=0.01)
        nn.init.zeros_(self.spell.bias)
        self.register_buffer("mean", torch.zeros(*size, self.channels))
        self.register_buffer("spread", torch.ones(self.channels))

    def forward(self, latent: Tensor) -> Tensor:
        """[B, N', h', w', C] to the signal as it is fitted: log depth, pixels, logit, ray."""
        b, n = latent.shape[:2]
        x = latent.flatten(0, 1).permute(0, 3, 1, 2)
        x = F.pixel_shuffle(self.spell(F.gelu(self.mix(x))), self.zoom)
        if x.shape[-2:] != self.size:
            x = F.interpolate(x, size=self.size, mode="bilinear", antialias=True)
        x = x.unflatten(1, (self.tubelet, self.channels)).unflatten(0, (b, n))  # [B, N', tubelet, C_m, ht, wt]
        return self.mean + self.spread * x.flatten(1, 2).movedim(2, -1)

    def in_units(self, fitted: Tensor) -> Tensor:
        """What `forward` gives, in the units of the contract."""
        if self.signal == "depth":
            return fitted.clamp(*LOG_DEPTH_RANGE).exp()
        return fitted.sigmoid() if self.signal == "motion" else fitted


def matches(now: Tensor, before: Tensor, radius: int) -> Tensor:
    """How well each cell's features agree with those of the cells within `radius` in the frame before.

    Args:
        now, before: [M, C, h, w].

    Returns:
        [M, (2 radius + 1)^2 + 2, h, w]: a softmax over the offsets, row by row, of the cosines of what departs from the
        frame's mean features; and the mean offset (x, y) under it, a backward flow, in units of `radius`.
    """
    h, w = now.shape[-2:]
    now, before = (F.normalize(f - f.mean((2, 3), keepdim=True), dim=1) for f in (now, before))
    before = F.pad(before, (radius,) * 4)
    side = range(2 * radius + 1)
    cosines = torch.stack([(now * before[..., y:y + h, x:x + w]).sum(1) for y in side for x in side], dim=1)
    shares = (MATCH_SHARPNESS * cosines).softmax(dim=1)
    offset = torch.linspace(-1, 1, len(side), device=now.device)
    grid = shares.unflatten(1, (len(side), len(side)))
    mean_x = torch.einsum("myxhw,x->mhw", grid, offset)
    mean_y = torch.einsum("myxhw,y->mhw", grid, offset)
    return torch.cat([shares, mean_x[:, None], mean_y[:, None]], dim=1)


def sinusoid(value: Tensor, width: int, base: float) -> Tensor:
    """[...] to [..., width]: sine and cosine of value / base^(2 i / width)."""
    rate = base ** (-torch.arange(0, width, 2, device=value.device) / width)
    angle = value[..., None].float() * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)
