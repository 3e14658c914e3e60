"""The training recipe: what a user writes, checked before any work. Imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from curate.train.data_config import DataConfig
from curate.train.p4d_config import StrategyConfig, TeacherConfig
from curate.train.students.config import StudentConfig

WITH_TEACHER = ("p4d", "concat", "pe")
PARTS = ("vision", "projector", "llm")
Part = Literal["vision", "projector", "llm"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimConfig(Strict):
    """AdamW, and how its learning rate goes."""

    steps: int = Field(1000, ge=1, description="optimiser steps; of each stage that names no number of its own")
    lr: float = Field(1e-5, gt=0, description="highest learning rate of the student")
    head_lr: float | None = Field(None, gt=0, description="of what only training needs, such as the perception "
                                                          "decoder; default: lr")
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_share: float = Field(0.03, ge=0, lt=1, description="share of the steps in which the rate rises")
    min_lr_share: float = Field(0.0, ge=0, le=1, description="the last learning rate, as a share of the highest")
    weight_decay: float = Field(0.0, ge=0, description="of matrices; norms and biases do not decay")
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = Field(1.0, gt=0, description="longest gradient; a longer one is scaled down")
    accumulate: int = Field(1, ge=1, description="batches whose gradients make one step")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast; the weights stay in student.dtype")


class StageConfig(Strict):
    """One stage of training in several; a plain run is one stage of everything."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")
    steps: int | None = Field(None, ge=1, description="default: by questions, else optim.steps")
    questions: int | None = Field(None, ge=1, description="that are read in this stage, by all processes together: the "
                                                          "steps follow, the last batch being filled up")
    lr: float | None = Field(None, gt=0, description="default: optim.lr")
    parts: tuple[Part, ...] = Field(PARTS, description="parts that are trained, in the way that student.trained says; "
                                                       "the others rest. What only training needs is always trained")
    data: dict[str, Any] = Field(default_factory=dict, description="keys of `data` that differ in this stage, such as "
                                                                   "the mixture of families")


class EvalConfig(Strict):
    """Accuracy on recordings that training does not see, beside a guesser that sees no video."""

    split: str = Field("val", description="split of the shards; they are made with one by shards.val_share")
    before: bool = Field(True, description="also of the student as it comes (zero-shot)")
    every: int = Field(0, ge=0, description="steps between evaluations; 0: none during training")
    after: bool = True
    method: Literal["rank", "generate"] = Field(
        "rank", description="rank: of choices alone, the likeliest letter in one pass; fast. generate: short answers "
                            "to all questions, as a user gets them")
    max_questions: int | None = Field(1000, ge=1, description="of the split, drawn by a stable hash; null: all")
    batch_size: int | None = Field(None, ge=1, description="default: as in training")
    max_new_tokens: int = Field(32, ge=1)


class KeepConfig(Strict):
    """Checkpoints to go on from."""

    every: int = Field(200, ge=1, description="steps between checkpoints; one more comes at each stage's end")
    last: int = Field(2, ge=1, description="how many are kept")


class WatchConfig(Strict):
    """What can be watched while it trains: RUN/log.jsonl, RUN/tensorboard, RUN/pictures."""

    log_every: int = Field(1, ge=1, description="steps between lines of the log")
    tensorboard: bool = True
    pictures_every: int = Field(200, ge=0, description="steps between pictures of what the student perceives; 0: none")
    num_pictures: int = Field(2, ge=1, description="clips in them, the same each time")


class TrainRecipe(Strict):
    """One training run: a student, what it reads, what it is taught, how."""

    version: Literal[1] = Field(1, description="Version of the recipe format.")
    name: str = Field("train", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    seed: int = Field(0, ge=0, description="of new parts' weights and of dropout; the data have a seed of their own")
    student: StudentConfig = Field(default_factory=StudentConfig)
    data: DataConfig
    mixture: str | None = Field(
        None, description="folder of a mixture.json (`curate mix`): its stages are this run's, with their sets, "
                          "questions and parts; data.sets may be left out, and `stages` holds by name what differs, "
                          "such as lr")
    teacher: TeacherConfig = Field(default_factory=TeacherConfig, description="one without a path is fitted first")
    strategy: StrategyConfig = Field(default_factory=StrategyConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    stages: tuple[StageConfig, ...] = Field((), description="one after the other; default: one stage of all parts")
    eval: EvalConfig = Field(default_factory=EvalConfig)
    checkpoints: KeepConfig = Field(default_factory=KeepConfig)
    watch: WatchConfig = Field(default_factory=WatchConfig)

    @model_validator(mode="before")
    @classmethod
    def _sets_of_mixture(cls, given: Any) -> Any:
        """Until `curate.train.mixed` looks into it, the mixture itself stands where its sets will."""
        if not isinstance(given, dict) or not given.get("mixture") or not isinstance(given.get("data", {}), dict):
            return given
        return given | {"data": {"sets": [given["mixture"]]} | given.get("data", {})}

    @field_validator("stages")
    @classmethod
    def _distinct(cls, value: tuple[StageConfig, ...]) -> tuple[StageConfig, ...]:
        names = [stage.name for stage in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"stages named twice: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _data_of_stages_fit(self) -> TrainRecipe:
        for stage in self.stages:
            self.data_of(stage)
        return self

    @model_validator(mode="after")
    def _judged_as_taught(self) -> TrainRecipe:
        if self.data.choices == "text" and self.eval.method == "rank":
            raise ValueError("eval.method rank looks for letters, and data.choices: text teaches words; set "
                             "eval.method: generate")
        return self

    def plan(self, num_processes: int = 1) -> tuple[StageConfig, ...]:
        """The stages with their steps and learning rates."""
        def steps(stage: StageConfig) -> int:
            if stage.steps or not stage.questions:
                return stage.steps or self.optim.steps
            return -(-stage.questions // (self.data_of(stage).batch_size * self.optim.accumulate * num_processes))

        return tuple(stage.model_copy(update={"steps": steps(stage), "lr": stage.lr or self.optim.lr})
                     for stage in self.stages or (StageConfig(name="all"),))

    def data_of(self, stage: StageConfig) -> DataConfig:
        """`data` with what differs in a stage, and with teacher tensors where the strategy wants them.

        Raises:
            ValueError: where the stage's keys are none of `data`.
        """
        data = DataConfig.model_validate(_merged(self.data.model_dump(), stage.data)) if stage.data else self.data
        return data.model_copy(update={"teacher": True}) if self._reads_signals() else data

    def needs_teacher(self) -> bool:
        """Whether the strategy runs a teacher, or its heads."""
        return self.strategy.name in WITH_TEACHER

    def _reads_signals(self) -> bool:
        """Whether the strategy reads the shards' teacher tensors."""
        p4d = self.strategy.p4d
        measured = bool(p4d.explicit_weight and p4d.signals) and p4d.targets == "shards"
        return self.strategy.name == "coords" or (self.strategy.name == "p4d"
                                                  and (measured or p4d.latents == "shards"))

    def settings(self) -> dict[str, Any]:
        """What must be the same for a run to go on from a checkpoint: everything that changes a step's result."""
        speed = {"workers", "prefetch", "cache_mb"}  # how fast batches come, not which
        return self.model_dump(mode="json", exclude={"name": True, "eval": True, "checkpoints": True, "watch": True,
                                                     "data": speed})


def _merged(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    out = dict(a)
    for key, value in b.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out
