"""The rig's residual rotation: what it does, how it is found, corrected, carried and reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.geometry import trajectories
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.measure.draws import SceneDraws
from curate.measure.rig_effect import pan_of_path, pan_of_points
from curate.scene import RigState, Scene
from tests.analytic_scene import AnalyticFrames, Exact, ExactTracks, Plate, clip
from tests.scenes import Noise, make_scene

cv2 = pytest.importorskip("cv2")
pytest.importorskip("open3d")

from curate.perception.camera.bundle import Observations, Points, bundle_adjust  # noqa: E402
from curate.perception.camera.response import pan_effect, step_responses  # noqa: E402
from curate.perception.config import PerceptionConfig  # noqa: E402
from curate.perception.pipeline import perceive  # noqa: E402
from curate.perception.rig.config import RigConfig  # noqa: E402
from curate.perception.rig.correction import CorrectedFrames  # noqa: E402
from curate.perception.rig.estimate import estimate_rig, rig_of, turned_back  # noqa: E402
from curate.perception.rig.sightings import Sightings, chosen_frames  # noqa: E402
from curate.sources.rendered import RenderedFrames  # noqa: E402
from curate.synth import Renderer, sample_scene  # noqa: E402

RIG = StereoRig(Intrinsics(500, 500, 239.5, 134.5, 480, 270), 0.3)
DEG = np.pi / 180


# --- what a rotation does ---------------------------------------------------------------------------------------

def seen_by(rig: StereoRig, points: np.ndarray, theta) -> tuple[np.ndarray, np.ndarray]:
    """Left and right image positions of camera points [n, 3], the right camera turned by `theta`."""
    right = (points - [rig.baseline_m, 0, 0]) @ exp_so3(np.asarray(theta, float))
    return rig.left.project(points), rig.left.project(right) + [rig.doffs_px, 0]


def test_a_panned_rig_moves_points_as_the_first_order_says():
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, -1, 5], [3, 1, 20], (50, 3))
    pan = 1e-4
    left, right = seen_by(RIG, points, [0, pan, 0])
    measured = RIG.point(np.column_stack([left, left[:, 0] - right[:, 0]]))
    np.testing.assert_allclose((measured - points) / pan, pan_of_points(points, RIG.baseline_m), rtol=0.01, atol=0.5)
    assert (measured[:, 2] < points[:, 2]).all()  # a pan to the right makes everything look nearer


def test_the_renderer_turns_the_right_camera_the_same_way():
    scene = replace(sample_scene(3, 0, width=192, height=108), rig_rotation_deg=(0.5, 1.0, 2.0))
    renderer = Renderer(scene)
    depth, _ = renderer.geometry(0, 1)
    at = np.array([[60, 40], [130, 70], [96, 90]])
    inside = scene.rig.left.lift(at, depth[at[:, 1], at[:, 0]].astype(float))
    left = inside @ exp_so3(np.radians(scene.rig_rotation_deg)).T + [scene.rig.baseline_m, 0, 0]
    np.testing.assert_allclose(seen_by(scene.rig, left, np.radians(scene.rig_rotation_deg))[1], at, atol=1e-6)
    uv = np.rint(scene.rig.left.project(left)).astype(int)
    seen = (uv >= 0).all(1) & (uv < [192, 108]).all(1)
    there = renderer.geometry(0, 0)[0][uv[seen, 1], uv[seen, 0]]
    assert seen.any() and np.isclose(there, left[seen, 2], rtol=0.05).any()


def test_corrected_frames_are_those_of_the_published_rig():
    truth = sample_scene(3, 2, width=240, height=136)
    turned = replace(truth, rig_rotation_deg=(0.4, -0.5, 0.6))
    with RenderedFrames(truth, 0, 2) as straight, RenderedFrames(turned, 0, 2) as off:
        mended = CorrectedFrames(off, np.radians(turned.rig_rotation_deg))
        good, bad, ours = (f.read(0, 2)[1][:, 12:-12, 12:-12].astype(float) for f in (straight, off, mended))
        assert (mended.read(0, 2)[0] == off.read(0, 2)[0]).all() and mended.rig is off.rig
    assert np.abs(ours - good).mean() < 0.35 * np.abs(bad - good).mean()


def test_positions_turn_back_exactly():
    rig = replace(RIG, doffs_px=12.0)
    points = np.random.default_rng(1).uniform([-3, -1, 4], [3, 1, 30], (40, 3))
    theta = np.array([0.01, -0.02, 0.015])
    np.testing.assert_allclose(turned_back(rig, seen_by(rig, points, theta)[1], theta),
                               seen_by(rig, points, np.zeros(3))[1], atol=1e-9)


# --- the estimate on points -------------------------------------------------------------------------------------

def sightings(theta, seed=0, moves=True, noise=0.1, rows=lambda x, y: 0.0, num_frames=10, num_points=300) -> Sightings:
    """Points along a drive, seen with noise by a rig whose right camera is turned by `theta` [3] rad."""
    rng = np.random.default_rng(seed)
    step = Pose("before", "after", exp_so3(rng.normal(0, 0.01, (num_frames - 1, 3)) * moves),
                (rng.normal(0, 0.03, (num_frames - 1, 3)) + [0, 0, 0.5]) * moves)
    poses = trajectories.accumulate(step)
    depth = 1 / rng.uniform(1 / 60, 1 / 4, num_points)
    world = RIG.left.lift(rng.uniform([0, 0], [480, 270], (num_points, 2)), depth)
    parts = []
    for frame in range(num_frames):
        inside = poses[frame].inverse() @ world
        uv, right = seen_by(RIG, inside, theta)
        seen = (inside[:, 2] > 1) & (uv > 5).all(-1) & (uv < [475, 265]).all(-1) & (right[:, 0] > 5)
        uv = uv[seen] + rng.normal(0, noise, (seen.sum(), 2))
        right = right[seen] + (uv - seen_by(RIG, inside[seen], theta)[0]) + rng.normal(0, noise, (seen.sum(), 2))
        right[:, 1] += rows(*((right - [239.5, 134.5]) / 500).T)
        parts.append((np.full(seen.sum(), frame), np.flatnonzero(seen), uv, right,
                      np.full((seen.sum(), 3), max(noise, 0.02))))
    joined = [np.concatenate(p) for p in zip(*parts)]
    return Sightings(*joined, poses.rotation, poses.translation, np.zeros(num_frames, int), np.zeros(num_points, int))


def test_tilt_pan_and_roll_are_found_and_corrected():
    theta = np.array([0.05, -0.1, 0.08]) * DEG
    state = rig_of(RIG, sightings(theta), RigConfig())
    sigma = np.sqrt(np.diag(state.covariance))
    assert (np.abs(state.theta - theta) < 3.5 * sigma).all()
    assert (sigma < 0.01 * DEG).all() and (state.significance > 2.5).all()
    np.testing.assert_array_equal(state.applied, state.theta)
    assert state.cue in ("motion", "both") and not state.warning


def test_far_points_with_noisy_disparities_do_not_pull_the_pan():
    states = [rig_of(RIG, sightings(np.zeros(3), seed, noise=0.2, num_points=150), RigConfig()) for seed in range(24)]
    pan = np.array([s.theta[1] for s in states])
    assert abs(pan.mean()) < 3 * pan.std() / np.sqrt(len(pan)) + 1e-3 * DEG
    assert np.mean([s.applied[1] != 0 for s in states]) <= 0.1


def test_a_still_camera_does_not_get_its_pan_corrected():
    state = rig_of(RIG, sightings(np.array([0.05, 0.1, 0]) * DEG, moves=False), RigConfig())
    assert state.applied[0] != 0 and state.applied[1] == 0  # rows tell the tilt; a pan could be the lens
    assert state.significance[1] < 2.5 and np.sqrt(state.covariance[1, 1]) > 0.01 * DEG


def test_a_lens_that_looks_like_a_pan_in_the_rows_is_told_by_the_motion():
    state = rig_of(RIG, sightings(np.zeros(3), rows=lambda x, y: 500 * 0.6 * DEG * x * y), RigConfig())
    assert state.cue == "motion" and abs(state.theta[1]) < 0.02 * DEG


def test_a_wrong_calibration_is_warned_of():
    assert not rig_of(RIG, sightings(np.zeros(3)), RigConfig()).warning
    rows = rig_of(RIG, sightings(np.array([0.4, 0, 0]) * DEG), RigConfig())
    assert "px below" in rows.warning and "calibrate again" in rows.warning
    pan = rig_of(RIG, sightings(np.array([0, 0.8, 0]) * DEG), RigConfig())
    assert "panned by 0.8" in pan.warning


def test_too_few_matches_leave_the_prior():
    few = sightings(np.zeros(3), num_points=6, num_frames=3)
    state = rig_of(RIG, few, RigConfig(prior_pan_deg=0.07))
    assert state.cue == "prior" and state.pan_sigma == pytest.approx(0.07 * DEG) and not state.applied.any()


# --- the response of the path -----------------------------------------------------------------------------------

def test_the_path_answers_to_a_pan_as_a_new_adjustment_does():
    s = sightings(np.zeros(3), noise=0.02, num_frames=5, num_points=150)
    uvd = np.column_stack([s.uv, s.uv[:, 0] - s.right[:, 0]])
    point = np.unique(s.point, return_inverse=True)[1]
    first = np.unique(point, return_index=True)[1]
    points = Points(s.rotation[s.frame[first]], s.translation[s.frame[first]], uvd[first])
    held = np.arange(5) == 0
    obs = Observations(s.frame, point, uvd, s.sigma)
    base = bundle_adjust(RIG, s.rotation, s.translation, held, points, obs, iterations=30)
    pan = 0.02 * DEG
    moved = replace(obs, uvd=uvd + pan * pan_effect(RIG, uvd))
    other = bundle_adjust(RIG, base.rotation, base.translation, held, base.points, moved, iterations=30)
    steps = [trajectories.steps(Pose("world", "cam", b.rotation, b.translation)).translation for b in (base, other)]
    predicted = step_responses(RIG, base, obs)[1:, 3:] * pan
    np.testing.assert_allclose(steps[1] - steps[0], predicted, atol=0.15 * np.abs(predicted).max())
    assert (predicted[:, 2] < 0).all()  # everything looks nearer: the path comes out too short


# --- rendered clips ---------------------------------------------------------------------------------------------

FEW = RigConfig(num_features=250)


def driving(rotation_deg):
    scene = replace(sample_scene(900, 18, width=320, height=180), rig_rotation_deg=rotation_deg)
    assert scene.camera_motion == "driving"
    return RenderedFrames(scene, 0, 9)


def test_a_rendered_rig_is_found_corrected_and_then_straight():
    with driving((0.03, 0.1, -0.05)) as frames:
        state = estimate_rig(frames, FEW, 1)
        assert abs(state.theta[1] / DEG - 0.1) < 0.02 and abs(state.theta[0] / DEG - 0.03) < 0.01
        assert state.applied[1] == state.theta[1]
        again = estimate_rig(CorrectedFrames(frames, state.applied), FEW, 1)
    assert abs(again.theta[1]) < 0.02 * DEG and again.pan_sigma < 0.02 * DEG


def test_a_straight_rendered_rig_is_left_alone():
    with driving((0.0, 0.0, 0.0)) as frames:
        state = estimate_rig(frames, FEW, 1)
    assert state.applied[1] == 0 and abs(state.theta[1]) < 0.015 * DEG


class Counted:
    def __init__(self, num_frames: int, shift: int) -> None:
        rng = np.random.default_rng(0)
        self.picture = cv2.GaussianBlur(rng.integers(0, 255, (120, 160 + 400 * shift, 3)).astype(np.uint8), (0, 0), 2)
        self.num_frames, self.shift, self.rig = num_frames, shift, RIG

    def read(self, start, stop):
        view = np.stack([self.picture[:, self.shift * i:self.shift * i + 160] for i in range(start, stop)])
        return [view, view]


def test_long_clips_are_looked_at_in_few_frames_as_far_apart_as_the_flow_allows():
    config = RigConfig(num_frames=16)
    assert chosen_frames(Counted(16, 1), config).tolist() == list(range(16))
    slow, fast = (chosen_frames(Counted(200, shift), config) for shift in (0, 2))
    assert len(slow) == len(fast) == 16 and (np.diff(slow) == 200 // 16).all()
    assert 1 <= np.diff(fast)[0] <= 3 and slow.min() >= 0 and slow.max() < 200


class Pictures:
    """Frames from a function of the frame's index to a left and a right picture."""

    def __init__(self, pair, num_frames: int = 4) -> None:
        self.pair, self.num_frames, self.rig = pair, num_frames, replace(RIG, left=RIG.left.scaled(160, 90))

    def read(self, start, stop):
        return [np.stack([self.pair(i)[view] for i in range(start, stop)]) for view in (0, 1)]


