"""Families of times, held against moments worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from curate.questions import QuestionsConfig, gates
from curate.questions.asker import ask
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
        first, second = map(float, re.findall(r"at (\d+\.\d+) s", question.reasoning[0]))
        assert second - first == pytest.approx(question.value, abs=1e-3)

    def test_of_what_stands_still(self):
        assert asked(scene_of(STILL)[0], "event_duration") == ({}, {gates.STILL})


class TestOrder:
    SLOWER = staticmethod(polyline([(0, (0, 0, 6)), (2.4, (0, 0, 7.2))]))  # 0.5 m/s

    def test_the_faster_one_is_there_first(self):
        question = asked(scene_of(self.SLOWER, PASSES)[0], "event_order")[0]["choice"]
        assert question.answer == "<R2>" and sorted(question.options) == ["<R1>", "<R2>"]
        assert question.regions == [1, 2] and 0.1 < question.extra["level_m"] < 1.2  # which both reach
        assert f"{question.extra['level_m']:g} m" in question.question

    def test_who_starts_later_is_later(self):
        late = polyline([(0, (0, 0, 6)), (1.2, (0, 0, 6)), (2.4, (2.4, 0, 6))])  # 2 m/s, but from 1.2 s on
        question = asked(scene_of(PASSES, late)[0], "event_order")[0].get("choice")
        level = question.extra["level_m"]  # at `level` s and at 1.2 + level / 2 s
        assert question.answer == ("<R1>" if level < 2.4 else "<R2>")

    def test_a_tie_and_a_single_object_are_not_asked(self):
        beside = polyline([(0, (-1.2, 0, 6)), (2.4, (1.2, 0, 6))])
        assert asked(scene_of(PASSES, beside)[0], "event_order") == ({}, {gates.UNCERTAIN})
        assert asked(scene_of(PASSES, STILL)[0], "event_order") == ({}, set())


class TestFastest:
    @staticmethod
    def questions(path):
        found, _ = ask(scene_of(path)[0], QuestionsConfig(families=["fastest_time"]))
        return {q.extra["extreme"]: q for q in found}

    def test_what_brakes_is_fastest_first_and_slowest_last(self):
        found = self.questions(lambda t: np.stack([-1 + t - 0.2 * t**2, 0 * t, 5 + 0 * t], -1))
        assert found["fastest"].answer == "from 0.00 s to 1.20 s" and found["slowest"].answer == "from 1.20 s to 2.40 s"
        assert sorted(found["fastest"].options) == ["from 0.00 s to 1.20 s", "from 1.20 s to 2.40 s"]

    def test_even_speed_has_no_fastest_part(self):
        assert self.questions(PASSES) == {}


class TestSpan:
    @staticmethod
    def question(path, kind, **config):
        found, _ = ask(scene_of(path)[0], QuestionsConfig(families=["event_span"], **config))
        return next((q for q in found if q.extra["event"] == kind), None)

    def test_closer_than(self):
        comes = polyline([(0, (0, 0, 6)), (2.4, (0, 0, 3.6))])  # 1 m/s
        question = self.question(comes, "closer")
        level = question.extra["level"]
        assert question.target == pytest.approx([6 - level, 2.4], abs=0.02)
        assert question.metric == "tiou" and question.answer_type == "span" and f"{level:g} m" in question.question

    def test_within_a_pass_it_has_two_ends(self):
        passes = polyline([(0, (-1.8, 0, 1.6)), (2.4, (1.8, 0, 1.6))])  # 1.5 m/s
        found = [self.question(passes, "closer", seed=seed) for seed in range(8)]
        question = next(q for q in found if q is not None)
        half = np.sqrt(question.extra["level"]**2 - 1.6**2) / 1.5
        assert question.target == pytest.approx([1.2 - half, 1.2 + half], abs=0.03)

    def test_faster_than(self):
        brakes = lambda t: np.stack([-1 + t - 0.2 * t**2, 0 * t, 5 + 0 * t], -1)  # noqa: E731
        question = next(q for q in (self.question(brakes, "faster", seed=seed) for seed in range(8)) if q is not None)
        assert question.target == pytest.approx([0, (1 - question.extra["level"]) / 0.4], abs=0.05)
        assert "m/s" in question.question

    def test_never_or_always(self):
        assert self.question(STILL, "closer") is None and self.question(STILL, "faster") is None


class TestVideoDuration:
    def test_from_first_to_last_frame(self):
        found, _ = asked(scene_of(PASSES)[0], "video_duration")
        assert found["numeric"].value == pytest.approx(2.4, abs=0.05) and found["numeric"].unit == "s"
        assert found["numeric"].low <= 2.4 <= found["numeric"].high
        assert len(found["choice"].options) == 4 and "2.4" not in found["numeric"].question

    def test_needs_no_scale(self):
        assert "numeric" in asked(scene_of(PASSES, scale="relative")[0], "video_duration")[0]
