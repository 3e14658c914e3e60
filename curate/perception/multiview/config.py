"""Settings of perception from several calibrated views."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ViewsConfig(BaseModel):
    """Clips of two or more calibrated views without a rectified pair."""

    model_config = ConfigDict(extra="forbid")

    features: int = Field(400, ge=50, le=20_000, description="features followed in each view where something changes")
    still_features: int = Field(150, ge=0, le=20_000, description="features followed in each view where nothing does: "
                                                                  "what rests at first may move later")
    key_interval_s: float = Field(0.5, gt=0, description="seconds between frames at which features are sought anew and "
                                                         "matched across views")
    patch_px: int = Field(21, ge=7, le=63, description="side of the patch that is followed from frame to frame, px")
    back_px: float = Field(1.0, gt=0, description="a feature is lost where following it back misses by more, px")
    ratio: float = Field(0.8, gt=0, le=1, description="a match across views must be this much nearer (descriptors) "
                                                      "than any other that the epipolar geometry allows")
    epipolar_px: float = Field(2.5, gt=0, description="distance from the epipolar line within which views match, px; "
                                                      "holds what is left of calibration and synchronisation")
    min_angle_deg: float = Field(2.0, gt=0, lt=90, description="rays nearer to parallel give no point")
    still_px: float = Field(2.0, gt=0, description="features that stay within as much are of what stands still, px")
    max_bodies: int = Field(8, ge=1, le=64, description="moving bodies, the best supported")
    max_points: int = Field(240, ge=20, le=5000, description="points a body is adjusted with, those seen longest")
    min_points: int = Field(6, ge=4, description="fewest points of a body that are seen in two views or more")
    min_frames: int = Field(5, ge=3, description="bodies followed in fewer frames are dropped")
    agree_px: float = Field(3.0, gt=0, description="a body's point must be seen within as much of where the body's "
                                                   "motion brings it, px")
    sigma_px: float = Field(0.7, gt=0, description="standard deviation of a followed feature, px")
    calibration_px: float = Field(0.6, gt=0, description="standard deviation of what calibration leaves in each view, "
                                                         "px: an error that all frames share")
    max_triples: int = Field(300, ge=20, le=100_000, description="triples of points tried for each body")
