"""Families of courses and events, held against answers worked out by hand: trajectories, phases, times, forecasts,
captions."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from curate.measure import runs
from curate.questions import QuestionsConfig, gates
from curate.questions.asker import ask
from curate.questions.families import families
from curate.questions.forms import final_answer
from curate.rewards import score
from tests.family_scenes_text import asked, polyline, scene_of
from tests.scenes import Noise

# right 1.5 m, then away from the camera 3 m, then left 1.5 m, 0.8 s each: turns to the left as seen from above
U_TURN = polyline([(0, (-1, 0, 5)), (0.8, (0.5, 0, 5)), (1.6, (0.5, 0, 8)), (2.4, (-1, 0, 8))])
STILL = polyline([(0, (1, 0, 6)), (2.4, (1, 0, 6))])


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", text)]


class TestTrajectory:
    def test_legs_and_turns(self):
        found, _ = asked(scene_of(U_TURN)[0], "object_trajectory")
        target = found["open"].target
        assert [re.sub(r" [\d.]+( m|°)", "", part) for part in target] == [
            "move right", "turn left", "move", "turn left", "move"]
        assert numbers(" ".join(target)) == pytest.approx([1.5, 90, 3, 90, 1.5], rel=0.01)
        assert found["open"].answer == ", ".join(target) and found["open"].metric == "sequence"

    def test_a_rest_is_said_and_has_no_turn(self):
        path = polyline([(0, (0, 0, 5)), (0.8, (0, 0, 5)), (1.6, (-2, 0, 5)), (2.4, (-2, 0, 4))])
        target = asked(scene_of(path)[0], "object_trajectory")[0]["open"].target
        assert [re.sub(r" [\d.]+( m|°)", "", part) for part in target] == ["stay", "move left", "turn left", "move"]

    def test_heights_are_left_out(self):
        path = polyline([(0, (0, 0, 5)), (2.4, (0, -2, 8))])
        target = asked(scene_of(path)[0], "object_trajectory")[0]["open"].target
        assert sum(numbers(" ".join(target))) == pytest.approx(3, rel=0.01)
        assert target[1] == target[3] == "go straight on"

    def test_options_are_two_lengths_times_two_senses(self):
        question = asked(scene_of(U_TURN)[0], "object_trajectory")[0]["choice"]
        turns = [re.findall(r"turn (\w+)", option) for option in question.options]
        lengths = sorted({numbers(option)[0] for option in question.options})
        assert sorted(map(tuple, turns)) == [("left", "left")] * 2 + [("right", "right")] * 2
        assert len(lengths) == 2 and lengths[1] > 1.3 * lengths[0]
        assert question.answer == question.options["ABCD".index(question.letter)]
        assert numbers(question.answer)[0] == pytest.approx(1.5, rel=0.01)

    def test_a_path_without_left_and_right_has_four_lengths(self):
        goes = polyline([(0, (0, 0, 5)), (2.4, (0, 0, 8))])
        for num_options in (4, 5):
            question = asked(scene_of(goes)[0], "object_trajectory", num_options=num_options)[0]["choice"]
            assert all(option.startswith("move forward") for option in question.options)
            assert len({numbers(option)[0] for option in question.options}) == num_options
            assert sum(numbers(question.answer)) == pytest.approx(3, rel=0.01)

    def test_the_true_length_is_the_longer_one_half_of_the_time(self):
        longer = []
        for seed in range(40):
            question = asked(scene_of(U_TURN, seed=seed)[0], "object_trajectory", seed=seed)[0]["choice"]
            longer.append(numbers(question.answer)[0] == max(numbers(o)[0] for o in question.options))
        assert 8 <= sum(longer) <= 32

    def test_the_wording_says_where_the_path_is_cut_and_how_words_are_meant(self):
        text = asked(scene_of(U_TURN)[0], "object_trajectory")[0]["open"].question
        for part in ("0.80 s and 1.60 s", "axes of the camera at 0.00 s", "seen from above", "less than 15°", "0.1 m",
                     "<R1>", "metres"):
            assert part in text

    def test_what_stands_still_and_what_is_too_uncertain_is_refused(self):
        assert asked(scene_of(STILL)[0], "object_trajectory") == ({}, {gates.STILL})
        noisy = scene_of(U_TURN, noise=Noise(own_px=20, own_disparity_px=3, shared_disparity_px=3))[0]
        found, reasons = asked(noisy, "object_trajectory")
        assert not found and reasons <= {gates.STILL, gates.WIDE, gates.UNCERTAIN}

    def test_nothing_in_metres_where_the_scale_is_not_known(self):
        assert asked(scene_of(U_TURN, scale="relative")[0], "object_trajectory") == ({}, {gates.NOT_METRIC})

    def test_the_camera_that_drives_forward(self):
        scene, truth = scene_of(camera="driving", seed=3)
        target = asked(scene, "camera_trajectory")[0]["open"].target
        way = np.linalg.norm(np.diff(truth.camera.translation[[0, 8, 16, 24]][:, [0, 2]], axis=0), axis=1)
        assert target[0].startswith("move forward")
        assert [numbers(part)[0] for part in target if part.startswith("move")] == pytest.approx(list(way), rel=0.01)


class TestPhases:
    COMES_AND_GOES = staticmethod(polyline([(0, (0, 0, 6)), (0.8, (0, 0, 4)), (1.6, (0, 0, 4)), (2.4, (0, 0, 6))]))

    def test_distance_shrinks_rests_grows(self):
        question = asked(scene_of(self.COMES_AND_GOES)[0], "procedural_change")[0]["open"]
        assert question.target == ["shrinks", "constant", "grows"]
        assert question.answer == "(1) shrinks (2) constant (3) grows" and question.metric == "sequence"

    def test_options_are_lists_of_as_many_phases(self):
        question = asked(scene_of(self.COMES_AND_GOES)[0], "procedural_change")[0]["choice"]
        assert question.answer == "(1) shrinks (2) constant (3) grows"
        assert len(set(question.options)) == 4
        for option in question.options:
            phases = re.sub(r"\(\d\) ", "|", option).replace(" |", "|").split("|")[1:]
            assert len(phases) == 3 and all(a != b for a, b in pairwise(phases))

    def test_a_short_rest_is_left_out(self):
        path = polyline([(0, (0, 0, 6)), (1.1, (0, 0, 4)), (1.25, (0, 0, 4)), (2.4, (0, 0, 6))])
        question = asked(scene_of(path)[0], "procedural_change")[0]["open"]
        assert question.target == ["shrinks", "grows"] and "shorter than 0.3 s" in question.question

    def test_a_rest_about_as_long_as_the_shortest_phase_is_not_asked(self):
        path = polyline([(0, (0, 0, 6)), (1.0, (0, 0, 4)), (1.3, (0, 0, 4)), (2.4, (0, 0, 6))])
        assert asked(scene_of(path)[0], "procedural_change") == ({}, {gates.UNCERTAIN})

    def test_what_neither_comes_nor_goes_is_constant(self):
        assert asked(scene_of(STILL)[0], "procedural_change")[0]["open"].target == ["constant"]

    def test_wording_states_rates_times_and_places(self):
        text = asked(scene_of(STILL)[0], "procedural_change")[0]["open"].question
        for part in ("0.1 m/s", "0.3 s", "<R1>", "between 0.00 s and 2.40 s", "optical centre", "first frame"):
            assert part in text

    def test_speed_rises_and_falls(self):
        place = lambda t: np.stack([-1 + 1.5 * t / 2.4 - 0.2 * np.sin(2 * np.pi * t / 2.4), 0 * t, 6 + 0 * t], -1)  # noqa: E731
        question = asked(scene_of(place)[0], "speed_phases")[0]["open"]
        assert question.target == ["speeds up", "slows down"]  # speed 0.625 - 0.52 cos(2π t / 2.4)

    def test_even_speed_on_a_bend_is_constant(self):
        place = lambda t: np.stack([np.sin(t), 0 * t, 5 + np.cos(t)], -1)  # noqa: E731
        found, _ = asked(scene_of(place)[0], "speed_phases")
        assert found["open"].target == ["constant"]
        assert sorted(found["choice"].options) == ["(1) constant", "(1) slows down", "(1) speeds up"]

    def test_speed_of_what_stands_still_is_not_asked(self):
        assert asked(scene_of(STILL)[0], "speed_phases") == ({}, {gates.STILL})


class TestRuns:
    """Codes of single courses: what a reader would write down."""

    @pytest.mark.parametrize(("labels", "expected"), [
        ([1, 1, 1, 1], (1,)), ([1, 1, 2, 2], (1, 2)), ([1, 1, 0, 1], (1,)), ([0, 1, 2, 0], ()), ([2, 2, 0, 0], (2, 0))])
    def test_phases_of_at_least_two_steps(self, labels, expected):
        code = runs.phases(np.array([labels, labels[::-1]]), np.arange(5.0), 2.0)
        assert runs.decode(int(code[0])) == expected
        assert runs.decode(int(code[1])) == expected[::-1]

    @pytest.mark.parametrize(("values", "expected"), [
        ([0, 1, 2, 3], (0,)), ([3, 2, 0], (1,)), ([0, 2, 1.5, 3, 0], (0, 1)), ([1, 1.4, 0.8, 1.2], ()),
        ([2, 0, 3, 1], (1, 0, 1))])
    def test_swings_of_at_least_one(self, values, expected):
        code = runs.swings(np.array([values, values], float), np.ones(2))
        assert [runs.decode(int(c)) for c in code] == [expected, expected]


class TestForecast:
    GOES_RIGHT = staticmethod(polyline([(0, (-0.6, 0.1, 5)), (2.4, (0.6, 0.1, 5))]))  # 0.5 m/s

    def test_direction_from_the_middle_on(self):
        question = asked(scene_of(self.GOES_RIGHT)[0], "forecast_direction")[0]["choice"]
        assert question.answer == "right" and (question.start_frame, question.end_frame) == (12, 24)
        assert question.extra["frames_until"] == 12
        assert "1.20 s" in question.question and "2.40 s" in question.question

    def test_it_is_the_second_half_that_counts(self):
        path = polyline([(0, (0, 0, 5)), (1.2, (0.6, 0, 5)), (2.4, (0.6, 0, 6.5))])
        assert asked(scene_of(path)[0], "forecast_direction")[0]["choice"].answer == "forward"

    def test_what_stops_in_the_first_half_is_not_asked(self):
        path = polyline([(0, (-0.6, 0, 5)), (1.0, (0.6, 0, 5)), (2.4, (0.6, 0, 5))])
        assert asked(scene_of(path, noise=Noise())[0], "forecast_direction")[0] == {}

    def test_position_in_the_axes_of_the_camera_then(self):
        question = asked(scene_of(self.GOES_RIGHT)[0], "forecast_position")[0]["open"]
        assert question.target[0] == pytest.approx([0.6, 0.1, 5], abs=0.002)
        assert question.metric == "st" and question.answer_type == "points"
        for place, value in zip(question.coordinates, question.target[0]):
            assert float(question.answer[place["start"]:place["end"]]) == value
        assert "metres" in question.question and "1.20 s" in question.question

    def test_position_before_a_moving_camera(self):
        scene, truth = scene_of(lambda t: np.stack([0.3 * t, 0 * t, 25 + 2 * t], -1), camera="driving", seed=3)
        question = asked(scene, "forecast_position")[0]["open"]
        pose = truth.camera.rotation[12], truth.camera.translation[12]
        assert question.target[0] == pytest.approx((truth.points[1][24] - pose[1]) @ pose[0], abs=0.01)

    def test_every_wording_forbids_later_frames(self):
        for name in ("forecast_direction", "forecast_position"):
            family = families()[name]
            for paraphrase in family.wording(family.sections[0]):
                fields = ("region", "start", "end", "counting", "reference", "axes")
                text = paraphrase.render(dict.fromkeys(fields, "X"))
                assert re.search(r"[Oo]nly|alone|[Ww]ithout looking|no further|no frame after|Later frames", text), text

    def test_uncertain_positions_are_refused(self):
        noisy = scene_of(self.GOES_RIGHT, noise=Noise(own_disparity_px=2, shared_disparity_px=2, own_px=5))[0]
        assert asked(noisy, "forecast_position")[0] == {}


class TestCaption:
    GOES_RIGHT = staticmethod(polyline([(0, (-0.6, 0, 5)), (2.4, (0.6, 0, 5))]))  # 1.2 m in 2.4 s
    COMES = staticmethod(polyline([(0, (0, 0, 9)), (2.4, (0, 0, 6.6))]))  # 1 m/s

    def test_every_fact_by_hand(self):
        question = asked(scene_of(self.GOES_RIGHT, STILL, self.COMES)[0], "dense_caption")[0]["open"]
        facts = {re.sub(r"[\d.]+ (m/s|cm|m|s)\b", r"_ \1", fact): numbers(re.sub(r"<R\d>", "", fact))
                 for fact in question.target}
        expected = {
            "The camera stays within _ cm of its place": [5],
            "<R1> is _ m from the camera at _ s": [np.hypot(0.6, 5), 0],
            "<R1> moves _ m to the right": [1.2], "The mean speed of <R1> is _ m/s": [0.5],
            "<R2> is _ m from the camera at _ s": [np.hypot(1, 6), 0],
            "<R2> stays within _ cm of its place": [10],
            "<R3> is _ m from the camera at _ s": [9, 0], "<R3> moves _ m backward": [2.4],
            "The mean speed of <R3> is _ m/s": [1], "<R3> gets _ m closer to the camera": [2.4],
            "<R3> is faster than <R1>": []}
        assert set(facts) == set(expected)
        for fact, values in expected.items():
            assert facts[fact] == pytest.approx(values, rel=0.01, abs=0.005), fact

    def test_the_paragraph_is_its_facts(self):
        question = asked(scene_of(self.GOES_RIGHT, STILL)[0], "dense_caption")[0]["open"]
        assert question.answer == ". ".join(question.target) + "." and question.metric == "facts"
        assert "<R1> and <R2>" in question.question and question.regions == [1, 2]

    def test_digits_follow_the_error(self):
        def distance(noise):
            target = asked(scene_of(self.GOES_RIGHT, noise=noise)[0], "dense_caption")[0]["open"].target
            return next(re.search(r"is ([\d.]+) m from", f)[1] for f in target if "from the camera" in f)
        rough = Noise(scale=0, own_disparity_px=0.5, shared_disparity_px=0.5)
        assert len(distance(rough)) < len(distance(Noise.none()))

    def test_only_what_is_certain_is_told(self):
        noise = Noise(own_px=4, own_disparity_px=1.5, shared_disparity_px=1.5)
        noisy = scene_of(self.GOES_RIGHT, STILL, noise=noise)[0]
        sharp = asked(scene_of(self.GOES_RIGHT, STILL)[0], "dense_caption")[0]["open"].target
        found, reasons = asked(noisy, "dense_caption")
        assert len(found["open"].target) < len(sharp) if found else reasons

    def test_a_camera_that_drives(self):
        scene, truth = scene_of(STILL, camera="driving", seed=3, num_frames=9)
        target = asked(scene, "dense_caption")[0]["open"].target
        way = np.linalg.norm(truth.camera.translation[8] - truth.camera.translation[0])
        assert target[0].startswith("The camera moves") and target[0].endswith("m forward")
        assert numbers(target[0]) == pytest.approx([way], rel=0.01)

    def test_its_own_text_earns_all_of_the_reward(self):
        question = asked(scene_of(self.GOES_RIGHT, STILL, self.COMES)[0], "dense_caption")[0]["open"]
        assert score(question.answer, question) == 1
        assert score("<R1> moves 1.2 m to the right.", question) < 0.2


class TestAnswersAndRewards:
    """What a family gives as its answer is read back as right, and another one as wrong."""

    SCENE = scene_of(U_TURN, polyline([(0, (0, 0, 9)), (2.4, (0, 0, 6.6))]))[0]

    @pytest.mark.parametrize("family", [
        "object_trajectory", "procedural_change", "speed_phases", "event_time", "event_duration", "event_order",
        "event_span", "fastest_time", "video_duration", "forecast_direction", "forecast_position", "dense_caption"])
    def test_every_answer_earns_all(self, family):
        questions, _ = ask(self.SCENE, QuestionsConfig(families=[family], max_relative_half_width=0.5))
        for question in questions:
            assert score(final_answer(question), question) == 1, question.id
            assert question.reasoning and all(sentence.endswith(".") for sentence in question.reasoning)

    def test_a_turn_to_the_other_side_earns_less(self):
        question = asked(scene_of(U_TURN)[0], "object_trajectory")[0]["open"]
        assert score(question.answer.replace("left", "right"), question) == pytest.approx(3 / 5)

    def test_a_phase_too_many_earns_less(self):
        question = asked(scene_of(STILL)[0], "procedural_change")[0]["open"]
        assert score("(1) constant (2) grows", question) == pytest.approx(1 / 2)

    def test_half_of_a_span_earns_half(self):
        found, _ = ask(self.SCENE, QuestionsConfig(families=["event_span"]))
        question = found[0]
        low, high = question.target
        assert score(f"from {low} s to {(low + high) / 2} s", question) == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize("family", ["procedural_change", "event_time", "fastest_time", "dense_caption"])
    def test_the_same_scene_gives_the_same_questions(self, family):
        first, again = (asked(scene_of(U_TURN, noise=Noise())[0], family)[0] for _ in range(2))
        assert {form: q.to_json() for form, q in first.items()} == {form: q.to_json() for form, q in again.items()}


@pytest.mark.parametrize("family", [
    "object_trajectory", "camera_trajectory", "procedural_change", "speed_phases", "event_time", "event_duration",
    "event_order", "event_span", "fastest_time", "video_duration", "forecast_direction", "forecast_position",
    "dense_caption"])
def test_eight_wordings_and_more(family):
    found = families()[family]
    for section in found.sections:
        assert len({p.id for p in found.wording(section)}) >= 8
