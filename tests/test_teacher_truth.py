"""Teacher tensors of rendered scenes beside the truth: depth, backward flow, what moves, rays."""

from dataclasses import replace

import numpy as np
import pytest

from curate.engine.teacher import TeacherTap, grid_of
from curate.geometry.cameras import Intrinsics
from curate.geometry.cells import Cells
from curate.geometry.rotations import exp_so3
from curate.recipe.model import TeacherConfig
from curate.shards.teacher import TeacherTensors, first_camera_world
from curate.synth.scene import SUB
from tests import synthetic
from tests.teacher_truth import Truth

NUM = 6
CONFIG = TeacherConfig(enabled=True, height=24)


@pytest.fixture(scope="module")
def truth() -> Truth:
    """A camera that turns and advances; a box that passes, a sphere that rests, a wall."""
    turn = np.stack([exp_so3(np.array([0, 0.002, 0.001]) * i) for i in range((NUM - 1) * SUB + 1)])
    camera = synthetic.path(synthetic.line([0, 0, 0], [0.5, 0, 1], NUM), turn, ("world", "cam"))
    return Truth(synthetic.scene(
        synthetic.wall(), synthetic.body(1, "box", 1.5, synthetic.path(synthetic.line([-1, .2, 6], [2, 0, 0], NUM))),
        synthetic.body(2, "sphere", 1.2, synthetic.path([1.5, -0.5, 5])), num_frames=NUM, T_world_cam=camera))


def tensors_of(truth: Truth, window: int, overlap: int = 1) -> TeacherTensors:
    tap = TeacherTap(truth.camera, CONFIG)
    for one in truth.windows(window, overlap):
        tap(one)
    depth, flow, dynamic = (np.stack(x).astype(np.float32) for x in (tap._depth, tap._flow, tap._dynamic))
    height, width = depth.shape[1:]
    K = np.repeat(truth.camera.scaled(width, height).matrix[None], NUM, 0).astype(np.float32)
    poses = first_camera_world(truth.poses().matrix()[:, :3].astype(np.float32))
    return TeacherTensors(truth.scene.time_s, depth, flow, dynamic, K, poses, True, "truth@1")


@pytest.fixture(scope="module")
def tensors(truth) -> TeacherTensors:
    return tensors_of(truth, 4)


@pytest.fixture(scope="module")
def cells(truth, tensors) -> Cells:
    return Cells(truth.depth.shape[1:], tensors.grid)


def true_flow(truth, tensors, cells, t: int, to: int) -> np.ndarray:
    """[h, w, 2] in pixels of the grid: the median over the pixels of the cell's surface that are seen in both; nan."""
    flow, seen = truth.flow(t, to)
    _, same = cells.surface(truth.depth[t].astype(np.float32))
    scale = np.array(tensors.grid[::-1]) / truth.depth.shape[:0:-1]
    return np.stack([cells.median(np.where(seen, flow[..., k], np.nan), same) for k in (0, 1)], -1) * scale


def test_windows_leave_no_trace(truth, tensors):
    """One window at a time, whatever its length and overlap."""
    for window, overlap in ((2, 1), (3, 2), (NUM, 1)):
        other = tensors_of(truth, window, overlap)
        for name in ("depth", "flow", "dynamic"):
            np.testing.assert_array_equal(getattr(other, name), getattr(tensors, name))


def test_what_a_source_gives_without_a_mask_is_known_where_it_is_a_number(truth, tensors):
    tap = TeacherTap(truth.camera, CONFIG)
    for window in truth.windows(4):
        depth, flow = window.fields["depth"], window.fields["flow"]
        window.fields = {"depth": replace(depth, valid=None), "flow": replace(
            flow, values=np.where(flow.valid[..., None], flow.values, np.nan), valid=None)}
        tap(window)
    np.testing.assert_array_equal(np.stack(tap._depth), tensors.depth)
    np.testing.assert_array_equal(np.stack(tap._flow), tensors.flow)
    assert np.isnan(tap._dynamic).all() and len(tap._dynamic) == NUM


