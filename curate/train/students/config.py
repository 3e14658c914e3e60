"""Settings of the student: which model, what of it is trained, how frames reach it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

How = Literal["frozen", "full", "lora"]

# The seven variants of the paper's table, best first.
VARIANTS: dict[str, tuple[How, How, How]] = {
    "P+LLM": ("frozen", "full", "full"),
    "P+LLM-LoRA": ("frozen", "full", "lora"),
    "LLM-LoRA": ("frozen", "frozen", "lora"),
    "LLM": ("frozen", "frozen", "full"),
    "V+P+LLM": ("full", "full", "full"),
    "P": ("frozen", "full", "frozen"),
    "V": ("full", "frozen", "frozen"),
}


class TinyConfig(BaseModel):
    """A SigLIP + Qwen2 student of a few million random parameters, made in code. The default suits tests and CPUs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(64, ge=16, le=448, description="pixels of a side of a frame")
    patch_size: int = Field(16, ge=4, le=64, description="pixels of a side of a visual token")
    vision_width: int = Field(128, ge=8)
    vision_layers: int = Field(3, ge=1)
    vision_heads: int = Field(4, ge=1)
    width: int = Field(192, ge=8, description="of the language model")
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    kv_heads: int = Field(2, ge=1)
    max_tokens: int = Field(8192, ge=128, description="longest sequence")
    seed: int = Field(0, description="of the weights")

    @model_validator(mode="after")
    def _fits(self) -> TinyConfig:
        for a, b in (("image_size", "patch_size"), ("vision_width", "vision_heads"), ("width", "heads"),
                     ("heads", "kv_heads")):
            if getattr(self, a) % getattr(self, b):
                raise ValueError(f"{a} {getattr(self, a)} is no multiple of {b} {getattr(self, b)}")
        if (self.width // self.heads) % 2:
            raise ValueError(f"width / heads is {self.width // self.heads}; rotary positions want it even")
        return self


class TrainedParts(BaseModel):
    """What of a student is trained. The default is the best of the paper's seven variants, projector and LLM."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vision: How = "frozen"
    projector: Literal["frozen", "full"] = "full"
    llm: How = "full"

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A variant's name, "P+LLM", stands for the three fields."""
        if not isinstance(given, str):
            return given
        if given not in VARIANTS:
            raise ValueError(f"unknown variant {given!r}; known: {', '.join(VARIANTS)}, or vision, projector and llm")
        return dict(zip(("vision", "projector", "llm"), VARIANTS[given]))

    @property
    def lora(self) -> tuple[str, ...]:
        """Parts that are trained by low-rank updates."""
        return tuple(part for part in ("vision", "llm") if getattr(self, part) == "lora")


def _or(other: dict[str, Any]) -> Any:
    """Adds a second form to a field's JSON schema, one that a validator turns into the first."""
    def extend(schema: dict[str, Any]) -> None:
        kept = {k: schema.pop(k) for k in ("title", "description", "default") if k in schema}
        form = dict(schema)
        schema.clear()
        schema.update({**kept, "anyOf": [*form.pop("anyOf", [form]), other]})
    return extend


class LoraConfig(BaseModel):
    """Low-rank updates (peft) of the parts whose training is "lora": every linear layer of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class StudentConfig(BaseModel):
    """The student: a folder or a name that transformers finds; without one, the tiny student."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name_or_path: str | None = Field(None, description="a checkpoint's folder or name; default: the tiny student")
    tiny: TinyConfig = Field(default_factory=TinyConfig, description="read where name_or_path is not given")
    trained: TrainedParts = Field(
        default_factory=TrainedParts, json_schema_extra=_or({"type": "string", "enum": list(VARIANTS)}),
        description="frozen, full or lora for vision, projector and llm; or a variant's name")
    lora: LoraConfig = Field(default_factory=LoraConfig)
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the weights")
    attention: str | None = Field(None, description="attn_implementation of transformers, e.g. sdpa")
    gradient_checkpointing: bool = False
    image_size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, json_schema_extra=_or({"type": "integer"}),
        description="height, width of a frame for the student, where its vision encoder takes any; "
                    "default: the processor's own")

    @field_validator("image_size", mode="before")
    @classmethod
    def _square(cls, given: Any) -> Any:
        return (given, given) if isinstance(given, int) else given

    @model_validator(mode="after")
    def _one_student(self) -> StudentConfig:
        if self.name_or_path is not None and "tiny" in self.model_fields_set:
            raise ValueError("name_or_path and tiny are both given; leave one out")
        return self
