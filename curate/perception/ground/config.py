"""Settings of perception with one camera and no depth (`curate.perception.ground`)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GroundConfig(BaseModel):
    """How objects are told from a background that stands still, followed, and placed on the ground."""

    model_config = ConfigDict(extra="forbid")

    background_frames: int = Field(48, ge=5, le=512, description="frames that the background is the median of")
    threshold: float = Field(5.0, gt=0, description="sigmas of a pixel's noise by which the foreground differs")
    min_contrast: float = Field(14.0, gt=0, description="and the least difference, of 255")
    shadow: tuple[float, float] = Field((0.45, 1.2), description="least and most of the light that a shadow, or its "
                                                                  "going, leaves")
    min_height_m: float = Field(0.5, gt=0, description="lowest object, metres; of a relative clip min_height_px counts")
    max_height_m: float = Field(4.5, gt=0, description="highest object, metres")
    min_height_px: float = Field(18.0, gt=0, description="lowest object, pixels")
    max_gap_s: float = Field(3.0, ge=0, description="longest occlusion over which an identity is kept")
    foot_sigma: float = Field(0.03, gt=0, description="sigma of where the lowest row of a silhouette is, beside the "
                                                      "foot of its axis, as a share of its height: a step's swing")
    head_sigma: float = Field(0.015, gt=0, description="the same of its highest row")
    side_sigma: float = Field(0.02, gt=0, description="the same of its middle column")
    pixel_sigma: float = Field(1.0, gt=0, description="sigma of each of them, pixels, whatever the height")
    drift_sigma: float = Field(0.02, gt=0, description="what of this error changes slowly: of the height, in a second")
    drift_share: float = Field(0.4, ge=0, description="and of a place's variance in one frame, in a second: of a low "
                                                      "camera a row is far")
    shared_sigma: float = Field(0.06, gt=0, description="what all frames share (the foot seen for the body's axis), "
                                                        "along the line of sight, of the height")
