"""Reinforcement fine-tuning: GRPO from an SFT checkpoint, with the verifiable rewards of `curate.rewards`.

The trainer is trl's; here are the questions as it wants them (frames as images, a chat prompt that asks for thinking
and answer in tags, the record to judge by) and the rewards. What comes out is a checkpoint as SFT's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.questions.forms import rft as rft_form
from curate.questions.region_words import in_dialect
from curate.rewards import weights_of
from curate.rewards.adapters.trl import reward_function
from curate.rewards.table import REWARDS
from curate.train.answers import task_of, words_of
from curate.train.clips import open_clips
from curate.train.shown import Shown, show

if TYPE_CHECKING:
    from curate.train.data_config import DataConfig
    from curate.train.rft_config import RftRecipe

KEPT_CLIPS = 64  # decoded; a prompt comes once for each completion of its group
Row = dict[str, Any]


class Prompts:
    """The questions of a split by number, made when asked for: prompt, images, ground_truth, question.

    Raises:
        ShardError, ValueError: as of `curate.train.data.Examples`.
    """

    def __init__(self, config: DataConfig) -> None:
        self.config = config
        opened = [open_clips(s.path, config.split, config.of_set(s), judged=True) for s in config.sets]
        self._clips = [clip for each in opened for clip in each.clips]
        self._places = [(c, q) for c, clip in enumerate(self._clips) for q in range(len(clip.ids))]
        self._shown = lru_cache(KEPT_CLIPS)(lambda index: show(self._clips[index], config))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Row:
        clip, question = self._places[index]
        return row(self._shown(clip), question, self.config)


def row(shown: Shown, question: int, config: DataConfig) -> Row:
    """One question as trl wants it.

    Returns:
        prompt: [{"role": "user", "content": text}]; images: N PIL images; ground_truth: JSON of the `rft` form, with
        the tags that the prompt asks for; question: its id.
    """
    from PIL import Image

    qa = shown.records[question]
    asked = words_of(qa, shown.regions, config, shown.times_s, shown.whole).prompt
    if config.region_dialect != "<R1>":
        qa = in_dialect(qa, shown.regions, config.region_dialect)
    truth = rft_form(qa, task=task_of(qa["id"], config.tasks, config.seed), config=config.reasoning)
    return {"prompt": [{"role": "user", "content": asked}], "images": [Image.fromarray(f) for f in shown.frames],
            "ground_truth": json.dumps(truth, ensure_ascii=False), "question": qa["id"]}


def rewards_of(reward: str | dict[str, float]) -> tuple[list[Callable[..., list[float | None]]], list[float]]:
    """Reward functions and their weights: the whole reward with weight 1, its parts with 0, to be seen in the log."""
    parts = [name for name in weights_of(reward) if name in REWARDS]
    parts = [] if parts == [reward] else parts
    return [reward_function(reward), *map(reward_function, parts)], [1.0] + [0.0] * len(parts)


def run(recipe: RftRecipe, out: str | Path) -> dict[str, Any]:
    """Trains, and writes the checkpoint OUT/model, the log OUT/log.jsonl and OUT/tensorboard.

    Returns:
        {"steps", "questions", "reward": mean of the first and of the last step, "log": rows of the trainer's log}

    Raises:
        ValueError: on a checkpoint that reads timestamps, a missing package, or data that do not fit.
    """
    try:
        import datasets
        import torch
        from trl import GRPOTrainer
    except ImportError as error:
        raise ValueError(f"reinforcement fine-tuning needs {error.name}: pip install 'curate4d[train]'") from None
    from curate.train.students import load_student
    from curate.train.timestamps import timestamps_of

    out = Path(out)
    student = load_student(recipe.student)
    if timestamps_of(student.model) is not None:
        raise ValueError(f"{recipe.student.name_or_path} reads timestamps before its projector, and trl does not hand "
                         "them on; train the SFT checkpoint with data.time_cue prompt (or marks) and no encoding")
    prompts = Prompts(recipe.data)

    def fill(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
        made = [prompts[index] for index in rows["index"]]
        return {name: [each[name] for each in made] for name in made[0]}

    dataset = datasets.Dataset.from_dict({"index": list(range(len(prompts)))}).with_transform(fill)
    functions, weights = rewards_of(recipe.rft.reward)
    with torch.random.fork_rng(devices=[]):  # the trainer seeds the global draws
        trainer = GRPOTrainer(model=student.model, processing_class=student.processor.own, reward_funcs=functions,
                              args=arguments(recipe, out, weights), train_dataset=dataset)
        trainer.train()
    log = [line for line in trainer.state.log_history if "reward" in line]
    student.save(out / "model")
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in trainer.state.log_history), "utf-8")
    return {"steps": trainer.state.global_step, "questions": len(prompts),
            "reward": [log[0]["reward"], log[-1]["reward"]] if log else [], "log": log}


def arguments(recipe: RftRecipe, out: Path, weights: list[float]) -> Any:
    """The settings in trl's words."""
    from trl import GRPOConfig

    config, student = recipe.rft, recipe.student
    completions = config.group_size * config.prompts
    batch = config.micro_batch or completions
    return GRPOConfig(
        output_dir=str(out / "trainer"), seed=recipe.seed, max_steps=config.steps, learning_rate=config.lr,
        lr_scheduler_type="cosine", warmup_steps=config.warmup_share, max_grad_norm=config.clip_norm,
        per_device_train_batch_size=batch, gradient_accumulation_steps=completions // batch,
        num_generations=config.group_size, beta=config.kl, epsilon=config.clip, loss_type=config.loss,
        scale_rewards=config.scale, reward_weights=weights, temperature=config.temperature,
        max_completion_length=config.max_new_tokens, bf16=config.precision == "bf16",
        gradient_checkpointing=student.gradient_checkpointing, logging_steps=1,
        save_strategy="steps" if config.save_every else "no", save_steps=config.save_every or 500,
        report_to=["tensorboard"] if config.tensorboard else [], disable_tqdm=True)
