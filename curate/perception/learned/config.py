"""Settings of the learned estimators."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class LearnedConfig(BaseModel):
    """What every network wants to know. Weights are never downloaded; their content, not their place, is part of the
    perception fingerprint."""

    model_config = ConfigDict(extra="forbid")

    # What says where things are and how much is done at once, and changes no result: in no fingerprint.
    place_keys: ClassVar[tuple[str, ...]] = ("weights",)

    weights: str = Field(min_length=1, description="path of the weights file; never downloaded")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU where there is one")


class GmflowConfig(LearnedConfig):
    """GMFlow, two scales with refinement. Weights: safetensors with the published parameter names."""

    place_keys: ClassVar[tuple[str, ...]] = ("weights", "batch")

    kind: Literal["gmflow"] = "gmflow"
    precision: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="of the encoder's and the transformer's products on a GPU; always float32 on a CPU")
    batch: int = Field(1, ge=1, le=256, description="pairs of frames at once; more pays on a GPU alone")
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


class YoloxConfig(LearnedConfig):
    """Names of regions by YOLOX. Weights: an ONNX export with the 80 COCO classes and the raw grid as output."""

    kind: Literal["yolox"] = "yolox"
    every: int = Field(4, ge=1, description="every how many frames the detector looks; the first is always one")
    min_score: float = Field(0.3, gt=0, lt=1, description="least score of a detection")
    max_overlap: float = Field(0.45, gt=0, lt=1, description="larger overlaps (IoU) of one class are one detection")
    min_iou: float = Field(0.35, gt=0, lt=1, description="least overlap of a region and the box that names it")
    min_agreement: float = Field(0.7, ge=0.5, le=1, description="least share of one class among a region's detections")
    min_confidence: float = Field(0.3, gt=0, le=1, description="least sum of scores over (keyframes it is seen in + 1)")
