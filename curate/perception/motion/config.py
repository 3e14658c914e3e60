"""Settings of the motion masks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RigidResidualConfig(BaseModel):
    """Test of flow and disparity change against the camera's motion."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["rigid-residual"] = "rigid-residual"
    p_value: float = Field(1e-3, gt=0, lt=0.5, description="share of still pixels that may be called moving")
    window: int = Field(7, ge=1, le=31, description="residuals are averaged over a window this wide at 640 px, odd")
    max_inflation: float = Field(9.0, ge=1, description="largest factor by which the image's own median residual may "
                                                        "raise the threshold")
    stride: int = Field(2, ge=1, le=4, description="the test runs on every n-th pixel of every n-th row")
    work_width: int = Field(400, ge=100, le=4096, description="and on a grid about this wide where the picture is "
                                                              "wider than that times the stride, px")