def test_depth_is_of_one_of_the_cells_own_pixels(truth, tensors, cells):
    """So that no cell at an edge has a depth between two surfaces, where nothing is."""
    for t in range(NUM):
        pixels = cells.take(truth.depth[t])
        nearest = np.abs(pixels / tensors.depth[t][..., None] - 1).min(-1)
        assert nearest.max() < 2**-11  # float16's own error


def test_backward_flow_is_the_truth_and_unknown_where_something_came_into_sight(truth, tensors, cells):
    hidden = 0
    assert np.isnan(tensors.flow[0]).all()
    for t in range(1, NUM):
        expected = true_flow(truth, tensors, cells, t, t - 1)
        error = np.linalg.norm(tensors.flow[t] - expected, axis=-1)
        assert np.nanmax(error) < 0.02 < np.nanquantile(np.linalg.norm(expected, axis=-1), 0.1)
        assert np.isfinite(error).mean() > 0.95
        hidden += np.isnan(tensors.flow[t][np.isnan(expected[..., 0])]).mean() > 0.7
    assert hidden == NUM - 1


def test_what_moves_in_the_world_is_told_from_what_the_camera_moves(truth, tensors, cells):
    for t in range(NUM):
        share = cells.take(truth.moving(t).astype(float)).mean(-1)
        clear = np.isfinite(tensors.dynamic[t]) & ((share < 0.3) | (share > 0.7))
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(tensors.dynamic[t][clear], share[clear] > 0.5)


def test_flow_is_composed_over_frames_that_are_left_out(truth, tensors, cells):
    chosen = tensors.at([0.01, 0.19, 0.51])  # frames 0, 2 and 5
    np.testing.assert_allclose(chosen.time_s, [0, 0.2, 0.5])
    assert np.isnan(chosen.flow[0]).all()
    for n, (t, to) in enumerate(((2, 0), (5, 2)), 1):
        error = np.linalg.norm(chosen.flow[n] - true_flow(truth, tensors, cells, t, to), axis=-1)
        assert np.nanmedian(error) < 0.02 and np.nanquantile(error, 0.95) < 0.15
        assert np.isfinite(error).mean() > 0.85


