"""coords: each visual token is told its metric place and time (x, y, z, t) by Fourier features. Needs depth, intrinsics
and poses at inference too. As LLaVA-4D and Uni4D-LLM do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from curate.train.p4d_config import CoordsConfig
from curate.train.strategies.base import Strategy

if TYPE_CHECKING:
    from curate.train.data import Batch
    from curate.train.students.student import Student


class Coords(Strategy):
    name = "coords"
    at_inference = ("depth, intrinsics and poses",)

    def __init__(self, student: Student, settings: CoordsConfig, timestamps: bool) -> None:
        super().__init__(student, settings, timestamps)
        self.extra["project"] = nn.Linear(8 * settings.bands, student.vision_width)
        self.extra["unknown"] = Unknown(student.vision_width)
        nn.init.xavier_uniform_(self.extra["project"].weight)
        nn.init.zeros_(self.extra["project"].bias)

    @contextmanager
    def reading(self, batch: Batch) -> Iterator[None]:
        points = batch_points(batch)
        with self.learner.projector_input(lambda features: features + self.embedded(points, batch, features)):
            yield

    def embedded(self, points: Tensor, batch: Batch, features: Tensor) -> Tensor:
        """What is added to features [B, N, gh, gw, V]."""
        places = token_points(points, features.shape[2:4])
        times = batch.times_s[:, :, None, None, None].expand(*places.shape[:4], 1)
        known = torch.isfinite(places).all(-1, keepdim=True)
        xyzt = torch.cat([torch.where(known, places, torch.zeros_like(places)), times], dim=-1)
        longest = xyzt.new_tensor([self.settings.extent_m] * 3 + [self.settings.extent_s])
        code = self.extra["project"](fourier(xyzt / longest, self.settings.bands))
        return torch.where(known, code, self.extra["unknown"]().to(code.dtype)).to(features.dtype)


class Unknown(nn.Module):
    """One learned vector, for tokens whose depth is not known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(width))

    def forward(self) -> Tensor:
        return self.vector


def batch_points(batch: Batch) -> Tensor:
    """Points [B, N, h, w, 3], metres in the first frame's camera, of the cells of the batch's depth; nan = unknown.

    Raises:
        ValueError: where the batch has no depth or no cameras.
    """
    if not batch.signals or "depth" not in batch.signals or not getattr(batch, "cameras", None):
        raise ValueError("strategy coords reads depth, intrinsics and poses from the shards' teacher tensors, at "
                         "inference too; this batch has none: make the shards with --set teacher.enabled=true and set "
                         "data.teacher=true")
    return world_points(batch.signals["depth"][..., 0], batch.cameras["K"], batch.cameras["T_world_cam"])


def world_points(depth_m: Tensor, K: Tensor, T_world_cam: Tensor) -> Tensor:
    """p_world = R K^-1 (u, v, 1) depth + c, pixel centres at whole numbers.

    Args:
        depth_m: [B, N, h, w] along the optical axis; K: [B, N, 3, 3]; T_world_cam: [B, N, 3, 4].

    Returns:
        [B, N, h, w, 3] metres, nan where depth or pose is.
    """
    h, w = depth_m.shape[-2:]
    v, u = torch.meshgrid(torch.arange(h, device=depth_m.device), torch.arange(w, device=depth_m.device),
                          indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).float()
    with torch.autocast(depth_m.device.type, enabled=False):  # half precision is decimetres at this distance
        rays = torch.einsum("bnij,hwj->bnhwi", T_world_cam[..., :3].float() @ torch.linalg.inv(K.float()), pixels)
        return rays * depth_m.float()[..., None] + T_world_cam[:, :, None, None, :, 3].float()


def token_points(points: Tensor, grid: tuple[int, int]) -> Tensor:
    """The place of each token: of the cells under it, the one of median distance to the camera's first place.

    A median keeps to one surface, where a mean would hang between two.

    Args:
        points: [B, N, h, w, 3], nan = unknown; grid: (gh, gw) tokens.

    Returns:
        [B, N, gh, gw, 3], nan where nothing under the token is known.
    """
    h, w = points.shape[2:4]
    rows, columns = cells_of(h, grid[0], points.device), cells_of(w, grid[1], points.device)
    under = points[:, :, rows][:, :, :, :, columns].permute(0, 1, 2, 4, 3, 5, 6).flatten(4, 5)  # [B,N,gh,gw,cells,3]
    distance = under.norm(dim=-1)
    middle = distance.nanmedian(dim=-1, keepdim=True).indices
    return under.gather(4, middle[..., None].expand(*middle.shape, 3)).squeeze(4)


def cells_of(size: int, tokens: int, device: torch.device) -> Tensor:
    """[tokens, k]: which of `size` cells lie under each token; the nearest one where tokens are finer."""
    count = max(1, math.ceil(size / tokens))
    start = torch.arange(tokens, device=device) * size / tokens + (size / tokens - count) / 2
    return (start.round().long()[:, None] + torch.arange(count, device=device)).clamp(0, size - 1)


def fourier(coordinates: Tensor, bands: int) -> Tensor:
    """[..., 4] in units of the longest wavelength to [..., 8 bands]: sine and cosine at octaves from it."""
    angle = 2 * math.pi * coordinates[..., None] * 2.0 ** torch.arange(bands, device=coordinates.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)
