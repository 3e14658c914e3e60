"""A teacher that a strategy looks at and does not own: none of its parameters is trained or saved with it."""

from __future__ import annotations

import torch
from torch import Tensor

from curate.train.teacher.base import Teacher, frozen


class Frozen:
    """Keeps a teacher beside a module, in full precision, on the device of what it is given.

    Args:
        teacher: its parameters are frozen here.
    """

    def __init__(self, teacher: Teacher) -> None:
        self.teacher, self.device = teacher, None
        self.signals, self.grid, self.model_id = teacher.signals, teacher.grid, teacher.model_id
        if isinstance(teacher, torch.nn.Module):
            frozen(teacher)

    def encode(self, video: Tensor, times_s: Tensor) -> Tensor:
        """See `Teacher.encode`."""
        self._follow(video)
        with torch.no_grad(), torch.autocast(video.device.type, enabled=False):
            return self.teacher.encode(video.float(), times_s.float())

    def decode(self, signal: str, latent: Tensor) -> Tensor:
        """See `Teacher.decode`: a gradient flows to `latent`."""
        self._follow(latent)
        with torch.autocast(latent.device.type, enabled=False):
            return self.teacher.decode(signal, latent.float())

    def _follow(self, tensor: Tensor) -> None:
        if tensor.device != self.device and isinstance(self.teacher, torch.nn.Module):
            self.teacher.to(tensor.device)
            self.device = tensor.device