@pytest.mark.parametrize("texture", ["blank", "unrelated", "columns"])
def test_frames_that_say_nothing_leave_the_rig_as_published(texture):
    def noise(seed):
        grey = np.random.default_rng(seed).integers(0, 255, (90, 160, 3)).astype(np.uint8)
        return cv2.GaussianBlur(grey, (0, 0), 1.5)

    def pair(i):
        if texture == "blank":
            return np.full((90, 160, 3), 128, np.uint8), np.full((90, 160, 3), 128, np.uint8)
        if texture == "columns":
            bars = np.repeat(noise(7)[:1], 90, 0)
            return np.roll(bars, i, 1), np.roll(bars, i - 5, 1)
        return noise(2 * i), noise(2 * i + 1)

    state = estimate_rig(Pictures(pair), RigConfig(), 0)
    assert not state.applied[1] and np.isfinite(state.covariance).all() and state.pan_sigma >= 0.019 * DEG


class Lower(AnalyticFrames):
    """The right view is the left one, two rows lower: nothing but far away, and a calibration that does not fit."""

    def read(self, start, stop):
        left, right = super().read(start, stop)
        return [left, np.roll(right, 2, axis=1)]


def test_the_pipeline_corrects_the_frames_keeps_what_it_found_and_warns(caplog):
    frames, seen = Lower([Plate(lambda t: [0.2, 0.2, 4.0])], 4, grain=5.0), []
    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"),
                  ExactTracks(frames)]
    config, timings = PerceptionConfig(window=4), {}
    made = perceive(clip(4), frames, config, [lambda w: seen.append(w.images)], timings, estimators)
    assert made.rig.theta[0] == pytest.approx(2 / frames.rig.left.fx, rel=0.1)
    assert made.rig.applied[0] == made.rig.theta[0] and timings["rig"] > 0
    inside = (slice(None), slice(20, -20), slice(20, -20))
    left, right = (view[inside].astype(float) for view in seen[0])
    assert np.abs(right - left).mean() < 0.2 * np.abs(np.roll(left, 2, axis=1) - left).mean()
    assert "2.0 px below" in caplog.text and "2.0 px below" in Scene.from_bytes(made.to_bytes()).rig.warning
    plain = perceive(clip(4), frames, PerceptionConfig(window=4, rig={"kind": "as-published"}), (), {}, estimators)
    assert plain.rig is None and not plain.rig_step.any()


