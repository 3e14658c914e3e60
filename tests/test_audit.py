"""The audit finds planted leaks, passes honest options, keeps leak and prior apart; the selection is order-free."""

import json
import math
import random

import numpy as np
import pytest

from curate.questions.audit import audit, binomial_tail, holm
from curate.questions.balance import OVER_ANSWER, OVER_CLIP, OVER_WEIGHT, Row, answer_cap, row, select
from curate.questions.config import BalanceConfig, QuestionsConfig
from curate.questions.digits import round_to, text
from curate.questions.draw import Draw
from curate.questions.options import category_options, number_options
from tests.slow_audit import design_effect


def record(i, values, index, family="object_displacement", texts=None, recording=None):
    texts = texts or [f"{text(v, 2)} m" if isinstance(v, float) else v for v in values]
    return {"id": f"{family}-{i}", "family": family, "form": "choice", "options": texts, "letter": "ABCDE"[index],
            "extra": {"option_values": values, "recording": recording or f"rec{i // 4}", "clip": f"clip{i // 2}"}}


def honest(count, family="object_displacement", seed=0, centre=2.0, spread=1.0):
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        truth = round_to(math.exp(rng.normal(math.log(centre), spread)), 2)
        made = number_options(truth, math.log(1.3), 2, [3.6], 4, Draw(family, seed, i))
        out.append(record(i, made.values, made.index, family))
    return out


def quarter_to_seven_quarters(count):
    """The published recipe: options 0.25 to 1.75 times the truth with a least gap."""
    rng, out = np.random.default_rng(0), []
    for i in range(count):
        truth = float(rng.uniform(0.5, 10))
        values = [truth]
        while len(values) < 4:
            v = truth * rng.uniform(0.25, 1.75)
            if min(abs(v - x) for x in values) > 0.1 * truth:
                values.append(v)
        values = [round(v, 2) for v in values]
        order = rng.permutation(4)
        out.append(record(i, [values[j] for j in order], int(np.flatnonzero(order == 0)[0]),
                          texts=[f"{values[j]:.2f} m" for j in order]))
    return out


def verdict(report, family="object_displacement"):
    return next(r["verdict"] for r in report["families"] if r["family"] == family)


def leaks(report, family="object_displacement"):
    found = next(r for r in report["families"] if r["family"] == family)
    return {t["guesser"]: t["right"] for t in found["guessers"] if t["leak"]}


def test_options_by_the_role_rule_pass():
    report = audit(honest(1500))
    assert report["option_leak"] == "pass" and verdict(report) == "pass"
    json.dumps(report, allow_nan=False)


def test_a_narrow_prior_of_answers_is_no_leak():
    report = audit(honest(1500, spread=0.15))
    assert report["option_leak"] == "pass"
    prior = next(r for r in report["families"] if r["family"] == "object_displacement")["answer_prior"]
    assert prior["right"] > 0.6


def test_the_published_recipe_fails_by_the_mean():
    found = leaks(audit(quarter_to_seven_quarters(600)))
    assert found["nearest to the mean"] > 0.6


def test_mistakes_of_the_truth_alone_fail_by_the_hub():
    out = []
    for i in range(400):
        draw = Draw("hub", i)
        truth = round(draw.uniform(1, 9), 2)
        values = draw.shuffled([truth, truth / 2, truth * 2, truth * 3.6])
        out.append(record(i, values, values.index(truth)))
    assert leaks(audit(out))["hub of nice ratios"] > 0.8


def test_the_right_answer_always_second_fails_by_the_letter():
    out = []
    for r in honest(400):
        values, truth = r["extra"]["option_values"], "ABCD".index(r["letter"])
        values[1], values[truth] = values[truth], values[1]
        out.append(record(len(out), values, 1))
    assert set(leaks(audit(out))) >= {"letter B"}


@pytest.mark.parametrize("write,guesser", [
    (lambda v: f"{v:.3f} m", "most digits"), (lambda v: f"{text(v, 2)}", "odd unit")])
def test_a_truth_written_otherwise_fails_by_its_form(write, guesser):
    out = []
    for i, r in enumerate(honest(400)):
        index = "ABCD".index(r["letter"])
        r["options"][index] = write(r["extra"]["option_values"][index])
        out.append(record(i, r["extra"]["option_values"], index, texts=r["options"]))
    assert guesser in leaks(audit(out))


def test_a_common_short_answer_is_prior_not_leak_and_one_that_is_always_shortest_is_a_leak():
    vocabulary = ("forward", "backward", "left", "right", "up", "down")
    skewed = []
    for i in range(900):
        truth = "up" if i % 3 else vocabulary[i % 6]
        made = category_options(truth, vocabulary, 4, Draw("skew", i))
        skewed.append(record(i, made.values, made.index, "object_direction"))
    report = audit(skewed)
    assert report["option_leak"] == "pass"
    assert next(r for r in report["families"] if r["family"] == "object_direction")["answer_prior"]["answer"] == "up"
    padded = [record(i, r["extra"]["option_values"], "ABCD".index(r["letter"]), "object_direction",
                     texts=[o if o == r["options"]["ABCD".index(r["letter"])] else f"towards the {o}"
                            for o in r["options"]]) for i, r in enumerate(skewed)]
    assert "shortest" in leaks(audit(padded), "object_direction")


