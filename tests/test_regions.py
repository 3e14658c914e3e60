"""Regions: what becomes one, what does not, and how long its id lives. Fields are exact, in closed form."""

import numpy as np
import pytest

from curate.geometry.poses import Pose
from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.grid import fill_holes
from curate.perception.regions.motion_clusters import MotionClusters
from curate.perception.regions.planes import dominant_planes, in_front
from curate.perception.regions.rigidity import disagreeing, main_part
from curate.perception.regions.segment import flat, gap
from tests.analytic_scene import AnalyticFrames, Exact, ExactTracks, Plate, clip


def labels_of(frames, window=6, **settings):
    """[T, H, W] labels, and the true owners."""
    labels = {}

    def tap(seen):
        for j in range(seen.num_frames):
            labels[seen.start + j] = seen.fields["regions"].values[j].copy()

    truth = ExactTracks(frames)
    truth.gives = ("tracks",)
    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"),
                  MotionClusters(MotionClustersConfig(**settings)), truth]
    perceive(clip(frames.num_frames), frames, PerceptionConfig(window=window), taps=[tap], estimators=estimators)
    return (np.stack([labels[t] for t in range(frames.num_frames)]),
            np.stack([frames.hits(t)[1] for t in range(frames.num_frames)]))


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def owner(labels, truth, k):
    """The region that covers plate k in one frame, and how well."""
    region = np.bincount(labels[truth == k]).argmax()
    return region, overlap(labels == region, truth == k) if region else 0.0


TWO = [Plate(lambda t: np.array([-1.0 + 0.05 * t, 0.2, 5.0])), Plate(lambda t: np.array([1.2, 0.3, 6.0]))]


def test_moving_and_still_objects_are_regions_and_the_ground_and_wall_are_not():
    labels, truth = labels_of(AnalyticFrames(TWO, 8))
    assert set(np.unique(labels)) == {0, 1, 2}
    for t in range(8):
        for k in (1, 2):
            region, iou = owner(labels[t], truth[t], k)
            assert iou > 0.75
            assert (truth[t][labels[t] == region] == k).mean() > 0.95


def test_an_id_stays_over_windows_and_through_a_rest():
    def stops(t):
        return np.array([-1.0 + 0.06 * min(t, 4) + 0.06 * max(t - 9, 0), 0.2, 5.0])

    labels, truth = labels_of(AnalyticFrames([Plate(stops), TWO[1]], 14), window=4)
    ids = [[owner(labels[t], truth[t], k)[0] for t in range(14)] for k in (1, 2)]
    assert len(set(ids[0])) == len(set(ids[1])) == 1
    assert ids[0][0] != ids[1][0]


def test_touching_objects_that_move_differently_are_told_apart():
    side_by_side = [Plate(lambda t: np.array([-0.62 - 0.04 * t, 0.2, 5.0])),
                    Plate(lambda t: np.array([0.6 + 0.04 * t, 0.2, 5.0]))]
    labels, truth = labels_of(AnalyticFrames(side_by_side, 6))
    regions = [owner(labels[0], truth[0], k) for k in (1, 2)]
    assert regions[0][0] != regions[1][0]
    assert min(iou for _, iou in regions) > 0.7


def test_a_rigid_object_that_turns_and_approaches_stays_one():
    turning = Plate(lambda t: np.array([0.0, 0.2, 5 - 0.12 * t]),
                    lambda t: np.array([0.02 * t, 0.3 + 0.05 * t, 0.03 * t]), half=(0.9, 0.6))
    labels, truth = labels_of(AnalyticFrames([turning], 8))
    for t in range(7):
        _, iou = owner(labels[t], truth[t], 1)
        assert iou > 0.75


def test_what_is_covered_or_leaves_the_image_ends():
    leaving = [Plate(lambda t: np.array([1.5 + 0.25 * t, 0.2, 5.0])), Plate(lambda t: np.array([-1.2, 0.2, 6.0]))]
    labels, truth = labels_of(AnalyticFrames(leaving, 14))
    region, _ = owner(labels[0], truth[0], 1)
    gone = [t for t in range(14) if (truth[t] == 1).sum() < 0.1 * (truth[0] == 1).sum()]
    assert gone and not (labels[gone] == region).any()


