"""Wording that goes with a dialect: frames in place of seconds, places in place of marks; numbers with their units."""

from __future__ import annotations

import re

import numpy as np
import pytest

from curate.questions import QuestionsConfig, ask
from curate.questions.phrases import Times
from curate.questions.region_words import ABSENT, NOTHING_THERE, in_dialect, is_sayable
from curate.rewards import score
from curate.shards.sample import make_sample
from curate.shards.schema import decode
from curate.synth.answers import Case, answers
from curate.synth.scene import SUB
from curate.synth.truth import Subject, Truth
from tests.family_scenes_text import polyline, scene_of
from tests.scenes import Noise, make_scene
from tests.synthetic import body, path
from tests.synthetic import scene as truth_scene

PRECISE = Noise(own_px=.02, own_disparity_px=.01, shared_disparity_px=.01, drift_px=.001, step_rad=1e-6, step_m=1e-6)
SECONDS = re.compile(r"(?<![/\d.])\d+(?:\.\d+)? s\b")
PASSES = polyline([(0, (-1.8, 0, 1.6)), (2.4, (1.8, 0, 1.6))])  # 1.5 m/s
GOES = polyline([(0, (-1, .3, 5)), (2.4, (1, .3, 5))])
LATER = polyline([(0, (1, -.3, 6)), (1.2, (1, -.3, 6)), (2.4, (-.5, -.3, 6))])
COMES = polyline([(0, (0, 0, 8)), (1.2, (0, 0, 5)), (2.4, (0, 0, 5))])
# asked for in seconds, or in metres per so many
OF_SECONDS = {"event_time", "event_duration", "video_duration", "camera_mean_speed", "object_mean_speed",
              "camera_acceleration", "object_acceleration"}


def texts(q) -> str:
    return "\n".join([q.question, q.answer, *q.options, *q.reasoning])


@pytest.fixture(scope="module")
def moving():
    return scene_of(PASSES, GOES, LATER, COMES)[0]


def test_frames_are_named_and_no_seconds_but_where_they_are_asked_for(moving):
    questions, _ = ask(moving, QuestionsConfig(dialect="frames"))
    families = {q.family for q in questions}
    assert families >= {"event_span", "event_order", "order_comparison", "procedural_change"}
    for q in questions:
        if q.family not in OF_SECONDS:
            assert not SECONDS.search(texts(q)), (q.id, SECONDS.findall(texts(q)), texts(q))
    steps = [s for q in questions if q.family in ("event_order", "order_comparison") for s in q.reasoning]
    assert any(re.search(r"at frame \d+\.\d", s) for s in steps)
    rule = next(q.question for q in questions if q.family == "procedural_change")
    assert re.search(r"leave out phases shorter than \d+ steps from frame to frame", rule)


def test_a_moment_between_frames():
    scene, _ = make_scene(0, num_frames=5, fps=10)
    scene.time_s[3:] += .1  # one frame is missing: 0, .1, .2, .4, .5
    assert [Times(scene, "frames").moment(t) for t in (0, .15, .3, .45)] == [
        "frame 0.0", "frame 1.5", "frame 2.5", "frame 3.5"]
    assert Times(scene, "seconds").moment(.3) == "0.30 s"


def test_a_span_in_frames_is_the_one_in_seconds(moving):
    by_dialect = {}
    for dialect in ("seconds", "frames"):
        questions, _ = ask(moving, QuestionsConfig(families=["event_span"], dialect=dialect))
        by_dialect[dialect] = {q.id: q for q in questions}
        for q in questions:
            assert score(q.answer, q.to_json()) == 1
    assert by_dialect["frames"].keys() == by_dialect["seconds"].keys() and by_dialect["frames"]
    for name, q in by_dialect["frames"].items():
        low, high = np.interp(by_dialect["seconds"][name].target, moving.time_s, np.arange(moving.num_frames))
        assert q.target == pytest.approx([low, high], abs=.06)
        assert q.answer == f"from frame {q.target[0]:.1f} to frame {q.target[1]:.1f}" and "counted from 0" in q.question
        assert score(f"from frame {low:.1f} to frame {(low + high) / 2:.1f}", q.to_json()) == pytest.approx(.5, abs=.03)


