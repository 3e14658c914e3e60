"""From a student's hidden states to the teacher's latents: the rearrangement, and the perception decoder D_4DP.

Both are used in training alone; the student that is saved knows nothing of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rearrange(tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Brings visual tokens to the teacher's grid, each axis by itself: means over equal shares of it where it shrinks
    (blocks where sizes divide), linear interpolation where it grows.

    Args:
        tokens: [B, N, gh, gw, D]; grid: (N', h', w').

    Returns:
        [B, N', h', w', D] float32.

    Raises:
        ValueError: where tokens are no such grid, or where the teacher has more steps in time than there are frames.
    """
    if tokens.ndim != 5 or 0 in tokens.shape:
        raise ValueError(f"visual tokens have shape {list(tokens.shape)}; expected [B, frames, rows, columns, width] "
                         "and none empty: a student without visual tokens has nothing to distil into")
    if tokens.shape[1] < grid[0]:
        raise ValueError(f"the teacher's latents have {grid[0]} steps in time, the student is shown "
                         f"{tokens.shape[1]} frames: show at least as many frames (data.frames), or fit a teacher with "
                         "fewer (teacher.small.frames, tubelet)")
    return resampled(tokens, grid)


def resampled(tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """As `rearrange`, of any features [B, N, h, w, C]; time may grow too."""
    tokens = tokens.float()
    with torch.autocast(tokens.device.type, enabled=False):
        for axis, size in enumerate(grid, start=1):
            if tokens.shape[axis] != size:
                shares = resampling(tokens.shape[axis], size, tokens.device)
                tokens = torch.tensordot(tokens, shares, dims=([axis], [1])).movedim(-1, axis)
    return tokens


def resampling(size_in: int, size_out: int, device: torch.device | str = "cpu") -> Tensor:
    """Weights [size_out, size_in] of a resampled axis, rows of sum 1: overlaps of cells, or linear between centres."""
    cells_in = torch.arange(size_in, dtype=torch.float64)
    cells_out = torch.arange(size_out, dtype=torch.float64)[:, None]
    step = size_in / size_out
    if size_out <= size_in:
        left, right = cells_out * step, (cells_out + 1) * step
        shares = (torch.minimum(right, cells_in + 1) - torch.maximum(left, cells_in)).clamp(min=0) / step
    else:
        centres = ((cells_out + 0.5) * step - 0.5).clamp(0, size_in - 1)
        shares = (1 - (centres - cells_in).abs()).clamp(min=0)
    return shares.to(device, torch.float32)


class PerceptionDecoder(nn.Module):
    """D_4DP: F^ = D_4DP(Rearrange(hidden states)).

    Args:
        width_in: the student's D; width_out: the teacher's C.
        hidden: of the two hidden layers.
        kind: "mlp" (three layers, GELU, Xavier weights, zero biases) or "linear" (normal(0, 0.1), zero bias).
        blocks: blocks of the teacher whose features stand beside each other in C; each gets a decoder of its own.
    """

    def __init__(self, width_in: int, width_out: int, hidden: int = 2560, kind: str = "mlp", blocks: int = 1) -> None:
        super().__init__()
        assert width_out % blocks == 0, f"{blocks} blocks do not share {width_out} channels equally"
        self.per_block = nn.ModuleList(_decoder(width_in, width_out // blocks, hidden, kind) for _ in range(blocks))

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., D] to [..., C]."""
        return torch.cat([decoder(tokens) for decoder in self.per_block], dim=-1)


def _decoder(width_in: int, width_out: int, hidden: int, kind: str) -> nn.Module:
    if kind == "linear":
        layer = nn.Linear(width_in, width_out)
        nn.init.normal_(layer.weight, std=0.1)
        nn.init.zeros_(layer.bias)
        return layer
    assert kind == "mlp", kind
    layers = nn.Sequential(nn.Linear(width_in, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(),
                           nn.Linear(hidden, width_out))
    for layer in layers[::2]:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layers
