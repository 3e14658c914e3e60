"""Families of courses and events, held against answers worked out by hand: trajectories, phases, times, forecasts,
captions."""

from __future__ import annotations

import re

import numpy as np
import pytest

from curate.questions import gates
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
