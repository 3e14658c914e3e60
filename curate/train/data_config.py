"""Settings of the data: which sets, which questions of them, how clips are shown and what is asked about them."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from curate.questions.config import Choices, Form, ReasoningConfig
from curate.questions.given import GIVEN
from curate.questions.region_words import RegionDialect

Task = Literal["answer", "reason", "cold_start"]
TimeCue = Literal["none", "prompt", "marks"]


class SetConfig(BaseModel):
    """One shard set of a mixture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="a set, a run's output folder, or one .tar")
    weight: float = Field(1.0, gt=0, le=1000, description="how often each question comes in an epoch: 2 twice, 0.5 in "
                          "every other epoch")
    families: tuple[str, ...] | None = Field(None, min_length=1, description="of this set; default: as data.families. "
                                                                             "given: those of someone's conversations")
    forms: tuple[Form, ...] | None = Field(None, min_length=1, description="of this set; default: as data.forms")


def _or_paths(schema: dict[str, Any]) -> None:
    """An editor takes a path for a set, and one set for a list of one."""
    one = [{"type": "string"}, schema.pop("items")]
    schema["anyOf"] = [*one, {"type": schema.pop("type"), "items": {"anyOf": one}, "minItems": schema.pop("minItems")}]


def _sets_may_come_of_a_mixture(schema: dict[str, Any]) -> None:
    """An editor cannot tell; what is missing is said when the recipe is read."""
    schema.pop("required", None)


class DataConfig(BaseModel):
    """What a student is trained on, and how it sees it."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_sets_may_come_of_a_mixture)

    sets: tuple[SetConfig, ...] = Field(min_length=1, description="shard sets, mixed by their weights; one may be "
                                        "given as a path alone", json_schema_extra=_or_paths)
    split: str = Field("train", description="of the sets, to train on")
    families: tuple[str, ...] | None = Field(None, min_length=1, description="default: all")
    family_shares: dict[str, float] = Field(default_factory=dict, description="family to the share of its questions "
                                            "that is kept, drawn by their ids; families not named are kept whole")
    forms: tuple[Form, ...] = Field(("numeric", "choice", "open"), min_length=1)
    max_questions: int | None = Field(None, ge=1, description="of each set, drawn by the questions' ids")
    max_per_clip: int | None = Field(None, ge=1, description="of each clip, drawn by the questions' ids")
    tasks: dict[Task, float] = Field(default_factory=lambda: {"answer": 1.0}, description="task to its share: the "
                                     "answer alone, steps first, or a cold start; empty: the task that a question's "
                                     "record names")
    reasoning: ReasoningConfig = Field(default_factory=ReasoningConfig, description="tags and length of the thinking")
    choices: Choices = Field("letter", description="how a choice is answered: by its letter, or in the words of the "
                             "option, which a small student learns sooner (then eval.method is generate)")
    region_dialect: RegionDialect = Field("<R1>", description="how prompts name regions; other than <R1> needs sets "
                                          "that are written in <R1>")
    frames: int | None = Field(16, ge=1, description="shown of each clip, evenly spread from first to last; null: "
                                   "all, where clips have equally many")
    short_clips: Literal["error", "skip", "repeat"] = Field(
        "error", description="what happens to clips of fewer frames; repeat: theirs are shown more than once, as "
                             "images among videos need")
    image_size: tuple[int, int] | None = Field(None, description="height, width in pixels; frames are stretched to it, "
                                               "so that the whole image stays. Default: the student's, and the "
                                               "videos' own where there is none")
    marks: Literal["replace", "extra", "none"] = Field(
        "replace", description="the picture in which <R1> is marked: in place of the first frame, as one more frame "
                               "before it with the same time, or not shown")
    time_cue: TimeCue = Field("none", description="times written in the prompt, drawn on the frames, or neither; their "
                              "encoding is the strategy's")
    teacher: bool = Field(False, description="the sets' teacher tensors are read, as signals to distil")
    signal_size: tuple[int, int] | None = Field(None, description="height, width of the signals; default: as stored")
    batch_size: int = Field(8, ge=1, description="questions a step on one device")
    max_tokens: int = Field(4096, ge=16, description="of one example, image tokens included; a longer one is refused")
    pool_clips: int = Field(16, ge=1, description="clips whose questions are mixed at a time")
    cache_mb: int = Field(1024, ge=1, description="of decoded clips, kept for their next question; less than those "
                          "of the pool need has them decoded again and again")
    workers: int = Field(2, ge=1, le=64, description="threads that decode, and as many that make batches")
    prefetch: int = Field(4, ge=1, le=256, description="batches made ahead")
    seed: int = Field(0, ge=0)

    def of_set(self, one: SetConfig) -> DataConfig:
        """With what a set says for itself."""
        own = {name: value for name in ("families", "forms") if (value := getattr(one, name)) is not None}
        return self.model_copy(update=own) if own else self

    @field_validator("sets", mode="before")
    @classmethod
    def _paths_as_sets(cls, given: Any) -> Any:
        given = [given] if isinstance(given, (str, dict)) else given
        return [{"path": s} if isinstance(s, str) else s for s in given] if isinstance(given, (list, tuple)) else given

    @field_validator("families", "family_shares")
    @classmethod
    def _known_families(cls, names: Any) -> Any:
        if names:
            from curate.questions.families import families

            known = [*families(), GIVEN]
            for name in names:
                if name not in known:
                    near = difflib.get_close_matches(name, known, 1)
                    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                    raise ValueError(f"unknown question family {name!r}; {hint}")
        return names

    @field_validator("family_shares")
    @classmethod
    def _parts(cls, shares: dict[str, float]) -> dict[str, float]:
        for name, share in shares.items():
            if not 0 < share <= 1:
                raise ValueError(f"the share of {name!r} is {share}; expected more than 0 and at most 1 (data.families "
                                 "leaves one out)")
        return shares

    @field_validator("tasks")
    @classmethod
    def _shares(cls, shares: dict[Task, float]) -> dict[Task, float]:
        for task, share in shares.items():
            if not 0 < share < float("inf"):
                raise ValueError(f"the share of task {task!r} is {share}; expected a positive number (leave out what "
                                 "is not wanted)")
        return shares

    @field_validator("image_size", "signal_size")
    @classmethod
    def _sizes(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and not all(1 <= side <= 4096 for side in size):
            raise ValueError(f"size {size[0]}x{size[1]}; expected 1 to 4096 pixels a side")
        return size
