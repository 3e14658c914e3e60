"""The audit finds planted leaks, passes honest options, keeps leak and prior apart."""

import json
import math
import random

import numpy as np
import pytest

from curate.questions.audit import ALPHA, audit, binomial_tail, holm
from curate.questions.digits import round_to, text
from curate.questions.draw import Draw
from curate.questions.guessers import known_answer
from curate.questions.options import category_options, number_options
from tests.slow_audit import design_effect

DIRECTIONS = ("forward", "backward", "left", "right", "up", "down")


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
    """The published recipe: options 0.25 to 1.75 times the truth with a gap of 20 %."""
    rng, out = np.random.default_rng(0), []
    for i in range(count):
        truth = float(rng.uniform(0.5, 10))
        values = [truth]
        while len(values) < 4:
            v = truth * rng.uniform(0.25, 1.75)
            if min(abs(v - x) for x in values) > 0.2 * truth:
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


def test_sizes_that_go_with_unit_and_digits_are_no_leak():
    """Slow things are measured to one digit, fast ones to three, in a unit drawn for the question: how the numbers of
    an item are written tells which size is likely, and all its options are written so."""
    rng, out = np.random.default_rng(5), []
    while len(out) < 1100:
        fast, unit = rng.random() < 0.5, ("m/s", "km/h")[int(rng.integers(2))]
        digits = 3 if fast else 1 + int(rng.integers(2))
        truth = round_to((3.6 if unit == "km/h" else 1) * math.exp(rng.normal(2.3 if fast else -1, 0.4)), digits)
        made = number_options(truth, 0.2, digits, [3.6], 4, Draw("speeds", len(out), truth))
        if made is not None:
            texts = [f"{text(v, digits)} {unit}" for v in made.values]
            out.append(record(len(out), made.values, made.index, texts=texts))
    assert audit(out)["option_leak"] == "pass"


def test_the_length_of_answers_of_no_fixed_vocabulary_is_part_of_their_prior():
    """Turns are to the left more often, and "left" is shorter than "right"."""
    out = []
    for i in range(400):
        draw = Draw("turns", i)
        side, angle = draw.pick(("left", "left", "left", "right")), 10 * draw.integer(17) + 10
        texts = [f"go {d} m, turn {s} {angle}°" for s in ("left", "right") for d in (3, 5)]
        truth = f"go {draw.pick((3, 5))} m, turn {side} {angle}°"
        texts = draw.shuffled(texts)
        out.append(record(i, texts, texts.index(truth), "trajectory"))
    found = audit(out)
    assert found["option_leak"] == "pass"
    told = {t["guesser"] for t in prior_of(found, "trajectory")["guessers"] if t["leak"]}
    assert told >= {"shortest", "bag of words"}


def test_the_published_recipe_fails_by_the_mean():
    found = leaks(audit(quarter_to_seven_quarters(600)))
    assert found["nearest to the mean"] > 0.6
    assert found["cover of 0.25 to 1.75"] > found["nearest to the mean"]
    assert found["learned ratios"] > 0.6


def test_mistakes_of_the_truth_alone_fail_by_the_hub():
    out = []
    for i in range(400):
        draw = Draw("hub", i)
        truth = round(draw.uniform(1, 9), 2)
        values = draw.shuffled([truth, truth / 2, truth * 2, truth * 3.6])
        out.append(record(i, values, values.index(truth)))
    assert leaks(audit(out))["hub of nice ratios"] > 0.8


def test_ratios_that_nobody_thought_of_are_learned():
    out = []
    for i in range(400):
        draw = Draw("odd", i)
        truth = round(math.exp(draw.uniform(0, 3)), 3)
        ratios = draw.shuffled([1.17, 1.43, 0.62, 2.3, 0.47])[:3]  # three of five, on either side of the truth
        values = draw.shuffled([truth, *(round(truth * r, 3) for r in ratios)])
        out.append(record(i, values, values.index(truth), texts=[f"{v:.3f} m" for v in values]))
    assert leaks(audit(out))["learned ratios"] > 0.8


def test_a_unit_that_only_the_truth_is_given_in_is_learned():
    out = []
    for i, r in enumerate(honest(400)):
        index, values = "ABCD".index(r["letter"]), r["extra"]["option_values"]
        other = Draw("unit", i).pick([j for j in range(4) if j != index])  # centimetres twice: no unit stands alone
        texts = [f"{v:g} m" if j not in (index, other) else f"{100 * v:.0f} cm" for j, v in enumerate(values)]
        out.append(record(i, values, index, texts=texts))
    assert leaks(audit(out))["learned unit"] > 0.4


