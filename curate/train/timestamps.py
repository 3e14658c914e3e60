"""Real time for a student: a sinusoidal code of each frame's timestamp, added before the projector.

    p[2i] = sin(t / T^(2i/D)),  p[2i+1] = cos(t / T^(2i/D)),  T = 10,000

with t in seconds and D the width of the vision features (4D-RGPT, arXiv 2512.17012; the code of Vaswani et al. 2017
read at real times). It has no parameters: a checkpoint trained with it is a plain transformers checkpoint, and
`add_timestamps` puts the code back on.

    model = AutoModelForImageTextToText.from_pretrained(folder)
    add_timestamps(model)
    with stamps([[0.0, 0.4, 0.8, 1.2]]):
        model.generate(**inputs)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from curate.train.students.projector import ProjectorInput

BASE = 10_000.0
_times: ContextVar[Tensor | None] = ContextVar("times_s", default=None)


def encode_times(times_s: Tensor, width: int, base: float = BASE) -> Tensor:
    """The sinusoidal code of times.

    Args:
        times_s: any shape, seconds.
        width: of the code; where it is odd, the last one is a sine.
        base: T.

    Returns:
        [*times_s.shape, width], float32.
    """
    # Angles in double: at an hour's timestamp float32 has lost the first channels' phase.
    i = torch.arange(width, device=times_s.device)
    angle = times_s.double()[..., None] / base ** ((i - i % 2).double() / width)
    return torch.where(i % 2 == 0, angle.sin(), angle.cos()).float()


@contextmanager
def stamps(times_s: Tensor | Sequence[Sequence[float]] | Sequence[float]) -> Iterator[None]:
    """The times of the frames of every call inside, for models with `add_timestamps`.

    Args:
        times_s: [B, N] (or [N] for one sample), seconds from the clip's start.

    Raises:
        ValueError: on times that are not finite or not [B, N].
    """
    times = torch.as_tensor(times_s)
    times = times[None] if times.dim() == 1 else times
    if times.dim() != 2 or not bool(torch.isfinite(times).all()):
        raise ValueError(f"timestamps of shape {tuple(times.shape)}; expected [samples, frames], finite, in seconds")
    token = _times.set(times)
    try:
        yield
    finally:
        _times.reset(token)


class Timestamps(ProjectorInput):
    """The hook that `add_timestamps` puts on a model. `remove` takes it off."""

    def __init__(self, model: nn.Module, base: float = BASE) -> None:
        super().__init__(model, self._add)
        self.base = base

    def _add(self, features: Tensor) -> Tensor:
        times = _times.get()
        if times is None:
            raise ValueError("this model reads timestamps, and none are given: call it inside "
                             "`with curate.train.stamps(times_s):`, or remove the encoding")
        if times.numel() != len(features):
            raise ValueError(f"{times.shape[0]} × {times.shape[1]} timestamps for {len(features)} frames: give one "
                             "time, in seconds, for each frame of each sample")
        code = encode_times(times.flatten().to(features.device), features.shape[-1], self.base)
        return features + code[:, None, None].to(features.dtype)

    def remove(self) -> None:
        super().remove()
        if self.model.__dict__.get(_PLACE) is self:
            del self.model.__dict__[_PLACE]


_PLACE = "_curate_timestamps"


def timestamps_of(model: nn.Module) -> Timestamps | None:
    """The encoding that is on a model, if any."""
    return model.__dict__.get(_PLACE)


def add_timestamps(model: nn.Module, base: float = BASE) -> Timestamps:
    """Makes a model read timestamps: their code is added to the vision features before the projector.

    One hook on the projector's input, no parameters. A second call on the same model changes nothing. Times come from
    `stamps`; a call without them is refused, and so is one whose times do not fit the frames.

    Args:
        model: an image-text model of transformers, of an architecture with an adapter.
        base: T of the code.

    Returns:
        A handle whose `remove()` takes the encoding off.

    Raises:
        ValueError: on an architecture without an adapter, or an encoding with another base on the model.
    """
    there = timestamps_of(model)
    if there is None:
        there = model.__dict__[_PLACE] = Timestamps(model, base)
    elif there.base != base:
        raise ValueError(f"the model has a timestamp encoding with base {there.base:g}; remove it before base {base:g}")
    return there
