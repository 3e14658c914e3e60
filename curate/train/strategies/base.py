"""What all strategies share: a student, parameters of their own, a loss by terms, and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BaseModel
from safetensors.torch import save_file
from torch import Tensor, nn

from curate.train.teacher.store import fill

if TYPE_CHECKING:
    from curate.train.data import Batch
    from curate.train.students.student import Student

WEIGHTS, CONFIG, FORMAT = "strategy.safetensors", "strategy.json", 1


class Strategy(nn.Module):
    """One way to teach a student.

    Parameters named `student.` are the student's; those of `extra` are the strategy's own.

    Attributes:
        name: as in the recipe.
        at_inference: what answering needs beside the student; () for sft and p4d.
        learner: the `Student`; its model is the module `student`.
        extra: the strategy's own parameters; empty for sft.
    """

    name: ClassVar[str] = "sft"
    at_inference: ClassVar[tuple[str, ...]] = ()

    def __init__(self, student: Student, settings: BaseModel | None = None, timestamps: bool = False) -> None:
        super().__init__()
        self.learner, self.settings, self.timestamps = student, settings, timestamps
        self.student: nn.Module = student.model
        self.extra = nn.ModuleDict()
        if timestamps:
            student.add_timestamps()

    # ---- training ----

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars: "loss", which is minimised, and every term alone at its natural scale, without gradient.

        Raises:
            ValueError: where the batch lacks what the strategy learns from; says what to change.
        """
        output = self.run(batch, answers_only=True)
        return {"loss": output.loss, "sft": output.loss.detach()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss(batch)

    def trainable(self) -> list[nn.Parameter]:
        """The student's trained parameters and the strategy's own."""
        return [p for p in self.parameters() if p.requires_grad]

    # ---- running the student ----

    @contextmanager
    def reading(self, batch: Batch) -> Iterator[None]:
        """While it is open, the student's forward and generate see what the strategy adds to the frames of `batch`."""
        yield

    def run(self, batch: Batch, answers_only: bool = False) -> Any:
        """The student's output on a batch: loss (with labels), logits (`answers_only`: of the answers' places alone),
        hidden_states. See `Student.forward`."""
        with self.reading(batch):
            return self.learner.forward(batch.inputs, times_s=batch.times_s if self.timestamps else None,
                                        answers_only=answers_only)

    def generate(self, batch: Batch, max_new_tokens: int = 32, **settings: Any) -> list[str]:
        """The student's answers, see `Student.generate`."""
        with self.reading(batch), torch.no_grad():
            return self.learner.generate(batch, max_new_tokens=max_new_tokens, **settings)

    # ---- on disk ----

    def save(self, folder: Path | str) -> None:
        """The strategy's own parameters and settings; the student has a `save` of its own. For sft settings alone."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(self._about(), indent=1) + "\n", encoding="utf-8")
        state = self.extra.state_dict()
        if state:
            save_file({n: t.detach().cpu().contiguous() for n, t in state.items()}, folder / WEIGHTS)

    def load(self, folder: Path | str) -> None:
        """Reads what `save` wrote.

        Raises:
            ValueError: where it is of another strategy or other settings, or damaged.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder}: no parameters of a strategy ({error}); expected {CONFIG} there") from None
        own = self._about()
        differ = [f"{k} {about.get(k)!r} instead of {own[k]!r}" for k in own if about.get(k) != own[k]]
        if differ:
            raise ValueError(f"{folder}: parameters of other settings: {'; '.join(differ)}; use the recipe they were "
                             "trained with, or train anew")
        if self.extra.state_dict():
            fill(self.extra, folder / WEIGHTS, f"strategy {self.name}", "train anew, or use the recipe it was trained "
                                                                        "with")

    def _about(self) -> dict[str, Any]:
        return {"format": FORMAT, "strategy": self.name, "timestamps": self.timestamps,
                "settings": self.settings.model_dump(mode="json") if self.settings else {}, **self._identity()}

    def _identity(self) -> dict[str, Any]:
        """What else parameters depend on."""
        return {}
