"""Settings of the region estimators."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MotionClustersConfig(BaseModel):
    """Regions by motion and 3D clustering.

    Shares are of the image's area. A region is a connected piece of surface that stands off the dominant
    planes, or that moves; both moving and still objects become regions.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["motion-clusters"] = "motion-clusters"
    work_width: int = Field(400, ge=100, le=2048, description="segmentation runs on a grid at most this wide, px")
    min_share: float = Field(0.003, gt=0, lt=1, description="smallest region when it is born")
    max_share: float = Field(0.20, gt=0, le=1, description="largest region; larger pieces are scenery")
    max_extent_m: float = Field(9.0, gt=0, description="longest side of a region; longer pieces are scenery")
    plane_share: float = Field(0.05, gt=0, lt=1, description="smallest dominant plane (ground, wall)")
    max_planes: int = Field(3, ge=0, le=6)
    plane_px: float = Field(0.8, gt=0, description="disparity a surface must stand off a plane, px")
    plane_relative: float = Field(0.04, ge=0, description="the same as a share of its disparity (height over camera "
                                                          "height, for the ground)")
    step_px: float = Field(1.0, gt=0, description="disparity step that separates two surfaces, px")
    step_relative: float = Field(0.03, ge=0, description="the same as a share of the disparity")
    min_disparity_px: float = Field(1.0, gt=0, description="farther surfaces are scenery")
    min_closed: float = Field(0.25, ge=0, le=1, description="share of its outline where a still piece must end at "
                                                            "something behind it to become a region")
    lost_share: float = Field(0.4, gt=0, lt=1, description="a region is not seen where less of its largest area is")
    keep_lost_s: float = Field(0.8, ge=0, le=5, description="for so long it is remembered and keeps its id if it comes "
                                                            "back")
    match_iou: float = Field(0.5, gt=0, lt=1)
    max_live: int = Field(24, ge=1, le=255, description="regions followed at once, the largest")