def test_a_moving_camera_does_not_make_still_things_move_apart():
    frames = AnalyticFrames(TWO, 8, camera_at=lambda t: Pose("world", "cam", np.eye(3),
                                                             np.array([0.02 * t, 0, 0.15 * t])))
    labels, truth = labels_of(frames)
    assert len({owner(labels[t], truth[t], 2)[0] for t in range(8)}) == 1


def test_an_object_larger_than_allowed_is_scenery():
    labels, _ = labels_of(AnalyticFrames(TWO, 4), max_extent_m=0.3)
    assert not labels.any()


def test_a_plane_with_the_scene_behind_it_is_not_scenery():
    rng = np.random.default_rng(0)
    disparity = np.full((120, 160), 4.0)
    disparity[60:] = np.linspace(4, 20, 60)[:, None]  # ground
    disparity[30:70, 10:50] = disparity[30:70, 100:140] = 11.0  # two faces at one depth, as wide as a wall
    planes = dominant_planes(disparity, np.ones(disparity.shape, bool), 3, 0.05, 0.5, rng)
    stands = in_front(disparity, planes, np.full(disparity.shape, 0.5))
    assert len(planes) == 2
    assert stands[35:65, 15:45].all() and stands[35:65, 105:135].all()
    assert not stands[:25].any() and not stands[100:].any()


def motion_of(points, velocity, turn, focal=500.0):
    moved = points + velocity + np.cross(turn, points - points.reshape(-1, 3).mean(0))
    return focal * (moved[..., :2] / moved[..., 2:] - points[..., :2] / points[..., 2:])


def surface(depth):
    u, v = np.meshgrid(np.linspace(-0.2, 0.2, 60), np.linspace(-0.15, 0.15, 45))
    return np.stack([u * depth, v * depth, np.broadcast_to(depth, u.shape)], -1)


def test_rigid_motion_with_relief_agrees_with_itself():
    points = surface(5 + 0.5 * np.sin(np.linspace(0, 6, 60))[None] * np.ones((45, 1)))
    motion = motion_of(points, np.array([0.05, 0.02, -0.1]), np.array([0.01, 0.03, -0.02]))
    everything = np.ones((45, 60), bool)
    off = disagreeing(everything, motion, points, everything, 500.0, np.random.default_rng(0))
    assert off.mean() < 0.01


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_the_smaller_part_that_moves_otherwise_is_named(share):
    points = surface(np.full((45, 60), 5.0))
    motion = motion_of(points, np.array([0.04, 0, 0]), np.zeros(3))
    other = np.zeros((45, 60), bool)
    other[:, : int(60 * share)] = True
    motion[other] = 0
    everything = np.ones((45, 60), bool)
    off = disagreeing(everything, motion, points, everything, 500.0, np.random.default_rng(0))
    assert overlap(off, other) > 0.9


def test_holes_close_on_one_surface_and_not_across_a_step():
    disparity = np.full((40, 40), 10.0, np.float32)
    disparity[:, 20:] = 20
    valid = np.random.default_rng(0).random((40, 40)) > 0.5
    filled, known = fill_holes(np.where(valid, disparity, 0), valid)
    assert known[:, :16].mean() > 0.95 and known[:, 24:].mean() > 0.95
    np.testing.assert_allclose(filled[:, :15][known[:, :15]], 10)
    np.testing.assert_allclose(filled[:, 25:][known[:, 25:]], 20)


def test_crumbs_are_dropped():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = mask[16:18, 16:18] = True
    assert main_part(mask).sum() == 100




POST = Plate(lambda t: np.array([0.0, 0.0, 3.0]), half=(0.32, 2.0))