# --- what is kept, and what follows from it ---------------------------------------------------------------------

def with_rig(scene: Scene, sigma: float, rig_step=None) -> Scene:
    cov = np.diag([1e-6, sigma, 1e-6]) ** 2
    return replace(scene, rig=RigState(np.zeros(3), cov, np.zeros(3), np.zeros(3), "motion"), rig_step=rig_step)


def test_the_scene_keeps_the_rig_and_older_files_have_none():
    scene, _ = make_scene(3, "driving", noise=Noise())
    made = with_rig(scene, 1e-4, np.random.default_rng(0).normal(size=(scene.num_frames, 6)))
    made.rig.warning = "rows"
    back = Scene.from_bytes(made.to_bytes())
    np.testing.assert_array_equal(back.rig_step, made.rig_step)
    np.testing.assert_array_equal(back.rig.covariance, made.rig.covariance)
    assert (back.rig.cue, back.rig.warning) == ("motion", "rows") and back.to_bytes() == made.to_bytes()
    old = Scene.load(Path(__file__).parent / "golden" / "scene.npz")
    assert old.rig_step.shape == (old.num_frames, 6)


def test_what_is_not_corrected_stays_as_error():
    state = RigState(np.array([0, 3e-4, 0]), np.diag([0, 4e-4, 0]) ** 2, np.zeros(3), np.zeros(3), "motion")
    assert state.pan_sigma == pytest.approx(5e-4)
    assert replace(state, applied=state.theta).pan_sigma == pytest.approx(4e-4)


