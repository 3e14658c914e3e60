"""What a teacher of 4D perception is: frozen, with latents and heads that decode signals from them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Teacher(Protocol):
    """A frozen 4D perception model.

    Attributes:
        signals: what `decode` knows, of depth | flow | motion | camray.
        grid: (N', h', w', C) of its latents.
        blocks: blocks of the encoder whose features stand beside each other in C (1: its last alone).
        model_id: says whose latents they are; stored latents carry it.
    """

    signals: tuple[str, ...]
    grid: tuple[int, int, int, int]
    blocks: int
    model_id: str

    def encode(self, video: Tensor, times_s: Tensor) -> Tensor:
        """Latents F [B, N', h', w', C], without gradient, of video [B, N, 3, H, W] 0..1 at times_s [B, N] seconds."""
        ...

    def decode(self, signal: str, latent: Tensor) -> Tensor:
        """P_m [B, Nt, ht, wt, C_m] from latents; a gradient flows to the latents and not to the heads.

        depth: metres; flow: backward, in pixels of its grid; motion: probability of moving in 3D; camray: unit
        direction and moment (metres) in the first camera's frame.
        """
        ...


def check_video(video: Tensor, times_s: Tensor, frames: int) -> None:
    """
    Raises:
        ValueError: where a batch is not what a teacher of `frames` frames sees.
    """
    if video.ndim != 5 or video.shape[2] != 3:
        raise ValueError(f"video has shape {list(video.shape)}; expected [B, frames, 3, height, width]")
    if video.shape[1] != frames:
        raise ValueError(f"the teacher sees {frames} frames, the batch shows {video.shape[1]}: set data.frames to "
                         f"{frames}, or fit a teacher with teacher.small.frames={video.shape[1]}")
    if times_s.shape != video.shape[:2]:
        raise ValueError(f"times have shape {list(times_s.shape)}; expected one per frame, {list(video.shape[:2])}")


def frozen(module: nn.Module) -> nn.Module:
    """`module` in evaluation, none of its parameters trainable."""
    module.zero_grad(set_to_none=True)
    return module.eval().requires_grad_(False)
