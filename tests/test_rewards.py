"""Rewards of numbers, choices and form: the published values on ordinary answers, sane ones where others break."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.questions import Question, QuestionsConfig, ask, judge, rft, sft
from curate.questions.config import ReasoningConfig
from curate.questions.forms import final_answer
from curate.rewards import METRICS, PRESETS, REWARDS, as_record, combine, formulas, rewards, score, weights_of
from tests.scenes import make_scene
from tests.shard_samples import questions
from tests.shard_samples import scene as shard_scene
from tests.test_imports import HEAVY, run_blocked

NUMBER = {"answer_type": "number", "metric": "mra", "answer": "2.0", "value": 2.0, "unit": "m", "tolerance": 0.05,
          "interval": [1.9, 2.1]}
OPTIONS = ["1.2 m", "2.4 m", "0.30 m", "0.60 m"]
CHOICE = {"answer_type": "choice", "metric": "accuracy", "answer": "2.4 m", "letter": "B", "unit": "m",
          "options": OPTIONS}
HOSTILE = ["", "null", "none", "inf", "-inf", "nan", "1e999", "-1e999 m", "{", "[[[[" * 300, "[" * 20_000,
           "9" * 5000, "a" * 10**5, "<answer>" * 500, "camera: " * 500, "Camera Center: [" * 300, "R1: null, " * 500,
           '{"camera": NaN}', "\x00", "１.５ m", "(1) " * 500, ", " * 900, "± " * 900, " " * 5000]


def number(value, **kwargs):
    return {**NUMBER, "answer": f"{value}", "value": value, "interval": None, **kwargs}


@pytest.mark.parametrize("given_m,expected", [
    (2.0, 1.0), (2.2, 0.9), (1.8, 0.9), (2.5, 0.6), (3.0, 0.1), (3.01, 0.0), (2.09, 1.0), (2.11, 0.9), (-2.0, 0.0)])
def test_mra_is_the_share_of_thresholds_that_the_relative_error_keeps(given_m, expected):
    """θ = 0.50, 0.55 .. 0.95, right where |p − y| / |y| ≤ 1 − θ: an error of 10 % fails 0.95 alone."""
    assert score(f"{given_m} m", NUMBER) == pytest.approx(expected)


@pytest.mark.parametrize("truth,text,low,high", [
    (-2.0, "-2 m", 1, 1), (-2.0, "2 m", 0, 0), (-2.0, "-2.2 m", 0.9, 0.9), (-2.0, "-100 m", 0, 0),  # negative truths
    (0.0, "0 m", 1, 1), (0.0, "0.01 m", 0.5, 0.95), (0.0, "1 m", 0, 0), (0.0, "-1 m", 0, 0),  # a truth of zero
    (0.001, "0.002 m", 0.9, 1)])  # far below what anything is measured to
def test_mra_of_negative_and_zero_truths_neither_gives_itself_away_nor_divides(truth, text, low, high):
    assert low <= score(text, number(truth)) <= high


@pytest.mark.parametrize("text", ["200 cm", "about 2 m", "The distance is 2 metres.", "2", "0.002 km", "6.5616798 ft",
                                  "<think>5 m or 7 m</think><answer>2 m</answer>", "2 m after 3 s", "**2.0 m**"])
def test_a_number_is_read_with_its_unit_and_its_sentence(text):
    assert score(text, NUMBER) == 1


def test_a_count_and_a_time_are_read_too():
    count = number(3.0, unit="", tolerance=0.0)
    assert score("3", count) == score("three", count) == score("There are 3 objects.", count) == 1
    assert score("4", count) == pytest.approx(0.4) and score("0", number(0.0, unit="", tolerance=0.0)) == 1
    seconds = number(2.0, unit="s")
    assert score("2000 ms", seconds) == score("2 s", seconds) == 1 and score("2 m", seconds) == 0


def test_regression_is_one_minus_the_relative_error():
    assert REWARDS["regression"]("2.5 m", NUMBER) == pytest.approx(0.75)
    assert REWARDS["regression"]("100 m", NUMBER) == 0 and REWARDS["regression"]("-2 m", NUMBER) == 0


@pytest.mark.parametrize("text", ["B", "b", "(B)", "B.", "B. 2.4", "B: 2.4 m", "2.4 m", "2.4", "240 cm", "**B**",
                                  "<think>A?</think><answer>B</answer>", "The final answer is: B",
                                  "It is about 2.4 m away."])
def test_a_choice_is_right_by_letter_text_or_value(text):
    assert score(text, CHOICE) == REWARDS["choice"](text, CHOICE) == 1


@pytest.mark.parametrize("text", ["A", "A. 2.4 m", "B. 1.2 m", "A or B", "1.2 m, 2.4 m, 0.30 m or 0.60 m", "2.4 m/s",
                                  "F", "all of them", "null", ""])
def test_a_choice_is_wrong_where_it_is_another_or_several(text):
    assert score(text, CHOICE) == 0


def test_an_option_within_another_is_told_apart():
    turns = {"answer_type": "choice", "answer": "counter-clockwise", "unit": "",
             "options": ["clockwise", "counter-clockwise", "not moving"]}
    assert score("It rotates counter-clockwise.", turns) == 1  # the letter comes from the answer
    assert score("It rotates clockwise.", turns) == score("clockwise or counter-clockwise", turns) == 0


def test_the_interval_reward_is_the_interval_score_on_a_logarithmic_axis():
    low, high, truth, level, floor = 1.5, 2.5, 2.0, 0.9, 0.05
    width = math.asinh(high / 0.1) - math.asinh(low / 0.1)
    assert formulas.interval_reward(low, high, truth, level, floor) == pytest.approx(1 - width / 2)
    assert REWARDS["calibration"]("1.5 to 2.5 m", NUMBER) == pytest.approx(1 - width / 2)
    outside = math.asinh(2.0 / 0.1) - math.asinh(1.9 / 0.1)
    width = math.asinh(1.9 / 0.1) - math.asinh(1.8 / 0.1)
    assert REWARDS["calibration"]("1.8 to 1.9 m", NUMBER) == pytest.approx(max(0, 1 - (width + 20 * outside) / 2))


@pytest.mark.parametrize("text", ["1.5 to 2.5 m", "2.0 ± 0.5 m", "2 m ± 50 cm", "between 1.5 m and 2.5 m",
                                  "[1.5, 2.5] m", "2.5 to 1.5 m",
                                  "150–250 cm", "2 m (1.5 to 2.5 m)"])
def test_an_interval_is_read_however_it_is_written(text):
    assert REWARDS["calibration"](text, NUMBER) == pytest.approx(REWARDS["calibration"]("1.5 to 2.5 m", NUMBER))


def test_the_honest_interval_earns_most():
    """Proper: over outcomes drawn from a forecast, its own 5 % and 95 % quantiles beat narrower and wider ones."""
    outcomes = np.exp(np.random.default_rng(0).normal(math.log(2), 0.1, 2000))

    def mean(factor):
        low, high = (2 * math.exp(sign * 1.645 * 0.1 * factor) for sign in (-1, 1))
        return np.mean([formulas.interval_reward(low, high, y, 0.9, 0.05, worst=50) for y in outcomes])

    honest = mean(1)
    assert all(mean(f) < honest for f in (0.5, 0.8, 1.25, 2))


def test_the_level_of_an_interval_is_the_questions_not_the_answers():
    assert REWARDS["calibration"]("1.0 to 1.5 m (1 % sure)", NUMBER) == REWARDS["calibration"]("1.0 to 1.5 m", NUMBER)
    half = number(2.0, extra={"interval_level": 0.5})
    assert REWARDS["calibration"]("1.8 to 1.9 m", half) > REWARDS["calibration"]("1.8 to 1.9 m", NUMBER)
    with pytest.raises(ValueError, match="expected a probability"):
        REWARDS["calibration"]("1 m", number(2.0, extra={"interval_level": 95}))


@pytest.mark.parametrize("text,expected", [
    ("<think>a</think><answer>B</answer>", 1), ("<thinking>a</thinking>\n<answer>2 m</answer>\n", 1),
    ("<think>a</think>B", 0), ("B", 0), ("<answer>B</answer>", 0), ("<answer>B</answer><think>a</think>", 0),
    ("<think>a</think><answer> </answer>", 0), ("x<think>a</think><answer>B</answer>", 0),
    ("<think>a</think><answer>A</answer><answer>B</answer>", 0), ("<think><answer>B</answer></think>", 0),
    ("<think>a</thinking><answer>B</answer>", 0)])
def test_format(text, expected):
    assert REWARDS["format"](text, CHOICE) == expected


def test_the_tags_are_those_that_the_prompt_asked_for():
    question = questions(shard_scene(0))[0]
    asked = rft(question, config=ReasoningConfig(think="reflect", answer="final"))
    assert "between <reflect> and </reflect>" in asked["prompt"]
    right, usual = "<reflect>5 m</reflect><final>1.8 m</final>", "<think>5 m</think><answer>1.8 m</answer>"
    assert score(right, asked) == REWARDS["format"](right, asked) == 1 and judge(right, asked).correct
    assert REWARDS["format"](usual, asked) == 0 and REWARDS["format"](usual, question) == 1
    assert score("<reflect>1.8 m</reflect> 7 m", asked) == 0
    with pytest.raises(ValueError, match="names of the thinking and of the answer"):
        score("1", {**NUMBER, "tags": ["think"]})


def test_a_cold_start_earns_everything_as_it_is_written():
    settings = QuestionsConfig(reasoning=ReasoningConfig(tasks={"cold_start": 1.0}))
    asked, _ = ask(make_scene(seed=1, camera="hand-held", num_regions=3)[0], settings)
    for q in asked:
        text = sft(q)["messages"][1]["content"]
        assert combine(text, q, "mllm4d-paper")["overall"] == combine(text, q, "mllm4d-code")["overall"] == 1, q.id


@pytest.mark.parametrize("record", [NUMBER, CHOICE, number(0.0), number(-3.0),
                                    {"answer_type": "span", "target": [1.0, 2.0]},
                                    {"answer_type": "box", "target": [0, 0, 10, 10]},
                                    {"answer_type": "points", "target": [[1, 2], None]},
                                    {"answer_type": "trajectory", "target": [[0, 0, 0, 0], [0, 0, 1, 1]]},
                                    {"answer_type": "sequence", "target": ["grows", "constant"]},
                                    {"answer_type": "text", "target": ["<R1> moves left."]},
                                    {"answer_type": "json", "target": {"camera": [[0, 0, 0]], "R1": [None]}},
                                    {"answer_type": "json", "metric": "iou",
                                     "target": {"centre": [0, 0, 5], "size": [1, 1, 1]}}], ids=str)
def test_no_answer_breaks_a_reward(record):
    for text in (*HOSTILE, None, 3, 2.5, [], {}, [{"role": "assistant", "content": None}]):
        for name, reward in REWARDS.items():
            found = reward(text, record)
            assert found is None or 0 <= found <= 1, (name, text)
        assert 0 <= score(text, record) <= 1


@given(st.text(max_size=200))
def test_any_text_scores_between_nought_and_one(text):
    for record in (NUMBER, CHOICE, {"answer_type": "sequence", "target": ["grows"]},
                   {"answer_type": "json", "target": {"camera": [[0, 0, 0]]}}):
        assert 0 <= score(text, record) <= 1


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_relative_rewards_fall_with_the_error(truth, error):
    near, far = truth + error / 2, truth + error
    for formula in (formulas.mean_relative_accuracy, formulas.relative_closeness):
        assert formula(truth, truth, 0.05) == 1 and formula(near, truth, 0.05) >= formula(far, truth, 0.05)


def test_every_form_of_a_record_scores_alike():
    made = [replace(q, **({"answer_type": "choice", "metric": "accuracy"} if q.form == "choice" else {}))
            for q in questions(shard_scene(0))]
    for question, right, wrong in zip(made, ("1.8 m", "B"), ("5 m", "A")):
        forms = [question, question.to_json(), rft(question), json.dumps(rft(question)),
                 {name: np.array(value) if isinstance(value, list) and name == "options" else value
                  for name, value in rft(question).items()}]
        assert [score(right, form) for form in forms] == [1.0] * len(forms)
        assert [score(wrong, form) for form in forms] == [0.0] * len(forms)


@pytest.mark.parametrize("source,said", [
    ({}, "answer_type is ''"), ("not json", "not the JSON text of a record"), ("[1]", "not the JSON text"),
    (3, "a int is no"),
    ({"answer_type": "number", "answer": "far"}, "neither `value` nor a number"),
    ({"answer_type": "choice", "answer": "x", "options": ["a", "b"]}, "right letter is 'X'"),
    ({"answer_type": "span", "metric": "tiou", "target": [1]}, "no truth for the metric 'tiou'"),
    ({"answer_type": "number", "value": 1, "metric": "vibes"}, "metric 'vibes' is unknown; known: mra")])
def test_a_record_without_truth_is_an_error_that_says_so(source, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        score("1", source)


def test_weights_give_the_weighted_mean_of_the_parts_that_apply():
    text = "<think>2.4 m</think><answer>B</answer>"
    assert combine(text, CHOICE, "mllm4d-paper") == {"overall": 1.0, "score": 1.0, "format": 1.0, "st_camera": 0.0,
                                                     "st_object": 0.0}
    assert combine("B", CHOICE, "mllm4d-paper")["overall"] == pytest.approx(0.5 / 0.7)
    assert combine("B", CHOICE, {"choice": 3, "format": 1})["overall"] == 0.75
    for wrong, said in ((("none"), "neither a preset"), ({}, "no reward"), ({"choice": -1}, "above zero"),
                        ({"hope": 1}, "'hope' is unknown")):
        with pytest.raises(ValueError, match=said):
            weights_of(wrong)


def test_mllm4ds_two_weightings():
    """arXiv 2603.00515: 0.5 accuracy, 0.2 format, 0.3 space and time, half each; its code has 0.6, 0.2, 0.1, 0.1."""
    state = {**CHOICE, "extra": {"centres": {"camera": [[0, 0, 0]], "R1": [[1, 0, 5]]}, "st_scale_m": 1.0}}
    text = ("<thinking>Camera Center: [0, 0, 1]. Object Center: [1, 0, 5].</thinking><answer>A</answer>")
    assert combine(text, state, "mllm4d-paper")["overall"] == pytest.approx(0.2 + 0.15 * math.exp(-1) + 0.15)
    assert combine(text, state, "mllm4d-code")["overall"] == pytest.approx(0.2 + 0.1 * math.exp(-1) + 0.1)
    assert all(sum(weights.values()) == pytest.approx(1) for weights in PRESETS.values())


def test_a_sample_is_judged_by_its_own_record_whatever_stands_beside_it():
    texts, records = ["2 m", "A", "2 m"], [NUMBER, CHOICE, number(4.0)]
    assert [score(t, r) for t, r in zip(texts, records)] == [1.0, 0.0, pytest.approx(0.1)]


def test_a_plug_in_joins_the_others_by_its_name(monkeypatch):
    from curate.rewards import plugins

    class Entry:
        def __init__(self, name, given):
            self.name, self.value, self._given = name, f"other:{name}", given

        def load(self):
            return self._given

    def with_plugins(*entries):
        monkeypatch.setattr(plugins, "entry_points", lambda group: list(entries) if group == "curate.rewards" else [])
        plugins._plugged.cache_clear()

    try:
        with_plugins(Entry("brevity", lambda answer, record: 1 / len(answer)))
        assert rewards()["brevity"]("four", NUMBER) == 0.25 and set(METRICS) < set(rewards())
        assert score("four", {**NUMBER, "metric": "brevity"}) == 0.25
        for entry, said in ((Entry("mra", len), "exists already"), (Entry("new", 3), "expected a function")):
            with_plugins(entry)
            with pytest.raises(ValueError, match=said):
                rewards()
    finally:
        plugins._plugged.cache_clear()


def test_every_familys_own_answer_earns_everything():
    """By its letter, its text and its number; another option earns nothing."""
    asked, _ = ask(make_scene(seed=0, camera="hand-held", num_regions=3)[0])
    assert len({q.family for q in asked}) >= 10 and {q.form for q in asked} == {"numeric", "choice", "open"}
    for q in asked:
        for text in (final_answer(q), f"<think>so</think><answer>{final_answer(q)}</answer>", q.answer):
            assert score(text, q) == 1, (q.id, text)
        if q.form == "choice":
            others = [o for o in q.options if o != q.answer]
            assert [score(o, q) for o in others] == [0] * len(others), q.id
        assert score("I cannot tell.", q) == 0 or q.answer in "I cannot tell.", q.id


def test_a_record_is_made_once_and_kept():
    record = as_record(NUMBER)
    assert as_record(record) is record and isinstance(questions(shard_scene(1))[0], Question)


def test_rewards_and_scorer_need_only_a_base_install():
    done = run_blocked("""
        from curate.rewards import score
        from curate.rewards.adapters import easyr1, swift, trl, verl
        import curate.bench
        assert score("2 m", {"answer_type": "number", "value": 2.0, "unit": "m"}) == 1
    """, {*HEAVY, "trl", "verl", "swift", "datasets", "rich", "pyarrow"})
    assert done.returncode == 0, done.stderr
