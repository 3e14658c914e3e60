"""Settings of `kind: multiview`: several calibrated cameras that saw the same instants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from curate.sources.config_base import Decoder, Finite, Positive, Strict, Up

Turn = Literal[0, 90, 180, 270]


class MultiviewConfig(Strict):
    """N synchronous videos, or folders of images, of fixed calibrated cameras."""

    kind: Literal["multiview"] = "multiview"
    root: str = Field(description="folder that holds the recording, or the recordings")
    recordings: str | None = Field(
        None, description="glob of sub-folders of root, each one recording; default: root is the recording")
    media: str | dict[str, str] = Field(
        "{name}.mp4", description="a camera's video, folder of images or glob of images, relative to the recording; "
                                  "{name} stands for the camera's name in the calibration. Or camera -> path")
    calibration: str = Field(
        description="toml (caliscope, anipose, Pose2Sim), json, Qualisys (.qca.txt, .xml), or a folder with COLMAP's "
                    "cameras and images (.txt or .bin); looked for in the recording, then in root")
    cameras: Annotated[list[str], Field(min_length=2, max_length=64)] | None = Field(
        None, description="cameras to use, by their names in the calibration; default: all of them")
    reference: str | None = Field(
        None, description="camera that questions speak of (view 0, in whose frame all is measured); default: the first")
    unit: Literal["m", "cm", "mm", "in"] | None = Field(
        None, description="unit of the calibration's positions; default metres, Qualisys millimetres. COLMAP has none: "
                          "without one its scale is relative")
    scale_relative_sigma: float = Field(
        0.005, gt=0, lt=1, description="standard deviation of the calibration's scale, as a share of every length")
    up: Up | None = Field(
        None, description="direction against gravity in the calibration's world, [0, 0, 1] where its z points up; "
                          "default: unknown")
    timestamps: str | None = Field(
        None, description="csv with a header and a line per frame and camera (columns cam_id or camera, frame_time or "
                          "time_s, seconds), or with {name} a text file for each camera, a line per frame. Default: "
                          "the videos' own times")
    offsets_s: dict[str, Finite] = Field(
        default_factory=dict, description="camera -> seconds added to its times, where recordings began at different "
                                          "times")
    fps: Positive | None = Field(None, description="frames per second of image folders without timestamps")
    turned: dict[str, Turn] = Field(
        default_factory=dict, description="camera -> degrees by which its pictures are turned clockwise against those "
                                          "calibrated (phones held upright, Qualisys' viewrotation)")
    decoder: Decoder = "av"
    licence: str = Field("", description="licence of the media, written into every record")

    @field_validator("media")
    @classmethod
    def _names(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        if isinstance(value, str) and "{name}" not in value:
            raise ValueError(f"media {value!r} names one file for all cameras; put {{name}} where the camera's name "
                             f"stands, or give camera: path for each")
        return value
