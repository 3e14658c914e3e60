"""A trainable toy in place of a student and its data: what the loop does is seen in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from curate.train.config import TrainRecipe
from curate.train.loop import Ended, Loop
from curate.train.watch import Watch, read_log


@dataclass
class ToyBatch:
    x: torch.Tensor  # [B, 4]
    y: torch.Tensor  # [B, 1]
    ids: list[str] = field(default_factory=list)

    def to(self, device) -> ToyBatch:
        return ToyBatch(self.x.to(device), self.y.to(device), self.ids)


class ToyExamples:
    """Endless; batch n is drawn from n alone. `broken`: the batch whose numbers are nan."""

    def __init__(self, size: int = 3, broken: int | None = None) -> None:
        self.at, self.size, self.broken = 0, size, broken

    def __iter__(self):
        while True:
            generator = torch.Generator().manual_seed(self.at)
            x = torch.randn(self.size, 4, generator=generator)
            if self.at == self.broken:
                x[1, 2] = float("nan")
            ids = [f"q{self.at}.{i}" for i in range(self.size)]
            self.at += 1
            yield ToyBatch(x, x[:, :1] * 2 - x[:, 1:2], ids)

    def state_dict(self) -> dict:
        return {"at": self.at}

    def load_state_dict(self, state: dict) -> None:
        self.at = state["at"]


class ToyStrategy(nn.Module):
    """Two parts of a "student" with dropout between, and a head that only training has."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.student = nn.ModuleDict({"projector": nn.Linear(4, 8), "llm": nn.Linear(8, 1)})
        self.head = nn.Linear(8, 1)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, batch: ToyBatch) -> dict[str, torch.Tensor]:
        self.seen += len(batch.x)
        hidden = self.dropout(self.student["projector"](batch.x).relu())
        sft = (self.student["llm"](hidden) - batch.y).square().mean()
        latent = (self.head(hidden) - 1).abs().mean()
        return {"loss": sft + 0.5 * latent, "sft": sft, "latent": latent}

    def rest(self, parts) -> None:
        for name, part in self.student.items():
            part.requires_grad_(name in parts)


def recipe(**sections) -> TrainRecipe:
    sections = {"optim": {"steps": 12, "lr": 0.05, **sections.pop("optim", {})},
                "watch": {"tensorboard": False, **sections.pop("watch", {})},
                "checkpoints": {"every": 4, "last": 2, **sections.pop("checkpoints", {})}, **sections}
    return TrainRecipe.model_validate({"data": {"sets": ["none"]}, **sections})


def run(folder: Path, made: TrainRecipe | None = None, *, resume: bool = False, strategy: ToyStrategy | None = None,
        broken: int | None = None, after_step=lambda step: None, batch_size: int = 3) -> tuple[Ended, ToyStrategy]:
    """A run of the toy from the same start; what it logged is in folder/log.jsonl."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator, made = Accelerator(cpu=True), made or recipe()
    assert PartialState().num_processes == 1
    torch.manual_seed(made.seed)
    strategy = strategy or ToyStrategy()
    torch.manual_seed(made.seed)
    steps = sum(stage.steps for stage in made.plan())
    watch = Watch(folder, made.watch, steps)
    loop = Loop(made, strategy, lambda stage: ToyExamples(batch_size, broken), folder, accelerator, watch,
                rest=strategy.rest, after_step=after_step)
    found = loop.resume() if resume else None
    watch.done = found.total if found else 0
    with watch:
        return loop.fit(found), strategy


def losses(folder: Path) -> list[tuple]:
    """What of a log must be the same to the last bit."""
    return [(r["step"], r["stage"], r["lr"], r["loss"], r["sft"], r["latent"], r["grad_norm"])
            for r in read_log(folder / "log.jsonl")]
