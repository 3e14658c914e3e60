"""Settings of the camera-motion estimators."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class StereoVoConfig(BaseModel):
    """Stereo visual odometry. Sigmas are floors: a window whose residuals say otherwise is inflated by them."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["stereo-vo"] = "stereo-vo"
    num_features: int = Field(400, ge=50, le=2000, description="features kept alive, spread over a grid")
    window: int = Field(8, ge=2, le=64, description="frames wanted at once, refined together")
    history: int = Field(8, ge=1, le=16, description="earlier frames that stay in the refinement, fixed")
    track_sigma_px: float = Field(0.08, gt=0, description="error of a tracked position, per axis")
    disparity_sigma_px: float = Field(0.10, gt=0, description="error of a matched disparity")
    grey_noise: float = Field(2.0, gt=0, description="image noise, grey levels; adds error where texture is weak")
    min_depth_m: float = Field(0.8, gt=0, description="nearest surface searched by the left-right match")
    min_inliers: int = Field(15, ge=6, description="fewer agreeing features, and the frame is not valid")
