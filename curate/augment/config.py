"""Settings of the augmentation: which variants, and of how many clips."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

MIN_FRAMES = 8  # of a clip that is cut for what enters later


class AugmentConfig(BaseModel):
    """One variant that is made of some clips, beside the clip itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mirror: bool = Field(False, description="left and right change sides")
    reverse: bool = Field(False, description="played backwards")
    playback: float = Field(1.0, ge=0.1, le=10, description="rate; 2 is twice as fast")
    later: bool = Field(False, description="cut to begin where most good regions enter that the first frame does not "
                        "show, and asked about them; clips without any have none")
    min_frames: int = Field(MIN_FRAMES, ge=3, description="frames that such a cut has at least")
    share: float = Field(1.0, gt=0, le=1, description="of the clips, by stable hash of the clip's key")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in ("later", "mirror", "reverse"):
            raise ValueError(f"{value!r} is no operation; expected later, mirror, reverse, or a mapping such as "
                             f"{{playback: 2, share: 0.5}}")
        return {value: True}

    @model_validator(mode="after")
    def _does_something(self) -> AugmentConfig:
        if not self.later and not self.mirror and not self.reverse and self.playback == 1:
            raise ValueError("it changes nothing; expected later: true, mirror: true, reverse: true or a playback "
                             "other than 1")
        if not self.later and self.min_frames != MIN_FRAMES:
            raise ValueError("min_frames is of a cut; expected later: true beside it")
        if abs(self.playback - round(self.playback, 3)) > 1e-9:
            raise ValueError(f"playback is {self.playback!r}; expected at most three decimals")
        return self

    @property
    def operations(self) -> dict[str, bool | float]:
        """As `Variant` takes them; where a cut begins is the scene's to say."""
        return {"mirror": self.mirror, "reverse": self.reverse, "rate": self.playback}


def check_distinct(variants: tuple[AugmentConfig, ...]) -> tuple[AugmentConfig, ...]:
    """
    Raises:
        ValueError: where one variant comes twice: both would have the same key.
    """
    seen = []
    for variant in variants:
        made = variant.operations | {"later": variant.later}
        if made in seen:
            raise ValueError(f"the variant {made} comes twice; name it once, with the larger share")
        seen.append(made)
    return variants
