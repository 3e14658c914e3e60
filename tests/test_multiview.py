"""Perception from several fixed cameras, on rendered scenes whose every motion is known, and its geometry alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curate.api import ask
from curate.augment.mirror import mirror
from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import angle_between, exp_so3, log_so3
from curate.perception import estimator_versions
from curate.perception.config import PerceptionConfig
from curate.perception.multiview.adjust import Observed, adjust, resect
from curate.perception.multiview.cameras import Cameras, triangulate
from curate.perception.multiview.config import ViewsConfig
from curate.perception.multiview.matching import group
from curate.perception.multiview.seeds import kabsch
from curate.perception.multiview.tracker import ViewTracks
from curate.perception.multiview.tracks import Tracks
from curate.perception.pipeline import perceive
from curate.scene import Scene
from curate.shards.sample import sample_json
from curate.sources.base import BadInput, View
from tests.multiview_scenes import FOUR, MultiviewScene, MultiviewSceneFrames, clip_spec, moving_box, room

SMALL = Intrinsics(310.0, 310.0, 159.5, 119.5, 320, 240)
NUM_FRAMES = 10


def scene_of(*boxes) -> MultiviewScene:
    return MultiviewScene((room(), *boxes), FOUR[:3], NUM_FRAMES, 8.0, SMALL)


def views() -> tuple[View, ...]:
    first = FOUR[0].inverse()
    return tuple(View(f"{k}", SMALL, Pose("rig", f"{k}", first.rotation @ p.rotation,
                                          first.rotation @ p.translation + first.translation))
                 for k, p in enumerate(FOUR))


@pytest.fixture(scope="module")
def one_box() -> tuple:
    """Truth, scene, what a tap saw of each window, frames."""
    truth = scene_of(moving_box(NUM_FRAMES, velocity=(0.25, 0.05, -0.12), start=(-0.1, 0, 2.0)))
    frames = MultiviewSceneFrames(truth)
    windows = []
    scene = perceive(clip_spec(truth), frames, PerceptionConfig(), [lambda w: windows.append((w.start, w.num_frames))])
    return truth, scene, windows, frames


def true_path(truth: MultiviewScene, region, body: int = 1) -> np.ndarray:
    """[T, 3] where the physical point that the region names as its reference is."""
    on_body = truth.pose_rig(body, region.first).inverse() @ region.point_cam[region.first]
    return np.array([truth.pose_rig(body, t) @ on_body for t in range(truth.num_frames)])


def test_a_moving_box_is_one_rigid_region(one_box):
    truth, scene, *_ = one_box
    (region,) = scene.regions
    assert region.first == 0 and region.seen.all() and region.rigid and region.motion_p < 1e-6
    assert scene.scale == "calibrated" and scene.baseline_m == 0 and scene.scale_sigma == pytest.approx(0.002)
    error = np.linalg.norm(region.point_cam - true_path(truth, region), axis=1)
    assert error.max() < 0.0065  # 2 m away, where a pixel is 6.5 mm; it travels 0.32 m
    # the reference point is on the face that camera 0 sees, near its middle
    on_body = truth.pose_rig(1, 0).inverse() @ region.point_cam[0]
    assert abs(abs(on_body[2]) - 0.03) < 0.006 and np.abs(on_body[:2]).max() < 0.05
    assert 0.6 * 0.5 < region.extent_m[0] < 1.1 * 0.5


def test_its_turn_is_measured(one_box):
    truth, scene, *_ = one_box
    (region,) = scene.regions
    for t in (4, NUM_FRAMES - 1):
        true = truth.pose_rig(1, t).rotation @ truth.pose_rig(1, 0).rotation.T
        error = log_so3(region.rotation_cam[t] @ true.T)
        assert np.linalg.norm(error) < 0.06  # its depth differs by 5 px at most
        assert error @ np.linalg.solve(region.rotation_cov[t], error) < 16  # chi-square of 3: 0.1 %


def test_stated_errors_hold_and_are_not_idle(one_box):
    truth, scene, *_ = one_box
    (region,) = scene.regions
    error = region.point_cam - true_path(truth, region)
    for t in (4, NUM_FRAMES - 1):
        covariance = region.cov_frame[0] + region.cov_frame[t] + region.step_cov[:t + 1].sum(0)
        assert error[t] @ np.linalg.solve(covariance, error[t]) < 16
        assert np.sqrt(np.trace(covariance)) < 0.02


def test_questions_come_out_as_for_stereo(one_box):
    truth, scene, windows, _ = one_box
    families = {question.family for question in ask(Scene.from_bytes(scene.to_bytes()))}
    assert {"object_displacement", "object_camera_distance"} <= families or len(families) > 5, families
    assert windows[0][0] == 0 and windows[-1][0] + windows[-1][1] == truth.num_frames
    assert not families & {"view_shift", "disparity_order"}  # no rectified second view


def test_records_state_where_every_camera_stands(one_box):
    _, scene, _, frames = one_box
    several = [{"name": v.name, **vars(v.camera), "T_rig_view": v.T_rig_view.matrix()[:3].tolist()}
               for v in frames.views]
    told = replace(scene, clip=scene.clip | {"params": {"views": several}})
    media = {f"v{k}.mp4": b"" for k in range(3)}
    for k, view in enumerate(sample_json(told, [], media=media)["views"]):
        assert view["part"] == f"v{k}.mp4" and view["fx"] == SMALL.fx
        np.testing.assert_allclose(view["T_rig_view"], frames.views[k].T_rig_view.matrix()[:3])
    # in the mirror a point at (x, y, z) of the rig is at (-x, y, z), and its pixel u at width - 1 - u
    view = sample_json(mirror(told), [], media=media)["views"][1]
    point = np.array([0.2, -0.1, 2.0])
    u, v = SMALL.project((frames.views[1].T_rig_view.inverse() @ point)[None])[0]
    pose = np.asarray(view["T_rig_view"])
    local = pose[:, :3].T @ (point * [-1, 1, 1] - pose[:, 3])
    np.testing.assert_allclose([view["fx"] * local[0] / local[2] + view["cx"],
                                view["fy"] * local[1] / local[2] + view["cy"]], [SMALL.width - 1 - u, v])


def test_the_same_clip_gives_the_same_scene(one_box):
    truth, scene, _, frames = one_box
    assert perceive(clip_spec(truth), frames, PerceptionConfig()).to_bytes() == scene.to_bytes()


def test_two_boxes_are_two_bodies():
    truth = scene_of(moving_box(NUM_FRAMES, size=(0.4, 0.4, 0.1), start=(-0.35, 0, 2.0), velocity=(0.1, 0.15, 0)),
                     moving_box(NUM_FRAMES, size=(0.4, 0.4, 0.1), start=(0.3, -0.05, 2.1), velocity=(-0.05, 0, -0.25),
                                turning=(0, -0.3, 0), seed=23, number=2))
    scene = perceive(clip_spec(truth), MultiviewSceneFrames(truth), PerceptionConfig())
    assert len(scene.regions) == 2 and all(region.rigid for region in scene.regions)
    for body in (1, 2):
        centre = truth.point_rig(body)
        region = min(scene.regions, key=lambda r: np.linalg.norm(r.point_cam[r.first] - centre[r.first]))
        error = np.linalg.norm(region.point_cam - true_path(truth, region, body), axis=1)
        assert np.nanmax(error) < 0.0075
        moved = region.point_cam[region.last] - region.point_cam[region.first]
        true = true_path(truth, region, body)
        assert np.degrees(angle_between(moved, true[region.last] - true[region.first])) < 2


def test_where_nothing_moves_nothing_is_found():
    truth = scene_of(moving_box(NUM_FRAMES, velocity=(0, 0, 0), turning=(0, 0, 0)))
    scene = perceive(clip_spec(truth), MultiviewSceneFrames(truth), PerceptionConfig())
    assert scene.regions == [] and scene.stats["places"] > 20


def test_a_swarm_is_no_rigid_body():
    """Nine small boxes that go their own ways, side by side: what is said to be rigid is one of them at most."""
    rng = np.random.default_rng(8)
    boxes = [moving_box(NUM_FRAMES, size=(0.14, 0.14, 0.14), start=(0.2 * i - 0.2, 0.2 * j - 0.2, 2.0),
                        velocity=rng.uniform(-0.15, 0.15, 3), turning=rng.uniform(-1, 1, 3), seed=30 + 3 * i + j,
                        number=1 + 3 * i + j) for i in range(3) for j in range(3)]
    scene = perceive(clip_spec(scene_of(*boxes)), MultiviewSceneFrames(scene_of(*boxes)), PerceptionConfig())
    assert any(not region.rigid for region in scene.regions)
    assert all(region.extent_m[0] < 0.3 for region in scene.regions if region.rigid)
    families = {q.family for q in ask(scene) if set(q.regions) & {r.id for r in scene.regions if not r.rigid}}
    assert not families & {"object_displacement", "object_mean_speed", "object_direction", "object_rotation"}
    for region in scene.regions:
        if not region.rigid:
            assert np.abs(region.point_cam[region.first] - scene_of().poses[0].inverse() @ np.array([0, 0, 2.0])
                          ).max() < 0.4


def test_one_frame_is_too_few():
    truth = scene_of(moving_box(NUM_FRAMES))

    class One:
        views, rig, scale, is_grey, given, num_frames, time_s = views(), None, "calibrated", False, {}, 1, np.zeros(1)

    with pytest.raises(BadInput, match="at least 2 are needed"):
        perceive(clip_spec(truth), One(), PerceptionConfig())


def test_its_version_is_in_the_fingerprint():
    assert estimator_versions(PerceptionConfig())["several views"].startswith("multiview@")


# Geometry

def test_points_are_triangulated_from_any_number_of_rays():
    cameras = Cameras(views())
    rng = np.random.default_rng(1)
    points = rng.uniform([-0.5, -0.4, 1.5], [0.5, 0.4, 3], (40, 3))
    point = np.repeat(np.arange(40), rng.integers(2, 5, 40))
    view = np.concatenate([np.arange(n) for n in np.bincount(point)])
    uv = cameras.project(view, points[point])
    found = triangulate(cameras.K[view], cameras.R[view], cameras.t[view], uv, point, 40, 0.7, np.radians(2))
    np.testing.assert_allclose(found.points, points, atol=1e-6)
    assert found.residual.max() < 1e-4
    # one ray in a hundred of several is far off: the others outvote it
    uv[view == 3] += 40
    robust = triangulate(cameras.K[view], cameras.R[view], cameras.t[view], uv, point, 40, 0.7, np.radians(2))
    four = np.bincount(point) == 4
    assert np.median(np.linalg.norm(robust.points[four] - points[four], axis=1)) < 0.02


def test_the_covariance_of_a_point_is_its_scatter():
    cameras = Cameras(views())
    truth = np.array([0.1, -0.1, 2.0])
    view, point = np.tile(np.arange(4), 2000), np.repeat(np.arange(2000), 4)
    uv = cameras.project(view, np.tile(truth, (8000, 1))) + np.random.default_rng(2).normal(0, 0.5, (8000, 2))
    found = triangulate(cameras.K[view], cameras.R[view], cameras.t[view], uv, point, 2000, 0.5, np.radians(2))
    error = found.points - truth
    d2 = np.einsum("ni,nij,nj->n", error, found.information / 0.5**2, error)
    assert d2.mean() == pytest.approx(3, rel=0.15)


def test_rays_nearly_parallel_give_no_point():
    cameras = Cameras(views())
    view, point = np.array([0, 1]), np.zeros(2, int)
    far = np.array([[0, 0, 500.0]])
    uv = cameras.project(view, np.repeat(far, 2, 0))
    found = triangulate(cameras.K[view], cameras.R[view], cameras.t[view], uv, point, 1, 0.7, np.radians(2))
    assert np.isnan(found.points).all() and np.isinf(found.residual).all()


def test_true_matches_lie_on_their_epipolar_lines():
    cameras = Cameras(views())
    points = np.random.default_rng(3).uniform([-0.5, -0.4, 1.5], [0.5, 0.4, 3], (30, 3))
    a, b = (cameras.project(np.full(30, v), points) for v in (0, 2))
    assert cameras.epipolar(0, a, 2, b).max() < 1e-9
    table = cameras.epipolar_table(0, a, 2, b)
    np.testing.assert_allclose(np.diag(table), cameras.epipolar(0, a, 2, b), atol=1e-9)
    np.testing.assert_allclose(table[3, 4], cameras.epipolar(0, a[3:4], 2, b[4:5])[0], rtol=1e-9)


def test_rigid_motion_of_points():
    rng = np.random.default_rng(4)
    shape, turn, shift = rng.normal(size=(7, 3)), exp_so3(rng.normal(size=(5, 3))), rng.normal(size=(5, 3))
    target = np.einsum("fij,nj->nfi", turn, shape) + shift
    seen = rng.random((7, 5)) > 0.2
    seen[:3] = True
    target[~seen] = 99
    rotation, translation = kabsch(shape, target, seen)
    np.testing.assert_allclose(rotation, turn, atol=1e-9)
    np.testing.assert_allclose(translation, shift, atol=1e-9)


def test_a_body_is_adjusted_to_its_pixels():
    """Perfect pixels give the truth back from a poor start; one wrong track in ten does not move it."""
    cameras = Cameras(views())
    rng = np.random.default_rng(5)
    shape = rng.uniform(-0.2, 0.2, (30, 3)) + [0, 0, 2.0]
    turn, shift = exp_so3(np.cumsum(rng.normal(0, 0.05, (6, 3)), 0)), np.cumsum(rng.normal(0, 0.05, (6, 3)), 0)
    turn[0], shift[0] = np.eye(3), 0
    turn, shift = turn, shift + np.array([0, 0, 2.0]) - turn @ np.array([0, 0, 2.0])  # about its middle
    shift[0] = 0
    point, frame, view = (a.ravel() for a in np.meshgrid(np.arange(30), np.arange(6), np.arange(3), indexing="ij"))
    where = np.einsum("mij,mj->mi", turn[frame], shape[point]) + shift[frame]
    uv = cameras.project(view, where)
    bad = np.isin(point, (3, 11, 20)) & (view == 1)
    uv[bad] += rng.normal(0, 30, (bad.sum(), 2))
    fit = adjust(cameras, Observed(point, frame, view, uv), exp_so3(0.03 * rng.normal(size=(6, 3))) @ turn,
                 shift + 0.02 * rng.normal(size=(6, 3)) * (np.arange(6) > 0)[:, None], shape + 0.01, 0, 0.7)
    middle = np.array([0, 0, 2.0])
    held = fit.rotation[0].T @ (shape.T - fit.translation[0][:, None])  # the start's frame 0 is taken as it is
    np.testing.assert_allclose(np.median(np.abs(fit.shape - held.T)), 0, atol=2e-3)
    for f in range(6):
        moved = fit.rotation[f] @ fit.rotation[0].T @ (middle - fit.translation[0]) + fit.translation[f]
        np.testing.assert_allclose(moved, turn[f] @ middle + shift[f], atol=2e-3)
    seen = point < 12
    now = seen & (frame == 4)
    rotation, translation, residual, _ = resect(cameras, shape[point[now]], view[now], uv[now], turn[3], shift[3], 0.7)
    np.testing.assert_allclose(rotation @ middle + translation, turn[4] @ middle + shift[4], atol=2e-3)
    assert (residual > 5).sum() <= bad[now].sum()


def view_tracks(ids, frames, uv) -> ViewTracks:
    tracks = ViewTracks()
    for t in np.unique(frames):
        tracks.ids.append(ids[frames == t])
        tracks.frames.append(frames[frames == t])
        tracks.uv.append(uv[frames == t])
    return tracks


def test_tracks_of_a_late_camera_are_brought_to_the_reference_camera_s_time():
    frames = np.arange(8)
    time_s = np.stack([frames / 10, frames / 10 + 0.03])
    pixels = [np.column_stack([100 + 40 * t, 50 - 10 * t]) for t in time_s]  # 40 px a second
    tracks = Tracks([view_tracks(np.zeros(8, int), frames, p) for p in pixels], time_s)
    np.testing.assert_allclose(tracks.uv(tracks.number(1, 0)), pixels[0], atol=1e-6)


def test_a_place_has_one_track_of_a_view():
    tracks = Tracks([view_tracks(np.repeat([0, 1], 4), np.tile(np.arange(4), 2), np.zeros((8, 2))) for _ in range(3)],
                    np.zeros((3, 4)))
    a0, a1, b0, b1, c0 = (tracks.number(v, k) for v, k in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0)))
    groups = group(tracks, [(a0, b0), (b0, c0), (a1, c0), (a1, b1)], 3)
    assert sorted(map(sorted, groups)) == sorted([sorted([a0, b0, c0]), sorted([a1, b1])])


def test_settings_are_checked():
    with pytest.raises(ValueError, match="Extra inputs"):
        PerceptionConfig(multiview={"fetures": 3})
    assert ViewsConfig().model_dump()["min_points"] >= 4
