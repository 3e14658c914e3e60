"""The lift, against scenes whose every field is known in closed form."""

import numpy as np
import pytest

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.lift.noise import DisparityNoise
from curate.lift.region import chi2_3_tail, extent, in_two
from curate.lift.rigid import fit_rigid, project
from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.perception.tracks.points import TrackPoints
from curate.scene import Scene
from tests.analytic_scene import AnalyticFrames, Exact, ExactTracks, Plate, clip, true_path


def lifted(frames, **settings):
    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"),
                  ExactTracks(frames)]
    return perceive(clip(frames.num_frames), frames, PerceptionConfig(window=6, lift=settings), estimators=estimators)


def turning(num_frames=14):
    """A plate that moves, approaches and turns, seen by a camera that moves and turns itself."""
    return AnalyticFrames(
        [Plate(lambda t: np.array([-0.6 + 0.09 * t, 0.2, 5 - 0.1 * t]), lambda t: np.array([0, 0.3 + 0.04 * t, 0]))],
        num_frames, camera_at=lambda t: Pose("world", "cam", exp_so3(np.array([0, 0.01 * t, 0])),
                                             np.array([0.02 * t, 0, 0.05 * t])))


def test_the_reference_point_is_carried_exactly():
    frames = turning()
    scene = lifted(frames)
    region, = scene.regions
    assert region.seen.all() and (region.first, region.last) == (0, 13)
    truth = true_path(frames, 1, region.mask_first)
    np.testing.assert_allclose(region.point_cam, truth, atol=1e-3)
    np.testing.assert_allclose(region.centroid_px, frames.camera.project(truth), atol=0.1)


def test_covariances_are_symmetric_and_not_negative():
    region, = lifted(turning()).regions
    for name in ("cov_frame", "cov_shared", "step_cov"):
        c = getattr(region, name)
        np.testing.assert_allclose(c, np.swapaxes(c, 1, 2), atol=1e-15)
        assert np.linalg.eigvalsh(c).min() >= -1e-12
    assert (np.linalg.eigvalsh(region.cov_frame) > 0).all()


@pytest.mark.parametrize("half", [(0.6, 0.5), (0.25, 0.2)], ids=["large", "small"])
def test_the_distance_errs_as_the_mean_disparity_of_the_regions_pixels(half):
    """One error for all frames, in proportion to the distance: the calibrated noise of a region's mean disparity, with
    the number of its pixels, and nothing that tracks could tell."""
    frames = AnalyticFrames([Plate(lambda t: np.array([0.02 * t, 0.2, 5 + 0.1 * t]), half=half)], 8)
    region, = lifted(frames).regions
    noise, pixel = DisparityNoise(), 0.02  # of an estimator that is in no table; stated by `Exact`
    disparity = frames.rig.left.fx * frames.baseline / region.point_cam[0, 2]
    expected = np.hypot(pixel / np.sqrt(noise.effective(region.mask_first.sum())), noise.shared_px) / disparity
    value = np.linalg.eigvalsh(region.cov_shared)  # the smaller two: where on the body the point lies
    along = np.sqrt(value[:, 2] - value[:, 0]) / np.linalg.norm(region.point_cam, axis=1)
    np.testing.assert_allclose(along, expected, rtol=0.02)


def test_the_extent_is_the_side_lengths_of_the_visible_face():
    region, = lifted(turning(), erode_px=1).regions
    assert region.extent_m[0] == pytest.approx(1.2, rel=0.15)
    assert region.extent_m[1] == pytest.approx(1.0, rel=0.15)
    assert region.extent_m[2] < 0.1


def test_the_nearest_range_is_that_of_the_near_edge():
    frames = turning()
    region, = lifted(frames).regions
    points, owner, _ = frames.hits(0)
    truth = np.linalg.norm(points[owner == 1], axis=-1).min()
    assert region.nearest_m[0] == pytest.approx(truth, abs=0.06)
    assert np.isfinite(region.nearest_sigma_m).all()


def test_moving_and_still_are_told_apart():
    frames = AnalyticFrames([Plate(lambda t: np.array([-1.0 + 0.03 * t, 0.2, 5.0])),
                             Plate(lambda t: np.array([1.0, 0.2, 5.0]))], 12,
                            camera_at=lambda t: Pose("world", "cam", np.eye(3), np.array([0.03 * t, 0, 0])))
    moving, still = lifted(frames).regions
    assert moving.motion_p < 1e-4
    assert still.motion_p > 0.05


