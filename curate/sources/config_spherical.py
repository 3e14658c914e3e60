"""Settings of `vr180` and `stereo4d`: spherical stereo video, and what is published about it.

Imports nothing heavy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from curate.sources.config_base import Decoder, Positive, Strict

EYE_DISTANCE_M = 0.063  # between the lenses of a VR180 camera, where nobody says better: that of people's eyes
EYE_DISTANCE_SIGMA_M = 0.003  # cameras on the market are built with 60 to 66 mm
WIDEST_DEG = 80.0  # from the axis of a perspective picture to its border; at 90 there is no picture
OMNIDIRECTIONAL_DEG = 40.0  # widest pair cut out of omnidirectional stereo, which is no pair of pictures elsewhere



class VirtualPair(Strict):
    """A rectified perspective pair that is cut out of a spherical one.

    Its x axis is the line between the eyes, whatever it looks at: only so are its rows alike. A `yaw_deg` therefore
    moves the window along the picture and leaves its axes; "forward" in answers is square to the eyes, not the middle
    of the window. Of omnidirectional stereo the pair is really turned.
    """

    yaw_deg: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] = Field(
        0.0, description="middle of the window, degrees to the right of the middle of the video; of fixed lenses it "
                         "and half of fov_deg reach 80 degrees at most")
    pitch_deg: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] = Field(
        0.0, description="middle of the window, degrees above the middle of the video")
    fov_deg: Annotated[float, Field(ge=10, le=120)] = Field(60.0, description="horizontal field of view, degrees")
    width: int = Field(512, ge=64, le=2048, description="pixels of one eye's picture")
    height: int = Field(512, ge=64, le=2048, description="pixels of one eye's picture; they are square")


class EyesConfig(Strict):
    """The assumed distance of the eyes, which is all that gives spherical stereo its scale."""

    eye_distance_m: Positive = Field(
        EYE_DISTANCE_M, description="metres between the lenses. Nothing in the file says it: the scale is `assumed`, "
                                    "and every record says so")
    eye_distance_sigma_m: Positive = Field(
        EYE_DISTANCE_SIGMA_M, description="standard deviation of that assumption, metres; part of the error of every "
                                          "answer in metres. Cameras are built with 60 to 66 mm")


class Vr180Config(EyesConfig):
    """Spherical stereo video (VR180, VR360), both eyes in each frame.

    What the recipe leaves out is taken from the file (Spherical Video V2: boxes st3d and sv3d; V1: XML), else the eyes
    are side by side, left first, and each shows half the world, 180 x 180 degrees.
    """

    kind: Literal["vr180"] = "vr180"
    root: str = Field(description="folder that holds the videos, or one video")
    videos: str | list[str] = Field(
        "**/*.mp4", description="file name, glob, or a list of them, relative to root (not used where root is a video)")
    pairs: list[VirtualPair] = Field(
        default_factory=lambda: [VirtualPair()], min_length=1, max_length=32,
        description="perspective pairs cut out of each video; each is a clip of its own, of the same recording")
    packing: Literal["side_by_side", "top_bottom"] | None = Field(
        None, description="where the eyes are in a frame; default: as the file says, else side by side")
    first: Literal["left", "right"] | None = Field(
        None, description="the eye stored first (left side, or top); default: as the file says, else left")
    projection: Literal["equirectangular", "fisheye"] | None = Field(
        None, description="of each eye's picture. fisheye: equidistant, the image circle as wide as the picture's "
                          "shorter side; default: as the file says, else equirectangular")
    fov_deg: tuple[Positive, Positive] | None = Field(
        None, description="degrees that each eye's picture spans across and down, about its middle; of a fisheye the "
                          "first is its image circle's; default: as the file says, else [180, 180]")
    stereo: Literal["fixed", "omnidirectional"] | None = Field(
        None, description="fixed: two lenses that stay where they are (VR180). omnidirectional: the eyes turn with the "
                          "direction of view (VR360); a pair of at most 40 degrees then approximates two cameras, and "
                          "the error of that is added to the scale's. Default: omnidirectional above 200 degrees")
    decoder: Decoder = "av"
    licence: str = Field("", description="licence of the media, written into every record")

    @model_validator(mode="after")
    def _a_sphere(self) -> Vr180Config:
        if self.fov_deg is not None:
            limits = (360, 180) if self.projection != "fisheye" else (280, 280)
            for name, value, limit in zip(("across", "down"), self.fov_deg, limits):
                if value > limit:
                    raise ValueError(f"fov_deg {name} is {value:g}, expected at most {limit} degrees")
        return self


class Stereo4DConfig(EyesConfig):
    """Stereo4D: published camera paths and 3D tracks (an npz a clip) with the video that they were made of.

    Folders as its own tools make them: `npz/NAME.npz` and `processed/NAME/NAME-left_rectified.mp4`. In the patterns
    below {name} is the npz file's name and {video_id} that of the original video.
    """

    kind: Literal["stereo4d"] = "stereo4d"
    root: str = Field(description="folder that holds annotations and videos")
    annotations: str | list[str] = Field("**/*.npz", description="file name, glob, or a list of them, relative to root")
    video: Literal["rectified", "side_by_side", "raw"] = Field(
        "rectified", description="rectified: perspective videos, a frame for each of the timestamps. side_by_side: "
                                 "both of these in one. raw: the original VR180 video, cut out here by fov_bounds and "
                                 "rectified2rig at the timestamps")
    left: str | None = Field(
        None, description="pattern of the video (the left eye's, or the one with both), relative to root; default: "
                          "processed/{name}/{name}-left_rectified.mp4, side by side processed/{name}/{name}.mp4, raw "
                          "raw/{video_id}.mp4")
    right: str | None = Field(
        "processed/{name}/{name}-right_rectified.mp4",
        description="pattern of the right eye's rectified video; used where it is there")
    fov_deg: Annotated[float, Field(ge=10, le=120)] = Field(
        60.0, description="horizontal field of view of the rectified video, degrees; of raw video what is cut out")
    size: int = Field(512, ge=64, le=2048, description="width and height of what is cut out of raw video, pixels")
    use: Literal["tracks", "pixels"] = Field(
        "tracks", description="tracks: regions are made of the given 3D tracks. pixels: the camera path is taken "
                              "as given, all else is estimated from both eyes")
    max_tracks: int = Field(6000, ge=100, le=50_000, description="tracks of a clip that are looked at, spread evenly")
    disparity_sigma_px: Positive = Field(
        0.25, description="standard deviation of the tracks' disparity that all frames share, and of their place "
                          "across the line of sight, pixels; nothing is published about it")
    track_drift_px: Positive = Field(
        0.03, description="standard deviation of the tracks' drift from frame to frame, pixels")
    camera_step_sigma_m: Positive = Field(
        0.001, description="standard deviation of the camera's shift from frame to frame, metres")
    camera_step_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.01, description="the same as a share of the shift; both count")
    camera_step_sigma_deg: Positive = Field(
        0.01, description="standard deviation of the camera's turn from frame to frame, degrees")
    decoder: Decoder = "av"
    licence: str = Field("", description="licence of the media, written into every record; annotations: CC BY 4.0")
