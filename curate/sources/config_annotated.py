"""Settings of annotated 4D: objects with their boxes, headings, names and ids given, and the vehicle's own poses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from curate.sources.config_base import Positive, Strict

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Accuracy(Strict):
    """Standard deviations of what is annotated: one axis each."""

    centre_m: Positive = Field(0.05, description="of a box's centre: an error that a whole track shares, and as much "
                                                 "again that builds up from its first frame to its last")
    jitter_m: Positive = Field(0.001, description="of a box's centre, every frame anew: the files' rounding")
    heading_deg: Positive = Field(1.0, description="of a box's orientation, degrees")
    size_m: Positive = Field(0.03, description="of a box's sides")
    pose_m: NotNegative = Field(0.01, description="of the camera's place at the clip's end, from the start")
    pose_deg: NotNegative = Field(0.05, description="of the camera's orientation, likewise, degrees")


class AnnotatedConfig(Strict):
    """What all kinds of annotated recordings have."""

    root: str = Field(description="folder that holds the recording, or the recordings")
    accuracy: Accuracy = Accuracy()
    max_objects: int = Field(12, ge=1, le=64, description="objects of a clip, at most: those that move and those that "
                                                          "stand, alternately, the nearest first")
    max_distance_m: Positive = Field(80.0, description="of an object from the camera in the clip's first frame")
    min_visible: float = Field(
        0.3, gt=0, le=1, description="share of an object's outline that must be in the image and not behind a nearer "
                                     "box, for it to be seen in a frame")
    licence: str = Field("", description="licence of the data, written into every record")


class KittiTrackingConfig(AnnotatedConfig):
    """KITTI tracking: label_02, calib, oxts, image_02."""

    kind: Literal["kitti_tracking"] = "kitti_tracking"
    labels: str = Field("label_02/*.txt", description="glob of label files, each one recording; {name} below is a "
                                                      "file's name without its ending")
    calibration: str = Field("calib/{name}.txt", description="P2, R_rect, Tr_velo_cam, Tr_imu_velo (or R0_rect, "
                                                             "Tr_velo_to_cam, Tr_imu_to_velo)")
    oxts: str | None = Field(None, description="the vehicle's poses, as oxts/{name}.txt; leave out where the camera "
                                               "stands still, and say static")
    static: bool = Field(False, description="the camera stands still")
    images: str | None = Field(None, description="folder of the left colour images, as image_02/{name}; default: no "
                                                 "pictures, records of text alone")
    fps: Positive = Field(10.0, description="labelled frames a second")
    frame_step: int = Field(1, ge=1, description="every which labelled frame is there (has an image)")

    @model_validator(mode="after")
    def _one_of_both(self) -> KittiTrackingConfig:
        if (self.oxts is None) != self.static:
            raise ValueError("say either oxts (the file of the vehicle's poses) or static: true (the camera stands "
                             "still)")
        return self


class Argoverse2Config(AnnotatedConfig):
    """Argoverse 2 sensor logs: annotations.feather and city_SE3_egovehicle.feather. Records of text alone."""

    kind: Literal["argoverse2"] = "argoverse2"
    recordings: str | None = Field(None, description="glob of sub-folders of root, each one log; default: root is one")
    frame_step: int = Field(1, ge=1, description="take every n-th annotated sweep")


class DgpConfig(AnnotatedConfig):
    """TRI-DGP scenes: scene json, calibration, ontology, bounding_box_3d of the LiDAR, rgb."""

    kind: Literal["dgp"] = "dgp"
    scenes: str = Field("scene_*.json", description="glob of scene files below root, each one recording, its paths "
                                                    "relative to the file's folder")
    lidar: str = Field("LIDAR", description="datum whose boxes are taken")
    camera: str | None = Field(None, description="camera of the pictures; default: the calibration's first that every "
                                                 "sample has")
    min_points: int = Field(5, ge=0, description="LiDAR returns in a box, below which its object is taken for "
                                                 "hidden from the cameras")
    pictures: bool = Field(True, description="false: records of text alone, in that camera's axes")
