"""Scenes with exactly known motion, made without pixels: estimates drawn around the truth from stated covariances.

The noise is physical (pixels, disparity, pose steps, baseline), and only its covariance is written into the
scene, so that a coverage test of the measurement does not share code with what it tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose, relative
from curate.geometry.rotations import exp_so3, log_so3, yaw_pitch_roll
from curate.scene import Region, Scene

Path = Callable[[np.ndarray], np.ndarray]  # time [n] s -> position [n, 3] m in the world
TURNS = ("camera_yaw", "camera_pitch", "camera_roll")
FINE = 24  # samples between two frames, for true arc lengths and peak speeds


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the estimates' errors. `Noise.none()` gives an exact scene."""

    own_px: float = 0.15  # u, v of the reference point, every frame anew
    own_disparity_px: float = 0.05
    shared_px: float = 0.05  # one draw for a region, all frames
    shared_disparity_px: float = 0.05
    drift_px: float = 0.01  # u, v, disparity; accumulates from frame to frame
    step_rad: float = 1e-4  # camera motion, each frame
    step_m: float = 3e-4
    step_share: float = 2e-3  # of the step's length
    scale: float = 0.005  # relative

    @staticmethod
    def none() -> Noise:
        return Noise(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass
class Truth:
    """What really moves, at the frames and between them."""

    time_s: np.ndarray  # [T]
    camera: Pose  # T_world_cam, [T]
    points: dict[int, np.ndarray]  # region id -> [T, 3] m, world
    paths: dict[int, Path]
    camera_path: Path
    scale: float  # true length / estimated length
    moving: dict[int, bool]
    noise: Noise = field(default_factory=Noise)

    def _fine(self, path: Path, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        t = np.linspace(self.time_s[i], self.time_s[j], (j - i) * FINE + 1)
        return t, path(t)

    def value(self, kind: str, subjects: Sequence[int], span: tuple[int, int]) -> float | np.ndarray:
        """The true number of a measurement kind; vectors for directions (in the axes of camera `span[0]`)."""
        i, j = span
        rotation_i = self.camera.rotation[i]
        if kind == "camera_rotation":
            return float(np.linalg.norm(log_so3(relative(self.camera, i, j).rotation)))
        if kind in TURNS:
            return float(yaw_pitch_roll(relative(self.camera, i, j).rotation)[TURNS.index(kind)])
        if kind.startswith("camera_"):
            path, points = self.camera_path, self.camera.translation
        elif subjects:
            path, points = self.paths[subjects[0]], self.points[subjects[0]]
        if kind in ("camera_displacement", "object_displacement"):
            return float(np.linalg.norm(points[j] - points[i]))
        if kind in ("camera_direction", "object_direction"):
            return rotation_i.T @ (points[j] - points[i])
        if kind in ("lateral_shift", "longitudinal_shift"):
            return float((rotation_i.T @ (points[j] - points[i]))[0 if kind == "lateral_shift" else 2])
        if kind.endswith("_acceleration"):
            before, after = (self.value(kind.replace("acceleration", "mean_speed"), subjects, part)
                             for part in ((i, (i + j) // 2), ((i + j) // 2, j)))
            return (after - before) / float(self.time_s[j] - self.time_s[i]) * 2
        if kind.endswith(("_path_length", "_mean_speed", "_peak_speed")):
            t, x = self._fine(path, i, j)
            steps = np.linalg.norm(np.diff(x, axis=0), axis=-1)
            if kind.endswith("_peak_speed"):
                return float((steps / np.diff(t)).max())
            return float(steps.sum() / (t[-1] - t[0] if kind.endswith("_mean_speed") else 1))
        distance = np.linalg.norm(points - self.camera.translation, axis=-1)
        if kind == "object_camera_distance":
            return float(distance[i])
        if kind == "object_camera_distance_change":
            return float(distance[j] - distance[i])
        if kind == "object_object_distance":
            return float(np.linalg.norm(points[i] - self.points[subjects[1]][i]))
        if kind == "object_object_distance_change":
            apart = np.linalg.norm(points - self.points[subjects[1]], axis=-1)
            return float(apart[j] - apart[i])
        raise KeyError(kind)


def camera_motion(kind: str, rng: np.random.Generator) -> tuple[Path, Path]:
    """Position and rotation vector over time: "still", "hand-held" or "driving". Identity at time 0."""
    if kind == "still":
        return (lambda t: np.zeros((len(t), 3))), (lambda t: np.zeros((len(t), 3)))
    phase = rng.uniform(0, 2 * np.pi, (2, 3))
    if kind == "hand-held":
        sway, turn, drift = rng.uniform(.01, .05, 3), rng.uniform(.005, .03, 3), rng.normal(0, .15, 3)
        pace = rng.uniform(.6, 1.4, 3) * 2 * np.pi
        return (lambda t: drift * t[:, None] + sway * (np.sin(pace * t[:, None] + phase[0]) - np.sin(phase[0])),
                lambda t: turn * (np.sin(pace * t[:, None] + phase[1]) - np.sin(phase[1])))
    if kind == "driving":
        speed, accel, yaw = rng.uniform(4, 12), rng.uniform(-1.5, 1.5), rng.uniform(-.12, .12)

        def position(t):
            s = speed * t + accel * t**2 / 2
            return np.stack([yaw * speed * t**2 / 2, 0 * t, s], -1)
        return position, lambda t: np.stack([0 * t, yaw * t, 0 * t], -1)
    raise ValueError(f'camera must be "still", "hand-held" or "driving", got {kind!r}')


def object_paths(camera: str, rng: np.random.Generator) -> list[tuple[str, Path, bool]]:
    """Four objects before the camera: one still, one straight, one accelerating on a bend, one to and fro."""
    near, far = (2.5, 9.0) if camera != "driving" else (18.0, 32.0)
    pace = 1.0 if camera != "driving" else 5.0
    depth = rng.uniform(near, far, 4)
    start = np.stack([rng.uniform(-.28, .28, 4) * depth, rng.uniform(-.12, .12, 4) * depth, depth], -1)
    velocity = rng.normal(0, [.6, .08, .6], (4, 3)) * pace
    bend = rng.normal(0, [.4, .05, .4], (4, 3)) * pace
    swing = rng.uniform(.1, .4) * np.array([1, .2, .6])
    omega, phase = rng.uniform(.4, 1.2) * 2 * np.pi, rng.uniform(0, 2 * np.pi)
    return [
        ("still", lambda t: np.repeat(start[:1], len(t), 0), False),
        ("straight", lambda t: start[1] + velocity[1] * t[:, None], True),
        ("bend", lambda t: start[2] + velocity[2] * t[:, None] + bend[2] * t[:, None] ** 2 / 2, True),
        ("swing", lambda t: start[3] + swing * (np.sin(omega * t[:, None] + phase) - np.sin(phase)), True)]


def _paths_in_front(camera: str, poses: Pose, time_s: np.ndarray, rng: np.random.Generator, nearest_m: float = 1.0):
    """`object_paths`, drawn again until every object stays before the camera."""
    while True:
        objects = object_paths(camera, rng)
        depth = [np.einsum("tj,tj->t", poses.rotation[:, :, 2], path(time_s) - poses.translation)
                 for _, path, _ in objects]
        if np.min(depth) > nearest_m:
            return objects


def make_scene(seed: int = 0, camera: str = "still", num_frames: int = 24, num_regions: int = 4,
               noise: Noise | None = None, fps: float = 24.0, irregular: bool = False, gaps: bool = False,
               paths: Sequence[tuple[str, Path, bool]] | None = None, scale: str = "calibrated",
               baseline_m: float | None = None, size: tuple[int, int] = (640, 360)) -> tuple[Scene, Truth]:
    """A scene as perception would give it, and its truth.

    Args:
        camera: "still", "hand-held" or "driving".
        num_regions: of `paths`, in order; region 1 is the still one by default.
        noise: None for the defaults, `Noise.none()` for an exact scene.
        irregular: frame times jitter by 30 % of the interval and one frame is dropped.
        gaps: every region but the first is unseen in some frames in the middle of the clip.
        paths: (label, position over time [n] -> [n, 3], moves) for each object, world = camera 0.
        size: image width and height, pixels.
    """
    rng = np.random.default_rng(seed)
    noise = Noise() if noise is None else noise
    width, height = size
    driving = camera == "driving"
    fx = (1.1 if driving else 0.9) * width
    intrinsics = Intrinsics(fx, fx, (width - 1) / 2, (height - 1) / 2, width, height)
    baseline = baseline_m or (0.54 if driving else 0.12)
    rig = StereoRig(intrinsics, baseline)
    time_s = np.arange(num_frames) / fps
    if irregular:
        time_s[1:] += rng.uniform(-.3, .3, num_frames - 1) / fps
        time_s[num_frames // 2:] += 1 / fps
    camera_path, camera_turn = camera_motion(camera, rng)
    true_camera = Pose("world", "cam", exp_so3(camera_turn(time_s)), camera_path(time_s))
    objects = list(paths if paths is not None else _paths_in_front(camera, true_camera, time_s, rng))[:num_regions]

    stretch = 1 + noise.scale * rng.standard_normal()  # true length = estimated length * stretch
    poses, step_cov = _noisy_camera(true_camera, noise, stretch, rng)
    regions, points = [], {}
    for region_id, (label, path, _) in enumerate(objects, 1):
        points[region_id] = path(time_s)
        cam_points = np.einsum("tji,tj->ti", true_camera.rotation, points[region_id] - true_camera.translation)
        seen = np.ones(num_frames, bool)
        if gaps and region_id > 1:
            seen[num_frames // 3:num_frames // 3 + 1 + region_id] = False
        regions.append(_region(region_id, label, cam_points, seen, intrinsics, rig, noise, stretch, time_s, rng))
    truth = Truth(time_s, true_camera, points, {i: o[1] for i, o in enumerate(objects, 1)}, camera_path, stretch,
                  {i: o[2] for i, o in enumerate(objects, 1)}, noise)
    key = f"{seed:08x}{num_frames:04x}{['still', 'hand-held', 'driving'].index(camera):04x}00000000"
    scene = Scene(
        key=key, clip={"key": key, "kind": "rendered", "uri": f"factory-{camera}-{seed}.mp4",
                       "recording": f"factory-{camera}-{seed}", "start": 0, "num_frames": num_frames, "params": {}},
        time_s=time_s, camera=intrinsics, baseline_m=baseline, baseline_sigma_m=noise.scale * baseline, scale=scale,
        up="camera", up_world=np.array([0.0, -1, 0]), T_world_cam=poses, step_cov=step_cov,
        camera_valid=np.ones(num_frames, bool), regions=regions,
        origin={name: "factory@1" for name in ("depth", "flow", "camera", "motion", "regions")},
        stats={"depth_valid": 0.9})
    return scene, truth


def _noisy_camera(true: Pose, noise: Noise, stretch: float, rng: np.random.Generator) -> tuple[Pose, np.ndarray]:
    """Chains noisy steps: R_step is turned by an error on its left, t_step gets an additive one."""
    num_frames = len(true)
    rotation, translation = [true.rotation[0]], [true.translation[0]]
    step_cov = np.zeros((num_frames, 6, 6))
    for t in range(1, num_frames):
        step = relative(true, t - 1, t)
        sigma_m = np.hypot(noise.step_m, noise.step_share * np.linalg.norm(step.translation))
        step_cov[t] = np.diag([noise.step_rad**2] * 3 + [sigma_m**2] * 3)
        turn, shift = noise.step_rad * rng.standard_normal(3), sigma_m * rng.standard_normal(3)
        translation.append(translation[-1] + rotation[-1] @ (step.translation / stretch + shift))
        rotation.append(rotation[-1] @ exp_so3(turn) @ step.rotation)
    return Pose("world", "cam", np.stack(rotation), np.stack(translation)), step_cov


def _region(region_id: int, label: str, cam_points: np.ndarray, seen: np.ndarray, camera: Intrinsics, rig: StereoRig,
            noise: Noise, stretch: float, time_s: np.ndarray, rng: np.random.Generator) -> Region:
    num_frames = len(seen)
    if (cam_points[:, 2] <= 0).any():
        raise ValueError(f"object {label!r} passes behind the camera; choose another path or fewer frames")
    uv, disparity = camera.project(cam_points), rig.disparity(cam_points[:, 2] / stretch)
    uvd = np.concatenate([uv, disparity[:, None]], -1)  # exact pixels of the true scene
    own = np.array([noise.own_px, noise.own_px, noise.own_disparity_px])
    shared = np.array([noise.shared_px, noise.shared_px, noise.shared_disparity_px])
    drift = np.array([noise.drift_px] * 3)
    jitter = own * rng.standard_normal((num_frames, 3))
    bias = shared * rng.standard_normal(3)
    walk = np.cumsum(drift * rng.standard_normal((num_frames, 3)) * (np.arange(num_frames) > 0)[:, None], 0)
    # errors act in the pixels' own linear frame, so that the stated covariances are exactly those of the errors
    jacobian = rig.point_jacobian(uvd)
    point = rig.point(uvd) + np.einsum("tij,tj->ti", jacobian, jitter + bias + walk)
    cov = [(jacobian * s**2) @ np.swapaxes(jacobian, -1, -2) for s in (own, shared, drift)]
    cov[2][0] = 0

    size_m = np.array([.05, .04, .03]) * (1 + cam_points[0, 2])
    half = .5 * camera.fx * size_m[:2] / cam_points[:, 2:]
    centroid = uv + jitter[:, :2] + bias[:2]
    box = np.concatenate([centroid - half, centroid + half], -1)
    limit = np.array([camera.width - 1, camera.height - 1] * 2)
    box = np.clip(box, 0, limit)
    flow_sigma = np.full(num_frames, max(noise.own_px, 1e-3))
    flow = np.diff(uv, axis=0, append=uv[-1:]) + flow_sigma[:, None] * (noise.own_px > 0) * rng.standard_normal(
        (num_frames, 2))
    flow[-1] = np.nan
    mask = np.zeros((camera.height, camera.width), bool)
    first = int(np.argmax(seen))
    x0, y0, x1, y1 = np.round(box[first]).astype(int)
    mask[y0:max(y1, y0 + 1), x0:max(x1, x0 + 1)] = True
    hidden = ~seen
    for array in (box, centroid, point, flow):
        array[hidden] = np.nan
    moves = np.linalg.norm(np.diff(cam_points, axis=0), axis=-1).max() > 0
    return Region(
        id=region_id, first=first, last=int(np.flatnonzero(seen)[-1]), seen=seen, box=box, centroid_px=centroid,
        flow_px=flow, flow_sigma_px=flow_sigma, visible_fraction=np.where(seen, 1.0, 0.0), point_cam=point,
        cov_frame=cov[0], cov_shared=cov[1], step_cov=cov[2],
        nearest_m=np.where(seen, np.linalg.norm(point, axis=-1) - size_m[2] / 2, np.nan),
        nearest_sigma_m=np.sqrt(np.trace(cov[0] + cov[1], axis1=-2, axis2=-1)), extent_m=np.sort(size_m),
        mask_first=mask, motion_p=1e-9 if label != "still" and moves else .5)
