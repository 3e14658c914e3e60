"""What distillation has brought: its terms on the same clips after training, beside what the mean video scores there.

While training, a term is of the clips of one batch, and one clip moves the camera ten times as far as another: first
and last batches differ more by their clips than by what was learned between. A decoder that knows nothing of a video
gives latents of 0, which the small teacher's heads decode as the mean video.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.p4d_arms import HELD_OUT

MAX_TRAIN = 300  # training clips looked at


def distilled(recipe: Any, run: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Terms of a p4d run: "train" and "held out" -> term -> (of the trained student, of the mean video).

    Args:
        recipe: its `TrainRecipe`. run: its folder, with `student` and `strategy`.
    """
    from curate.train.data import Examples
    from curate.train.strategies import make_strategy
    from curate.train.students import StudentConfig, load_student
    from curate.train.teacher.store import load_teacher

    student = load_student(StudentConfig(name_or_path=str(run / "student")))
    strategy = make_strategy(recipe.strategy, student, load_teacher(recipe.teacher))
    strategy.load(run / "strategy")
    strategy.eval()
    data = recipe.data.model_copy(update={"teacher": True, "max_per_clip": 1})
    looked = {"train": (data.model_copy(update={"max_questions": MAX_TRAIN}), "train"),
              "held out": (data, HELD_OUT)}
    return {name: terms(strategy, Examples(config, student.processor, split=split, epochs=1, shuffle=False))
            for name, (config, split) in looked.items()}


def terms(strategy: Any, batches: Iterable[Any]) -> dict[str, tuple[float, float]]:
    """Means over clips of each term that a P4D strategy is trained on, and of the mean video."""
    import torch

    from curate.train.losses import latent_loss, signal_loss

    settings, teacher, sums, clips = strategy.settings, strategy.teacher, {}, 0
    with torch.no_grad():
        for batch in batches:
            predicted = strategy.predicted_latent(batch, strategy.run(batch))
            target = strategy.target_latent(batch) if settings.latent_weight else None
            pairs = {m: [signal_loss(m, teacher.decode(m, latent), measured, settings.depth_space)
                         for latent in (predicted, torch.zeros_like(predicted))]
                     for m, measured in strategy.target_signals(batch, target).items()}
            if settings.latent_weight:
                pairs["latent"] = [latent_loss(latent, target, settings.latent_loss)
                                   for latent in (predicted, torch.zeros_like(predicted))]
            clips += len(batch.keys)
            for name, pair in pairs.items():
                sums[name] = sums.get(name, 0) + len(batch.keys) * torch.stack(pair).double()
    return {name: tuple((total / clips).tolist()) for name, total in sums.items()}