def test_an_opposite_that_always_stands_beside_the_truth_is_learned():
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up", "forward": "backward",
                "backward": "forward"}
    out = []
    for i in range(600):
        draw = Draw("opposite", i)
        truth = draw.pick(sorted(opposite))
        rest = draw.shuffled([v for v in opposite if v not in (truth, opposite[truth])])
        rest = [rest[0], next(v for v in rest if v not in (rest[0], opposite[rest[0]]))]  # no second pair
        values = draw.shuffled([truth, opposite[truth], *rest])
        out.append(record(i, values, values.index(truth), "object_direction"))
    assert leaks(audit(out), "object_direction")["learned company"] > 0.4


def test_small_whole_numbers_are_held_against_how_often_each_is_true():
    """Few objects in most clips: the lowest option is often right, and that is no fault of the options."""
    out = []
    for i in range(600):
        draw = Draw("count", i)
        truth = min(int(-1.2 * math.log(1 - draw.uniform())) + 3, 12)
        first = truth - draw.integer(4)
        values = draw.shuffled([float(first + j) for j in range(4)])
        out.append(record(i, values, values.index(float(truth)), "object_count", texts=[f"{v:.0f}" for v in values]))
    assert audit(out)["option_leak"] == "pass"


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
    assert design_effect(hits, by_recording) == pytest.approx(50 * 4 / 3)  # the mean takes one of four degrees
    assert design_effect(np.tile([1.0, 0, 0, 0], 50), by_recording) == 1


def test_the_binomial_tail_is_exact():
    assert binomial_tail(0, 10, 0.25) == 1
    assert binomial_tail(3, 5, 0.25) == pytest.approx(sum(math.comb(5, k) * .25**k * .75 ** (5 - k) for k in (3, 4, 5)))
    assert binomial_tail(8000, 30000, 0.25) < 1e-10
    assert holm([0.5, 0.001, 0.01]) == pytest.approx([0.5, 0.003, 0.02])


def prior_of(found, family="object_direction"):
    return next(r["answer_prior"] for r in found["families"] if r["family"] == family)


def directions(count, truth_of, question="", per_recording=4):
    out = []
    for i in range(count):
        made = category_options(truth_of(i), DIRECTIONS, 4, Draw("directions", question, i))
        out.append(record(i, made.values, made.index, "object_direction", recording=f"rec{i // per_recording}")
                   | {"question": question.format("red" if i % 2 else "blue")})
    return out


def test_balanced_directions_have_no_prior():
    found = audit(directions(1200, lambda i: DIRECTIONS[i * i % 7 % 6]))
    even = audit(directions(1200, lambda i: Draw("even", i).pick(DIRECTIONS)))
    assert prior_of(even)["verdict"] == even["answer_prior"] == "pass"
    assert prior_of(found)["verdict"] == "fail"  # of squares modulo 7, some come twice as often


def test_a_side_that_is_true_more_often_is_found_by_its_pair():
    found = audit(directions(1500, lambda i: Draw("side", i).pick(("left", "left", "right", *2 * ("up", "down")))))
    tests = {t["guesser"]: t for t in prior_of(found)["guessers"]}
    side = tests["left of left and right"]
    assert side["leak"] and side["right"] == pytest.approx(2 / 3, abs=0.05)
    assert not any(t["leak"] for name, t in tests.items() if "up and down" in name)


def test_a_word_of_the_question_that_goes_with_an_answer_is_read():
    text = "Which way does the {} car move?\nAnswer with the letter.\nA. left"
    found = audit(directions(800, lambda i: Draw("word", i).pick(("left", "up", "forward") if i % 2 else
                                                                ("right", "down", "backward")), text))
    tests = {t["guesser"]: t for t in prior_of(found)["guessers"]}
    assert tests["bag of words"]["leak"] and tests["bag of words"]["right"] > 0.45
    assert not tests["commonest answer"]["leak"] and found["option_leak"] == "pass"


