"""Settings of the point trackers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FlowChainConfig(BaseModel):
    """Points chained by dense flow and re-anchored on the image patch they started from."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["flow-chain"] = "flow-chain"
    points_per_region: int = Field(160, ge=8, le=2000)
    background_points: int = Field(200, ge=0, le=5000)
    patch_px: int = Field(15, ge=5, le=51, description="side of the matched patch, odd")
    border_px: int = Field(4, ge=0, le=50, description="points start at least this far inside their region")
    round_trip_px: float = Field(0.3, gt=0, description="largest forward-backward difference of a good match")
    min_correlation: float = Field(0.8, gt=0, lt=1, description="smallest normalised correlation of the patch")
    grey_noise: float = Field(3.0, gt=0, description="noise of the picture with its compression, grey levels")
    reseed_share: float = Field(0.5, gt=0, lt=1, description="new points are started below this share of matches")
    reseed_scale: float = Field(1.6, gt=1, description="or when the region has grown or shrunk this much")
    keep_hidden_s: float = Field(1.0, ge=0, le=5, description="points of a region not seen are kept for so long")
