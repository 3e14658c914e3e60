"""What the settings of all kinds of source are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Decoder = Annotated[Literal["av", "decord"], Field(description=(
    "av: PyAV, which refuses damaged files. decord: where it is installed and a probe finds the file to be of a kind "
    "that it decodes to the same bytes, else PyAV; it conceals damage inside a file instead of refusing it"))]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _long(value: list[float]) -> list[float]:
    if not sum(v * v for v in value) > 1e-12:
        raise ValueError("up must have a length, got zeros")
    return value


Up = Annotated[list[Finite], Field(min_length=3, max_length=3), AfterValidator(_long)]  # a direction against gravity


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pinhole(Strict):
    """Focal lengths and principal point of one camera."""

    fx: Positive = Field(description="focal length along x, pixels")
    fy: Positive | None = Field(None, description="focal length along y, pixels; default fx")
    cx: Finite | None = Field(None, description="principal point, pixels, pixel centres at integers; default (W-1)/2")
    cy: Finite | None = Field(None, description="principal point, pixels, pixel centres at integers; default (H-1)/2")
