"""Toy clips whose 4D signals are known in closed form: a square slides over a textured wall; the nearer, the larger.

The camera stands, so that each pixel's ray is that of its column and row, with a moment of zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

FRAMES, PIXELS, GRID = 4, 32, 16
FOCAL = 16.0  # pixels of the signals' grid


@dataclass
class ToyBatch:
    inputs: dict[str, Tensor]
    times_s: Tensor
    video: Tensor
    signals: dict[str, Tensor] | None
    keys: list[str]
    cameras: dict[str, Tensor] | None = None
    latent: Tensor | None = None
    ids: list[str] = field(default_factory=list)
    records: list[dict] = field(default_factory=list)


def toy_batch(seed: int, clips: int = 4) -> ToyBatch:
    """Clips of FRAMES frames, video PIXELS square, signals GRID square; every clip from its own seed."""
    made = [_clip(1000 * seed + i) for i in range(clips)]
    signals = {m: torch.stack([clip["signals"][m] for clip in made]) for m in made[0]["signals"]}
    centre = (GRID - 1) / 2
    K = torch.tensor([[FOCAL, 0, centre], [0, FOCAL, centre], [0, 0, 1]]).expand(clips, FRAMES, 3, 3)
    cameras = {"K": K, "T_world_cam": torch.eye(3, 4).expand(clips, FRAMES, 3, 4)}
    return ToyBatch({}, torch.stack([c["times_s"] for c in made]), torch.stack([c["video"] for c in made]), signals,
                    [f"toy{seed}-{i}" for i in range(clips)], cameras)


def _blotches(g: torch.Generator) -> Tensor:
    """[3, PIXELS, PIXELS] 0..1, smooth over a few pixels."""
    coarse = torch.rand(1, 3, PIXELS // 3, PIXELS // 3, generator=g)
    return interpolate(coarse, size=(PIXELS, PIXELS), mode="bilinear")[0]


def _clip(seed: int) -> dict:
    g = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=g).item()

    wall_m = draw(8, 16)
    near_m = draw(2, 6)
    half = 20 / near_m  # pixels of the video: the same body, the larger the nearer
    x0, y0, vx, vy = draw(10, 22), draw(10, 22), draw(-2.5, 2.5), draw(-2.5, 2.5)
    if draw(0, 1) < 0.3:
        vx = vy = 0.0
    texture = 0.4 * _blotches(g)
    skin = 0.5 + 0.5 * _blotches(g)
    rows, columns = torch.meshgrid(torch.arange(PIXELS), torch.arange(PIXELS), indexing="ij")
    video, depth, flow, motion = [], [], [], []
    for n in range(FRAMES):
        x, y = x0 + vx * n, y0 + vy * n
        body = ((columns - x).abs() < half) & ((rows - y).abs() < half)
        place = torch.stack([columns - x, rows - y], -1) / (PIXELS / 2)
        moved = grid_sample(skin[None], place[None], padding_mode="reflection", align_corners=False)[0]
        video.append(torch.where(body, moved, texture + 0.02 * wall_m))
        small = body[::2, ::2].float()
        depth.append(small * near_m + (1 - small) * wall_m)
        scale = GRID / PIXELS
        back = torch.stack([-vx * scale * small, -vy * scale * small], -1)
        flow.append(back if n else torch.full_like(back, torch.nan))
        motion.append(small * float(vx != 0 or vy != 0))
    centre = torch.arange(GRID) - (GRID - 1) / 2
    ray = torch.stack([centre[None].expand(GRID, -1) / FOCAL, centre[:, None].expand(-1, GRID) / FOCAL,
                       torch.ones(GRID, GRID)], -1)
    ray = torch.cat([ray / ray.norm(dim=-1, keepdim=True), torch.zeros_like(ray)], -1).expand(FRAMES, -1, -1, -1)
    signals = {"depth": torch.stack(depth)[..., None], "flow": torch.stack(flow),
               "motion": torch.stack(motion)[..., None], "camray": ray.clone()}
    return {"times_s": torch.arange(FRAMES) * draw(0.04, 0.3), "video": torch.stack(video), "signals": signals}
