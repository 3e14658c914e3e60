"""SceneBuilder: takes windows one after another, keeps sparse records, and gives the scene at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.geometry.poses import Pose
from curate.lift.config import LiftConfig
from curate.lift.gather import Gathered, gather
from curate.lift.noise import DisparityNoise
from curate.lift.region import build_region
from curate.perception.estimator import Window
from curate.scene import RigState, Scene
from curate.sources.base import ClipSpec, Frames


class SceneBuilder:
    """Fields to Scene.

    Args:
        clip: names the scene.
        frames: its cameras and what the source knows.
        config: limits and priors of the lift.
        rig: what was found of the rig, where it was looked at.
    """

    def __init__(self, clip: ClipSpec, frames: Frames, config: LiftConfig | None = None,
                 rig: RigState | None = None) -> None:
        self.clip, self.frames, self.config, self.rig = clip, frames, config or LiftConfig(), rig
        self.regions: dict[int, Gathered] = {}
        self.rotation: list[np.ndarray] = []
        self.translation: list[np.ndarray] = []
        self.step_cov: list[np.ndarray] = []
        self.pose_cov: list[np.ndarray] = []
        self.rig_step: list[np.ndarray] = []
        self.camera_valid: list[bool] = []
        self.origin: dict[str, str] = {}
        self.calibrated = True  # every field's sigma
        self.labels: dict[int, tuple[str, float]] = {}  # region id to its name and how sure that is
        self.noise: DisparityNoise | None = None
        self.valid_depth: list[float] = []
        self.valid_flow: list[float] = []

    def add(self, window: Window) -> None:
        """Takes what is needed of a window whose fields are all filled."""
        for name, part in window.fields.items():
            self.origin[name] = part.filled_by
            self.calibrated &= part.info.get("calibrated", True)
        if "labels" in window.fields:
            self.labels = window.fields["labels"].values
        if self.noise is None:
            self.noise = DisparityNoise.of_field(window.fields["disparity"])
        camera = window.fields["camera"]
        poses = camera.values.expect("world", "cam")
        for j in range(window.overlap, window.num_frames):
            self.rotation.append(poses.rotation[j])
            self.translation.append(poses.translation[j])
            self.step_cov.append(camera.sigma[j])
            self.pose_cov.append(camera.info["frame_cov"][j] if "frame_cov" in camera.info else np.zeros((6, 6)))
            self.rig_step.append(camera.info["rig_step"][j] if "rig_step" in camera.info else np.zeros(6))
            self.camera_valid.append(bool(camera.valid[j]))
            self.valid_depth.append(float(window.fields["disparity"].valid[j].mean()))
        if "flow" in window.fields:
            self.valid_flow += [float(v.mean()) for v in window.fields["flow"].valid[:-1]]
        if "regions" in window.fields and "tracks" in window.fields:
            gather(window, self.regions, self.config, self.noise)

    def finish(self) -> Scene:
        """The scene of all windows so far."""
        frames, given = self.frames, self.frames.given
        poses = Pose("world", "cam", np.array(self.rotation), np.array(self.translation))
        step_cov = np.array(self.step_cov)
        regions = []
        born = [(-int(r.birth.mask.sum()), number) for number, r in self.regions.items() if r.birth is not None]
        for _, number in sorted(born):  # the largest first
            if len(regions) == self.config.max_regions:
                break
            region = build_region(number, self.regions[number], frames.rig, poses, step_cov,
                                  np.array(self.pose_cov), self.config, self.noise)
            if region is not None:
                regions.append(region)
        up, up_world = self._up(given, poses)
        # a virtual rig is a way to write depth down: its baseline is no length, and there is no second view
        baseline = frames.rig.baseline_m if frames.rig is not None and len(frames.views) > 1 else 0.0
        sigma = getattr(frames, "baseline_sigma_m", None) if baseline else 0.0
        stats = {"valid_disparity": float(np.mean(self.valid_depth)),
                 "valid_flow": float(np.mean(self.valid_flow)) if self.valid_flow else 0.0,
                 "regions_seen": float(len(self.regions)), "regions_measured": float(len(regions)),
                 **getattr(frames, "stats", {})}
        if not baseline:
            stats["scale_sigma"] = float(getattr(frames, "scale_sigma", self.config.baseline_relative_sigma))
        for region in regions:
            if region.id in self.labels:
                region.label, stats[f"label_confidence_R{region.id}"] = self.labels[region.id]
        return Scene(key=self.clip.key, clip=self.clip.to_json(), time_s=np.asarray(frames.time_s, float),
                     camera=frames.views[0].camera, baseline_m=baseline,
                     baseline_sigma_m=float(sigma if sigma is not None
                                            else self.config.baseline_relative_sigma * baseline),
                     scale=frames.scale if self.calibrated else "relative", up=up, up_world=up_world,
                     T_world_cam=poses, step_cov=step_cov, camera_valid=np.array(self.camera_valid),
                     regions=sorted(regions, key=lambda r: r.id), origin=dict(self.origin),
                     stats=stats, rig=self.rig, rig_step=np.array(self.rig_step),
                     pose_cov=np.array(self.pose_cov))

    @staticmethod
    def _up(given: dict[str, Any], poses: Pose) -> tuple[str, np.ndarray]:
        """Gravity where the source gives it (`given["up"]`: [3] in the world), else against the camera's own y."""
        if "up" in given:
            up = np.asarray(given["up"], float)
            return "gravity", up / np.linalg.norm(up)
        return "camera", poses.rotation[0] @ np.array([0.0, -1.0, 0.0])
