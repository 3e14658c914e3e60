"""Families of times, held against moments worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from curate.questions import QuestionsConfig, gates
from curate.questions.ask import ask
from tests.family_scenes_text import asked, polyline, scene_of
from tests.scenes import Noise

STILL = polyline([(0, (1, 0, 6)), (2.4, (1, 0, 6))])
PASSES = polyline([(0, (-1.2, 0, 5)), (2.4, (1.2, 0, 5))])  # 1 m/s to the right
RESTS_THEN_GOES = polyline([(0, (0, 0, 5)), (0.8, (0, 0, 5)), (2.4, (1.6, 0, 5))])
GOES_THEN_RESTS = polyline([(0, (0, 0, 5)), (1.6, (-1.6, 0, 5)), (2.4, (-1.6, 0, 5))])


def times(scene, kind: str, form: str = "numeric", **config):
    """The question about one kind of event, None where there is none."""
    questions, _ = ask(scene, QuestionsConfig(families=["event_time"], **config))
    return next((q for q in questions if q.extra["event"] == kind and q.form == form), None)


class TestEventTime:
    def test_reaching_a_distance_from_the_start(self):
        question = times(scene_of(PASSES)[0], "reach")
        assert question.value == pytest.approx(question.extra["level_m"], abs=0.01)  # at 1 m/s
        assert question.low <= question.extra["level_m"] <= question.high
        assert question.unit == "s" and f"{question.extra['level_m']:g} m" in question.question

    def test_levels_are_spread_over_the_span(self):
        scene = scene_of(PASSES)[0]
        levels = {times(scene, "reach", seed=seed, max_relative_half_width=0.9).extra["level_m"] for seed in range(12)}
        assert min(levels) < 0.8 and max(levels) > 1.6

    def test_the_nearest_moment(self):
        assert times(scene_of(PASSES)[0], "nearest").value == pytest.approx(1.2, abs=0.01)

    def test_no_nearest_moment_of_what_only_comes_closer(self):
        comes = polyline([(0, (0, 0, 6)), (2.4, (0, 0, 4))])
        assert times(scene_of(comes)[0], "nearest") is None
        question = times(scene_of(comes)[0], "nearer")
        level = question.extra["level_m"]
        assert question.value == pytest.approx((6 - level) / (2 / 2.4), rel=0.02)

    def test_start_and_stop(self):
        assert times(scene_of(RESTS_THEN_GOES)[0], "start").value == pytest.approx(0.9, abs=0.02)  # 0.1 m at 1 m/s
        assert times(scene_of(GOES_THEN_RESTS)[0], "stop").value == pytest.approx(1.5, abs=0.02)
        assert times(scene_of(PASSES)[0], "start") is None and times(scene_of(PASSES)[0], "stop") is None

    def test_choice_names_equal_parts_of_the_span(self):
        question = times(scene_of(PASSES)[0], "reach", "choice")
        parts = sorted(tuple(map(float, re.findall(r"\d+\.\d+", option))) for option in question.options)
        assert parts == [(0.0, 0.6), (0.6, 1.2), (1.2, 1.8), (1.8, 2.4)]
        low, high = map(float, re.findall(r"\d+\.\d+", question.answer))
        assert low < question.extra["level_m"] < high
        assert len(times(scene_of(PASSES)[0], "reach", "choice", num_options=5).options) == 5

    def test_at_a_border_between_parts_there_is_no_choice(self):
        assert times(scene_of(PASSES)[0], "nearest", "choice") is None  # 1.2 s is between the second and the third
        assert times(scene_of(PASSES)[0], "nearest", "choice", num_options=5) is not None

    def test_frames_dialect(self):
        question = times(scene_of(PASSES)[0], "reach", "choice", dialect="frames")
        assert all(re.fullmatch(r"from frame \d+ to frame \d+", option) for option in question.options)

    def test_what_stands_still_goes_nowhere(self):
        found, reasons = asked(scene_of(STILL)[0], "event_time")
        assert not found and len(reasons) == 1

    def test_what_is_too_uncertain_is_refused(self):
        noisy = scene_of(PASSES, noise=Noise(own_px=30, own_disparity_px=3, shared_disparity_px=3))[0]
        assert "numeric" not in asked(noisy, "event_time")[0]


class TestOutOfSight:
    """At 1 m/s to the left and 3 m away: with a focal length of 576 px its centre is at the border at 0.67 s, and all
    of its 0.2 m is out 0.1 s later."""

    LEAVES = staticmethod(polyline([(0, (-1, 0, 3)), (2.4, (-3.4, 0, 3))]))

    def lost(self, last: int):
        scene = scene_of(self.LEAVES)[0]
        region = scene.regions[0]
        region.seen[last + 1:] = False
        region.last = last
        for array in (region.box, region.centroid_px, region.point_cam):
            array[last + 1:] = np.nan
        return scene

    def test_at_the_border(self):
        question = times(self.lost(6), "gone")
        assert question.low <= 0.61 < 0.77 <= question.high
        assert "between 0.00 s and 2.40 s" in question.question  # not where its track ends: that is the answer
        assert "goes out of the image" in question.question

    def test_a_track_that_ends_inside_the_image_tells_nothing(self):
        assert times(self.lost(3), "gone") is None

    def test_nor_does_one_that_goes_on(self):
        assert times(scene_of(PASSES)[0], "gone") is None


class TestEventDuration:
    def test_between_two_distances(self):
        question = asked(scene_of(PASSES)[0], "event_duration", seed=1)[0]["numeric"]
        low, high = question.extra["levels_m"]
        assert question.value == pytest.approx(high - low, abs=0.02)  # at 1 m/s
        assert f"{low:g} m" in question.question and f"{high:g} m" in question.question and "<R1>" in question.question

    def test_of_what_stands_still(self):
        assert asked(scene_of(STILL)[0], "event_duration") == ({}, {gates.STILL})
