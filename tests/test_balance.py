"""What is written of all candidates: caps, balance, mixture and splits, the same in every order of arrival."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.questions.balance import (
    NOT_IN_MIXTURE,
    OVER_ANSWER,
    OVER_CLIP,
    OVER_CLIP_FAMILY,
    OVER_FAMILY,
    OVER_MIXTURE,
    OVER_WEIGHT,
    Row,
    answer_cap,
    row,
    select,
)
from curate.questions.columns import OTHER, SHARES, column, columns
from curate.questions.config import BalanceConfig, MixtureConfig, QuestionsConfig
from curate.questions.families import families
from curate.questions.mixture import column_quotas, family_quotas, mixture_report
from curate.recipe import RecipeError, recipe_from_dict
from curate.shards.writer import split_of
from tests.test_audit import record


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


# ---- caps, mixture ----

def of(selection, rows):
    kept = [r for r in rows if r.id in selection.ids]
    return {family: sum(r.family == family for r in kept) for family in sorted({r.family for r in rows})}


def test_a_family_has_its_number_in_a_clip_and_in_the_set():
    rows = [Row(f"{f}{i}", f, form, "", f"clip{i // 8}") for f in ("camera_rotation", "object_direction")
            for i in range(80) for form in [("choice", "numeric")[i % 2]]]
    kept = select(rows, QuestionsConfig(balance=BalanceConfig(max_per_clip_family=3, max_per_family=25)))
    assert of(kept, rows) == {"camera_rotation": 25, "object_direction": 25}
    clips = [(r.clip, r.family) for r in rows if r.id in kept.ids]
    assert max(clips.count(c) for c in clips) <= 3
    assert kept.left_out == {(f, reason): n for f in ("camera_rotation", "object_direction")
                             for reason, n in ((OVER_CLIP_FAMILY, 50), (OVER_FAMILY, 5))}


def test_a_mixture_comes_out_as_it_was_asked_for_whatever_the_order():
    rows = [Row(f"{f}{i}", f, "choice", "", f"clip{i}") for f, n in (
        ("object_displacement", 400), ("object_direction", 90), ("camera_rotation", 30)) for i in range(n)]
    config = QuestionsConfig(mixture={"shares": {"object_displacement": 2, "object_direction": 1}, "tolerance": 0})
    kept = select(rows, config)
    assert of(kept, rows) == {"camera_rotation": 0, "object_direction": 90, "object_displacement": 180}
    assert kept.left_out == {("camera_rotation", NOT_IN_MIXTURE): 30, ("object_displacement", OVER_MIXTURE): 220}
    random.Random(1).shuffle(rows)
    assert select(rows, config).ids == kept.ids


def test_a_column_is_shared_out_among_its_families():
    assert family_quotas({"a": 100, "b": 4, "c": 100}, 24) == {"a": 10, "b": 4, "c": 10}
    rows = [Row(f"{f}{i}", f, "choice", "", f"clip{i}") for f in ("object_mean_speed", "object_peak_speed")
            for i in range(50)] + [Row(f"d{i}", "object_displacement", "choice", "", f"clip{i}") for i in range(20)]
    kept = select(rows, QuestionsConfig(mixture={"by": "r4d", "shares": {"SA": 0.5, "DP": 0.5}, "tolerance": 0}))
    assert of(kept, rows) == {"object_displacement": 20, "object_mean_speed": 10, "object_peak_speed": 10}


@given(st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 5000), min_size=1),
       st.dictionaries(st.sampled_from("abcdefg"), st.floats(0.01, 10), min_size=1), st.floats(0, 2))
def test_no_column_takes_more_than_its_share_and_the_tolerance(counts, shares, tolerance):
    quotas = column_quotas(counts, shares, tolerance)
    total = sum(quotas.values())
    weights = sum(share for name, share in shares.items() if counts.get(name))
    for name, quota in quotas.items():
        assert 0 <= quota <= counts[name] and (quota == 0 or name in shares)
        if quota:
            assert quota <= (1 + tolerance) * shares[name] / weights * (total + len(counts)) + 1e-6
    assert total or not weights or min(n * 1.0 for name, n in counts.items() if n and name in shares) < 1000


def test_a_column_without_candidates_leaves_its_share_to_the_others():
    assert column_quotas({"a": 60, "b": 60, "c": 0}, {"a": 1, "b": 1, "c": 1}, 0) == {"a": 60, "b": 60, "c": 0}


def test_the_report_holds_what_came_out_against_the_target():
    target = MixtureConfig(by="r4d", shares={"SA": 3, "DP": 1})
    found = mixture_report(target, {"object_mean_speed": 50, "object_displacement": 10, "camera_rotation": 7},
                           {"object_mean_speed": 20, "object_displacement": 5})
    assert found["questions"] == 25 and found["columns"] == [
        {"column": "SA", "target": 0.75, "share": 0.8, "questions": 20, "candidates": 50},
        {"column": "DP", "target": 0.25, "share": 0.2, "questions": 5, "candidates": 10},
        {"column": OTHER, "target": 0.0, "share": 0.0, "questions": 0, "candidates": 7}]


@pytest.mark.parametrize("scheme,number", [("mllm4d", 7), ("r4d", 9)])
def test_presets_have_the_columns_that_were_published(scheme, number):
    assert len(SHARES[scheme]) == number and sum(SHARES[scheme].values()) == pytest.approx(1)
    assert QuestionsConfig(mixture=scheme).target() == MixtureConfig(by=scheme, shares=SHARES[scheme])
    assert {column(family, scheme) for family in families()} <= {*columns(scheme), OTHER}


@pytest.mark.parametrize("mixture,said", [
    ({"shares": {"object_displacment": 1}}, "did you mean 'object_displacement'"),
    ({"by": "r4d", "shares": {"SR": 1, "sped": 2}}, "has no 'sped'"), ({"shares": {"camera_rotation": 0}}, "positive"),
    ({"shares": {}}, "at least 1"), ("r4", "r4d")])
def test_a_mixture_that_cannot_be_is_refused_by_name(mixture, said):
    with pytest.raises(ValueError, match=said):
        QuestionsConfig(mixture=mixture)


# ---- splits ----

def test_splits_have_their_shares_of_recordings_and_hold_still_while_shares_grow():
    names = [f"video{i}" for i in range(5000)]
    splits = [split_of(name, 0.1, 0.2) for name in names]
    for split, share in (("val", 0.1), ("test", 0.2), ("train", 0.7)):
        assert splits.count(split) / len(names) == pytest.approx(share, abs=0.02)
    for more in ((0.15, 0.2), (0.1, 0.3)):
        again = [split_of(name, *more) for name in names]
        assert all(a == b for a, b in zip(splits, again) if a != "train")
    assert [split_of(name, 0.1) for name in names] == [s if s == "val" else "train" for s in splits]


def test_splits_must_leave_something_to_train_on():
    with pytest.raises(ValueError, match="test_share"):
        split_of("a", 0.6, 0.5)
    with pytest.raises(RecipeError, match="below 1"):
        recipe_from_dict({"source": {"kind": "rendered"}, "shards": {"val_share": 0.5, "test_share": 0.5}})

