"""What is looked at between steps: held-out accuracy, and pictures of what the student perceives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from curate.shards import read
from curate.train.blind import blind_answers
from curate.train.config import StageConfig, TrainRecipe
from curate.train.data import Batch, Examples
from curate.train.data_config import DataConfig
from curate.train.evaluate import Evaluation, Said, answered, judged, letters, table
from curate.train.pictures import picture

if TYPE_CHECKING:
    from curate.train.students import Student
    from curate.train.watch import Watch

MOST_KNOWN = 50_000  # questions of the training split that the blind guesser learns from


class Judge:
    """Evaluates and draws, at the steps that the recipe names.

    Args:
        ask: (batch, method of the strategy, its keywords) to what it gives.
        share: each process takes a part of the questions; False: all take all, in step.
    """

    def __init__(self, recipe: TrainRecipe, ask: Callable[..., Any], student: Student, out: Path, accelerator: Any,
                 watch: Watch, *, share: bool = True) -> None:
        self.recipe, self.ask, self.student, self.out = recipe, ask, student, out
        self.accelerator, self.watch, self.share = accelerator, watch, share
        self.base = recipe.data_of(StageConfig(name="eval"))
        self._blind: dict[str, str] | None = None
        self._shown: list[Batch] | None = None

    def after_step(self, step: int) -> None:
        if self.recipe.eval.every and step % self.recipe.eval.every == 0:
            self.evaluate(step, f"{step:06d}")
        if self.recipe.watch.pictures_every and step % self.recipe.watch.pictures_every == 0:
            self.draw(step)

    # ---- accuracy ----

    def data(self) -> DataConfig:
        """The data as they are evaluated on: short answers, the same questions each time."""
        config = self.recipe.eval
        return self.base.model_copy(update={
            "forms": ("choice",) if config.method == "rank" else self.base.forms, "tasks": {"answer": 1.0},
            "max_questions": config.max_questions, "max_per_clip": None,
            "teacher": self.recipe.strategy.name == "coords", "batch_size": config.batch_size or self.base.batch_size})

    @torch.no_grad()
    def evaluate(self, step: int, name: str) -> None:
        """Writes RUN/eval-{name}.json and shows the table.

        Raises:
            ValueError: where the split is not there, or holds nothing to evaluate on.
        """
        place = {} if self.share else {"rank": 0, "world_size": 1}
        examples = Examples(self.data(), self.student.processor, split=self.recipe.eval.split, epochs=1, shuffle=False,
                            judged=True, **place)
        with self._resting():
            said = answered(examples, self._answer)
        if self.share and self.accelerator.num_processes > 1:
            said = self._gathered(said)
        if not self.accelerator.is_main_process:
            return
        found = judged(said, self._guesses(said), step, self.recipe.eval.method)
        found.write(self.out / f"eval-{name}.json")
        self.watch.accuracy(step, found.shares())
        self.watch.say(table(found, self._before() if step else None))

    def _answer(self, batch: Batch) -> list[str]:
        batch = batch.to(self.accelerator.device)
        if self.recipe.eval.method == "generate":
            return self.ask(batch, "generate", max_new_tokens=self.recipe.eval.max_new_tokens)
        return letters(batch, self.ask(batch, "run").logits, self.student.processor.tokenizer)

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """The model as at inference, in the run's precision; training draws nothing else for it afterwards."""
        training = self.student.model.training
        self.student.model.eval()
        with torch.random.fork_rng(devices=[]), self.accelerator.autocast():
            yield
        self.student.model.train(training)

    def _gathered(self, said: Said) -> Said:
        from accelerate.utils import gather_object

        parts = gather_object([said])
        texts = {name: text for part in parts for name, text in part.texts.items()}
        return Said([r for part in parts for r in part.records], texts, max(part.seconds for part in parts))

    def _guesses(self, said: Said) -> dict[str, str]:
        """The blind guesser's answers; it learns from the training split once."""
        if self._blind is None:
            known = [item["qa"] for each in self.base.sets
                     for item in islice(read(each.path, self.base.split), MOST_KNOWN)
                     if self.base.families is None or item["qa"]["family"] in self.base.families]
            self._blind = blind_answers(known, said.records)
        return self._blind

    def _before(self) -> Evaluation | None:
        path = self.out / "eval-before.json"
        return Evaluation.read(path) if path.is_file() else None

    def evaluations(self) -> list[Evaluation]:
        """Those of this run, one a step."""
        found = {e.step: e for e in map(Evaluation.read, sorted(self.out.glob("eval-*.json")))}
        return [found[step] for step in sorted(found)]

    # ---- pictures ----

    @torch.no_grad()
    def draw(self, step: int) -> None:
        """Pictures of a few held-out clips: what is measured, and what the student's tokens say through the heads."""
        if not self.recipe.watch.pictures_every or self.recipe.strategy.name != "p4d":
            return
        for number, batch in enumerate(self._clips()):
            batch = batch.to(self.accelerator.device)
            with self._resting():
                found = self.ask(batch, "predicted_signals")
            predicted, true = _first(found), _first(batch.signals or {})
            frames = (255 * batch.video[0].permute(0, 2, 3, 1).float().cpu().numpy()).round().astype(np.uint8)
            self.watch.picture(step, f"clip-{number}", picture(frames, true, predicted))

    def _clips(self) -> list[Batch]:
        """The clips drawn: one question each, of the held-out split."""
        if self._shown is None:
            config = self.base.model_copy(update={"max_per_clip": 1, "batch_size": 1, "teacher": True, "workers": 1,
                                                  "prefetch": 1})
            examples = Examples(config, self.student.processor, split=self.recipe.eval.split, epochs=1, shuffle=False,
                                rank=0, world_size=1)
            self._shown = list(islice(examples, self.recipe.watch.num_pictures))
        return self._shown


def _first(signals: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Of a batch of one."""
    return {name: value[0].float().cpu().numpy() for name, value in signals.items()}