def test_rays_meet_the_surfaces_that_other_frames_see(truth, tensors):
    """d·m = 0, |d| = 1, and c + s d with the depth of the cell lies, seen from frame 0, on the same still wall."""
    rays = tensors.camray().astype(float)
    d, m = rays[..., :3], rays[..., 3:]
    np.testing.assert_allclose((d * m).sum(-1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(d, axis=-1), 1, atol=1e-6)
    for t in range(NUM):
        pose = tensors.T_world_cam[t].astype(float)
        np.testing.assert_allclose(m[t], np.cross(pose[:, 3], d[t]), atol=1e-6)
        along = tensors.depth[t] / (d[t] @ pose[:, 2])  # depth is along the optical axis
        points = np.cross(d[t], m[t]) + ((pose[:, 3] * d[t]).sum(-1) + along)[..., None] * d[t]
        wall = tensors.depth[t] > 9
        np.testing.assert_allclose(points[wall][:, 2], 12.0, rtol=0.01)
        np.testing.assert_allclose(  # back into the frame it came from, at its cell
            reprojected(points, tensors.K[t], pose), np.stack(np.meshgrid(*map(np.arange, tensors.grid[::-1])), -1),
            atol=1e-3)


def reprojected(points: np.ndarray, K: np.ndarray, T_world_cam: np.ndarray) -> np.ndarray:
    there = (points - T_world_cam[:, 3]) @ T_world_cam[:, :3] @ K.astype(float).T
    return there[..., :2] / there[..., 2:]


def test_flow_depth_and_poses_agree_on_the_still_world(tensors):
    """Backward flow of a still cell is the projection of its point into the frame before: four tensors at once."""
    u = np.stack(np.meshgrid(*map(np.arange, tensors.grid[::-1])), -1)
    rays = tensors.camray().astype(float)
    for t in range(1, NUM):
        pose, before = tensors.T_world_cam[[t, t - 1]].astype(float)
        along = tensors.depth[t] / (rays[t, ..., :3] @ pose[:, 2])
        points = pose[:, 3] + along[..., None] * rays[t, ..., :3]
        still = tensors.dynamic[t] == 0
        error = np.linalg.norm(reprojected(points, tensors.K[t - 1], before) - u - tensors.flow[t], axis=-1)[still]
        assert np.nanquantile(error, 0.95) < 0.03


def test_on_a_coarser_grid_everything_still_agrees(tensors):
    test_flow_depth_and_poses_agree_on_the_still_world(tensors.resized(14, 20))


def test_estimated_depth_is_within_its_stated_error():
    from curate.perception.config import PerceptionConfig
    from curate.perception.pipeline import perceive
    from curate.sources.base import ClipSpec
    from curate.sources.rendered import RenderedFrames
    from curate.synth import sample_scene

    scene = sample_scene(100, 1, width=320, height=192)
    truth = Truth(scene)
    frames, stated = RenderedFrames(scene, 0, 4), []
    tap = TeacherTap(scene.rig.left, TeacherConfig(enabled=True, height=28))
    cells = Cells((192, 320), grid_of(scene.rig.left, TeacherConfig(height=28)))

    def sigma(window) -> None:
        field = window.fields["depth"]
        for i in range(window.overlap, window.num_frames):
            _, same = cells.surface(np.where(field.valid[i], field.values[i], np.nan).astype(np.float32))
            stated.append(cells.median(np.where(field.valid[i], field.sigma[i], np.nan), same))

    perceive(ClipSpec("cd" * 12, "rendered", "scene", "scene", 0, 4), frames, PerceptionConfig(window=3), [tap, sigma])
    errors, flows = [], []
    for t in range(4):
        pixels = cells.take(truth.depth[t])
        off = np.abs(pixels - tap._depth[t].astype(float)[..., None]).min(-1)  # from the nearest surface of the cell
        errors.append(off / stated[t])
        if t:
            expected, seen = truth.flow(t, t - 1)
            _, same = cells.surface(truth.depth[t].astype(np.float32))
            for k in (0, 1):
                flows.append(tap._flow[t][..., k].astype(float) - cells.grid[1 - k] / (320, 192)[k] * cells.median(
                    np.where(seen, expected[..., k], np.nan), same))
    errors, flows = np.stack(errors), np.abs(np.stack(flows))
    assert np.isfinite(errors).mean() > 0.5 and np.nanmean(errors < 2) > 0.95
    assert np.isfinite(flows).mean() > 0.5 and np.nanmedian(flows) < 0.01 and np.nanquantile(flows, 0.95) < 0.1


def test_the_grid_follows_the_aspect_and_is_never_finer_than_the_frames():
    camera = Intrinsics(300, 300, 319.5, 179.5, 640, 360)
    assert grid_of(camera, TeacherConfig()) == (56, 100)
    assert grid_of(camera, TeacherConfig(height=64, width=64)) == (64, 64)
    assert grid_of(Intrinsics(30, 30, 20, 12, 40, 24), TeacherConfig()) == (24, 40)


def test_only_arrays_of_the_grid_outlive_a_window(truth):
    tap, windows = TeacherTap(truth.camera, CONFIG), truth.windows(3)
    tap(next(windows))
    kept = [*tap._depth, *tap._flow, *tap._dynamic]
    assert len(kept) == 3 + 3 + 2 and all(a.base is None and a.dtype == np.float16 for a in kept)
    assert sum(a.size for a in kept) == (3 + 2 * 3 + 2) * 24 * 43
