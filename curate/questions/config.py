"""Settings of the questions: families, gates, options, dialect, mixture."""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from curate.questions.region_words import RegionDialect
from curate.questions.units import UNITS

Form = Literal["numeric", "choice", "open"]
Choices = Literal["letter", "text"]  # how a choice is answered
TAG = r"^[a-z][a-z0-9_-]{0,30}$"


class FamilyConfig(BaseModel):
    """One family of the mixture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    weight: float = Field(1.0, gt=0, description="share kept of its candidates, relative to the largest weight")
    forms: tuple[Form, ...] | None = Field(None, min_length=1, description="default: the questions' own forms")


class UnitsConfig(BaseModel):
    """Units in wording; one of each list is drawn for a question, whatever its value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: tuple[str, ...] = Field(("m",), min_length=1)
    speed: tuple[str, ...] = Field(("m/s", "km/h"), min_length=1)
    angle: tuple[str, ...] = Field(("°",), min_length=1)
    time: tuple[str, ...] = Field(("s",), min_length=1)
    acceleration: tuple[str, ...] = Field(("m/s²",), min_length=1)

    @model_validator(mode="after")
    def _known(self) -> UnitsConfig:
        for dimension in ("length", "speed", "angle", "time", "acceleration"):
            fitting = [s for s, unit in UNITS.items() if unit.dimension == dimension]
            for symbol in getattr(self, dimension):
                if symbol not in fitting:
                    raise ValueError(f"{symbol!r} is not a unit of {dimension}; known: {', '.join(fitting)}")
        return self


class BalanceConfig(BaseModel):
    """Global selection over all candidates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_answer_share: float = Field(0.5, gt=0, le=1, description="largest share of one answer among a family's choices")
    answer_floor: int = Field(10, ge=0, description="items of an answer that are kept whatever the balance")
    max_per_clip_family: int | None = Field(None, ge=1, description="questions of one family in one clip, at most")
    max_per_family: int | None = Field(None, ge=1, description="questions of one family in the whole set, at most")


class MixtureConfig(BaseModel):
    """Shares of the questions that are written; what is not named is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["family", "group", "mllm4d", "r4d"] = Field(
        "family", description="what is named: families, our groups of them, or a benchmark's columns")
    shares: dict[str, float] = Field(min_length=1, description="name to share; scaled so that they sum to 1")
    tolerance: float = Field(0.5, ge=0, description="how far a share may exceed its target, relatively, where other "
                             "columns have too few candidates")

    @model_validator(mode="after")
    def _known(self) -> MixtureConfig:
        for name, share in self.shares.items():
            if not 0 < share < float("inf"):
                raise ValueError(f"the share of {name!r} is {share}; expected a positive number (leave out what is not "
                                 f"wanted)")
        if self.by == "family":
            from curate.questions.families import families
            known = tuple(families())
        else:
            from curate.questions.columns import OTHER, columns
            known = (*columns(self.by), OTHER)
        for name in self.shares:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise ValueError(f"a mixture by {self.by} has no {name!r}; {hint}")
        return self


class ReasoningConfig(BaseModel):
    """Thinking before the answer (`curate.questions.reasoning`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: dict[Literal["answer", "reason", "cold_start"], float] = Field(
        default_factory=dict, description="task to its share of the questions; default: the training form decides")
    state: bool = Field(False, description="where camera and objects are at the first and the last frame, in every "
                        "question's record; cold starts have it")
    length: Literal["full", "short"] = Field("full", description="short: the last steps, three sentences")
    max_sentences: int | None = Field(None, ge=1, description="of a thought; its conclusion is always kept")
    max_characters: int | None = Field(None, ge=1, description="of a thought; its conclusion is always kept")
    think: str = Field("think", pattern=TAG, description="name of the tag around the thinking; MLLM-4D's is thinking")
    answer: str = Field("answer", pattern=TAG, description="name of the tag around the answer")
    state_tag: str = Field("state", pattern=TAG, description="name of the tag around the spatial state")

    @model_validator(mode="after")
    def _sound(self) -> ReasoningConfig:
        for task, share in self.tasks.items():
            if not 0 < share < float("inf"):
                raise ValueError(f"the share of task {task!r} is {share}; expected a positive number (leave out what "
                                 f"is not wanted)")
        if len({self.think, self.answer, self.state_tag}) < 3:
            raise ValueError(f"tags {self.think!r}, {self.answer!r} and {self.state_tag!r}: expected three different "
                             f"names")
        return self


class AuditConfig(BaseModel):
    """What fails a run. It changes no question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: Literal["training", "balanced", "benchmark"] = Field(
        "training", description="what an answer prior means: training: it is reported; balanced: it fails a set of 200 "
                                "source recordings or more; benchmark: it fails")
    benchmark_ids: tuple[str, ...] = Field((), description="text files with the ids of benchmark videos, one a line")
    overlap: Literal["fail", "report"] = Field("fail", description="what a clip of such a video does")