def test_under_200_items_nothing_is_judged():
    report = audit(quarter_to_seven_quarters(150))
    assert report["option_leak"] == "not judged" and report["families"][0]["guessers"] == []
    assert audit([])["option_leak"] == "not judged"
    assert audit([{"form": "numeric"}])["families"] == []


def test_one_family_that_leaks_fails_the_whole():
    assert audit(honest(300, "object_path_length") + quarter_to_seven_quarters(300))["option_leak"] == "fail"


def test_the_report_does_not_depend_on_the_order():
    items = honest(300) + honest(300, "camera_displacement", 1)
    shuffled = items[:]
    random.Random(0).shuffle(shuffled)
    assert audit(items) == audit(shuffled)


def test_hits_that_come_by_recordings_count_less():
    hits = np.repeat([1.0, 0, 0, 0], 50)
    by_recording = [f"r{i // 50}" for i in range(200)]
    assert design_effect(hits, by_recording) == pytest.approx(50 * 4 / 3)  # of four recordings, one degree is the mean's
    assert design_effect(np.tile([1.0, 0, 0, 0], 50), by_recording) == 1


def test_the_binomial_tail_is_exact():
    assert binomial_tail(0, 10, 0.25) == 1
    assert binomial_tail(3, 5, 0.25) == pytest.approx(sum(math.comb(5, k) * .25**k * .75 ** (5 - k) for k in (3, 4, 5)))
    assert binomial_tail(8000, 30000, 0.25) < 1e-10
    assert holm([0.5, 0.001, 0.01]) == pytest.approx([0.5, 0.003, 0.02])


# ---- balance ----

def candidates(count=400):
    rng = random.Random(1)
    return [Row(f"q{i}", rng.choice(["object_direction", "object_displacement"]), "choice", "", f"clip{i % 40}")
            for i in range(count)]


def directions(counts):
    return [Row(f"{name}{i}", "object_direction", "choice", name, f"c{name}{i}")
            for name, n in counts.items() for i in range(n)]


def test_selection_is_the_same_in_every_order_and_adds_up():
    rows = candidates()
    config = QuestionsConfig(max_per_clip=4)
    one = select(iter(rows), config)
    random.Random(5).shuffle(rows)
    two = select(iter(rows), config)
    assert one.ids == two.ids and one.left_out == two.left_out
    assert len(one.ids) + sum(one.left_out.values()) == len(rows)
    per_clip = {}
    for r in rows:
        per_clip[r.clip] = per_clip.get(r.clip, 0) + (r.id in one.ids)
    assert max(per_clip.values()) == 4
    assert {reason for _, reason in one.left_out} == {OVER_CLIP}


def test_the_seed_changes_what_is_kept():
    rows = candidates()
    one, two = (select(rows, QuestionsConfig(max_per_clip=3, seed=seed)) for seed in (0, 1))
    assert one.ids != two.ids


def test_a_clip_keeps_different_families_first():
    rows = [Row(f"a{i}", "object_displacement", "numeric", "", "c") for i in range(9)]
    rows += [Row("b", "object_direction", "choice", "left", "c")]
    assert "b" in select(rows, QuestionsConfig(max_per_clip=2)).ids


def test_no_answer_takes_more_than_its_share():
    config = QuestionsConfig(balance=BalanceConfig(max_answer_share=0.4, answer_floor=0))
    rows = directions({"forward": 500, "left": 60, "right": 50, "up": 5})
    kept = select(rows, config)
    answers = [r.answer for r in rows if r.id in kept.ids]
    assert max(answers.count(a) for a in set(answers)) / len(answers) <= 0.4
    assert answers.count("left") == 60 and answers.count("up") == 5
    assert kept.left_out["object_direction", OVER_ANSWER] == len(rows) - len(answers)


def test_a_family_with_one_answer_keeps_its_floor():
    config = QuestionsConfig(balance=BalanceConfig(max_answer_share=0.5, answer_floor=10))
    assert len(select(directions({"forward": 300}), config).ids) == 10
    assert answer_cap([5, 5], 0.5, 0) == 5


def test_weights_thin_a_family():
    config = QuestionsConfig(families=[{"name": "object_direction", "weight": 1},
                                       {"name": "object_displacement", "weight": 4}])
    rows = candidates(4000)
    kept = select(rows, config)
    share = np.mean([r.id in kept.ids for r in rows if r.family == "object_direction"])
    assert 0.2 < share < 0.3
    assert all(r.id in kept.ids for r in rows if r.family == "object_displacement")
    assert set(kept.left_out) == {("object_direction", OVER_WEIGHT)}


def test_an_id_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        select([*candidates(3), candidates(1)[0]], QuestionsConfig())


def test_a_row_carries_the_category_and_no_number():
    assert row(record(0, ["left", "up", "down", "right"], 2, "object_direction")).answer == "down"
    assert row(record(0, [1.0, 2.0, 3.0, 4.0], 2)).answer == ""
