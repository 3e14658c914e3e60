"""The audit of many items at once says what the readable one says item by item; thresholds say what sorting says."""

import random

import numpy as np
import pytest

from curate.questions import tally as fast
from curate.questions.audit import audit
from curate.questions.balance import Row, answer_limits, row, select, thin
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
    "everything": [*numbers(300, "a"), *numbers(120, "b"), *numbers(220, "c", 5), *words(260, "d"),
                   *words(230, "e", ("closer", "farther"))],
}


@pytest.mark.parametrize("name", SETS)
def test_the_audit_in_blocks_says_what_the_one_by_items_says(name, monkeypatch):
    monkeypatch.setattr(fast, "BLOCK", 61)  # several blocks, several parts
    monkeypatch.setattr(fast, "BUCKET_BYTES", 1000)
    slow = slow_audit.audit(SETS[name])["families"]
    quick = [{n: [{k: v for k, v in t.items() if k not in ("p_holm", "leak")} for t in value] if n == "guessers"
              else value for n, value in r.items() if n != "verdict"} for r in audit(SETS[name])["families"]]
    same(quick, [{n: value for n, value in r.items() if n != "verdict"} for r in slow])


def test_thresholds_found_in_blocks_are_those_of_sorting(monkeypatch):
    monkeypatch.setattr(fast, "BLOCK", 37)
    items = words(600, "object_direction") + numbers(100, "object_displacement")
    ranks = [stable_hash("rank", q["id"]) for q in items]
    with fast.Tally() as tally:
        for at in range(0, len(items), 50):
            tally.add(*fast.items_of([choice(q) for q in items[at:at + 50]], ranks[at:at + 50]))
        wanted = {("object_direction", word): k for word, k in (("left", 3), ("right", 1), ("up", 40))}
        found = tally.kth_ranks(wanted)
        for (family, word), k in wanted.items():
            own = sorted(r for r, q in zip(ranks, items) if q["family"] == family and row(q).answer == word)
            assert found[family, word] == own[k - 1]
        count = tally.answers["object_direction", "up"]
        tally.keep({("object_direction", "up"): found["object_direction", "up"], ("object_direction", "left"): -1})
        kept = next(f for f in tally.families(10_000) if f.name == "object_direction")
        left = sum(row(q).answer == "left" for q in items)
        assert kept.num_items == 600 - (count - 40) - left


def test_clip_by_clip_the_selection_is_that_of_all_rows_at_once():
    rng = random.Random(3)
    rows = [Row(f"q{i}", f"f{rng.randrange(3)}", rng.choice(["choice", "numeric"]), rng.choice(["", *WORDS[:3]]),
                f"clip{i // 9}") for i in range(900)]
    config = QuestionsConfig(max_per_clip=5, balance=BalanceConfig(max_answer_share=0.4, answer_floor=3))
    whole, left_out, kept, groups = select(rows, config), type(select([], config).left_out)(), [], {}
    for at in range(0, 900, 9):
        kept += thin(rows[at:at + 9], config, left_out)
    for rank, r in kept:
        groups.setdefault((r.family, r.form, r.answer), []).append(rank)
    limits = answer_limits({n: len(g) for n, g in groups.items()}, config,
                           lambda caps: {n: sorted(groups[n])[k - 1] for n, k in caps.items()}, left_out)
    assert limits and left_out == whole.left_out
    assert whole.ids == {r.id for rank, r in kept if rank <= limits.get((r.family, r.form, r.answer), 2**64)}


def test_an_item_with_too_many_options_is_refused_by_name():
    with pytest.raises(ValueError, match="many-0"):
        fast.items_of([choice(record(0, "many", list("abcdef"), list("abcdef"), 1))], [0])
