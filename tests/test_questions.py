"""Scene to questions: rounding, wording, steps, training forms and their verifier."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from curate.measure import measure
from curate.questions import Question, QuestionsConfig, ask, judge, rft, sft
from curate.questions.families import families
from curate.questions.units import UNITS, convert
from curate.scene import Scene
from tests.quantities import asked_of, length
from tests.scenes import make_scene

GOLDEN = Path(__file__).parent / "golden"
CAMERAS = ("still", "hand-held", "driving")
# families about one quantity that the factory's exact truth knows; the others have tests of their own
OF_TRUTH = ("camera_displacement", "object_displacement", "camera_path_length", "object_path_length",
            "object_mean_speed", "object_peak_speed", "camera_direction", "object_direction", "apparent_direction",
            "camera_rotation", "object_camera_distance", "object_object_distance", "object_camera_distance_change")


@pytest.fixture(scope="module")
def scenes():
    return [(scene, truth, measure(scene, kinds=OF_TRUTH)) for scene, truth in
            (make_scene(seed, camera) for camera in CAMERAS for seed in range(4))]


@pytest.fixture(scope="module")
def asked(scenes):
    config = QuestionsConfig(families=OF_TRUTH)
    return [(scene, truth, *ask(scene, config, quantities)) for scene, truth, quantities in scenes]


# ---- what is asked ----

def test_every_family_is_asked_and_every_quantity_is_asked_or_dropped(asked, scenes):
    found = {q.family for *_, questions, _ in asked for q in questions}
    assert found == set(OF_TRUTH)
    for (*_, questions, dropped), (_, _, quantities) in zip(asked, scenes):
        expected = sum(len(families()[q.kind].forms) for q in quantities)
        assert len(questions) + len(dropped) == expected
        assert len({q.id for q in questions}) == len(questions)


def test_choices_are_right_against_the_exact_truth(asked):
    right = []
    for _, truth, questions, _ in asked:
        for q in questions:
            if q.form != "choice" or q.family in ("apparent_direction", "camera_rotation"):
                continue
            values = q.extra["option_values"]
            exact = truth.value(q.family, q.regions, (q.start_frame, q.end_frame))
            if q.family.endswith("direction"):
                axes = {"right": (1, 0, 0), "left": (-1, 0, 0), "down": (0, 1, 0), "up": (0, -1, 0),
                        "forward": (0, 0, 1), "backward": (0, 0, -1)}
                best = max(values, key=lambda name: np.dot(axes[name], exact))
            elif q.family == "object_camera_distance_change":
                best = "closer" if exact < 0 else "farther"
            else:
                best = min(values, key=lambda v: abs(v - exact * UNITS[q.unit].factor))
            right.append(best == values["ABCDE".index(q.letter)])
    assert len(right) > 400 and np.mean(right) > 0.97


def test_the_truth_lies_in_the_stated_interval(asked):
    inside = []
    for _, truth, questions, _ in asked:
        for q in questions:
            if q.form == "numeric":
                exact = truth.value(q.family, q.regions, (q.start_frame, q.end_frame)) * UNITS[q.unit].factor
                inside.append(q.low <= exact <= q.high)
    assert len(inside) > 400 and np.mean(inside) > 0.9


def test_a_still_object_is_asked_nothing_of_its_motion(asked):
    moving = {"object_displacement", "object_path_length", "object_mean_speed", "object_peak_speed", "object_direction"}
    false = [q for *_, questions, _ in asked for q in questions if q.family in moving and q.regions == [1]]
    assert not false  # region 1 of the factory never moves


# ---- what a question states ----

def test_wording_states_time_region_unit_reference_and_axes(asked):
    for *_, questions, _ in asked:
        for q in questions:
            head = q.question.split("\n")[0]
            assert "{" not in q.question and "  " not in head
            assert head[0].isupper() and "?" in head
            assert f"{q.start_s:.2f} s" in head and f"{q.end_s:.2f} s" in head
            assert "optical centre" in head or "surface that is visible in the first frame" in head
            for region in q.regions:
                assert f"the object marked <R{region}> in the first frame" in head
            if q.unit:
                assert UNITS[q.unit].name in head
            assert not re.search(r"\b(a|the) (a|an|the)\b", head)
            if q.form == "choice":
                assert q.question.split("\n")[2:] == [f"{x}. {o}" for x, o in zip("ABCDE", q.options)]
                assert q.options["ABCDE".index(q.letter)] == q.answer


def test_steps_lead_from_the_points_to_the_stated_length(asked):
    """A length recomputed from the points either rounds to the answer or is followed by the step that explains it."""
    from curate.questions.digits import text

    lengths, explained = 0, 0
    for *_, questions, _ in asked:
        for q in questions:
            for step, after in zip(q.reasoning, q.reasoning[1:]):
                if found := re.search(r"(?:its length|\) =) (-?[\d.]+) (\S+)\.$", step):
                    lengths += 1
                    same = text(float(found[1]), q.extra["num_digits"]) == q.answer.split()[0].rstrip("°")
                    explained += not same
                    assert same != after.startswith("Noise lengthens"), q.reasoning
    assert lengths > 100 and explained > 0


def test_every_family_has_eight_paraphrases_of_each_form():
    for family in families().values():
        for section in family.sections:
            assert len(family.wording(section)) >= 8, family.name


def test_all_options_are_written_alike(asked):
    from curate.questions.guessers import num_digits
    for *_, questions, _ in asked:
        for q in questions:
            if q.form == "choice" and q.unit:
                assert len({re.sub(r"[\d.]+", "#", o) for o in q.options}) == 1
                if all("." in o for o in q.options):
                    assert len({num_digits(o) for o in q.options}) == 1


def test_numbers_have_the_digits_their_error_supports(asked):
    for *_, questions, _ in asked:
        for q in questions:
            if q.unit:
                assert q.low <= q.value <= q.high and float(q.answer.split()[0].rstrip("°")) == q.value
                assert q.tolerance >= max(q.high - q.value, q.value - q.low) * (1 - 1e-5)


def test_frames_dialect_says_where_counting_starts():
    questions, _ = asked_of(length(), dialect="frames")
    for q in questions:
        assert "frame 0 and frame 23 (of frames 0 to 23, counting from 0)" in q.question
        assert " s (" not in q.question


def test_region_dialect():
    question = asked_of(length(), region_dialect="[R1]")[0][0]
    assert f"marked [R{question.regions[0]}] in the first frame" in question.question


def test_speeds_come_in_both_units_whatever_their_value():
    units = set()
    for seed in range(20):
        quantity = length(kind="object_mean_speed", unit="m/s")
        for q in asked_of(quantity, seed=seed, forms=["numeric"])[0]:
            units.add(q.unit)
            assert math.isclose(convert(q.value, q.unit, "m/s"), 2.0, rel_tol=0.03)
    assert units == {"m/s", "km/h"}


def test_a_change_keeps_its_sign():
    quantity = length(-2.0, kind="object_camera_distance_change", frame="camera@0",
                      quantiles=tuple(-2.0 + 0.05 * z for z in (-2.5, -1.96, -1.3, -.7, 0, .7, 1.3, 1.96, 2.5)),
                      extra={"probabilities": {"closer": 1.0, "farther": 0.0}})
    numeric, choice = asked_of(quantity)[0]
    assert numeric.value == -2.0 and numeric.low < -2 < numeric.high and choice.answer == "closer"
    assert judge("-2.0 m", numeric).correct and not judge("2.0 m", numeric).correct


# ---- reasoning ----

def test_the_printed_steps_lead_to_the_answer(asked):
    roots = 0
    for *_, questions, _ in asked:
        for q in questions:
            text = " ".join(q.reasoning)
            assert q.answer in text and "nan" not in text
            if q.unit:
                for parts, result in re.findall(r"√\(((?:\(-?[\d.]+\)²(?: \+ )?)+)\) = ([\d.]+)", text):
                    again = math.hypot(*map(float, re.findall(r"\((-?[\d.]+)\)", parts)))
                    assert math.isclose(again, float(result), rel_tol=0.006, abs_tol=0.006)
                    assert q.low - q.tolerance <= float(result) <= q.high + q.tolerance
                    roots += 1
                if found := re.search(r"([\d.]+) m / ([\d.]+) s = ([\d.]+)", text):
                    a, b, c = map(float, found.groups())
                    assert math.isclose(a / b, c, rel_tol=0.01)
            if q.form == "choice":
                assert text.endswith(f"This is option {q.letter}, {q.answer}.")
    assert roots > 100


def test_reasoning_can_be_left_out():
    assert all(q.reasoning == [] for q in asked_of(length(), reasoning=False)[0])


# ---- forms and verifier ----

def test_every_own_answer_is_judged_right(asked):
    for *_, questions, _ in asked:
        for q in questions:
            for reasoning in (True, False):
                user, assistant = sft(q, reasoning)["messages"]
                assert (user["role"], assistant["role"]) == ("user", "assistant")
                assert user["content"].startswith("<video>\n")
                assert judge(assistant["content"], q).correct
            record = rft(q)
            json.dumps(record, allow_nan=False)
            assert judge(q.answer, record).correct and judge(q.answer, json.loads(json.dumps(q.to_json()))).correct


def test_every_wrong_option_is_judged_wrong(asked):
    for *_, questions, _ in asked[:3]:
        for q in questions:
            for letter, option in zip("ABCDE", q.options):
                given = (letter, option, f"({letter})", f"{letter}. {option}", f"<answer>{letter}</answer>",
                         f"Option {letter}", letter.lower())
                assert {judge(text, q).correct for text in given} == {letter == q.letter}


# ---- settings ----

@pytest.mark.parametrize("bad,message", [
    ({"families": ["object_displacment"]}, "did you mean 'object_displacement'"), ({"num_options": 3}, "4 or 5"),
    ({"forms": []}, "at least 1"), ({"sed": 1}, "Extra inputs"), ({"max_relative_half_width": 0}, "greater than 0"),
    ({"families": ["object_direction", "object_direction"]}, "twice"), ({"units": {"speed": ["m"]}}, "not a unit"),
    ({"families": [{"name": "object_direction", "weight": -1}]}, "greater than 0"), ({"dialect": "index"}, "seconds")])
def test_wrong_settings_are_named(bad, message):
    with pytest.raises(ValidationError, match=message):
        QuestionsConfig(**bad)


def test_families_and_forms_can_be_chosen(scenes):
    config = QuestionsConfig(families=["camera_displacement", {"name": "object_direction", "forms": ["choice"]}],
                             forms=["numeric"])
    questions, _ = ask(scenes[-1][0], config, scenes[-1][2])
    assert {(q.family, q.form) for q in questions} == {
        ("camera_displacement", "numeric"), ("object_direction", "choice")}


def test_five_options():
    made = asked_of(length(), num_options=5, forms=["choice"])[0][0]
    assert len(set(made.options)) == 5 and judge("ABCDE"["ABCDE".index(made.letter)], made).correct


def test_a_plugged_in_family_is_asked(monkeypatch):
    import curate.questions.families as module
    mine = replace(families()["object_displacement"], name="mine",
                   templates=Path(module.__file__).parents[1] / "templates" / "object_displacement.yaml")

    class Entry:
        name, value = "mine", "their_package:mine"

        def load(self):
            return mine

    families.cache_clear()
    monkeypatch.setattr(module, "entry_points", lambda group: [Entry()])
    try:
        assert {q.family for q in asked_of(length(), families=["mine"])[0]} == {"mine"}
        families.cache_clear()
        mine = "text"
        with pytest.raises(ValueError, match="expected a Family"):
            families()
    finally:
        families.cache_clear()


# ---- determinism, speed, imports ----

def test_the_same_scene_and_seed_give_the_same_questions_whatever_else_there_is(scenes):
    scene, _, quantities = scenes[5]
    one, _ = ask(scene, None, quantities)
    two, _ = ask(Scene.from_bytes(scene.to_bytes()), None, measure(scene, kinds=OF_TRUTH))
    assert json.dumps([q.to_json() for q in one]) == json.dumps([q.to_json() for q in two])
    fewer, _ = ask(scene, QuestionsConfig(families=["object_mean_speed"]), quantities)
    assert [q.to_json() for q in fewer if q.form == "choice"] == [
        q.to_json() for q in one if q.family == "object_mean_speed" and q.form == "choice"]
    other, _ = ask(scene, QuestionsConfig(seed=1), quantities)
    assert [q.question for q in one] != [q.question for q in other]


def golden_questions(names="all"):
    scene = Scene.from_bytes((GOLDEN / "scene.npz").read_bytes())
    return [q.to_json() for q in ask(scene, QuestionsConfig(seed=7, families=names))[0]]


SHOWN = ("id", "question", "options", "answer", "letter", "unit", "template")


def test_the_golden_scene_gives_the_golden_questions():
    """After a wanted change: `python -m tests.test_questions` writes the file anew; read its difference."""
    golden = json.loads((GOLDEN / "questions.json").read_text(encoding="utf-8"))
    made = golden_questions([name for name in families() if name in {q["id"].split("-")[1] for q in golden}])
    assert [q["id"] for q in made] == [q["id"] for q in golden]
    for new, old in zip(made, golden):
        assert {name: new[name] for name in SHOWN} == {name: old[name] for name in SHOWN}


def test_questions_import_nothing_beyond_the_base_install():
    code = ("import sys, curate.questions, curate.questions.audit, curate.questions.balance\n"
            "bad = {'cv2', 'open3d', 'scipy', 'torch', 'ray', 'av', 'decord', 'webdataset'} & set(sys.modules)\n"
            "assert not bad, bad")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_question_record_has_only_plain_values(asked):
    for *_, questions, dropped in asked[:2]:
        for q in questions:
            assert isinstance(q, Question)
            json.dumps(q.to_json())
        for d in dropped:
            json.dumps(d.to_json())


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    if not (GOLDEN / "scene.npz").exists():
        (GOLDEN / "scene.npz").write_bytes(make_scene(3, "hand-held", num_frames=16, size=(320, 180))[0].to_bytes())
    shown = [{name: q[name] for name in SHOWN} for q in golden_questions()]
    (GOLDEN / "questions.json").write_text(json.dumps(shown, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
