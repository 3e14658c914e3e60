"""Camera motion: the odometry as a whole, on pictures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from curate.geometry import trajectories
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3

cv2 = pytest.importorskip("cv2")

from curate.perception.camera.config import StereoVoConfig  # noqa: E402
from curate.perception.camera.consensus import find_motion  # noqa: E402
from curate.perception.camera.stereo_vo import StereoVo  # noqa: E402
from curate.perception.estimator import Window  # noqa: E402
from curate.perception.pipeline import spans  # noqa: E402

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
SMALL = StereoRig(Intrinsics(300, 300, 159.5, 95.5, 320, 192), 0.25)
TILT = np.sqrt(0.5)
PANELS = [(np.array([0, 0, 16.0]), [1, 0, 0], [0, 1, 0], (90, 60)),  # back wall: centre, axes, size (m)
          (np.array([0, 3.0, 12.0]), [1, 0, 0], [0, -TILT, TILT], (60, 20)),  # a ramp, rising away from the camera
          (np.array([-6.0, 0, 13.0]), [TILT, 0, TILT], [0, 1, 0], (20, 40))]  # a wall on the left, receding


def texture(seed, contrast=1.0):
    """Smooth random grey, [1024, 1024]: several octaves, none above what a pixel shows."""
    rng = np.random.default_rng(seed)
    out = np.zeros((1024, 1024), np.float32)
    for size in (16, 32, 64, 128):
        out += cv2.resize(rng.normal(0, 1, (size, size)).astype(np.float32), (1024, 1024),
                          interpolation=cv2.INTER_CUBIC)
    return 128 + contrast * 32 * (out - out.mean()) / out.std()


def photograph(rig, pose, panels, textures, metres=10.0):
    """Nearest textured panel along each ray of one camera, uint8 [H, W]. A texture repeats after `metres`."""
    direction = rig.left.rays() @ pose.rotation.T
    nearest, out = np.full(direction.shape[:2], np.inf), np.full(direction.shape[:2], 128, np.float32)
    for (centre, ex, ey, size), image in zip(panels, textures):
        normal = np.cross(ex, ey)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = ((centre - pose.translation) @ normal) / (direction @ normal)
            at = pose.translation + depth[..., None] * direction - centre
            x, y = at @ np.asarray(ex, float), at @ np.asarray(ey, float)
            hit = (depth > 0.1) & (depth < nearest) & (np.abs(x) < size[0] / 2) & (np.abs(y) < size[1] / 2)
        tx, ty = (np.where(hit, v, 0) * 1024 / metres % 1024 for v in (x, y))
        grey = cv2.remap(np.pad(image, ((0, 2), (0, 2)), mode="wrap"), tx.astype(np.float32), ty.astype(np.float32),
                         cv2.INTER_LINEAR)
        out, nearest = np.where(hit, grey, out), np.where(hit, depth, nearest)
    return out


def film(poses, moving=None, contrast=1.0, noise=1.0, seed=0):
    """Left and right pictures [T, H, W] uint8; `moving(frame)` gives one more panel."""
    rng = np.random.default_rng(seed)
    textures = [texture(k, contrast) for k in range(4)]
    views = ([], [])
    for f in range(len(poses)):
        panels = PANELS + ([moving(f)] if moving else [])
        for view, eye in zip(views, (0.0, SMALL.baseline_m)):
            pose = Pose("world", "cam", poses.rotation[f], poses.translation[f] + poses.rotation[f] @ [eye, 0, 0])
            grey = photograph(SMALL, pose, panels, textures)
            view.append(np.clip(np.rint(grey + rng.normal(0, noise, grey.shape)), 0, 255).astype(np.uint8))
    return np.stack(views[0]), np.stack(views[1])


@dataclass
class Tracked:
    """What the odometry said of a film."""

    poses: Pose
    step_cov: np.ndarray
    pose_cov: np.ndarray
    valid: np.ndarray

    def distance2(self, truth, i, j):
        """Squared Mahalanobis distance of the motion from i to j, per degree of freedom."""
        error = motion_error(self.poses, truth, i, j)
        cov = trajectories.displacement_covariance(self.poses, self.step_cov, i, j, self.pose_cov)
        return error @ np.linalg.solve(cov, error) / 6


def motion_error(poses, truth, i, j):
    """True minus measured motion from frame i to j: rotation vector and translation, in the axes of i."""
    turn, step = ((p.rotation[i].T @ p.rotation[j], p.rotation[i].T @ (p.translation[j] - p.translation[i]))
                  for p in (truth, poses))
    return np.concatenate([log_so3(turn[0] @ step[0].T), turn[1] - step[1]])


def track(left, right, window=8, rig=SMALL, config=None, seed=3):
    """Poses, covariance of each step by itself, and which frames are valid."""
    told = told_of(left, right, window, rig, config, seed)
    return told.poses, trajectories.step_totals(told.poses, told.step_cov, told.pose_cov), told.valid


def told_of(left, right, window=8, rig=SMALL, config=None, seed=3):
    """The odometry over a film, as the pipeline drives it; checks that published poses stay."""
    estimator = StereoVo(config or StereoVoConfig())
    estimator.setup()
    carry, fields = {}, []
    for start, stop in spans(len(left), window, 1):
        overlap = 1 if start else 0
        field = estimator.run(Window(start, overlap, stop == len(left), [], [left[start:stop], right[start:stop]],
                                     np.arange(start, stop) / 10, rig, rig.left, seed, {}, carry))["camera"]
        assert field.sigma.shape == (stop - start, 6, 6)
        if overlap:
            np.testing.assert_array_equal(field.values.translation[0], fields[-1].values.translation[-1])
            np.testing.assert_array_equal(field.sigma[0], fields[-1].sigma[-1])
            np.testing.assert_array_equal(field.info["frame_cov"][0], fields[-1].info["frame_cov"][-1])
        fields.append(field)
    join = [np.concatenate([f[int(i > 0):] for i, f in enumerate(parts)]) for parts in (
        [f.values.rotation for f in fields], [f.values.translation for f in fields], [f.sigma for f in fields],
        [f.valid for f in fields], [f.info["frame_cov"] for f in fields])]
    return Tracked(Pose("world", "cam", join[0], join[1]), join[2], join[4], join[3])


def straight(num, step, turn=(0, 0, 0)):
    return trajectories.accumulate(Pose("before", "after", np.broadcast_to(exp_so3(turn), (num - 1, 3, 3)),
                                        np.broadcast_to(np.array(step, float), (num - 1, 3))))


def hand_held(num, seed=0):
    time_s, rng = np.arange(num) / 10, np.random.default_rng(seed)
    phase, speed = rng.uniform(0, 6, 6), rng.uniform(1, 4, 6)
    wave = np.sin(speed * time_s[:, None] + phase) - np.sin(phase)
    poses = Pose("world", "cam", exp_so3(wave[:, :3] * 0.015), wave[:, 3:] * [0.03, 0.03, 0.03])
    return poses


def test_a_still_camera_is_still():
    left, right = film(straight(24, [0, 0, 0]), noise=1.5)
    told = told_of(left, right)
    poses = told.poses
    assert told.valid.all()
    distance = np.linalg.norm(poses.translation, axis=-1)
    assert distance.max() < 0.004
    end = trajectories.displacement_covariance(poses, told.step_cov, 0, 23, told.pose_cov)[3:, 3:]
    assert poses.translation[-1] @ np.linalg.solve(end, poses.translation[-1]) < 16.3  # χ²₃ at 0.1 %
    assert np.sqrt(np.diag(end)).max() < 0.004  # nothing adds up: no more than twice a single step's
    assert np.diag(end).max() < 4 * np.diag(trajectories.displacement_covariance(
        poses, told.step_cov, 10, 11, told.pose_cov)[3:, 3:]).max()
    assert not told.step_cov[0].any()


@pytest.mark.parametrize("truth", [straight(16, [0, 0, 0.35]), straight(16, [0.02, 0, 0.15], (0, 0.02, 0)),
                                   hand_held(20)], ids=["driving", "turning", "hand-held"])
def test_motion_is_measured_and_its_error_known(truth):
    left, right = film(truth)
    poses, cov, valid = track(left, right)
    assert valid.all()
    length = trajectories.path_length(truth)
    assert np.linalg.norm(poses.translation - truth.translation, axis=-1).max() < 0.005 + 0.01 * length
    assert np.degrees(trajectories.rotation_angle(
        Pose("world", "cam", np.stack([truth.rotation[-1], poses.rotation[-1]]), np.zeros((2, 3))), 0, 1)) < 0.1
    mine, true = trajectories.steps(poses), trajectories.steps(truth)
    error = np.concatenate([log_so3(true.rotation @ np.swapaxes(mine.rotation, -1, -2)),
                            true.translation - mine.translation], -1)
    distance2 = np.einsum("ti,tij,tj->t", error, np.linalg.inv(cov[1:]), error)
    assert np.median(distance2) < 3 * 5.35


@pytest.mark.parametrize("truth", [straight(14, [0, 0, 0]), straight(14, [0, 0, 0.2])], ids=["still", "driving"])
def test_a_large_near_mover_is_not_the_world(truth):
    def moving(f):
        return np.array([-1.4 + 0.12 * f, 0.0, 4.0 + truth.translation[f, 2]]), [1, 0, 0], [0, 1, 0], (2.6, 1.8)

    left, right = film(truth, moving)
    poses, _, valid = track(left, right)
    assert valid.all()
    assert np.linalg.norm(poses.translation - truth.translation, axis=-1).max() < 0.01 + 0.01 * (
        trajectories.path_length(truth))


@pytest.mark.parametrize("travel_m, object_m", [(0.0, 0.02), (0.01, 0.0), (0.03, 0.0)])
def test_before_a_far_wall_a_slow_near_mover_is_not_the_world(travel_m, object_m):
    """A far wall fits any small travel; what rests is told by how well it is matched. A slow camera is not still."""
    rng = np.random.default_rng(5)
    far, ground, mover = (np.column_stack([rng.uniform(-20, 20, 220), rng.uniform(-10, 4, 220), np.full(220, 40.0)]),
                          np.column_stack([rng.uniform(-3, 3, 40), np.full(40, 1.5), rng.uniform(4, 9, 40)]),
                          np.column_stack([rng.uniform(-0.5, 0.5, (40, 2)), np.full(40, 3.0)]))
    points = np.concatenate([far, ground, mover])
    moves = np.arange(len(points)) >= len(points) - len(mover)
    after = points - [0, 0, travel_m] - np.where(moves, object_m, 0.0)[:, None] * [0, 0, 1]

    def seen(p):
        cam = SMALL.left
        uv = p[:, :2] / p[:, 2:] * cam.fx + [cam.cx, cam.cy]
        return np.column_stack([uv, cam.fx * SMALL.baseline_m / p[:, 2]])

    before = seen(points)
    now = seen(after) + rng.normal(0, 0.02, (len(points), 3))
    found = find_motion(SMALL, before, now, np.full((len(points), 3), 0.12), np.zeros(len(points)),
                        (np.eye(3), np.zeros(3)), seed=1)
    assert abs(found.translation[2] + travel_m) < 0.002
    assert bool(found.inlier[moves].mean() > 0.95) == (object_m == 0) and found.inlier[~moves].mean() > 0.95


@pytest.mark.parametrize("pan", [0.0, 0.01])
def test_far_features_that_follow_both_do_not_lend_a_compact_mover_their_spread(pan):
    """A wall far away fits the world's motion and a near mover's, but for the noise; the nearer world is scattered and
    has fewer features than the mover. The camera rests, or turns by 0.01 rad."""
    rng = np.random.default_rng(3)
    image = rng.uniform([15, 15], [305, 90], (30, 2)), rng.uniform([10, 10], [310, 180], (14, 2)), rng.uniform(
        [210, 90], [250, 150], (60, 2))
    depth = np.full(30, 120.0), rng.uniform(8, 12, 14), rng.uniform(7, 7.5, 60)
    points = np.concatenate([np.c_[(uv - [159.5, 95.5]) / 300, np.ones(len(uv))] * z[:, None]
                             for uv, z in zip(image, depth)])
    mover = np.arange(len(points)) >= 44
    after = points + np.where(mover[:, None], [0.12, 0, 0.0], 0.0)
    turn = np.array([[np.cos(pan), 0, np.sin(pan)], [0, 1, 0], [-np.sin(pan), 0, np.cos(pan)]])
    after = after @ turn.T

    def seen(p):
        uv = 300 * p[:, :2] / p[:, 2:] + [159.5, 95.5]
        return np.c_[uv, 75 / p[:, 2]]

    for seed in range(10):
        noise = np.random.default_rng(seed).normal(0, 0.05, points.shape)
        found = find_motion(SMALL, seen(points), seen(after) + noise, np.full(points.shape, 0.12),
                            np.zeros(len(points)), (np.eye(3), np.zeros(3)), seed)
        assert np.abs(found.translation).max() < 0.03, "the mover's motion is 0.12 m"
        assert found.inlier[~mover].all() and not found.inlier[mover].any()


def test_little_texture_still_gives_motion_with_a_larger_error():
    truth = straight(10, [0.01, 0, 0.1])
    (poses, cov, valid), (_, rich, _) = (track(*film(truth, contrast=c)) for c in (0.12, 1.0))
    assert valid.all()
    assert np.linalg.norm(poses.translation[-1] - truth.translation[-1]) < 0.1
    assert np.trace(cov[-1]) > np.trace(rich[-1])


def test_a_lost_frame_is_said_and_survived():
    truth = straight(12, [0, 0, 0.3])
    left, right = film(truth)
    left[5], right[5] = 0, 0
    poses, cov, valid = track(left, right)
    assert not valid[5] and valid[:5].all() and valid[7:].all()
    lost = ~valid
    assert np.sqrt(cov[lost][:, 5, 5]).min() > 0.3
    assert np.abs(poses.translation[-1] - truth.translation[-1]).max() < 0.3
    after = np.diff(poses.translation[7:], axis=0)
    np.testing.assert_allclose(np.linalg.norm(after, axis=-1), 0.3, atol=0.01)


def test_a_blank_film_is_not_valid_but_has_poses():
    blank = np.full((5, 192, 320), 90, np.uint8)
    poses, cov, valid = track(blank, blank)
    assert list(valid) == [True] + [False] * 4
    assert not poses.translation.any() and (cov[1:, 3, 3] > 0.1).all()


def test_windows_hardly_matter_and_runs_repeat():
    truth = hand_held(13, seed=2)
    left, right = film(truth)
    (a, _, _), (b, _, _), (c, _, _) = (track(left, right, window) for window in (4, 13, 4))
    np.testing.assert_array_equal(a.translation, c.translation)
    np.testing.assert_allclose(a.translation, b.translation, atol=0.004)


def test_requests_that_cannot_be_met_are_refused():
    left = np.zeros((3, 192, 320), np.uint8)
    estimator = StereoVo(StereoVoConfig())
    with pytest.raises(ValueError, match="stereo pair"):
        estimator.run(Window(0, 0, True, [], [left], np.arange(3.0), None, SMALL.left, 0))
    carry = {}
    estimator.run(Window(0, 0, False, [], [left, left], np.arange(3.0), SMALL, SMALL.left, 0, {}, carry))
    with pytest.raises(ValueError, match="overlaps"):
        estimator.run(Window(3, 0, True, [], [left, left], np.arange(3.0), SMALL, SMALL.left, 0, {}, carry))
    with pytest.raises(ValueError, match="num_feature"):
        StereoVoConfig(num_feature=3)


def test_carry_is_sparse():
    left, right = film(straight(9, [0, 0, 0.3]))
    estimator, carry = StereoVo(StereoVoConfig()), {}
    estimator.run(Window(0, 0, False, [], [left, right], np.arange(9.0), SMALL, SMALL.left, 0, {}, carry))
    memory = carry["stereo-vo"]
    live = memory.live
    size = sum(v.nbytes for part in (live, memory.points, *memory.sightings) for v in vars(part).values())
    assert size < 1 << 20
    assert len(memory.born) == len(live)


def test_settings_import_without_heavy_packages():
    code = ("import sys, curate.perception.camera.config, curate.geometry.trajectories; "
            "assert not {'cv2', 'scipy', 'open3d'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.shared
@pytest.mark.parametrize("name, percent", [("stereo_kitti06_gray", 1.0), ("stereo_kitti02_color", 3.0)])
def test_real_driving(name, percent):
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {name} under {SHARED}")
    from benchmarks.kitti import run_odometry, sequences

    folder = next(f for f in sequences(SHARED) if f.name == name)
    run = run_odometry(folder)
    assert run.valid.all()
    assert abs(run.path_error_percent) <= percent
    assert run.rotation_error_deg < 1.5
