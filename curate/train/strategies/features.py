"""concat and pe: the teacher's features go in with the frames. The teacher runs at inference too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from curate.train.p4d import resampled
from curate.train.strategies.base import Strategy
from curate.train.strategies.frozen import Frozen

if TYPE_CHECKING:
    from curate.train.data import Batch
    from curate.train.students.student import Student
    from curate.train.teacher.base import Teacher


class Features(Strategy):
    """Teacher's latents brought to the frames' tokens at the projector's input."""

    at_inference = ("teacher",)

    def __init__(self, student: Student, timestamps: bool, teacher: Teacher) -> None:
        super().__init__(student, None, timestamps)
        self.teacher = Frozen(teacher)

    @contextmanager
    def reading(self, batch: Batch) -> Iterator[None]:
        latent = self.teacher.encode(batch.video, batch.times_s)
        with self.learner.projector_input(lambda features: self.joined(features, latent)):
            yield

    def joined(self, features: Tensor, latent: Tensor) -> Tensor:
        """Features [B, N, gh, gw, V] with latents [B, N', h', w', C]: the same shape as features."""
        raise NotImplementedError

    def _identity(self) -> dict[str, Any]:
        return {"teacher": self.teacher.model_id}


class Concat(Features):
    """Beside each other, [visual, teacher's], then one linear map to the projector's input width. It starts as the
    visual features alone, so that the student starts where sft does."""

    name = "concat"

    def __init__(self, student: Student, timestamps: bool, teacher: Teacher) -> None:
        super().__init__(student, timestamps, teacher)
        width = student.vision_width
        self.extra["join"] = nn.Linear(width + teacher.grid[3], width)
        with torch.no_grad():
            self.extra["join"].weight.copy_(torch.eye(width, width + teacher.grid[3]))
            self.extra["join"].bias.zero_()

    def joined(self, features: Tensor, latent: Tensor) -> Tensor:
        both = torch.cat([features.float(), resampled(latent, features.shape[1:4])], dim=-1)
        return self.extra["join"](both).to(features.dtype)


class PositionalEncoding(Features):
    """Added, as a positional encoding would be, by one linear map (Xavier) of the teacher's normalised features."""

    name = "pe"

    def __init__(self, student: Student, timestamps: bool, teacher: Teacher) -> None:
        super().__init__(student, timestamps, teacher)
        self.extra["norm"] = nn.LayerNorm(teacher.grid[3], elementwise_affine=False)
        self.extra["project"] = nn.Linear(teacher.grid[3], student.vision_width)
        nn.init.xavier_uniform_(self.extra["project"].weight)
        nn.init.zeros_(self.extra["project"].bias)

    def joined(self, features: Tensor, latent: Tensor) -> Tensor:
        latent = resampled(latent, features.shape[1:4])
        return features + self.extra["project"](self.extra["norm"](latent)).to(features.dtype)
