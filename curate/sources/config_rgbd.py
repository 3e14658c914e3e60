"""Settings of `kind: rgbd`: colour images and depth images of one sensor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from curate.sources.config_base import Finite, Pinhole, Positive, Strict, Up

Vector = Annotated[list[Finite], Field(min_length=3, max_length=3)]
Layout = Literal["tum", "7-scenes", "folders"]
SCALES = {"tum": 5000.0, "7-scenes": 1000.0, "folders": 1000.0}  # a metre, in units of a depth image
ERRORS_PX = {"registered": 1.0, "known": 1.5, "refined": 2.0, "unknown": 15.0}


class PinholeConfig(Pinhole):
    """One camera of the sensor."""

    distortion: list[Finite] = Field(
        default_factory=list, description="OpenCV k1 k2 p1 p2 [k3 [k4 k5 k6]]; empty: none")

    @field_validator("distortion")
    @classmethod
    def _count(cls, value: list[float]) -> list[float]:
        if len(value) not in (0, 4, 5, 8):
            raise ValueError(f"distortion takes 0, 4, 5 or 8 numbers (OpenCV's order), got {len(value)}")
        return value


class RegistrationConfig(Strict):
    """Where the depth camera stands beside the colour camera: p_color = rotation @ p_depth + translation."""

    kind: Literal["registered", "known", "refined", "unknown"] = Field(
        description="registered: a depth pixel is the colour pixel of the same place (OpenNI's registration, Open3D's "
                    "sets, TUM). known: rotation and translation below are a calibration; depth is warped into the "
                    "colour camera, hidden surfaces left out. refined: they are a start, and the turn is found by "
                    "edges of depth and of colour. unknown: they are all there is (or nothing is); depth is left out "
                    "as far from edges as it may be off")
    rotation: list[Finite] = Field(
        default_factory=lambda: [0.0, 0.0, 0.0], description="of T_color_depth: 3 numbers of a rotation vector "
                                                             "(radians), or 9 row by row")
    translation_m: Vector = Field(
        default_factory=lambda: [0.0, 0.0, 0.0], description="of T_color_depth: the depth camera's centre in the "
                                                             "colour camera's axes, metres")
    error_px: Positive | None = Field(
        None, description="how far depth may lie beside its colour, pixels (one standard deviation); default 1 where "
                          "registered, 1.5 known, 2 refined, 15 unknown")
    max_turn_deg: float = Field(2.0, gt=0, le=10, description="refined: farthest turn from the start that is looked at")

    @field_validator("rotation")
    @classmethod
    def _numbers(cls, value: list[float]) -> list[float]:
        if len(value) not in (3, 9):
            raise ValueError(f"rotation takes 3 or 9 numbers, got {len(value)}")
        return value

    @model_validator(mode="after")
    def _in_place(self) -> RegistrationConfig:
        if self.kind == "registered" and any([*self.rotation, *self.translation_m]):
            raise ValueError("registered depth has no rotation or translation beside the colour camera; "
                             "say kind: known")
        return self


class DepthNoiseConfig(Strict):
    """Standard deviation of a pixel's depth z: floor_m + per_m · z + per_m2 · z².

    The default is of structured light at 640 x 480 (Kinect of 2010): half a pixel of disparity, 1.425 mm at 1 m, 36 mm
    at 5 m (Khoshelham and Elberink, Sensors 12, 2012). Time of flight errs less with distance: for example floor_m
    0.002, per_m 0.001, per_m2 0 to 0.0003.
    """

    floor_m: float = Field(0.0, ge=0, le=1, description="metres")
    per_m: float = Field(0.0, ge=0, le=1, description="metres a metre")
    per_m2: float = Field(0.001425, ge=0, le=1, description="metres a square metre")
    shared: float = Field(0.5, ge=0, le=1, description="share of it that all pixels of a region err alike and over "
                                                       "the clip (the sensor's own pattern, its temperature)")
    flicker: float = Field(0.5, ge=0, le=1, description="share of it that all pixels of a region err alike in one "
                                                        "frame, and otherwise in the next")
    correlation_px: float = Field(60.0, ge=1, description="neighbouring pixels that share one error, an area: the "
                                                          "window in which the sensor matches its pattern")

    @model_validator(mode="after")
    def _some(self) -> DepthNoiseConfig:
        if not self.floor_m + self.per_m + self.per_m2 > 0:
            raise ValueError("no sensor is exact: give floor_m, per_m or per_m2")
        return self


class GivenPosesConfig(Strict):
    """Poses that come with the recording, taken with their accuracy instead of estimated."""

    file: str | None = Field(
        None, description="relative to the recording: `time tx ty tz qx qy qz qw` a line (TUM), or Open3D's .log; "
                          "default groundtruth.txt (tum), trajectory.log (folders); 7-scenes has a file a frame")
    of: Literal["color", "depth"] = Field(
        "color", description="the camera whose poses they are: what a tracker of depth (KinectFusion) gives is of "
                             "depth")
    translation_sigma_m: Positive = Field(0.01, description="accuracy of each position, metres, per axis")
    rotation_sigma_deg: Positive = Field(0.2, description="accuracy of each rotation, degrees, per axis")
    tolerance_s: Positive = Field(0.05, description="a frame's pose lies between two at most this far from it")
    up: Up | None = Field(
        None, description="direction against gravity in the poses' world ([0, 0, 1] where its z points up); "
                          "default: unknown")


class RgbdConfig(Strict):
    """Colour and depth images of one sensor: TUM's layout, 7-Scenes', or two folders (Open3D)."""

    kind: Literal["rgbd"] = "rgbd"
    root: str = Field(description="folder that holds the recording, or the recordings")
    recordings: str | None = Field(
        None, description="glob of sub-folders of root, each one recording; default: root is the recording")
    layout: Layout = Field(
        description="tum: rgb.txt and depth.txt (`time file` a line), paired by nearest time. 7-scenes: "
                    "frame-000000.color.png (or .jpg), .depth.png, .pose.txt. folders: color (or rgb) and depth, "
                    "paired by order")
    color: PinholeConfig | str = Field(
        description="the colour camera: inline, or Open3D's intrinsic json (width, height, intrinsic_matrix), relative "
                    "to the recording or to root")
    depth: PinholeConfig | None = Field(
        None, description="the depth camera, where depth is not registered to colour; default: as the colour camera")
    registration: RegistrationConfig = Field(
        description="where depth lies beside colour; there is no default, as a wrong one shows in no number")
    depth_scale: Positive | None = Field(
        None, description="value of a depth image that is one metre; default 5000 (tum), 1000 (7-scenes, folders)")
    invalid: list[Annotated[int, Field(ge=0, le=65535)]] = Field(
        default_factory=lambda: [0, 65535], description="values of a depth image that mean nothing was measured")
    min_depth_m: float = Field(0.2, ge=0, description="nearer depth is not believed")
    max_depth_m: Positive = Field(8.0, description="farther depth is not believed")
    noise: DepthNoiseConfig = Field(default_factory=DepthNoiseConfig)
    scale_sigma: float = Field(
        0.01, ge=0, lt=1, description="standard deviation of the sensor's scale, as a share of every length; a "
                                      "factory's calibration is good to one to three percent")
    poses: Literal["estimate"] | GivenPosesConfig = Field(
        "estimate", description="estimate: by perception.camera from colour and depth. Or how well those given are "
                                "known")
    fps: Positive | None = Field(None, description="frames per second of layouts without times (7-scenes: 30)")
    tolerance_s: Positive = Field(
        0.02, description="tum: a depth image belongs to a colour image at most this far away")
    sync_sigma_s: float = Field(
        0.005, ge=0, le=1, description="how far depth is from its colour in time, one standard deviation; by "
                                       "then a moving camera sees another depth. tum: beside what the times say")
    readout_s: float = Field(
        0.02, ge=0, le=1, description="rolling shutter of the colour camera: from its first row to its last, as far as "
                                      "nobody corrected it; 0 for a global one. Widens the errors of the camera's path")
    max_gap_s: Positive = Field(0.5, description="two frames that follow each other are at most this far apart")
    virtual_baseline_m: Positive = Field(
        0.075, description="baseline of the virtual rig in whose disparities depth is worked on; where the sensor's "
                           "error is a twentieth to a tenth of a pixel, the pipeline's thresholds fit")
    licence: str = Field("", description="licence of the media, written into every record")

    @model_validator(mode="after")
    def _consistent(self) -> RgbdConfig:
        if self.min_depth_m >= self.max_depth_m:
            raise ValueError(f"min_depth_m {self.min_depth_m} is not below max_depth_m {self.max_depth_m}")
        if self.depth is not None and self.registration.kind == "registered":
            raise ValueError("registered depth is in the colour camera: leave depth out, or say how it is registered")
        if isinstance(self.poses, GivenPosesConfig) and self.poses.file and self.layout == "7-scenes":
            raise ValueError("poses.file: 7-scenes has a file of poses for every frame")
        return self

    @property
    def units_a_metre(self) -> float:
        return self.depth_scale or SCALES[self.layout]

    @property
    def registration_error_px(self) -> float:
        return self.registration.error_px or ERRORS_PX[self.registration.kind]
