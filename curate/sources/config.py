"""Settings of every kind of source, as they stand in a recipe under `source:` and `clip:`.

Imports nothing heavy: recipes are checked, and their JSON Schema made, in a base install.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from curate.sources.config_annotated import Argoverse2Config, DgpConfig, KittiTrackingConfig
from curate.sources.config_base import Decoder, Finite, Pinhole, Positive, Strict
from curate.sources.config_conversations import ConversationsConfig
from curate.sources.config_multiview import MultiviewConfig
from curate.sources.config_rgbd import RgbdConfig
from curate.sources.config_single import SingleVideoConfig
from curate.sources.config_spherical import Stereo4DConfig, Vr180Config

BASELINE_RELATIVE_SIGMA = 0.005  # of a measured baseline, where nobody states better: 2.7 mm of KITTI's 0.54 m

Lens = Annotated[Literal["radtan", "fisheye"], Field(description=(
    "radtan: perspective with radial and tangential distortion. fisheye: equidistant (Kannala-Brandt), as OpenCV's "
    "fisheye module and Kalibr's `equidistant`"))]


class CameraCalibration(Pinhole):
    """One camera before rectification."""

    distortion: list[Finite] = Field(
        default_factory=list, description="OpenCV k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]]; empty: none. Of a "
                                          "fisheye lens k1 k2 k3 k4")
    lens: Lens = "radtan"

    @model_validator(mode="after")
    def _count(self):
        counts = (0, 4) if self.lens == "fisheye" else (0, 4, 5, 8, 12, 14)
        if len(self.distortion) not in counts:
            raise ValueError(f"distortion takes {', '.join(map(str, counts[:-1]))} or {counts[-1]} numbers (OpenCV's "
                             f"order, lens {self.lens}), got {len(self.distortion)}")
        return self


class StereoCalibration(CameraCalibration):
    """A stereo pair. The plain fields are the left camera's; a rectified pair needs `fx` and `baseline_m` alone.

    Unrectified pairs (any distortion, a `right` camera of its own, or a pose between the cameras) are
    rectified when opened. `p_right = rotation_right_left @ p_left + translation_right_left_m`.
    """

    baseline_m: Positive | None = Field(
        None, description="distance of the camera centres, metres; needed unless translation_right_left_m is given")
    doffs_px: Finite = Field(0.0, description="cx_right - cx_left of a rectified pair, pixels")
    width: Annotated[int, Field(gt=0)] | None = Field(
        None, description="width of one eye's image at which the calibration holds, pixels; default the media's own")
    height: Annotated[int, Field(gt=0)] | None = Field(
        None, description="height of one eye's image at which the calibration holds, pixels; default the media's own")
    right: CameraCalibration | None = Field(
        None, description="the right camera, where it differs from the left; then doffs_px must be left out")
    rotation_right_left: list[Finite] | None = Field(
        None, description="rotation left to right camera: 9 numbers row by row, or 3 of a rotation vector (radians)")
    translation_right_left_m: Annotated[list[Finite], Field(min_length=3, max_length=3)] | None = Field(
        None, description="left camera's centre in right camera coordinates, metres; x is about -baseline")

    @model_validator(mode="after")
    def _fits(self) -> StereoCalibration:
        if self.baseline_m is None and self.translation_right_left_m is None:
            raise ValueError("baseline_m (metres between the cameras) is missing, and no translation_right_left_m")
        if self.right is not None and self.doffs_px:
            raise ValueError("give either right (its cx says it) or doffs_px, not both")
        if (self.width is None) != (self.height is None):
            raise ValueError("give both width and height, or neither")
        if self.rotation_right_left is not None and len(self.rotation_right_left) not in (3, 9):
            raise ValueError(f"rotation_right_left takes 9 or 3 numbers, got {len(self.rotation_right_left)}")
        if self.translation_right_left_m is not None:
            length = sum(v * v for v in self.translation_right_left_m) ** 0.5
            if self.translation_right_left_m[0] >= 0:
                raise ValueError("translation_right_left_m[0] must be negative (the right camera sits at +x of the "
                                 f"left one), got {self.translation_right_left_m[0]}; are left and right swapped?")
            if self.baseline_m is not None and abs(length - self.baseline_m) > 0.01 * self.baseline_m:
                raise ValueError(f"baseline_m {self.baseline_m} and translation_right_left_m (length {length:.6g}) "
                                 "differ by more than 1 %; leave one out")
        return self


class ClipConfig(Strict):
    """How recordings are cut into clips."""

    num_frames: int = Field(48, ge=2, le=4096, description="most frames of one clip; a longer recording is divided "
                                                           "evenly, so that no short rest is left")
    min_frames: int = Field(8, ge=2, description="fewest frames of a clip; clips overlap where an even division would "
                                                 "fall below it, a shorter recording is quarantined")
    max_clips: int | None = Field(None, ge=1, description="stop after this many clips, good or bad (previews)")

    @model_validator(mode="after")
    def _ordered(self) -> ClipConfig:
        if self.min_frames > self.num_frames:
            raise ValueError(f"min_frames {self.min_frames} is above num_frames {self.num_frames}")
        return self


class StereoPairConfig(Strict):
    """Two folders of images, or two videos, left and right."""

    kind: Literal["stereo_pair"] = "stereo_pair"
    root: str = Field(description="folder that holds the recording, or the recordings")
    recordings: str | None = Field(
        None, description="glob of sub-folders of root, each one recording; default: root is the recording")
    left: str = Field("left", description="folder of images, glob of images, or video; relative to the recording")
    right: str = Field("right", description="as left, of the right camera")
    calibration: StereoCalibration | str | tuple[str, str] = Field(
        "calib.json", description="inline, or a file: json, KITTI calib.txt, OpenCV FileStorage (yaml or xml with "
                                  "cameraMatrix1, distCoeffs1, ..., R, T), Kalibr camchain yaml; or two files: EuRoC "
                                  "sensor.yaml of left and right, OpenCV intrinsics.yml and extrinsics.yml. A file is "
                                  "looked for in the recording, then in root")
    calibration_unit: Literal["m", "cm", "mm"] | None = Field(
        None, description="unit of T in OpenCV files, which do not say: calibrations with a board in millimetres give "
                          "it in millimetres; default metres, and more than 5 m is refused")
    lens: Lens | None = Field(
        None, description="lens model of calibration files that do not say; default: as they say, else radtan")
    cameras: tuple[Literal[0, 1, 2, 3], Literal[0, 1, 2, 3]] | None = Field(
        None, description="which P matrices of a KITTI file are left and right: [0, 1] grey, [2, 3] colour; "
                          "default: the only pair there is, else by the media's colour")
    timestamps: str | None = Field(
        None, description="text file, a line per frame: seconds, or nanoseconds (integers of 16 digits and more, "
                          "as EuRoC has them); relative to the recording")
    timestamps_right: str | None = Field(None, description="the same for the right camera, where it has its own")
    fps: Positive | None = Field(None, description="frames per second of image folders without timestamps")
    pairing: Literal["number", "time"] = Field(
        "number", description="which frames are a pair: the n-th left and the n-th right one, or those nearest in time "
                              "within half a frame; then frames of one camera alone are left out")
    rotation: Literal["as-shown", "as-stored"] = Field(
        "as-shown", description="turn pictures as the container or EXIF asks, or leave them as the sensor stored them: "
                                "a phone held upright turns the line between its lenses upright too")
    bits: Literal[8, 10, 12, 14, 16] | None = Field(
        None, description="depth of 16-bit images; default: the least that holds the first pair")
    decoder: Decoder = "av"
    baseline_sigma_m: Positive | None = Field(
        None, description="standard deviation of the baseline, metres; default 0.5 % of it")
    licence: str = Field("", description="licence of the media, written into every record")

    @field_validator("cameras")
    @classmethod
    def _distinct(cls, value):
        if value is not None and value[0] == value[1]:
            raise ValueError(f"cameras must name two different cameras, got {list(value)}")
        return value


class PackedConfig(Strict):
    """One video whose frames hold both eyes."""

    root: str = Field(description="folder that holds the videos, or one video")
    videos: str | list[str] = Field(
        "**/*.mp4", description="file name, glob, or a list of them, relative to root (not used where root is a video)")
    packing: Literal["full", "half"] = Field(
        "full", description="full: each eye at its own resolution; half: each eye squeezed to half along the packed "
                            "axis, and the calibration is that of the eye before squeezing. Squeezed eyes are brought "
                            "to square pixels by their rows alone (halved side by side, doubled top-bottom)")
    first: Literal["left", "right"] = Field("left", description="the eye stored first (left side, or top)")
    calibration: StereoCalibration | str | None = Field(
        None, description="inline, or a json file relative to root; default: {stem}.calib.json beside each video")
    decoder: Decoder = "av"
    baseline_sigma_m: Positive | None = Field(
        None, description="standard deviation of the baseline, metres; default 0.5 % of it")
    licence: str = Field("", description="licence of the media, written into every record")


class SideBySideConfig(PackedConfig):
    """Videos with the eyes side by side."""

    kind: Literal["side_by_side"] = "side_by_side"


class TopBottomConfig(PackedConfig):
    """Videos with one eye above the other."""

    kind: Literal["top_bottom"] = "top_bottom"


class RenderedConfig(Strict):
    """Ray-cast stereo scenes with exactly known motion, written as side-by-side files and read as those."""

    kind: Literal["rendered"] = "rendered"
    num_scenes: int = Field(8, ge=1, le=100_000, description="how many scenes")
    seed: int = Field(0, ge=0, description="changes every scene")
    scenes: str | None = Field(None, description="YAML with the distribution scenes are drawn from; default built in")
    width: int = Field(640, ge=64, le=4096, description="pixels of one eye")
    height: int = Field(360, ge=64, le=4096, description="pixels of one eye")
    licence: str = Field("CC0-1.0", description="licence of the media, written into every record")


SourceConfig = Annotated[
    StereoPairConfig | SideBySideConfig | TopBottomConfig | RenderedConfig | Vr180Config
    | Stereo4DConfig | MultiviewConfig | RgbdConfig
    | SingleVideoConfig
    | KittiTrackingConfig | Argoverse2Config | DgpConfig | ConversationsConfig,
    Field(discriminator="kind")]
