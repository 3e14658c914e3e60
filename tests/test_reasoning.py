"""Thinking in training examples: the solver's numbers, where things are at both ends of the clip, lengths, tasks."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.questions import QuestionsConfig, ask, judge, rft, sft
from curate.questions.config import ReasoningConfig
from curate.questions.reasoning import decimals_for, num_sentences, shortened
from curate.rewards.form import well_formed
from curate.rewards.places import st as st_reward
from curate.rewards.record import as_record
from tests.scenes import Noise, make_scene

FAMILIES = ("camera_displacement", "object_displacement", "object_mean_speed", "object_direction",
            "object_camera_distance", "object_camera_distance_change", "object_object_distance")
COLD = ReasoningConfig(tasks={"cold_start": 1})


def asked(scene, **config):
    return ask(scene, QuestionsConfig(**{"families": FAMILIES} | config))[0]


@pytest.fixture(scope="module")
def hand_held():
    return make_scene(2, "hand-held", 16)[0]


@pytest.fixture(scope="module")
def questions(hand_held):
    found = asked(hand_held, reasoning=COLD)
    assert len(found) > 15 and {q.form for q in found} == {"numeric", "choice"}
    return found


def reply(question, **options) -> str:
    return sft(question, **options)["messages"][1]["content"]


def asks(question, **options) -> str:
    return sft(question, **options)["messages"][0]["content"]


def state_in(text: str, tag: str = "state") -> dict:
    return json.loads(re.search(rf"<{tag}>(.*)</{tag}>", text)[1])


# ---- the numbers ----

def test_what_is_thought_agrees_with_the_record(questions):
    for q in questions:
        text = reply(q, task="reason")
        if q.form == "numeric":
            assert f"between {q.low} and {q.high} {q.unit}" in text and f"the best estimate is {q.answer}" in text
            assert q.low <= q.value <= q.high
        else:
            assert f"This is option {q.letter}, {q.answer}." in text
        assert text.index("</think>") < text.index("<answer>")


def test_every_conversation_ends_in_an_answer_that_is_judged_right(questions):
    for q in questions:
        for task in ("answer", "reason", "cold_start"):
            text = reply(q, task=task)
            assert judge(text, q).correct
            assert task == "answer" or well_formed(text)


def test_by_hand():
    """An object two metres to the right and ahead, seen by a camera that rests: no error, all numbers known."""
    path = [("it", lambda t: np.stack([.5 + t, 0 * t, 4 + 0 * t], -1), True)]
    scene = make_scene(0, "still", 12, 1, Noise.none(), fps=11, paths=path)[0]
    q = next(q for q in asked(scene, reasoning=COLD) if (q.family, q.end_frame) == ("object_displacement", 11))
    assert q.extra["centres"] == {"camera": [[0, 0, 0], [0, 0, 0]], "R1": [[.5, 0, 4], [1.5, 0, 4]]}
    assert q.extra["centres_at"] == ["0.00 s", "1.00 s"]
    text = reply(q)
    state = '{"camera": [[0, 0, 0], [0, 0, 0]], "R1": [[0.5, 0, 4], [1.5, 0, 4]]}'
    assert text.startswith(f"<think><state>{state}</state> ")
    assert '"camera" and "R1"' in asks(q) and "at 0.00 s and at 1.00 s" in asks(q) and "<state>" in asks(q)


# ---- where things are ----

@pytest.mark.parametrize("camera", ["still", "hand-held", "driving"])
def test_the_state_is_the_scenes(camera):
    scene = make_scene(4, camera, 12, noise=Noise.none())[0]
    world = {r.id: (scene.T_world_cam.rotation @ r.point_cam[..., None])[..., 0] + scene.T_world_cam.translation
             for r in scene.regions}
    seen = set()
    for q in asked(scene, reasoning=COLD):
        found = state_in(reply(q))
        assert set(found) == {"camera", *(f"R{i}" for i in q.regions)} and found == q.extra["centres"]
        for name, places in found.items():
            truth = scene.T_world_cam.translation if name == "camera" else world[int(name[1:])]
            np.testing.assert_allclose(places, truth[[0, -1]], atol=.002)  # printed to a millimetre
            seen.add(name)
    assert seen == {"camera", "R1", "R2", "R3", "R4"}


def test_coordinates_have_the_digits_that_their_error_supports(hand_held):
    """Along the line of sight, where two pixels of disparity are decimetres."""
    noisy = make_scene(2, "hand-held", 16, noise=Noise(own_px=3, shared_px=3, shared_disparity_px=2))[0]
    for scene, least, most in ((hand_held, 2, 3), (noisy, 0, 1)):
        depths = [p[2] for q in asked(scene, reasoning=COLD) for name, both in q.extra["centres"].items()
                  if name != "camera" for p in both]
        longest = max(len(repr(x).partition(".")[2].rstrip("0")) for x in depths)
        assert least <= longest <= most


@given(st.floats(1e-6, 100))
def test_rounding_moves_a_coordinate_by_no_more_than_its_interval(sigma):
    places = decimals_for(sigma)
    assert 0 <= places <= 3
    half_step = .5 * 10.0 ** -places
    assert half_step <= max(1.96 * sigma, .0005) or places == 3
    assert places in (0, 3) or half_step * 10 > 1.96 * sigma  # and not one digit more


def test_what_is_not_seen_at_the_end_is_null(hand_held):
    gone = hand_held.regions[1]
    short = replace(gone, last=12, seen=gone.seen & (np.arange(16) <= 12))
    scene = replace(hand_held, regions=[hand_held.regions[0], short])
    found = [q for q in asked(scene, reasoning=COLD) if 2 in q.regions]
    assert found
    for q in found:
        first, last = q.extra["centres"]["R2"]
        assert last is None and len(first) == 3
        assert state_in(reply(q))["R2"][1] is None and "null where it cannot be known" in asks(q)


def test_a_scene_without_scale_has_no_state(hand_held):
    found = asked(replace(hand_held, scale="relative"), reasoning=COLD)
    assert found
    for q in found:
        assert "centres" not in q.extra and "<state>" not in asks(q) and "<think>" in reply(q)


@pytest.mark.parametrize("dialect, one, two", [("<R1>", ["R2"], ["R1", "R2"]),
                                               ("<obj_1>", ["obj_2"], ["obj_1", "obj_2"]),
                                               ("region 1", ["region 2"], ["region 1", "region 2"]),
                                               ("box", ["object"], ["object 1", "object 2"])])
def test_objects_are_called_what_the_question_calls_them(hand_held, dialect, one, two):
    for q in asked(hand_held, reasoning=COLD, region_dialect=dialect):
        if q.regions in ([2], [1, 2]):
            names = list(q.extra["centres"])[1:]
            assert names == (one if len(q.regions) == 1 else two)
            if dialect != "box":
                assert all(name in q.question for name in names)


def test_the_reward_for_places_takes_what_is_shown(questions):
    for q in questions:
        record = as_record(json.loads(json.dumps(rft(q))))
        assert st_reward(reply(q), record) == pytest.approx(1)
        wrong = reply(q).replace("[[0, 0, 0]", "[[9, 9, 9]")
        assert st_reward(wrong, record) < .8


# ---- lengths ----

sentences = st.lists(st.text("abc 1.5", min_size=1, max_size=30).map(lambda s: f"It is {s.strip()} m."), max_size=6)


@given(sentences, st.none() | st.integers(1, 8), st.none() | st.integers(1, 120), st.sampled_from(["full", "short"]))
def test_a_thought_fits_and_keeps_its_conclusion(steps, most, characters, length):
    kept = shortened(steps, ReasoningConfig(length=length, max_sentences=most, max_characters=characters))
    assert kept == steps[len(steps) - len(kept):]  # an argument's end, no sentence cut
    assert bool(kept) == bool(steps)
    if len(kept) > 1:
        assert num_sentences(kept) <= min(most or math.inf, 3 if length == "short" else math.inf)
        assert len(" ".join(kept)) <= (characters or math.inf)
    if not most and not characters and length == "full":
        assert kept == steps


def test_lengths_of_real_thoughts(questions):
    full = [reply(q, task="reason") for q in questions]
    for limits in ({"length": "short"}, {"max_sentences": 2}, {"max_characters": 200}):
        config = ReasoningConfig(**limits)
        short = [reply(q, task="reason", config=config) for q in questions]
        assert sum(map(len, short)) < .9 * sum(map(len, full))
        for q, text in zip(questions, short):
            assert q.reasoning[-1] in text and text.endswith(f"<answer>{text.split('<answer>')[1]}")
            thought = re.search("<think>(.*)</think>", text)[1]
            assert len(thought) <= 200 or "max_characters" not in limits or thought == q.reasoning[-1]


# ---- tasks and tags ----

def test_tasks_are_shared_out_by_the_questions_ids(hand_held):
    thinking = ReasoningConfig(tasks={"answer": 1, "reason": 2, "cold_start": 1})
    found = [q for seed in range(5) for q in asked(make_scene(seed, "hand-held", 16)[0], reasoning=thinking)]
    counts = Counter(q.task for q in found)
    assert counts["reason"] == pytest.approx(len(found) / 2, rel=.25)
    assert counts["answer"] == pytest.approx(len(found) / 4, rel=.4)
    assert [q.task for q in found] == [q.task for seed in range(5)
                                       for q in asked(make_scene(seed, "hand-held", 16)[0], reasoning=thinking)]
    for q in found:
        assert ("<think>" in reply(q)) == (q.task != "answer") == ("<think>" in asks(q))
        assert ("<state>" in reply(q)) == (q.task == "cold_start") == ("<state>" in rft(q)["prompt"])
        assert rft(q)["task"] == q.task


def test_by_default_nothing_has_changed(hand_held):
    for q in asked(hand_held):
        assert q.task == "" and "centres" not in q.extra
        lead = ("First think step by step between <think> and </think>, then give only the final answer between "
                "<answer> and </answer>.")
        assert asks(q) == f"<video>\n{q.question}\n{lead}" == rft(q)["prompt"]
        assert reply(q).startswith(f"<think>{' '.join(q.reasoning)}</think><answer>")
        assert asks(q, reasoning=False) == f"<video>\n{q.question}" and "<" not in reply(q, reasoning=False)
    for q in asked(hand_held, reasoning=False):
        assert q.reasoning == [] and "<think>" not in reply(q) and "<think>" not in asks(q)


def test_the_tags_are_the_recipes(questions):
    config = ReasoningConfig(think="thinking", answer="final", state_tag="places")
    for q in questions[:6]:
        text = reply(q, config=config)
        assert re.fullmatch(r"<thinking><places>.*</places> .*</thinking><final>.+</final>", text, re.DOTALL)
        assert "<thinking>" in asks(q, config=config) and "<places>" in rft(q, config=config)["prompt"]
        assert "<think>" not in asks(q, config=config) + text


@pytest.mark.parametrize("settings, found", [
    ({"tasks": {"poem": 1}}, "poem"), ({"tasks": {"reason": 0}}, "expected a positive number"),
    ({"think": "a b"}, "pattern"), ({"think": "answer"}, "three different"), ({"max_sentences": 0}, "greater than"),
    ({"length": "long"}, "full"), ({"steps": 3}, "Extra inputs")])
def test_settings_that_make_no_sense_are_refused(settings, found):
    with pytest.raises(ValidationError, match=found):
        QuestionsConfig(reasoning=settings)


def test_an_unknown_task_is_refused(questions):
    with pytest.raises(ValueError, match=r"unknown task 'poem'; known: answer, reason, cold_start"):
        sft(questions[0], task="poem")