def test_answers_that_only_repeat_within_a_recording_teach_nothing_about_others():
    """Forty items a recording, all with its own answer: knowing the other recordings does not help."""
    found = audit(directions(1600, lambda i: Draw("own", i // 40).pick(DIRECTIONS), per_recording=40))
    assert prior_of(found)["verdict"] == "pass" and prior_of(found)["guessers"][0]["design_effect"] > 5


def points(count, around):
    """Places in a picture, the others drawn around the truth or all alike."""
    rng, out = np.random.default_rng(0), []
    for i in range(count):
        middle = rng.uniform(200, 440, 2)
        places = [middle if around and j == 0 else middle + rng.normal(0, 40, 2) for j in range(4)]
        order = rng.permutation(4)
        texts = [f"({places[j][0]:.0f}, {places[j][1]:.0f})" for j in order]
        out.append(record(i, texts, int(np.flatnonzero(order == 0)[0]), "correspondence"))
    return out


def test_a_place_that_the_others_lie_around_is_found():
    tests = {t["guesser"]: t for t in prior_of(audit(points(400, True)), "correspondence")["guessers"]}
    assert tests["nearest to the middle"]["leak"] and tests["nearest to the middle"]["right"] > 0.5
    assert prior_of(audit(points(400, False)), "correspondence")["verdict"] == "pass"


def test_answers_of_no_fixed_vocabulary_are_counted_in_classes():
    classes = {known_answer(f"({i}, {7 * i})") for i in range(5000)}
    assert len(classes) == 256 and all(name.startswith("text ") for name in classes)
    assert known_answer("forward 3.2 m, turn left 80°").startswith("text ")
    for kept in ("left", "<R2>", "<obj_1>", "(1) grows (2) constant", "3"):
        assert known_answer(kept) == kept
    assert known_answer(3.5) == ""


@pytest.mark.parametrize("purpose,count,verdict", [
    ("training", 1200, "pass"), ("balanced", 1200, "fail"), ("balanced", 600, "pass"), ("benchmark", 600, "fail")])
def test_an_answer_prior_fails_a_benchmark_and_a_balanced_set_of_200_recordings(purpose, count, verdict):
    found = audit(directions(count, lambda i: "forward" if i % 3 else "left"), purpose)
    assert found["answer_prior"] == "fail" and found["option_leak"] == "pass"
    assert found["verdict"] == verdict and found["answer_prior_fails"] == (verdict == "fail")


def test_a_prior_of_a_few_recordings_is_told_and_not_judged():
    found = audit(directions(400, lambda i: "forward", per_recording=50))
    assert prior_of(found)["verdict"] == "not judged" and prior_of(found)["right"] > 0.9
    assert prior_of(found)["answers"] == {"forward": 400}
    one = audit(directions(300, lambda i: "forward" if i % 3 else "left", per_recording=1000))
    # "left" is right as well where "forward" is not among the four of six options
    assert prior_of(one)["answer"] == "forward" and prior_of(one)["right"] == pytest.approx(2 / 3 + 0.4 / 3, abs=0.1)
    with pytest.raises(ValueError, match="purpose"):
        audit([], "fun")


def fair(seed):
    """Two families as a run might have them: sizes of several kinds, directions that are not even."""
    rng = np.random.default_rng(seed)
    kind, out = seed % 4, []
    while len(out) < 220:
        centre = {0: 0.7, 1: rng.choice([0.1, 2.5]), 2: rng.choice(np.log([1.0, 1.5, 7.0])), 3: 3.0}[kind]
        digits = int(rng.integers(1, 4))
        truth = round_to(math.exp(rng.normal(centre, (1.0, 0.2, 0.02, 1.5)[kind])), digits)
        made = number_options(truth, 0.2, digits, [3.6, 2.0], 4 + seed % 2, Draw("fair", seed, len(out), truth))
        if made is not None:
            out.append(record(len(out), made.values, made.index, texts=[f"{text(v, digits)} m" for v in made.values],
                              recording=f"rec{len(out) // (1 + seed % 9)}"))
    chances = rng.dirichlet(np.full(6, 1.0))
    for i in range(220):
        made = category_options(str(rng.choice(DIRECTIONS, p=chances)), DIRECTIONS, 4, Draw("fair", seed, i))
        out.append(record(i, made.values, made.index, "object_direction", recording=f"rec{i // (1 + seed % 9)}"))
    return out


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 1040), marks=pytest.mark.slow)],
                         ids=["40 sets", "1000 sets"])
def test_fair_sets_fail_no_more_often_than_is_stated(seeds):
    """A share ALPHA of fair sets may fail; more than the 1 % point of their number says that it does not hold."""
    failed = [seed for seed in seeds if audit(fair(seed))["option_leak"] == "fail"]
    assert binomial_tail(len(failed), len(seeds), ALPHA) > 0.01, failed