def behind_a_post(step=0.22, num_frames=16):
    """A plate that passes behind a post: hidden for a few tenths of a second."""
    return AnalyticFrames([POST, Plate(lambda t: np.array([-1.7 + step * t, 0.1, 5.0]), half=(0.4, 0.35), phase=3.0)],
                          num_frames)


def test_an_object_that_passes_behind_a_post_keeps_its_id_and_is_nowhere_meanwhile():
    labels, truth = labels_of(behind_a_post())
    whole = (truth[0] == 2).sum()
    share = np.array([(t == 2).sum() / whole for t in truth])
    regions = [owner(labels[t], truth[t], 2)[0] if share[t] > 0.6 else 0 for t in range(16)]
    before, after = [r for t, r in enumerate(regions) if t < 7 and r], [r for t, r in enumerate(regions) if t > 8 and r]
    assert (share < 0.1).any() and len(before) >= 3 and len(after) >= 3
    assert set(before) == set(after) == {before[0]}
    assert not (labels[share < 0.2] == before[0]).any()
    for t in range(16):  # the mask never slides onto the post, nor the post's onto it
        assert (truth[t][labels[t] == before[0]] == 2).mean() > 0.97 if (labels[t] == before[0]).any() else True


def test_another_object_that_comes_out_is_not_taken_for_the_hidden_one():
    """It goes in behind the post and stays there; something that looks otherwise comes out instead."""
    def hides(t):
        return np.array([-1.7 + 0.22 * min(t, 8), 0.1, 5.0])

    frames = AnalyticFrames([Plate(lambda t: np.array([0.0, 0.0, 3.0]), half=(0.42, 2.0)),
                             Plate(hides, half=(0.4, 0.35), phase=3.0),
                             Plate(lambda t: np.array([-1.7 + 0.22 * max(t, 7), 0.1, 5.05]), half=(0.4, 0.35),
                                   phase=-7.0)], 14)
    labels, truth = labels_of(frames)
    first, _ = owner(labels[0], truth[0], 2)
    last, iou = owner(labels[13], truth[13], 3)
    assert first and last and iou > 0.6 and first != last


def test_two_that_cross_do_not_swap_their_labels():
    frames = AnalyticFrames([Plate(lambda t: np.array([-1.3 + 0.2 * t, 0.2, 4.0]), half=(0.45, 0.5)),
                             Plate(lambda t: np.array([1.6 - 0.22 * t, 0.1, 5.5]), half=(0.5, 0.5), phase=5.0)], 14)
    labels, truth = labels_of(frames)
    seen = {}
    for k in (1, 2):
        whole = (truth[0] == k).sum()
        for t in range(14):
            if (truth[t] == k).sum() > 0.7 * whole:
                seen.setdefault(k, set()).add(owner(labels[t], truth[t], k)[0])
    assert len(seen[1]) == len(seen[2]) == 1 and seen[1] != seen[2]


def test_two_bodies_that_a_smeared_step_joins_are_cut_and_a_slanted_face_is_not():
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(6, 0.1, 500), rng.normal(8.8, 0.1, 300), rng.uniform(6, 8.8, 30)])
    assert 6.5 < gap(np.sort(two), 1.0) < 8.3
    assert gap(np.sort(rng.uniform(6, 8.8, 800)), 1.0) is None
    assert gap(np.sort(rng.normal(7, 0.6, 800)), 1.0) is None
    assert gap(np.sort(np.concatenate([rng.normal(6, 0.1, 500), rng.normal(6.5, 0.1, 300)])), 1.0) is None


def test_a_smear_between_two_bodies_is_not_flat_and_a_slope_is():
    two = np.full((30, 60), 6.0)
    two[:, 28:] = np.minimum(6 + 0.7 * np.arange(32), 8.8)  # half of a matcher's window
    inside = np.ones(two.shape, bool)
    inside[:, :3] = False
    steady = flat(two, inside, 1.0)
    assert not steady[:, 28:32].any() and steady[:, 4:26].all() and steady[:, 34:].all()
    slope = 6 + 0.05 * np.arange(60) * np.ones((30, 1))
    assert flat(slope, inside, 1.0)[inside].all()