def test_one_pan_moves_the_camera_and_all_regions_together():
    scene, _ = make_scene(5, "driving", noise=Noise())
    steps = np.zeros((scene.num_frames, 6))
    steps[1:, 5] = -40.0  # m per rad
    sigma = 2e-4
    plain, draws = (SceneDraws(with_rig(scene, s, steps), num_draws=512) for s in (0.0, sigma))
    last = np.array([scene.num_frames - 1])
    by_camera = pan_of_path(draws.scene, scene.T_world_cam.translation[-1:], last)[0]
    camera, before = draws.camera.points[:, -1] @ by_camera, plain.camera.points[:, -1] @ by_camera
    assert camera.var() - before.var() == pytest.approx((sigma * by_camera @ by_camera) ** 2, rel=0.2)
    region = scene.regions[0]
    first = region.first
    by_region = scene.T_world_cam.rotation[first] @ pan_of_points(region.point_cam[first][None], scene.baseline_m)[0]
    with_pan, without = (d.region(region.id).points[:, 0] @ by_region for d in (draws, plain))
    assert with_pan.var() - without.var() == pytest.approx((sigma * by_region @ by_region) ** 2, rel=0.3)
    assert np.corrcoef(camera, with_pan)[0, 1] > 0.75 > abs(np.corrcoef(before, without)[0, 1])