def test_a_region_that_is_covered_ends_there():
    frames = AnalyticFrames([Plate(lambda t: np.array([-1.5 + 0.2 * t, 0.2, 4.0]), half=(0.8, 0.6)),
                             Plate(lambda t: np.array([0.8, 0.2, 6.0]), half=(0.4, 0.4))], 16)
    covered = lifted(frames).region(2)
    hidden = [t for t in range(16) if (frames.hits(t)[1] == 2).sum() < 50]
    assert hidden and not covered.seen[hidden].any()
    assert covered.visible_fraction[0] == pytest.approx(1, abs=0.02)
    assert np.isnan(covered.point_cam[hidden]).all()


def test_brief_regions_are_dropped():
    frames = turning(num_frames=8)
    assert lifted(frames, min_frames=8).regions
    assert not lifted(frames, min_frames=9).regions


RIG = StereoRig(Intrinsics(700, 700, 320, 240, 640, 480), 0.2)


def rigid_case(seed, outliers=0, noise=(0.1, 0.1, 0.15)):
    rng = np.random.default_rng(seed)
    shape = rng.uniform([-0.6, -0.5, 5.7], [0.6, 0.5, 6.3], (80, 3))
    reference = shape.mean(0)
    rotation, point = exp_so3(rng.normal(0, 0.1, 3)), reference + rng.normal(0, 0.3, 3)
    uvd, _ = project(RIG, (shape - reference) @ rotation.T + point)
    uvd = uvd + rng.normal(size=uvd.shape) * noise
    uvd[:outliers] += rng.uniform(10, 40, (outliers, 3))
    fit = fit_rigid(RIG, shape, reference, uvd, np.tile(noise, (80, 1)), 80, np.eye(3), 0.5, 0.05,
                    [(np.eye(3), reference)])
    return fit, rotation, point


def test_a_quarter_of_wrong_matches_does_not_move_the_fit():
    fit, rotation, point = rigid_case(0, outliers=20)
    assert not fit.inliers[:20].any()
    np.testing.assert_allclose(fit.point, point, atol=0.02)
    np.testing.assert_allclose(fit.rotation, rotation, atol=0.02)


def test_the_error_of_the_fit_is_what_it_says():
    chi = []
    for seed in range(60):
        fit, _, point = rigid_case(seed)
        error = fit.point - point
        chi.append(error @ np.linalg.solve(fit.covariance, error) / 3)
    assert 0.7 < np.mean(chi) < 1.4


def test_a_disparity_that_is_unknown_is_not_used():
    rng = np.random.default_rng(0)
    shape = rng.uniform([-0.6, -0.5, 5.7], [0.6, 0.5, 6.3], (40, 3))
    uvd, _ = project(RIG, shape + [0.2, 0, -0.5])
    uvd[::2, 2] = np.nan
    fit = fit_rigid(RIG, shape, shape.mean(0), uvd, np.full((40, 3), 0.1), 40, np.eye(3), 0.5, 0.05,
                    [(np.eye(3), shape.mean(0))])
    np.testing.assert_allclose(fit.point, shape.mean(0) + [0.2, 0, -0.5], atol=1e-4)


def test_points_at_two_depths_are_no_one_region():
    rng = np.random.default_rng(0)
    rig = StereoRig(Intrinsics(300, 300, 160, 96, 320, 192), 0.2)

    def at(disparity):
        depth = 60 / disparity
        return np.column_stack([rng.normal(0, 1, (len(depth), 2)), depth])

    near, far = rng.normal(12.6, 0.15, 500), rng.normal(15.4, 0.15, 400)
    assert in_two(at(np.concatenate([near, far])), rig)
    assert not in_two(at(near), rig)
    assert not in_two(at(rng.uniform(12, 16, 900)), rig)  # a slanted face
    assert not in_two(at(np.concatenate([near, far[:20]])), rig)  # stray pixels


def test_chi_square_tail():
    assert chi2_3_tail(0) == 1
    assert chi2_3_tail(7.8147) == pytest.approx(0.05, abs=1e-4)


