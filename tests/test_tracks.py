"""Tracked points on closed-form pictures: they stay on what they started on, end where it is hidden, and come back."""

import numpy as np

from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.perception.regions.motion_clusters import MotionClusters
from curate.perception.tracks.cover import covered
from curate.perception.tracks.flow_chain import FlowChain
from tests.analytic_scene import AnalyticFrames, Exact, Plate, clip


def tracked(frames, window=6):
    """Tracks and labels of every frame, and the scene."""
    tracks, labels = {}, {}

    def tap(seen):
        for j in range(seen.num_frames):
            tracks[seen.start + j] = seen.fields["tracks"].values[j]
            labels[seen.start + j] = seen.fields["regions"].values[j].copy()

    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"),
                  MotionClusters(), FlowChain()]
    scene = perceive(clip(frames.num_frames), frames, PerceptionConfig(window=window), taps=[tap],
                     estimators=estimators)
    return [tracks[t] for t in range(frames.num_frames)], [labels[t] for t in range(frames.num_frames)], scene


def where_truly(frames, plate, start, uv, t):
    """Pixels at t of points of a plate seen at `uv` [N, 2] in frame `start`, and who is seen there."""
    points, owner, _ = frames.hits(start)
    column, row = np.rint(uv).astype(int).T
    rays = frames.camera.rays()
    depth = points[row, column, 2]
    exact = np.column_stack([(uv - [frames.camera.cx, frames.camera.cy]) / [frames.camera.fx, frames.camera.fy],
                             np.ones(len(uv))])
    assert rays.shape[2] == 3
    moved = (frames.camera_at(t).inverse() @ frames.plates[plate - 1].pose(t)
             @ frames.plates[plate - 1].pose(start).inverse() @ frames.camera_at(start)) @ (exact * depth[:, None])
    now = frames.camera.project(moved)
    column, row = np.rint(now).astype(int).T
    inside = (row >= 0) & (row < owner.shape[0]) & (column >= 0) & (column < owner.shape[1])
    seen = np.zeros(len(now), int)
    seen[inside] = frames.hits(t)[1][row[inside], column[inside]]
    return now, seen


def errors_of(frames, tracks, labels, plate):
    """[n] px of every match of a plate's points, against where the points truly are; and who is seen there."""
    region = int(np.bincount(labels[0][frames.hits(0)[1] == plate]).argmax())
    first, error, seen = {}, [], []
    for t, points in enumerate(tracks):
        points = points.of(region)
        for k in range(len(points)):
            if points.ids[k] not in first:
                first[points.ids[k]] = (t, points.uv[k])
                continue
            start, uv = first[points.ids[k]]
            now, who = where_truly(frames, plate, start, uv[None], t)
            error.append(np.linalg.norm(points.uv[k] - now[0]))
            seen.append(who[0])
    return region, np.array(error), np.array(seen)


def behind_a_post(num_frames=16):
    return AnalyticFrames([Plate(lambda t: np.array([0.0, 0.0, 3.0]), half=(0.32, 2.0)),
                           Plate(lambda t: np.array([-1.7 + 0.22 * t, 0.1, 5.0]), half=(0.4, 0.35), phase=3.0)],
                          num_frames, grain=40.0)


def test_points_end_where_something_passes_in_front_and_the_same_ones_come_back():
    frames = behind_a_post()
    tracks, labels, scene = tracked(frames)
    region, error, seen = errors_of(frames, tracks, labels, 2)
    assert len(error) > 100
    assert (seen == 2).mean() > 0.99
    assert np.quantile(error, 0.99) < 0.5
    hidden = [t for t in range(16) if (frames.hits(t)[1] == 2).sum() < 400]
    assert hidden and all(len(tracks[t].of(region)) == 0 for t in hidden)
    back = set(tracks[0].of(region).ids) & set(tracks[15].of(region).ids)
    assert len(back) > 0.4 * len(tracks[0].of(region))
    measured = scene.region(region)
    assert measured.seen[:4].all() and measured.seen[12:].all() and not measured.seen[hidden].any()
    world = measured.point_cam[13] - measured.point_cam[1]
    np.testing.assert_allclose(world, [0.22 * 12, 0, 0], atol=0.02)


def test_points_that_leave_the_image_end_at_its_edge():
    frames = AnalyticFrames([Plate(lambda t: np.array([0.9 + 0.16 * t, 0.2, 5.0]), half=(0.5, 0.45))], 10, grain=40.0)
    tracks, labels, _ = tracked(frames)
    _, error, seen = errors_of(frames, tracks, labels, 1)
    assert len(error) > 50 and (seen == 1).all()
    assert error.max() < 0.5
    assert all((points.uv <= [frames.size[0] - 1, frames.size[1] - 1]).all() for points in tracks)


def test_a_patch_with_something_nearer_in_it_is_covered():
    disparity = np.full((60, 80), 8.0, np.float32)
    disparity[:, 40:] = 14
    uv = np.array([[10.0, 30], [20, 20], [15, 40], [25, 30], [36, 30], [60, 30]])
    out = covered(disparity, np.ones(disparity.shape, bool), uv, np.full(6, 8.0), np.zeros(6),
                  np.array([True] * 5 + [False]), 15)
    np.testing.assert_array_equal(out, [False, False, False, False, True, True])


def test_what_comes_nearer_as_a_whole_is_not_covered():
    disparity = np.full((60, 80), 11.0, np.float32)
    uv = np.stack(np.meshgrid([10.0, 30, 50], [15.0, 40]), -1).reshape(-1, 2)
    ones = np.ones(len(uv), bool)
    assert not covered(disparity, np.ones(disparity.shape, bool), uv, np.full(6, 8.0), np.zeros(6), ones, 15).any()
