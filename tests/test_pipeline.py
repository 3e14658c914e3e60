"""The order of estimators, the windows, and what a source gives, with estimators that tell the truth."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.geometry.poses import FrameError, Pose
from curate.perception.config import PerceptionConfig
from curate.perception.estimator import Resources
from curate.perception.pipeline import given_fields, order, perceive, spans
from curate.sources.base import BadInput
from tests.analytic_scene import AnalyticFrames, Exact, ExactTracks, Plate, clip


@dataclass
class Declared:
    name: str
    needs: tuple = ()
    gives: tuple = ()
    version: str = "1"
    window: int = 2
    overlap: int = 1
    resources: Resources = field(default_factory=Resources)


DEPTH = Declared("depth", (), ("disparity",))
FLOW = Declared("flow", (), ("flow",))
CAMERA = Declared("camera", ("disparity", "flow"), ("camera",))
MOTION = Declared("motion", ("camera",), ("motion",))


def names(estimators):
    return [e.name for e in estimators]


@given(st.permutations([DEPTH, FLOW, CAMERA, MOTION]))
def test_estimators_run_after_what_they_need(listed):
    done = set()
    for estimator in order(listed):
        assert set(estimator.needs) <= done
        done |= set(estimator.gives)
    assert len(done) == 4


def test_a_need_that_nobody_fills_is_named():
    with pytest.raises(ValueError, match="'camera' needs the field 'flow', which no estimator gives"):
        order([DEPTH, CAMERA])


def test_a_circle_is_named():
    a, b = Declared("a", ("y",), ("x",)), Declared("b", ("x",), ("y",))
    with pytest.raises(ValueError, match="a needs b needs a"):
        order([DEPTH, a, b])


def test_two_estimators_for_one_field_are_refused():
    with pytest.raises(ValueError, match="'disparity' would be filled twice, by 'depth' and by 'other'"):
        order([DEPTH, Declared("other", (), ("disparity",))])


def test_what_is_given_is_not_estimated():
    assert names(order([DEPTH, FLOW, CAMERA, MOTION], ["camera"])) == ["depth", "flow", "motion"]


def test_a_joint_estimator_still_runs_for_the_part_that_is_not_given():
    joint = Declared("joint", (), ("disparity", "camera"))
    assert names(order([joint, FLOW], ["camera"])) == ["joint", "flow"]


@given(st.integers(2, 200), st.integers(2, 20))
def test_every_pair_of_frames_lies_in_exactly_one_window(num_frames, window):
    pairs = [(t, t + 1) for a, b in spans(num_frames, window, 1) for t in range(a, b - 1)]
    assert pairs == [(t, t + 1) for t in range(num_frames - 1)]


def scene_of(frames, **options):
    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "camera", "motion"),
                  ExactTracks(frames)]
    config = PerceptionConfig(window=5, rig={"kind": "as-published"})  # the check of the rig reads frames of its own
    return perceive(clip(frames.num_frames), frames, config, estimators=estimators, **options)


def small(num_frames=9, **options):
    return AnalyticFrames([Plate(lambda t: [0.05 * t, 0.2, 4.0])], num_frames, size=(160, 120), **options)


def test_frames_are_decoded_once_and_taps_see_every_window():
    frames, starts, timings = small(), [], {}
    scene_of(frames, taps=[lambda w: starts.append((w.start, w.num_frames, sorted(w.fields)))], timings=timings)
    assert frames.reads == [(0, 5), (5, 9)]
    assert [(s, n) for s, n, _ in starts] == [(0, 5), (4, 5)]
    assert starts[0][2] == ["camera", "disparity", "flow", "motion", "regions", "tracks"]
    assert {"read", "taps", "lift", "exact-flow"} <= set(timings)


def test_the_same_clip_gives_the_same_bytes():
    assert scene_of(small()).to_bytes() == scene_of(small()).to_bytes()


def test_a_source_that_knows_its_poses_is_believed():
    frames = small(num_frames=7)
    centres = np.zeros((7, 3))
    centres[:, 2] = np.arange(7)
    frames.given = {"poses": Pose("world", "cam", np.tile(np.eye(3), (7, 1, 1)), centres)}
    estimators = [Exact(frames, "disparity"), Exact(frames, "flow"), Exact(frames, "motion"), ExactTracks(frames)]
    scene = perceive(clip(7), frames, PerceptionConfig(window=4), estimators=estimators)
    assert scene.origin["camera"] == "source"
    np.testing.assert_array_equal(scene.T_world_cam.translation, centres)


def test_given_poses_in_the_wrong_direction_are_refused():
    frames = small()
    frames.given = {"poses": Pose("cam", "world", np.tile(np.eye(3), (9, 1, 1)), np.zeros((9, 3)))}
    with pytest.raises(FrameError, match=r"\.inverse"):
        given_fields(frames)


def test_one_frame_is_not_a_clip():
    frames = small(num_frames=1)
    with pytest.raises(BadInput, match="1 frame in the clip; at least 2"):
        perceive(clip(1), frames, PerceptionConfig(), estimators=[])


def test_an_unknown_kind_of_estimator_says_which_there_are():
    from curate.perception import estimator_class

    with pytest.raises(ValueError, match=r"no estimator of kind 'sgmm'.*did you mean 'sgm'"):
        estimator_class("sgmm")


def test_a_misspelt_setting_is_reported_once():
    with pytest.raises(ValueError) as caught:
        PerceptionConfig.model_validate({"regions": {"kind": "motion-clusters", "min_shar": 0.1}})
    assert str(caught.value).count("min_shar") >= 1
    assert "1 validation error" in str(caught.value)
