"""Options: a guesser that sees only them scores chance; they stand clear of the error; letters are even."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.measure.quantity import LEVELS
from curate.questions.digits import round_to, significant_digits, step, text
from curate.questions.draw import Draw
from curate.questions.gates import option_gap
from curate.questions.guessers import FORMS, LETTERS, NUMBERS, Choice, guess
from curate.questions.options import LEAST_GAP, category_options, number_options
from tests.slow_audit import prior_chance

NUM_ITEMS = 30_000
PRIORS = {
    "log-uniform": lambda rng: math.exp(rng.uniform(math.log(0.05), math.log(40))),
    "concentrated": lambda rng: math.exp(rng.normal(math.log(2.0), 0.25)),
}


def items(prior, num_options=4, count=NUM_ITEMS, seed=0):
    """Simulated choices: truth from a prior, error of 1 to 15 %, slips now and then."""
    rng = np.random.default_rng(seed)
    out = []
    while len(out) < count:
        relative = float(rng.uniform(0.01, 0.15))
        num_digits = significant_digits(relative)
        truth = round_to(PRIORS[prior](rng), num_digits)
        quantiles = tuple(truth * (1 + relative * z / 1.96) for z in
                          (-2.576, -1.96, -1.28, -0.67, 0, 0.67, 1.28, 1.96, 2.576))
        slips = [3.6] if rng.random() < 0.3 else [float(rng.uniform(1, 4))] if rng.random() < 0.5 else []
        made = number_options(truth, option_gap(truth, quantiles), num_digits, slips, num_options,
                              Draw("simulated", prior, seed, len(out)))
        assert made is not None and made.values[made.index] == truth
        out.append(Choice(f"{prior}-{len(out)}", "f", tuple(f"{text(v, num_digits)} m" for v in made.values),
                          tuple(made.values), made.index, "r"))
    return out


@pytest.fixture(scope="module", params=list(PRIORS))
def simulated(request):
    return items(request.param, count=NUM_ITEMS if request.param == "log-uniform" else 12_000)


@pytest.mark.parametrize("name", [n for n in (NUMBERS | LETTERS) if n not in ("rank 5", "letter E")])
def test_blind_guessers_score_chance(simulated, name):
    guesser = (NUMBERS | LETTERS)[name]
    right = np.mean([guess(c, guesser, name) == c.truth for c in simulated])
    assert abs(right - 0.25) < 0.015


@pytest.mark.parametrize("name", FORMS)
def test_the_length_tells_no_more_than_the_prior_of_answers_does(simulated, name):
    """"12 m" is shorter than "2.0 m": sizes that are never true show in the length, but nothing beyond that."""
    guesses = [guess(c, FORMS[name], name) for c in simulated]
    prior = prior_chance(simulated)
    expected = np.mean([prior(c)[g] for c, g in zip(simulated, guesses)])
    assert abs(np.mean([g == c.truth for c, g in zip(simulated, guesses)]) - expected) < 0.015


def test_five_options_tell_as_little():
    simulated = items("log-uniform", num_options=5, count=20_000)
    guessers = NUMBERS | LETTERS
    for name in ("rank 1", "rank 3", "rank 5", "nearest to the mean", "hub of shared ratios", "letter E"):
        right = np.mean([guess(c, guessers[name], name) == c.truth for c in simulated])
        assert abs(right - 0.2) < 0.015, name


def test_the_truth_is_not_the_option_that_looks_computed(simulated):
    """Rounding must not tell which of a pair was derived: the pair's ratio is compared with the other pair's."""
    kept = [c for c in simulated if "." in c.options[0]]
    zeros = [[float(o.split()[0].endswith("0")) for o in c.options] for c in kept]
    right = np.mean([z[c.truth] - np.mean(z) for z, c in zip(zeros, kept)])
    assert abs(right) < 0.015


@given(st.floats(0.01, 100), st.floats(0.002, 0.3), st.integers(0, 10**6), st.lists(st.floats(0.1, 10), max_size=3))
def test_options_stand_clear_of_the_error(value, relative, seed, slips):
    num_digits = significant_digits(relative)
    truth = round_to(value, num_digits)
    deviations = np.array([-2.576, -1.96, -1.28, -0.67, 0, 0.67, 1.28, 1.96, 2.576]) / 1.96
    assert len(deviations) == len(LEVELS)
    quantiles = tuple(truth * (1 + relative * deviations))
    made = number_options(truth, option_gap(truth, quantiles), num_digits, slips, 4, Draw(seed))
    if made is None:
        assert relative > 0.1
        return
    printed = [text(v, num_digits) for v in made.values]
    assert len(set(printed)) == 4
    others = [float(p) for i, p in enumerate(printed) if i != made.index]
    for end in (quantiles[0], quantiles[-1]):
        assert all(abs(end - truth) <= abs(end - other) for other in others)
    ordered = sorted(map(float, printed))
    assert all(math.log(b / a) >= LEAST_GAP - 1e-9 for a, b in pairwise(ordered))


def test_an_error_that_no_options_clear_is_refused():
    assert option_gap(1.0, (0.4, 0.5, 0.7, 0.9, 1, 1.1, 1.3, 1.5, 1.6)) == math.inf
    assert number_options(1.0, math.inf, 2, [], 4, Draw(0)) is None
    assert number_options(1.0, math.log(3), 2, [], 4, Draw(0)) is None


def test_whether_options_are_possible_does_not_depend_on_the_role():
    gap = math.log(1.3)
    for value in (0.11, 1.0, 99.0):
        assert all(number_options(value, gap, 2, [3.6], 4, Draw(i)) is not None for i in range(200))


def test_category_options_hold_the_truth_once_and_every_other_equally_often():
    vocabulary = ("forward", "backward", "left", "right", "up", "down")
    drawn = [category_options("left", vocabulary, 4, Draw("c", i)) for i in range(6_000)]
    assert all(d.values.count("left") == 1 and len(set(d.values)) == 4 for d in drawn)
    for letter in "ABCD":
        assert abs(np.mean([d.letter == letter for d in drawn]) - 0.25) < 0.02
    for other in vocabulary:
        if other != "left":
            assert abs(np.mean([other in d.values for d in drawn]) - 0.6) < 0.025


def test_few_categories_give_few_options():
    assert sorted(category_options("closer", ("closer", "farther"), 4, Draw(1)).values) == ["closer", "farther"]


@given(st.floats(1e-4, 1e5), st.floats(0.0005, 0.49))
def test_rounding_stays_inside_the_interval(value, relative):
    digits = significant_digits(relative)
    assert abs(round_to(value, digits) - value) <= max(relative, 5e-4) * value * (1 + 1e-9)
    again = float(text(value, digits))
    assert math.isclose(again, round_to(value, digits), rel_tol=1e-12)
    assert abs(again - value) <= step(value, digits) * 0.5 * (1 + 1e-6)


def test_draws_are_the_same_everywhere():
    """Fixed numbers: a changed stream would silently change every question of every user."""
    draw = Draw("clip", 7)
    assert [draw.integer(1000) for _ in range(4)] == FIRST_DRAWS
    assert Draw("clip", 8).integer(1000) != FIRST_DRAWS[0]


FIRST_DRAWS = [326, 798, 766, 352]
