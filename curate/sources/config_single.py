"""Settings of `kind: single_video`: one camera, and what is known of its scale."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from curate.sources.config_base import Decoder, Finite, Pinhole, Positive, Strict


class OneCamera(Pinhole):
    """Intrinsics of the one camera."""

    distortion: list[Finite] = Field(
        default_factory=list, description="OpenCV k1 k2 p1 p2 [k3 ...]; empty: none. Frames are undistorted when read")

    @field_validator("distortion")
    @classmethod
    def _count(cls, value: list[float]) -> list[float]:
        if len(value) not in (0, 4, 5, 8, 12, 14):
            raise ValueError(f"distortion takes 0, 4, 5, 8, 12 or 14 numbers (OpenCV's order), got {len(value)}")
        return value


class GroundConfig(Strict):
    """How a camera that does not move sees the ground: a homography, or its height and horizon."""

    homography: list[Annotated[list[Finite], Field(min_length=3, max_length=3)]] | str | None = Field(
        None, description="3x3, pixel of a foot (u, v, 1) to metres on the ground (X, Y, 1), up to scale; or a json "
                          "file, relative to the recording, with one 3x3 matrix under a key that has `homography` in "
                          "its name. The focal length follows from it unless calibration.fx is given")
    camera_height_m: Positive | None = Field(None, description="the camera's centre over the ground, metres; wants "
                                                               "calibration.fx, and pitch_deg or horizon_row")
    pitch_deg: Annotated[float, Field(gt=-89, lt=89)] | None = Field(
        None, description="how far the camera looks down from the horizon, degrees")
    horizon_row: Finite | None = Field(None, description="row of the horizon at the middle column, pixels")
    roll_deg: Annotated[float, Field(gt=-89, lt=89)] = Field(
        0.0, description="how far the camera is turned clockwise about its axis, degrees")
    scale_sigma: float = Field(0.01, ge=0, lt=1, description="standard deviation of the ground's metres, as a share of "
                                                             "every length")

    @field_validator("homography")
    @classmethod
    def _square(cls, value):
        if isinstance(value, list) and len(value) != 3:
            raise ValueError(f"homography takes three rows of three numbers, got {len(value)} rows")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> GroundConfig:
        if (self.homography is None) == (self.camera_height_m is None):
            raise ValueError("give either homography or camera_height_m (with pitch_deg or horizon_row)")
        if self.camera_height_m is not None and (self.pitch_deg is None) == (self.horizon_row is None):
            raise ValueError("camera_height_m wants either pitch_deg or horizon_row")
        if self.homography is not None and (self.pitch_deg, self.horizon_row, self.roll_deg) != (None, None, 0.0):
            raise ValueError("pitch_deg, horizon_row and roll_deg go with camera_height_m; a homography says them "
                             "itself")
        return self


class DepthConfig(Strict):
    """Depth measured along the optical axis, an image a frame, registered to the camera."""

    files: str = Field("depth", description="folder or glob of 16-bit png or npy files, as many as frames, in order")
    scale: Positive = Field(0.001, description="metres of one unit; 0 and not finite mean unknown")
    sigma_m: float = Field(0.0, ge=0, description="standard deviation of a pixel, metres: the constant part")
    sigma_relative: float = Field(0.01, ge=0, lt=1, description="and the part that grows with the depth")
    scale_sigma: float = Field(0.01, ge=0, lt=1, description="standard deviation of all depths together, as a share")

    @model_validator(mode="after")
    def _some(self) -> DepthConfig:
        if not self.sigma_m + self.sigma_relative > 0:
            raise ValueError("sigma_m and sigma_relative are both zero; depth is never exact")
        return self


class LidarConfig(Strict):
    """A scan a frame, as KITTI has them: sparse depth."""

    scans: str = Field("lidar", description="folder or glob of .bin (float32 x y z intensity), .npy or .npz ([N, 3 or "
                                            "more], its first array), as many as frames, in order")
    calibration: str = Field("calib.json", description="KITTI's P0..P3, R0_rect and Tr_velo_to_cam: text (object or "
                                                       "tracking) or json, relative to the recording")
    camera: Literal[0, 1, 2, 3] = Field(2, description="which P the images are of: 2 is the left colour camera")
    sigma_m: Positive = Field(0.03, description="standard deviation of a point's distance, metres")
    fill_px: int = Field(5, ge=0, le=50, description="half the window over which surfaces are closed between points, "
                                                     "px: about the distance of the scan's lines; 0: points alone")
    scale_sigma: float = Field(0.002, ge=0, lt=1, description="standard deviation of the scanner's metres, as a share")


class SingleVideoConfig(Strict):
    """One video, or one folder of images, of one camera. Its scale is relative, and nothing metric is asked, unless one
    of `ground`, `depth` and `lidar` says how large things are."""

    kind: Literal["single_video"] = "single_video"
    root: str = Field(description="folder that holds the recording, or the recordings")
    recordings: str | None = Field(
        None, description="glob of sub-folders of root, each one recording; default: root is the recording")
    media: str = Field("frames", description="video, folder of images, or glob of images; relative to the recording")
    calibration: OneCamera | None = Field(
        None, description="the camera; needed for depth and camera_height_m, derived from a homography")
    ground: GroundConfig | None = Field(None, description="a camera that stands still over a ground plane")
    depth: DepthConfig | None = Field(None, description="dense metric depth from files")
    lidar: LidarConfig | None = Field(None, description="sparse metric depth from scans")
    timestamps: str | None = Field(
        None, description="text file, a line per frame: seconds, or nanoseconds (integers of 16 digits and more); goes "
                          "before a video's own times; relative to the recording")
    fps: Positive | None = Field(
        None, description="true frames per second of image folders without timestamps, or of a video whose own times "
                          "are wrong (a re-encoded one)")
    decoder: Decoder = "av"
    licence: str = Field("", description="licence of the media, written into every record")

    @model_validator(mode="after")
    def _one_scale(self) -> SingleVideoConfig:
        named = [name for name in ("ground", "depth", "lidar") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} both say how large things are; keep one")
        if self.depth is not None and self.calibration is None:
            raise ValueError("depth wants calibration: {fx: ...}; without it no pixel has a place in space")
        if self.ground is not None and self.ground.camera_height_m is not None and self.calibration is None:
            raise ValueError("ground.camera_height_m wants calibration: {fx: ...}; without it rows have no angles")
        if self.lidar is not None and self.calibration is not None:
            raise ValueError("lidar brings its own calibration (P, R0_rect, Tr_velo_to_cam); leave calibration out")
        if self.timestamps is not None and self.fps is not None:
            raise ValueError("timestamps and fps both say when frames were taken; keep one")
        return self
