"""Settings of the lift from dense fields to the sparse scene."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LiftConfig(BaseModel):
    """What becomes a region of the scene, and how its rigid motion is fitted."""

    model_config = ConfigDict(extra="forbid")

    max_regions: int = Field(12, ge=1, le=255, description="regions kept, the largest")
    min_frames: int = Field(5, ge=2, description="regions seen in fewer frames are dropped")
    erode_px: int = Field(6, ge=0, le=50, description="border left out of every measurement on a mask, px")
    min_pixels: int = Field(60, ge=10, description="fewest inner pixels a region is measured from")
    min_points: int = Field(8, ge=4, description="fewest tracked points of a rigid fit")
    min_agreement: float = Field(0.4, ge=0, le=1, description="share of a frame's matches that must fit the rigid "
                                                              "motion, or the frame is not measured")
    min_rigidity: float = Field(0.7, ge=0, le=1, description="share of the matches that one rigid motion must explain, "
                                                             "or the region is said to be non-rigid")
    turn_sigma_rad: float = Field(0.1, gt=0, description="sigma of the turn of an object in the world from one "
                                                         "frame to the next, where its points do not tell")
    turn_change_rad: float = Field(0.03, gt=0, description="sigma of how that turn changes from frame to frame")
    steady_sigma_rad: float = Field(0.001, gt=0, description="the same of an object that does not turn in the world")
    turning_share: float = Field(0.3, gt=0, lt=1, description="prior probability that an object turns")
    baseline_relative_sigma: float = Field(0.005, ge=0, description="where the source does not state its own")
