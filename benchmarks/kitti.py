"""Camera motion on real stereo sequences with known poses: `python -m benchmarks.kitti --data DIR --out FILE`.

A sequence is any folder with `calib.json`, `left`, `right` and `poses_*.txt` (rows of 3 x 4, camera to world).
Poses are of the camera whose axes the P matrices refer to (KITTI's cam 0); the left camera's own truth is that
pose joined with the lever arm and the rectifying rotation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.table import Row, at_most, report, row, skipped
from curate.geometry.poses import Pose
from curate.geometry.rotations import log_so3
from curate.geometry.trajectories import path_length, step_totals, steps
from curate.scene import RigState

PATH_TARGET_PERCENT = 3.0
NAMED_TARGETS = {"stereo_kitti06_gray": 0.5, "stereo_kitti02_color": 1.0}  # where more is asked
ROTATION_TARGETS_DEG = {"stereo_kitti06_gray": 0.5, "stereo_kitti02_color": 0.2}
RIG_SECONDS_TARGET = 0.1  # of a 1226 x 370 frame of the clip, for the check of the rig
SECONDS_TARGET = 0.15  # of a 1226 x 370 frame on one core


@dataclass
class Run:
    """A measured trajectory beside the true one."""

    measured: Pose  # T_world_cam [T]
    truth: Pose  # T_world_cam [T], world = the first camera
    step_cov: np.ndarray  # [T, 6, 6] of each step by itself
    valid: np.ndarray  # [T]
    seconds_per_frame: float
    info: dict
    rig: RigState | None
    rig_seconds_per_frame: float

    @property
    def path_error_percent(self) -> float:
        return 100 * (path_length(self.measured) / path_length(self.truth) - 1)

    @property
    def step_rmse_mm(self) -> float:
        lengths = [np.linalg.norm(steps(p).translation, axis=-1) for p in (self.measured, self.truth)]
        return float(1000 * np.sqrt(np.mean((lengths[0] - lengths[1]) ** 2)))

    @property
    def rotation_error_deg(self) -> float:
        return float(np.degrees(np.linalg.norm(log_so3(self.truth.rotation[-1].T @ self.measured.rotation[-1]))))

    @property
    def step_error_ratio(self) -> float:
        """Median squared Mahalanobis distance of the steps over that of χ²₆: 1 where the covariance is right."""
        mine, true = steps(self.measured), steps(self.truth)
        error = np.concatenate([log_so3(true.rotation @ np.swapaxes(mine.rotation, -1, -2)),
                                true.translation - mine.translation], -1)
        distance2 = np.einsum("ti,tij,tj->t", error, np.linalg.inv(self.step_cov[1:]), error)
        return float(np.median(distance2) / 5.348)


def sequences(data: Path) -> list[Path]:
    """Folders with calibration, both views and poses, by content."""
    folders = [data, *sorted(p for p in data.glob("*") if p.is_dir())]
    return [f for f in folders if (f / "calib.json").is_file() and (f / "left").is_dir() and (f / "right").is_dir()
            and list(f.glob("poses_*.txt"))]


def run_odometry(folder: Path, config=None, check_rig: bool = True) -> Run:
    """Stereo odometry over one sequence, window by window as the pipeline does it, on frames whose rig is checked and
    corrected first unless it is taken as published."""
    from curate.perception.camera.config import StereoVoConfig
    from curate.perception.camera.stereo_vo import StereoVo
    from curate.perception.estimator import Window
    from curate.perception.pipeline import spans
    from curate.perception.rig.config import RigConfig
    from curate.perception.rig.correction import CorrectedFrames
    from curate.perception.rig.estimate import estimate_rig
    from curate.sources import make_source
    from curate.sources.config import ClipConfig, StereoPairConfig

    times = sorted(p.name for p in folder.glob("times*.txt"))
    fps = json.loads((folder / "calib.json").read_text()).get("fps")
    source = make_source(StereoPairConfig(root=str(folder), timestamps=times[0] if times else None,
                                          fps=None if times else fps), ClipConfig(num_frames=4096))
    clip = next(c for c in source.plan() if not isinstance(c, tuple))
    frames = source.open(clip)
    rig, begin = None, time.process_time()
    if check_rig:
        rig = estimate_rig(frames, RigConfig(), 0)
        frames = CorrectedFrames(frames, rig.applied)
    rig_seconds = time.process_time() - begin
    estimator = StereoVo(config or StereoVoConfig())
    estimator.setup()
    carry, fields, seconds = {}, [], 0.0
    for start, stop in spans(frames.num_frames, estimator.window, estimator.overlap):
        images = frames.read(start, stop)
        window = Window(start, estimator.overlap if start else 0, stop == frames.num_frames, images,
                        [_grey(view) for view in images], np.asarray(frames.time_s[start:stop]), frames.rig,
                        frames.views[0].camera, 0, {}, carry)
        begin = time.process_time()  # of one thread, whatever else the machine does
        field = estimator.run(window)["camera"]
        seconds += time.process_time() - begin
        fields.append((window.overlap, field))
    frames.close()
    poses = Pose("world", "cam", *(np.concatenate([getattr(f.values, name)[o:] for o, f in fields])
                                   for name in ("rotation", "translation")))
    step_cov = step_totals(poses, np.concatenate([f.sigma[o:] for o, f in fields]),
                           np.concatenate([f.info["frame_cov"][o:] for o, f in fields]))
    return Run(poses, true_poses(folder), step_cov,
               np.concatenate([f.valid[o:] for o, f in fields]), seconds / frames.num_frames, fields[-1][1].info,
               rig, rig_seconds / frames.num_frames)


def true_poses(folder: Path) -> Pose:
    """T_world_cam [T] of the rectified left camera, world = that camera at the first frame."""
    import cv2

    from curate.sources.calibration import decompose_projection, load
    from curate.sources.rectify import rectify

    reference = Pose.from_matrix("given", "cam0", np.loadtxt(sorted(folder.glob("poses_*.txt"))[0]).reshape(-1, 3, 4))
    calibration = folder / "calib.json"
    first = sorted((folder / "left").iterdir())[0]
    image = cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
    is_grey = image.ndim == 2
    cameras = load(calibration, None, is_grey).at(image.shape[1], image.shape[0], str(calibration))
    turn = rectify(cameras, str(folder)).R_rectified_left
    matrices = json.loads(calibration.read_text())
    number = next((n for n in ((0, 2) if is_grey else (2, 0)) if f"P{n}" in matrices), None)
    _, rotation, translation = (None, np.eye(3), np.zeros(3)) if number is None else decompose_projection(
        np.array(matrices[f"P{number}"], float))
    cam_cam0 = Pose("cam", "rectified", turn, np.zeros(3)) @ Pose("rectified", "cam0", rotation, translation)
    cam0_cam = cam_cam0.inverse()
    num = len(reference)
    given = reference @ Pose("cam0", "cam", np.broadcast_to(cam0_cam.rotation, (num, 3, 3)),
                             np.broadcast_to(cam0_cam.translation, (num, 3)))
    start = given[0].inverse()
    return Pose("world", "given", start.rotation, start.translation) @ given


def rows_of(folder: Path, run: Run) -> list[Row]:
    name = folder.name
    target = NAMED_TARGETS.get(name, PATH_TARGET_PERCENT)
    rotation = row(f"{name}: rotation error over all frames", run.rotation_error_deg, "deg")
    if name in ROTATION_TARGETS_DEG:
        rotation = at_most(rotation["name"], rotation["value"], "deg", ROTATION_TARGETS_DEG[name])
    checked = []
    if run.rig is not None:
        pan, sigma = np.degrees([run.rig.theta[1], run.rig.pan_sigma])
        checked = [row(f"{name}: pan of the right camera", pan, "deg"), row(f"{name}: its error", sigma, "deg"),
                   row(f"{name}: pan that was corrected", np.degrees(run.rig.applied[1]), "deg"),
                   at_most(f"{name}: check of the rig, time per frame", run.rig_seconds_per_frame, "s",
                           RIG_SECONDS_TARGET)]
    return [at_most(f"{name}: path length error", abs(run.path_error_percent), "%", target),
            row(f"{name}: path length error, signed", run.path_error_percent, "%"),
            row(f"{name}: path length, truth", path_length(run.truth), "m"),
            row(f"{name}: RMSE of step length", run.step_rmse_mm, "mm"),
            rotation,
            row(f"{name}: median step error over its covariance", run.step_error_ratio, "(1 = honest)"),
            row(f"{name}: frames measured", 100 * float(run.valid.mean()), "%"),
            at_most(f"{name}: time per frame", run.seconds_per_frame, "s", SECONDS_TARGET),
            *checked]


def _grey(view: np.ndarray) -> np.ndarray:
    import cv2

    return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in view])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--as-published", action="store_true", help="take the published rig as exact")
    args = parser.parse_args(argv)
    found = sequences(args.data) if args.data.is_dir() else []
    rows = [r for folder in found for r in rows_of(folder, run_odometry(folder, check_rig=not args.as_published))]
    if not found:
        rows = [skipped("stereo sequences with poses", f"none under {args.data}")]
    return report("Camera motion on real sequences", rows, args.out)


if __name__ == "__main__":
    sys.exit(main())
