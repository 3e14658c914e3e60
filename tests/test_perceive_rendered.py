"""Perception from end to end on a few rendered frames whose every motion is known."""

import numpy as np
import pytest

from curate.geometry.poses import Pose
from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.sources.base import ClipSpec, View
from curate.synth import Renderer, sample_scene
from curate.synth.scene import SUB

NUM_FRAMES = 9


class RenderedFrames:
    scale, is_grey, given = "calibrated", False, {}
    num_frames = NUM_FRAMES

    def __init__(self, truth) -> None:
        renderer = Renderer(truth)
        self.left, self.right, self.depth, self.ids = (
            np.stack(x) for x in zip(*(renderer.render(t) for t in range(NUM_FRAMES))))
        self.rig, self.time_s = truth.rig, truth.time_s[:NUM_FRAMES]
        right = Pose("rig", "right", np.eye(3), np.array([truth.rig.baseline_m, 0, 0]))
        self.views = (View("left", truth.rig.left, Pose.identity("rig", "left")), View("right", truth.rig.left, right))

    def read(self, start, stop):
        return [self.left[start:stop], self.right[start:stop]]

    def close(self): ...


@pytest.fixture(scope="module")
def perceived():
    truth = sample_scene(100, 1)
    frames = RenderedFrames(truth)
    clip = ClipSpec("cd" * 12, "rendered", "scene", "scene", 0, NUM_FRAMES)
    return truth, frames, perceive(clip, frames, PerceptionConfig(window=5))


def region_of(scene, frames, object_id):
    covered = frames.ids[0] == object_id
    return max((r for r in scene.regions if r.first == 0), key=lambda r: (r.mask_first & covered).sum())


def true_points(truth, frames, region, object_id):
    """[T, 3] world: the mean true surface point of the object under the region's mask, carried by its motion."""
    mask = region.mask_first & (frames.ids[0] == object_id)
    rows, columns = np.nonzero(mask)
    camera = truth.rig.left.lift(np.column_stack([columns, rows]), frames.depth[0][rows, columns]).mean(0)
    body = truth.object(object_id)
    point = body.pose(0).inverse() @ (truth.camera(0) @ camera)
    return np.stack([body.pose(t * SUB) @ point for t in range(NUM_FRAMES)])


def test_a_moving_and_a_still_object_are_found_pure(perceived):
    _, frames, scene = perceived
    for object_id in (1, 3):
        mask = region_of(scene, frames, object_id).mask_first
        assert (frames.ids[0][mask] == object_id).mean() > 0.97


def test_motion_is_measured_within_its_error(perceived):
    truth, frames, scene = perceived
    region = region_of(scene, frames, 1)
    expected = true_points(truth, frames, region, 1)
    last = region.last
    world = (scene.T_world_cam.rotation @ region.point_cam[..., None])[..., 0] + scene.T_world_cam.translation
    error = (world[last] - world[0]) - (expected[last] - expected[0])
    moved = np.linalg.norm(expected[last] - expected[0])
    assert moved > 0.2
    assert np.linalg.norm(error) < 0.08 * moved
    sigma = np.sqrt(np.trace(region.cov_frame[0] + region.cov_frame[last] + region.step_cov.sum(0)))
    assert np.linalg.norm(error) < 4 * sigma
    assert region.motion_p < 1e-3


def test_what_rests_is_not_said_to_move(perceived):
    _, frames, scene = perceived
    assert region_of(scene, frames, 3).motion_p > 0.01


def test_every_field_says_who_filled_it(perceived):
    _, _, scene = perceived
    assert set(scene.origin) >= {"disparity", "flow", "camera", "motion", "regions", "tracks"}
    assert all("@" in who for who in scene.origin.values())


def test_the_benchmark_of_truth_judges_questions_of_every_family_asked(perceived):
    from benchmarks.compare import compare_scene
    from curate.questions import ask

    truth, _, scene = perceived
    asked = ask(scene)[0]
    found = compare_scene(scene, truth)
    assert {j["family"] for j in found["judged"]} == {q.family for q in asked}
    assert len({q.family for q in asked}) > 20 and found["items"] and found["askable"]
