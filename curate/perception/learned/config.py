"""Settings of the learned estimators."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class LearnedConfig(BaseModel):
    """What every network wants to know. Weights are never downloaded; their content, not their place, is part of the
    perception fingerprint."""

    model_config = ConfigDict(extra="forbid")

    # What says where things are and how much is done at once: in no fingerprint.
    place_keys: ClassVar[tuple[str, ...]] = ("weights", "batch")

    weights: str = Field(min_length=1, description="path of the weights file; never downloaded")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU where there is one")


class GmflowConfig(LearnedConfig):
    """GMFlow, two scales with refinement. Weights: safetensors with the published parameter names."""

    kind: Literal["gmflow"] = "gmflow"
    precision: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="of the encoder's and the transformer's products on a GPU; always float32 on a CPU")
    batch: int = Field(4, ge=1, le=256, description="pairs of frames at once")
    max_forward_backward_px: float = Field(1.0, gt=0, description="largest forward-backward residual of a valid pixel")
    max_sigma_px: float = Field(1.5, gt=0, description="largest sigma of a valid pixel")


class GmflowFlowConfig(GmflowConfig):
    """Optical flow by GMFlow."""

    estimator: ClassVar[str] = "gmflow-flow"


class GmflowStereoConfig(GmflowConfig):
    """Stereo matching by GMFlow: the flow from the left to the right image of a rectified pair."""

    estimator: ClassVar[str] = "gmflow-stereo"

    max_vertical_px: float = Field(1.0, gt=0, description="largest vertical part of a valid match; a rectified pair "
                                                          "has none")
