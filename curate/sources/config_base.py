"""What the settings of all kinds of source are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Decoder = Annotated[Literal["av", "decord"], Field(description=(
    "av: PyAV, which refuses damaged files. decord: where it is installed and a probe finds the file to be of a kind "
    "that it decodes to the same bytes, else PyAV; it conceals damage inside a file instead of refusing it"))]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
