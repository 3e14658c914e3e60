"""The audit of many items at once says what the readable one says item by item; thresholds say what sorting says."""

import random

import numpy as np
import pytest

from curate.questions import items, pool
from curate.questions import tally as fast
from curate.questions.audit import audit
from curate.questions.balance import Limits, Row, find_limits, row, select, thin
from curate.questions.config import BalanceConfig, QuestionsConfig
from curate.questions.digits import round_to, text
from curate.questions.draw import Draw, stable_hash
from curate.questions.guessers import choice
from curate.questions.options import category_options, number_options
from tests import slow_audit

WORDS = ("forward", "backward", "left", "right", "up", "down")


def numbers(count: int, family: str, num_options: int = 4, tilt: float = 0.0) -> list[dict]:
    """Numeric choices; with `tilt` the share of them whose truth is the first option."""
    rng, out = np.random.default_rng(count), []
    while len(out) < count:
        digits = int(rng.integers(2, 4))
        truth = round_to(float(np.exp(rng.normal(0.5, 1))), digits)
        made = number_options(truth, 0.2, digits, [2.0, 3.6], num_options, Draw(family, len(out), count))
        if made is None:
            continue
        values, index = list(made.values), made.index
        if rng.random() < tilt:
            values[0], values[index], index = values[index], values[0], 0
        unit = ("m", "cm")[int(rng.integers(2))]
        out.append(record(len(out), family, [f"{text(v, digits)} {unit}" for v in values], values, index))
    return out


def words(count: int, family: str, vocabulary: tuple[str, ...] = WORDS) -> list[dict]:
    out = []
    for i in range(count):
        made = category_options(vocabulary[(3 * i * i + i // 5) % 11 % len(vocabulary)], vocabulary, 4, Draw(family, i))
        out.append(record(i, family, list(made.values), list(made.values), made.index))
    return out


def counts(count: int) -> list[dict]:
    out = []
    for i in range(count):
        draw = Draw("counts", i)
        first, index = draw.integer(4), draw.integer(4)
        values = [float(first + j) for j in range(4)]
        out.append(record(i, "object_count", [f"{v:.0f}" for v in values], values, index))
    return out


def record(i, family, options, values, index) -> dict:
    return {"id": f"{family}-{i}", "family": family, "form": "choice", "options": options, "letter": "ABCDE"[index],
            "extra": {"option_values": values, "recording": f"rec{i // 7}", "clip": f"{i // 5:06d}"}}


def same(a, b):
    if isinstance(a, dict):
        assert set(a) == set(b)
        for name in a:
            same(a[name], b[name])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == (pytest.approx(b, rel=1e-9, abs=1e-10) if isinstance(b, float) else b)


SETS = {
    "one family": numbers(450, "object_displacement"),
    "a leak": numbers(300, "object_displacement", tilt=0.3),
    "five options": numbers(300, "object_displacement", 5),
    "categories": words(400, "object_direction"),
    "two categories": words(300, "distance_change", ("closer", "farther")),
    "counts": counts(300),
    "one recording": [q | {"extra": q["extra"] | {"recording": "all"}}
                      for q in [*numbers(210, "a"), *words(220, "b"), *counts(230)]],
    "everything": [*numbers(300, "a"), *numbers(120, "b"), *numbers(220, "c", 5), *words(260, "d"),
                   *words(230, "e", ("closer", "farther"))],
}


@pytest.mark.parametrize("name", SETS)
def test_the_audit_in_blocks_says_what_the_one_by_items_says(name, monkeypatch):
    monkeypatch.setattr(fast, "BLOCK", 61)  # several blocks, several parts
    monkeypatch.setattr(fast, "BUCKET_BYTES", 1000)
    quick = [{"family": r["family"], "items": r["items"], "recordings": r["recordings"], "guessers": [
        {k: v for k, v in t.items() if k not in ("p_holm", "leak")} for t in r["guessers"]]} | (
            {"right": r["answer_prior"]["right"]} if r["answer_prior"] else {}) for r in audit(SETS[name])["families"]]
    same(quick, slow_audit.audit(SETS[name]))


def test_what_is_over_a_limit_is_not_audited(monkeypatch):
    monkeypatch.setattr(fast, "BLOCK", 37)
    asked = words(600, "object_direction") + numbers(100, "object_displacement")
    ranks = [stable_hash("rank", q["id"]) for q in asked]
    with fast.Tally() as tally:
        for at in range(0, len(asked), 50):
            tally.add(*items.items_of([choice(q) for q in asked[at:at + 50]], ranks[at:at + 50]))
        up = sorted(r for r, q in zip(ranks, asked) if row(q).answer == "up")
        tally.keep({("object_direction", "up"): up[39], ("object_direction", "left"): -1})
        kept = next(f for f in tally.families(10_000) if f.name == "object_direction")
        assert kept.num_items == 600 - (len(up) - 40) - sum(row(q).answer == "left" for q in asked)
        assert kept.answers["up"] == 40 and "left" not in kept.answers


def test_thresholds_found_in_blocks_are_those_of_sorting(monkeypatch):
    monkeypatch.setattr(pool, "BLOCK", 37)
    rng = random.Random(4)
    rows = [(f"f{rng.randrange(2)}", rng.choice(["choice", "open"]), rng.choice(["", *WORDS[:3]]),
             stable_hash("rank", i)) for i in range(700)]
    limits = Limits({("f0", "choice", "left"): 2**63, ("f0", "open", "left"): -1})
    inside = [r for r in rows if r[3] <= limits.of(*r[:3])]
    wanted = {("f0", "choice", "left"): 3, ("f1", "choice", "forward"): 1}, {("f0",): 90, ("f1",): 200}
    with pool.Pool() as held:
        for at in range(0, len(rows), 60):
            held.add(rows[at:at + 60])
        assert sum(held.counts.values()) == len(rows)
        found = held.kth_ranks(wanted[0], limits) | held.kth_ranks(wanted[1], limits)
    for name, k in (wanted[0] | wanted[1]).items():
        assert found[name] == sorted(r[3] for r in inside if r[:len(name)] == name)[k - 1]


def test_clip_by_clip_the_selection_is_that_of_all_rows_at_once():
    rng = random.Random(3)
    families = ("object_displacement", "object_direction", "camera_rotation")
    rows = [Row(f"q{i}", rng.choice(families), rng.choice(["choice", "numeric"]), rng.choice(["", *WORDS[:3]]),
                f"clip{i // 9}") for i in range(900)]
    config = QuestionsConfig(
        max_per_clip=5, balance=BalanceConfig(max_answer_share=0.4, answer_floor=3, max_per_clip_family=2,
                                              max_per_family=150),
        mixture={"shares": {"object_displacement": 2, "object_direction": 1}})
    whole, left_out = select(rows, config), type(select([], config).left_out)()
    with pool.Pool() as held:
        kept = []
        for at in range(0, 900, 9):
            kept += (own := thin(rows[at:at + 9], config, left_out))
            held.add([(*r[1:4], rank) for rank, r in own])
        limits, counts = find_limits(held.counts, config, held.kth_ranks, left_out)
    assert limits.answers and limits.families["camera_rotation"] == -1 and left_out == whole.left_out
    assert whole.ids == {r.id for rank, r in kept if rank <= limits.of(*r[1:4])}
    assert sum(counts.values()) == len(whole.ids) == 900 - sum(left_out.values())


def test_an_item_with_too_many_options_is_refused_by_name():
    with pytest.raises(ValueError, match="many-0"):
        items.items_of([choice(record(0, "many", list("abcdef"), list("abcdef"), 1))], [0])