class QuestionsConfig(BaseModel):
    """What is asked of a scene."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: Literal["all"] | tuple[FamilyConfig, ...] = "all"
    forms: tuple[Form, ...] = Field(("numeric", "choice", "open"), min_length=1)
    num_options: Literal[4, 5] = 4
    max_per_clip: int | None = Field(None, ge=1)
    seed: int = 0
    max_relative_half_width: float = Field(
        0.25, gt=0, lt=1, description="numeric form: 95 % half-width over value, at most")
    min_confidence: float = Field(0.99, gt=0.5, le=1, description="choice form: probability of the category")
    max_p_zero: float = Field(1e-3, gt=0, le=0.05, description="p-value of 'does not move' above which motion "
                              "is not asked about")
    dialect: Literal["seconds", "frames"] = "seconds"
    state_duration: bool = Field(False, description="each question begins with how long the video lasts, but for those "
                                 "that ask for it")
    coordinate_dialect: Literal["plain", "box1000", "tokens"] = Field(
        "plain", description="points and boxes in pixels, in thousandths, or as special tokens for time, width, height "
                             "and depth")
    region_dialect: RegionDialect = Field("<R1>", description="how questions name regions: by marks, boxes or points")
    templates: tuple[str, ...] = Field((), description="folders of further wording, FAMILY.yaml each; relative to the "
                                       "recipe")
    wording: dict[str, dict[str, tuple[str, ...]]] = Field(
        default_factory=dict, description="further wording: family, section (number, category, open), templates")
    own_wording_only: bool = Field(False, description="families that have wording of the recipe's use that alone")
    units: UnitsConfig = UnitsConfig()
    reasoning: bool | ReasoningConfig = Field(True, description="the solver's steps in each record; or how they are "
                                              "written, and for which tasks")
    balance: BalanceConfig = BalanceConfig()
    mixture: Literal["mllm4d", "r4d"] | MixtureConfig | None = Field(
        None, description="target shares: those of MLLM-4D's seven scenarios, of R4D-Bench's nine columns, or your own")
    audit: AuditConfig = AuditConfig()

    @field_validator("families", mode="before")
    @classmethod
    def _names_as_families(cls, value: object) -> object:
        if isinstance(value, (list, tuple)):
            return [{"name": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("wording")
    @classmethod
    def _usable_wording(cls, words: dict) -> dict:
        if words:
            from curate.questions.own_words import check
            check(words)  # a TemplateError is a ValueError
        return words

    @model_validator(mode="after")
    def _known_families(self) -> QuestionsConfig:
        if self.families == "all":
            return self
        from curate.questions.families import families
        known = families()
        names = [f.name for f in self.families]
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise ValueError(f"unknown question family {name!r}; {hint}")
        if len(set(names)) < len(names):
            raise ValueError(f"a family is named twice in {names}")
        return self

    def chosen(self) -> dict[str, tuple[Form, ...]]:
        """Family name -> forms asked."""
        from curate.questions.families import families
        if self.families == "all":
            return {name: self.forms for name in families()}
        return {f.name: f.forms or self.forms for f in self.families}

    def weights(self) -> dict[str, float]:
        """Family name -> share of its candidates kept, the largest 1."""
        if self.families == "all":
            return {}
        top = max(f.weight for f in self.families)
        return {f.name: f.weight / top for f in self.families}

    def target(self) -> MixtureConfig | None:
        """The target mixture, a preset's shares filled in."""
        if isinstance(self.mixture, str):
            from curate.questions.columns import SHARES
            return MixtureConfig(by=self.mixture, shares=SHARES[self.mixture])
        return self.mixture

    @property
    def wants_state(self) -> bool:
        """Whether records say where camera and objects are."""
        thinking = self.reasoning
        return isinstance(thinking, ReasoningConfig) and (thinking.state or "cold_start" in thinking.tasks)
