"""The distribution rendered scenes are drawn from: `benchmarks/scenes.yaml`, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is [low, high], got [{pair[0]}, {pair[1]}]")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
Count = Annotated[tuple[int, int], AfterValidator(_ascending)]
Probability = Annotated[float, Field(ge=0, le=1)]
Camera = Literal["still", "hand-held", "driving"]
Motion = Literal["constant", "accelerating", "arc", "vertical"]
Shape = Literal["box", "sphere"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Model):
    weight: float = Field(gt=0)
    baseline_m: Range
    focal_px: Range
    distance_m: Range
    speed_mps: Range
    cameras: dict[Camera, float] = Field(min_length=1)


class HandHeld(_Model):
    sway_m: Range
    sway_deg: Range
    drift_mps: Range
    turn_deg_s: Range


class Driving(_Model):
    speed_mps: Range
    acceleration_mps2: Range
    turn_deg_s: Range
    straight_probability: Probability
    shake_deg: Range


class Objects(_Model):
    num_moving: Count
    num_still: Count
    size_px: Range
    shapes: dict[Shape, float] = Field(min_length=1)
    motions: dict[Motion, float] = Field(min_length=1)
    travel: Range
    axis_probability: Probability
    arc_turn_deg: Range
    follow_heading_probability: Probability
    spin_probability: Probability
    spin_deg: Range
    occlusion_probability: Probability
    texture_contrast: Range
    low_texture_probability: Probability
    low_texture_contrast: Range


class Background(_Model):
    num_boxes: Count
    wall_distance: Range
    texture_contrast: Range


class Distribution(_Model):
    version: Literal[1]
    fps: Range
    num_frames: Count
    crf: Count
    noise_grey: Range
    gain_mismatch: float = Field(ge=0)
    rig_rotation_deg: float = Field(0.0, ge=0)
    disparity_px: Range
    camera_pitch_deg: Range
    ground: Range = (0.45, 0.8)  # height of the camera; at 1 the image's lower edge sees it at the objects' mean range
    settings: dict[str, Setting] = Field(min_length=1)
    hand_held: HandHeld
    driving: Driving
    objects: Objects
    background: Background


def packaged_distribution() -> Path:
    """The one shipped with the package: in a wheel `curate/data/scenes.yaml`, in a checkout `benchmarks/scenes.yaml`.

    Raises:
        FileNotFoundError: where neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    candidates = [package / "data" / "scenes.yaml", package.parent / "benchmarks" / "scenes.yaml"]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no scene distribution at {' or '.join(map(str, candidates))}; "
                            "name one with `scenes: PATH`")


def load_distribution(path: str | Path | None = None) -> Distribution:
    """
    Args:
        path: a yaml file like `benchmarks/scenes.yaml`; None means the packaged one.

    Raises:
        ValueError: where the file is missing, is not YAML, or does not describe a distribution.
    """
    path = packaged_distribution() if path is None else Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: cannot read the scene distribution: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    try:
        return Distribution.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise ValueError(f"{path}: {where}: {first['msg']} (got {first['input']!r:.80})") from error
