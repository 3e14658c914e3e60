"""Families of paths and events of a clip that is mirrored, played backwards, or faster, or odd: what is asked then."""

from __future__ import annotations

import pytest

from curate.augment import mirror, playback, reverse
from curate.questions import QuestionsConfig
from curate.questions.asker import ask
from tests.family_scenes_text import asked, polyline, scene_of
from tests.scenes import make_scene

CORNER = polyline([(0, (-1, 0, 5)), (1.2, (0.5, 0, 5)), (2.4, (0.5, 0, 8))])  # right 1.5 m, then forward 3 m
COMES_AND_RESTS = polyline([(0, (0, 0, 8)), (1.2, (0, 0, 5)), (2.4, (0, 0, 5))])
BRAKES = polyline([(0, (-1, 0, 5)), (1.2, (0.8, 0, 5)), (2.4, (1.2, 0, 5))])


def words(parts: list[str]) -> list[str]:
    return [" ".join(word for word in part.split() if not word[0].isdigit() and word != "m") for part in parts]


def opened(scene, family: str):
    return asked(scene, family)[0]["open"]


def test_mirrored_turns_go_to_the_other_side():
    scene = scene_of(CORNER)[0]
    before, after = (words(opened(s, "object_trajectory").target) for s in (scene, mirror(scene)))
    swap = {"move right": "move left", "turn left": "turn right"}
    assert before[0] == "move right" and "turn left" in before
    assert after == [swap.get(word, word) for word in before]


def test_backwards_phases_come_in_the_other_order():
    scene = scene_of(COMES_AND_RESTS)[0]
    assert opened(scene, "procedural_change").target == ["shrinks", "constant"]
    assert opened(reverse(scene), "procedural_change").target == ["constant", "grows"]


def test_backwards_the_fastest_half_is_the_other_one():
    scene = scene_of(BRAKES)[0]
    assert asked(scene, "speed_phases")[0]["open"].target == ["slows down"]
    assert asked(reverse(scene), "speed_phases")[0]["open"].target == ["speeds up"]


def test_twice_as_fast_it_takes_half_of_the_time():
    scene = scene_of(CORNER)[0]
    duration = {rate: asked(playback(scene, rate), "video_duration")[0]["numeric"].value for rate in (1.0, 2.0)}
    assert duration[2.0] == pytest.approx(duration[1.0] / 2, rel=0.02)
    slow, fast = (opened(playback(scene, rate), "object_trajectory").target for rate in (1.0, 2.0))
    assert words(slow) == words(fast)


def test_mirrored_forecast_and_caption():
    scene = scene_of(BRAKES)[0]
    point, other = (opened(s, "forecast_position").target[0] for s in (scene, mirror(scene)))
    assert other == pytest.approx([-point[0], point[1], point[2]], abs=0.01)
    assert any("to the right" in fact for fact in opened(scene, "dense_caption").target)
    assert any("to the left" in fact for fact in opened(mirror(scene), "dense_caption").target)
    assert not any("to the right" in fact for fact in opened(mirror(scene), "dense_caption").target)


ALL = ["object_trajectory", "camera_trajectory", "procedural_change", "speed_phases", "event_time", "event_duration",
       "event_order", "event_span", "fastest_time", "video_duration", "forecast_direction", "forecast_position",
       "dense_caption"]


@pytest.mark.parametrize("camera", ["still", "hand-held", "driving"])
@pytest.mark.parametrize("num_frames", [2, 3, 7, 24])
@pytest.mark.parametrize("odd", ["gaps", "irregular", "not rigid", "frames"])
def test_odd_scenes_are_asked_or_refused(camera, num_frames, odd):
    is_long = num_frames > 7  # a short clip with gaps has nothing left
    scene, _ = make_scene(4, camera, num_frames, gaps=is_long and odd == "gaps",
                          irregular=is_long and odd == "irregular")
    for region in scene.regions:
        region.rigid = odd != "not rigid"
    dialect = "frames" if odd == "frames" else "seconds"
    questions, dropped = ask(scene, QuestionsConfig(families=ALL, dialect=dialect))
    assert {q.family for q in questions} | {d.family for d in dropped} >= {"video_duration", "camera_trajectory"}
    for question in questions:
        assert "nan" not in question.question + question.answer and "inf" not in question.answer
        assert len(set(question.options)) == len(question.options)
        if odd == "not rigid":
            assert question.family in ("video_duration", "camera_trajectory", "dense_caption")
