"""Settings of the depth estimators."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SgmConfig(BaseModel):
    """Semi-global matching at two sizes with a left-right check and a photometric sub-pixel refinement."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["sgm"] = "sgm"
    min_depth_m: float = Field(1.0, gt=0, description="nearest surface to be found; sets the largest disparity")
    max_disparity_share: float = Field(0.3, gt=0, le=0.6, description="largest disparity as a share of the width")
    block: int = Field(5, ge=1, le=11, description="matching block, px, odd")
    uniqueness: int = Field(5, ge=0, le=50, description="margin of the best match over the second, percent")
    max_left_right_px: float = Field(1.0, gt=0, description="largest left-right residual of a valid pixel")
    max_sigma_px: float = Field(3.0, gt=0, description="largest sigma of a valid pixel")
    min_correlation: float = Field(0.2, ge=-1, le=1, description="least likeness of a valid pixel's window and its "
                                                                 "match's")
    speckle_area: int = Field(120, ge=0, description="smaller islands of disparity are invalid, px at 640 wide")
    refine_window: int = Field(13, ge=3, le=21, description="window of the sub-pixel refinement, px, odd")
    refine_steps: int = Field(2, ge=0, le=5, description="Gauss-Newton steps of the sub-pixel refinement")