def test_a_turning_box_says_how_far_it_has_turned():
    frames = turning()
    region, = lifted(frames).regions
    assert region.rigid and region.rigidity > 0.95
    plate = frames.plates[0]
    for t in (4, 9, 13):
        camera = frames.camera_at(t).inverse()
        truth = (camera @ plate.pose(t) @ plate.pose(0).inverse() @ frames.camera_at(0)).rotation
        off = np.linalg.norm(log_so3(region.rotation_cam[t] @ truth.T))
        assert off < 0.02
        assert off < 4 * np.sqrt(np.trace(region.rotation_cov[t]))


def test_what_does_not_turn_in_the_world_is_said_not_to():
    frames = AnalyticFrames([Plate(lambda t: np.array([-0.6 + 0.05 * t, 0.2, 5.0]))], 10,
                            camera_at=lambda t: Pose("world", "cam", exp_so3(np.array([0, 0.01 * t, 0])), np.zeros(3)))
    region, = lifted(frames).regions
    for t in (3, 9):
        world = frames.camera_at(t).rotation @ region.rotation_cam[t]
        assert np.linalg.norm(log_so3(world)) < 0.01


class Apart(ExactTracks):
    """Two plates in one mask: their points and pixels are given one label."""

    def regions(self, window):
        field = super().regions(window)
        field.values = (field.values > 0).astype(np.int16)
        return field

    def _points(self, t):
        points = super()._points(t)
        return TrackPoints(points.ids, np.ones_like(points.region), points.uv, points.uv_sigma, points.disparity,
                           points.disparity_sigma)


def two_in_one_mask(speed):
    frames = AnalyticFrames([Plate(lambda t: np.array([-0.72 - speed * t, 0.2, 5.0]), half=(0.7, 0.5)),
                             Plate(lambda t: np.array([0.42 + speed * t, 0.2, 5.0]), half=(0.4, 0.5))], 10)
    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"), Apart(frames)]
    scene = perceive(clip(10), frames, PerceptionConfig(window=6), estimators=estimators)
    return scene.regions[0] if scene.regions else None


def test_parts_that_move_apart_are_no_rigid_body():
    region = two_in_one_mask(0.05)
    assert region is not None and not region.rigid and region.rigidity < 0.7
    together = two_in_one_mask(0.0)
    assert together.rigid and together.rigidity > 0.95
    spread = [np.sqrt(np.trace(r.cov_frame[5])) for r in (region, together)]
    assert spread[0] > 5 * spread[1]


def test_rotation_and_rigidity_are_kept_in_the_file_and_old_files_are_read():
    scene = lifted(turning(num_frames=8))
    again = Scene.from_bytes(scene.to_bytes())
    np.testing.assert_array_equal(again.regions[0].rotation_cam, scene.regions[0].rotation_cam)
    assert again.regions[0].rigid is True and again.regions[0].rigidity == scene.regions[0].rigidity
    old = scene.regions[0]
    old.rotation_cam = old.rotation_cov = None
    assert Scene.from_bytes(scene.to_bytes()).regions[0].rotation_cam is None


def test_the_box_around_a_body_has_its_sides():
    sides, turn = np.array([3.0, 1.0, 0.4]), exp_so3(np.array([0.3, -0.8, 0.5]))
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (20_000, 3)) * sides @ turn.T + [4, -2, 9]
    found = extent(points)
    assert (np.diff(found) < 0).all()
    np.testing.assert_allclose(found, sides, rtol=0.15)  # less the outer 2 %; the axes of some corners lean a little
    np.testing.assert_allclose(extent(points @ turn + 1), found, rtol=0.1)  # wherever it is


@pytest.mark.parametrize("seed", range(6))
def test_the_box_is_that_of_open3d(seed, monkeypatch):
    open3d = pytest.importorskip("open3d")
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(int(rng.integers(30, 4000)), 3)) * rng.uniform(0.05, 3, 3) + rng.normal(0, 10, 3)
    if seed % 2:
        points[:, 2] = points[0, 2]  # a flat face
    monkeypatch.setattr(np, "percentile", lambda values, share: np.inf)  # the same points for both
    core = points + np.random.default_rng(0).normal(0, 1e-3 * np.ptp(points, axis=0).max() + 1e-9, points.shape)
    twin = open3d.geometry.OrientedBoundingBox.create_from_points(open3d.utility.Vector3dVector(core))
    np.testing.assert_allclose(extent(points), np.sort(twin.extent)[::-1], rtol=1e-8)
