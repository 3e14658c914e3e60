"""The recipe of a mixture: sets, and stages that mix them. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from curate.questions.config import Form

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
PARTS = {"vision": "vision", "projector": "projector", "llm": "llm", "language": "llm"}
Name = Annotated[str, Field(pattern=NAME)]
Part = Literal["vision", "projector", "llm", "language"]
How = Literal["full", "lora"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetConfig(Strict):
    """A shard set, or what makes one."""

    path: str = Field(description="a shard set, a run's output folder, or the address of a published set")
    split: str = Field("train", description="of the set")
    recipe: str | None = Field(None, description="recipe of the source that the set is made of: `curate mix --run` "
                                                 "runs it into `path` where there is no set yet")


class SourceConfig(Strict):
    """How much a set gives to a stage, and which of its questions."""

    weight: float = Field(1.0, ge=0, allow_inf_nan=False, description="share among the sources of the stage that have "
                                                                     "no number of their own")
    samples: int | Literal["all"] | None = Field(
        None, description="questions, exactly; all: each once. Default: by weight of what the stage has left")
    families: tuple[str, ...] | None = Field(None, min_length=1, description="question families; default: all. given: "
                                                                             "those of someone's conversations")
    forms: tuple[Form, ...] | None = Field(None, min_length=1, description="default: all")

    @field_validator("samples")
    @classmethod
    def _not_negative(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{value} questions; expected a number from 0 on, or all")
        return value


def _set(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


def _source(given: Any) -> Any:
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    return {"weight": given} if is_number else {"samples": "all"} if given == "all" else given


def _trained(given: Any) -> Any:
    return dict.fromkeys(given, "full") if isinstance(given, list) else given


Set = Annotated[SetConfig, BeforeValidator(_set, json_schema_input_type=SetConfig | str)]
Source = Annotated[SourceConfig, BeforeValidator(_source, json_schema_input_type=SourceConfig | float | Literal["all"])]
Trained = Annotated[dict[Part, How], BeforeValidator(_trained, json_schema_input_type=dict[Part, How] | list[Part])]


class StageConfig(Strict):
    """One stage: what is read, and what is trained on it."""

    name: Name
    samples: int | None = Field(None, ge=1, description="questions of the stage; default: the sum of what its sources "
                                                        "say, which all must then")
    mix: dict[Name, Source] = Field(min_length=1, description="set to how much of it; a number is its weight, all is "
                                                             "each question once")
    train: Trained = Field(
        default_factory=lambda: {"vision": "full", "projector": "full", "llm": "full"},
        description="part of the student to how it is trained, or a list of parts that are trained whole; parts that "
                    "are not named rest. language is another name of llm")

    @model_validator(mode="after")
    def _adds_up(self) -> StageConfig:
        weighted = {name: source.weight for name, source in self.mix.items() if source.samples is None}
        if self.samples is None and weighted:
            raise ValueError(f"stage {self.name!r}: samples is missing, and {', '.join(weighted)} have weights alone; "
                             "give the stage's samples, or samples of each source")
        if weighted and not sum(weighted.values()):
            raise ValueError(f"stage {self.name!r}: the weights of {', '.join(weighted)} sum to 0; raise one")
        if len(self.parts) < len(self.train):
            raise ValueError(f"stage {self.name!r}: train names both llm and language, which are the same part")
        return self

    @property
    def parts(self) -> dict[str, str]:
        """`train` by the names that trainers here use."""
        return {PARTS[part]: how for part, how in self.train.items()}


class MixtureRecipe(Strict):
    """Shard sets mixed in stages."""

    version: Literal[1] = Field(1, description="Version of the recipe format.")
    name: Name = "mixture"
    seed: int = Field(0, ge=0, description="changes which questions are drawn, and their order")
    sets: dict[Name, Set] = Field(min_length=1, description="name to set; a path alone stands for one")
    stages: tuple[StageConfig, ...] = Field(description="one after the other")

    @model_validator(mode="after")
    def _known(self) -> MixtureRecipe:
        names = [stage.name for stage in self.stages]
        if not names:
            raise ValueError("no stages; expected at least one")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"stages named twice: {', '.join(twice)}")
        for stage in self.stages:
            for name in stage.mix:
                if name not in self.sets:
                    raise ValueError(f"stage {stage.name!r} mixes {name!r}, which is none of the sets "
                                     f"({', '.join(self.sets)})")
        return self
