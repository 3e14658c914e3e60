"""RGB-D recordings in the layouts that are published, of rendered scenes whose depth and poses are known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, quaternion
from curate.synth import Renderer, sample_scene
from curate.synth.scene import SceneTruth

FPS = 10.0


class Recording:
    """The first frames of a scene: colour of its left camera, depth of either."""

    def __init__(self, truth: SceneTruth, num_frames: int) -> None:
        self.truth, self.num_frames = truth, num_frames
        self.camera = truth.rig.left
        renderer = Renderer(truth)
        rendered = [renderer.render(t) for t in range(num_frames)]
        self.color = np.stack([r.left for r in rendered])
        self.depth = np.stack([r.depth for r in rendered])
        self.beside = np.stack([renderer.geometry(t, view=1)[0] for t in range(num_frames)])
        self.poses = Pose("world", "cam", np.stack([truth.camera(t).rotation for t in range(num_frames)]),
                          np.stack([truth.camera(t).translation for t in range(num_frames)]))

    @property
    def T_color_depth(self) -> Pose:
        """Of the depth camera that `beside` is of."""
        return Pose("color", "depth", exp_so3(np.radians(self.truth.rig_rotation_deg)),
                    np.array([self.truth.rig.baseline_m, 0, 0]))

    @property
    def calibration(self) -> dict[str, float]:
        return {name: getattr(self.camera, name) for name in ("fx", "fy", "cx", "cy")}


def recording(index: int = 8, num_frames: int = 4, width: int = 320, height: int = 180) -> Recording:
    return Recording(sample_scene(100, index, None, width, height), num_frames)


def depth_image(depth: np.ndarray, units_a_metre: float) -> np.ndarray:
    """[H, W] uint16; 0 where there is nothing or it does not fit."""
    value = np.where(np.isfinite(depth), depth, 0) * units_a_metre
    return np.where(value < 65535, np.rint(value), 0).astype(np.uint16)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def write_tum(folder: Path, made: Recording, late_s: float = 0.004, depth: np.ndarray | None = None,
              fps: float = FPS) -> Path:
    """Depth images `late_s` after the colour images; poses at ten times their rate."""
    color, deep, poses = ["# color"], ["# depth"], ["# timestamp tx ty tz qx qy qz qw"]
    for t in range(made.num_frames):
        at = 1305031102.0 + t / fps
        _write(folder / f"rgb/{at:.6f}.png", made.color[t])
        _write(folder / f"depth/{at + late_s:.6f}.png", depth_image((made.depth if depth is None else depth)[t], 5000))
        color.append(f"{at:.6f} rgb/{at:.6f}.png")
        deep.append(f"{at + late_s:.6f} depth/{at + late_s:.6f}.png")
        w, x, y, z = quaternion(made.poses.rotation[t])
        numbers = " ".join(f"{v:.9f}" for v in (*made.poses.translation[t], x, y, z, w))
        poses.append(f"{at:.6f} {numbers}")
    for name, lines in (("rgb.txt", color), ("depth.txt", deep), ("groundtruth.txt", poses)):
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def write_seven_scenes(folder: Path, made: Recording, beside: bool = False) -> Path:
    """Colour, depth (`beside`: of the camera beside it, whose poses are then those given) and poses, a file a frame."""
    poses = made.poses
    if beside:
        poses = Pose("world", "color", poses.rotation, poses.translation) @ Pose(
            "color", "depth", np.repeat(made.T_color_depth.rotation[None], made.num_frames, 0),
            np.repeat(made.T_color_depth.translation[None], made.num_frames, 0))
    for t in range(made.num_frames):
        stem = folder / f"frame-{t:06d}"
        _write(stem.with_suffix(".color.png"), made.color[t])
        _write(stem.with_suffix(".depth.png"), depth_image((made.beside if beside else made.depth)[t], 1000))
        np.savetxt(stem.with_suffix(".pose.txt"), poses.matrix()[t], fmt="%.9f")
    return folder


def write_folders(folder: Path, made: Recording) -> Path:
    """color, depth, Open3D's intrinsics and trajectory."""
    log = []
    for t in range(made.num_frames):
        _write(folder / f"color/{t:05d}.png", made.color[t])
        _write(folder / f"depth/{t:05d}.png", depth_image(made.depth[t], 1000))
        log += [f"{t} {t} {t + 1}", *(" ".join(f"{v:.9f}" for v in row) for row in made.poses.matrix()[t])]
    (folder / "trajectory.log").write_text("\n".join(log) + "\n")
    (folder / "camera.json").write_text(json.dumps({
        "width": made.camera.width, "height": made.camera.height,
        "intrinsic_matrix": made.camera.matrix.T.ravel().tolist()}))
    return folder
