"""Settings of reinforcement fine-tuning. Imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from curate.train.data_config import DataConfig
from curate.train.students.config import StudentConfig


class RftConfig(BaseModel):
    """Group relative policy optimisation (GRPO; Shao et al. 2024, arXiv 2402.03300), as trl has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reward: str | dict[str, float] = Field(
        "mllm4d-paper", description="a preset of curate.rewards (mllm4d-paper, mllm4d-code, score, accuracy-format), "
                                    "one reward, or weights by reward")
    steps: int = Field(500, ge=1, description="optimiser steps")
    lr: float = Field(1e-6, gt=0)
    warmup_share: float = Field(0.03, ge=0, lt=1)
    group_size: int = Field(8, ge=2, description="completions of one prompt, which are compared with each other")
    prompts: int = Field(1, ge=1, description="prompts a step on one device")
    micro_batch: int | None = Field(None, ge=1, description="completions in one pass; default: all of a step")
    kl: float = Field(0.04, ge=0, description="beta, the weight of the divergence from the SFT checkpoint; 0: "
                                              "none, and no copy of it is held")
    clip: float = Field(0.2, gt=0, lt=1, description="epsilon, the bound on how far a token's probability ratio counts")
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = Field(
        "grpo", description="how tokens are averaged (trl's names)")
    scale: Literal["group", "batch", "none"] = Field(
        "group", description="what advantages are divided by: the spread of rewards in the group, in the batch, or "
                             "nothing")
    temperature: float = Field(1.0, gt=0)
    max_new_tokens: int = Field(512, ge=1, description="of one completion")
    clip_norm: float = Field(1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    save_every: int = Field(0, ge=0, description="steps between trainer checkpoints; 0: only the model at the end")
    tensorboard: bool = True

    @field_validator("reward")
    @classmethod
    def _known_reward(cls, reward: str | dict[str, float]) -> str | dict[str, float]:
        from curate.rewards import weights_of

        weights_of(reward)
        return reward

    @model_validator(mode="after")
    def _divides(self) -> RftConfig:
        if (self.group_size * self.prompts) % (self.micro_batch or 1):
            raise ValueError(f"micro_batch {self.micro_batch} does not divide the {self.group_size * self.prompts} "
                             f"completions of a step (group_size {self.group_size} × prompts {self.prompts})")
        return self


class RftRecipe(BaseModel):
    """One run from an SFT checkpoint. Without `data.tasks` every prompt asks for a cold start's form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = Field(1, description="Version of the recipe format.")
    name: str = Field("rft", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    seed: int = Field(0, ge=0, description="of the order of questions and of sampling")
    student: StudentConfig = Field(description="its name_or_path is the SFT checkpoint")
    data: DataConfig
    rft: RftConfig = Field(default_factory=RftConfig)

    @model_validator(mode="before")
    @classmethod
    def _cold_starts(cls, given: Any) -> Any:
        data = given.get("data") if isinstance(given, dict) else None
        return given | {"data": {"tasks": {"cold_start": 1.0}} | data} if isinstance(data, dict) else given

    @model_validator(mode="after")
    def _from_a_checkpoint(self) -> RftRecipe:
        if self.student.name_or_path is None:
            raise ValueError("student.name_or_path is missing: reinforcement fine-tuning starts from an SFT checkpoint "
                             "(a folder that `curate train` wrote), which already answers in the form that is rewarded")
        return self
