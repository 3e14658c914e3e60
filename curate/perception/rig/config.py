"""Settings of the rig's self-check."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RigConfig(BaseModel):
    """Residual rotation between the two cameras, estimated from the clip before it is perceived.

    The priors are what a careful calibration leaves: a quarter of a pixel at a focal length of 700 px is a fiftieth
    of a degree. They count only where the clip does not contradict them.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["residual-rotation", "as-published"] = "residual-rotation"
    num_frames: int = Field(32, ge=2, le=64, description="frames of the clip that are looked at, at most")
    num_features: int = Field(350, ge=50, le=1000, description="features kept alive, spread over a grid")
    prior_pan_deg: float = Field(0.02, gt=0, description="standard deviation of a calibration's pan error")
    prior_tilt_deg: float = Field(0.02, gt=0, description="standard deviation of a calibration's tilt error")
    prior_roll_deg: float = Field(0.02, gt=0, description="standard deviation of a calibration's roll error")
    lens_deg: float = Field(0.1, ge=0, description="standard deviation of what a lens adds to the pan seen in rows")
    significance: float = Field(3.0, gt=0, description="a rotation is corrected from this many sigmas on")
