"""Settings of the optical flow estimators."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DisConfig(BaseModel):
    """Dense inverse search with a forward-backward check and a photometric refinement."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["dis"] = "dis"
    preset: Literal["fast", "medium"] = "medium"
    max_forward_backward_px: float = Field(1.5, gt=0, description="largest forward-backward residual of a valid pixel")
    min_correlation: float = Field(0.5, ge=-1, le=1, description="least likeness of a valid pixel's window and its "
                                                                 "target's")
    max_sigma_px: float = Field(1.5, gt=0, description="largest sigma of a valid pixel")
    refine_window: int = Field(13, ge=3, le=21, description="window of the error model and the refinement, px, odd")
    refine_steps: int = Field(1, ge=0, le=5, description="Gauss-Newton steps of the refinement; 0: DIS as it is")
