"""Perceptual 4D distillation: the student's hidden states are to hold what a frozen teacher perceives.

The teacher and the decoder take part in training alone. The student's graph is that of sft.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from curate.train.losses import check_latent, check_targets, latent_loss, signal_loss
from curate.train.p4d import PerceptionDecoder, rearrange
from curate.train.p4d_config import P4DConfig
from curate.train.strategies.base import Strategy
from curate.train.strategies.frozen import Frozen

if TYPE_CHECKING:
    from curate.train.data import Batch
    from curate.train.students.student import Student
    from curate.train.teacher.base import Teacher

MOST_OFF = 0.2  # of the spread: more than half precision and another decoder's pixels make


class P4D(Strategy):
    """L = L_SFT + latent_weight L_LD + explicit_weight sum over m of weights[m] L_m.

    Raises:
        ValueError: where the teacher decodes no such signal.
    """

    name = "p4d"

    def __init__(self, student: Student, settings: P4DConfig, timestamps: bool, teacher: Teacher) -> None:
        super().__init__(student, settings, timestamps)
        self.teacher = Frozen(teacher)
        self.signals = self._distilled(teacher)
        self._stored_are_ours = False
        self.extra["decoder"] = PerceptionDecoder(student.hidden_size, teacher.grid[3], settings.hidden,
                                                  settings.decoder, teacher.blocks)

    def _distilled(self, teacher: Teacher) -> tuple[str, ...]:
        settings = self.settings
        if not settings.explicit_weight:
            return ()
        wanted = tuple(m for m in settings.signals if getattr(settings.weights, m) > 0)
        missing = [m for m in wanted if m not in teacher.signals]
        if missing:
            has = ", ".join(teacher.signals) or "no heads at all"
            raise ValueError(f"strategy.p4d.signals asks for {', '.join(missing)}, the teacher has {has}: leave them "
                             "out, or fit a teacher with them in teacher.signals")
        return wanted

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: "sft", "latent" (L_LD) and one for each signal (L_m), all unweighted."""
        output = self.run(batch, answers_only=True)
        settings, terms = self.settings, {"sft": output.loss}
        predicted = self.predicted_latent(batch, output)
        target = self.target_latent(batch) if settings.latent_weight or settings.targets == "teacher" else None
        total = output.loss
        if settings.latent_weight:
            terms["latent"] = latent_loss(predicted, target, settings.latent_loss)
            total = total + settings.latent_weight * terms["latent"]
        for m, measured in self.target_signals(batch, target).items():
            terms[m] = signal_loss(m, self.teacher.decode(m, predicted), measured, settings.depth_space)
            total = total + settings.explicit_weight * getattr(settings.weights, m) * terms[m]
        return {"loss": total, **{name: term.detach() for name, term in terms.items()}}

    def predicted_latent(self, batch: Batch, output: Any) -> Tensor:
        """F^ [B, N', h', w', C] of the student.

        Args:
            output: of `run`.
        """
        hidden = output.hidden_states[self.settings.layer]
        tokens = rearrange(self.learner.visual_tokens(batch.inputs, hidden), self.teacher.grid[:3])
        return self.extra["decoder"](tokens).float()

    def predicted_signals(self, batch: Batch) -> dict[str, Tensor]:
        """P^_m [B, Nt, ht, wt, C_m] of the student for every head of the teacher: what it perceives, for pictures."""
        with torch.no_grad():
            latent = self.predicted_latent(batch, self.run(batch))
            return {m: self.teacher.decode(m, latent) for m in self.teacher.signals}

    def target_latent(self, batch: Batch) -> Tensor:
        """F [B, N', h', w', C] of the teacher: computed, or the shards'."""
        if self.settings.latents == "teacher":
            latent = self.teacher.encode(batch.video, batch.times_s)
        else:
            if batch.latent is None:
                raise ValueError("strategy.p4d.latents=shards, but these shards hold no latents: store them with "
                                 "`curate train latents RECIPE`, or set strategy.p4d.latents=teacher")
            if tuple(batch.latent.shape[1:]) != tuple(self.teacher.grid):
                raise ValueError(f"the shards' latents have the grid {list(batch.latent.shape[1:])} [N', h', w', C], "
                                 f"the teacher's {list(self.teacher.grid)}: they are of another teacher; store them "
                                 "anew, or set strategy.p4d.latents=teacher")
            latent = batch.latent
        check_latent(latent, batch.keys)
        if self.settings.latents == "shards" and not self._stored_are_ours:
            self._compare(latent, batch)
        return latent

    def _compare(self, stored: Tensor, batch: Batch) -> None:
        """Once, on one clip: latents of another teacher, or of other frames, may have the same shape."""
        ours = self.teacher.encode(batch.video[:1], batch.times_s[:1])
        off = float((ours - stored[:1].float()).norm() / (ours - ours.mean()).norm().clamp(min=1e-6))
        if off > MOST_OFF:
            raise ValueError(f"clip {batch.keys[0]}: its stored latent is {100 * off:.0f} % off the one that teacher "
                             f"{self.teacher.model_id} gives of the frames shown: it is of another teacher, or of "
                             "other frames (data.frames, data.image_size, data.marks); store the latents anew, or set "
                             "strategy.p4d.latents=teacher")
        self._stored_are_ours = True

    def target_signals(self, batch: Batch, latent: Tensor | None) -> dict[str, Tensor]:
        """P_m: the measured ones, or what the teacher decodes from its own latent."""
        if self.settings.targets == "teacher":
            with torch.no_grad():
                return {m: self.teacher.decode(m, latent) for m in self.signals}
        if self.signals:
            check_targets(batch.signals, self.signals, batch.keys)
        return {m: batch.signals[m] for m in self.signals}

    def _identity(self) -> dict[str, Any]:
        return {"teacher": self.teacher.model_id}