def true_answer(q, scene, way):
    record = decode(make_sample(scene, {}, [q]).json)
    truth = truth_scene(body(1, "box", .4, path(way(np.arange(24 * SUB + 1) / (10 * SUB)))), num_frames=25, fps=10)
    case = Case(record["qa"][0], record, Truth(truth), {1: Subject(1, np.zeros(3), 1.0)}, None)
    return answers()[q.family](case)


@pytest.mark.parametrize("dialect", ["seconds", "frames"])
@pytest.mark.parametrize("family, way", [("event_span", PASSES), ("procedural_change", COMES)])
def test_the_truth_knows_both(family, way, dialect):
    scene, _ = scene_of(way)  # 25 frames, ten a second
    assert scene.num_frames == 25 and scene.time_s[1] == pytest.approx(.1)
    questions, _ = ask(scene, QuestionsConfig(families=[family], forms=["open"], dialect=dialect))
    assert questions
    for q in questions:
        assert true_answer(q, scene, way).right, q.answer


def test_degrees_stand_at_their_number_and_small_numbers_are_plain():
    compared = scene_of(PASSES, GOES, LATER, COMES, noise=PRECISE)[0]
    for scene in (compared, make_scene(3, "hand-held", 16)[0], make_scene(5, "driving", 16)[0]):
        questions, _ = ask(scene, QuestionsConfig())
        stated = [s for q in questions for s in q.reasoning if "With 95 %" in s and q.unit == "°"]
        for q in questions:
            assert " °" not in texts(q) and not re.search(r"\de-\d", texts(q)), texts(q)
            if q.family == "cannot_be_determined":  # of the first scene
                assert re.search(r"differ by (less than )?\d+(\.\d+)? (cm|m|m/s), which is", q.reasoning[0])
        assert scene is compared or stated
        assert all(re.search(r"between -?[\d.]+ and -?[\d.]+°", s) for s in stated)


def premises(dialect: str) -> tuple[object, list]:
    """A scene with objects that move and one that rests, asked often enough for each false premise to come up."""
    paths = [(f"{n}", lambda t, n=n: np.array([(-1.5 + .8 * n, .2 * n, 5 + n)]) + t[:, None] * np.array(
        [(.8 - .4 * n, 0, .5 * n)]), True) for n in range(4)]
    found = []
    for seed in range(8):
        scene, _ = make_scene(seed, "still", 24, 4, PRECISE, paths=paths)
        questions, _ = ask(scene, QuestionsConfig(families=["false_premise"], region_dialect=dialect, seed=seed))
        found += [(scene, q) for q in questions]
    return found


def test_a_false_premise_is_respoken_too():
    given = premises("<R1>")
    absent = [q for _, q in given if "absent" in q.extra]
    assert absent and len(given) > 3 * len(absent)
    for dialect in ("[R1]", "region 1", "<obj_1>"):
        direct = {q.id: q for _, q in premises(dialect)}
        for scene, q in given:
            record = decode(make_sample(scene, {}, [q]).json)
            read, other = in_dialect(record["qa"][0], record["regions"], dialect), direct[q.id]
            assert (read["question"], read["options"], read["reasoning"]) == (
                other.question, other.options, other.reasoning)
            assert "<R" not in read["question"] and is_sayable(record["qa"][0], dialect)
    for scene, q in given:
        record = decode(make_sample(scene, {}, [q]).json)
        read = in_dialect(record["qa"][0], record["regions"], "box")
        assert is_sayable(record["qa"][0], "box") == ("absent" not in q.extra)
        if "absent" in q.extra:  # a mark that is on nothing is at no place
            assert read["question"] == q.question and read["answer"] == ABSENT
        else:
            assert "mark" not in read["question"] and ABSENT not in read["options"]
            assert (NOTHING_THERE in read["options"]) == (ABSENT in q.options)
            assert all(option in read["question"] for option in read["options"])
