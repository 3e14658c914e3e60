"""One item for each kind and object, held against the truth at the same point; rows of families that fall short."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.calibration_stats import SCORES
from benchmarks.campaign_report import print_report
from benchmarks.compare import item, one_each, oracle_half_width
from benchmarks.truth_rendered import answer_rows, family_rows, health_rows
from curate.measure.quantity import Quantity
from curate.synth.oracle import Oracle
from curate.synth.truth import Subject, Truth
from tests.synthetic import body, line, path, scene, wall
from tests.test_truth_benchmark import made

T = 9
SPAN = (0, T - 1)
ONE = Subject(1, np.zeros(3), 1.0)


def truths() -> Truth:
    return Truth(scene(wall(), body(1, "sphere", 1, path(line([-0.4, 0, 6], [1.0, 0, 0], T))),
                       body(2, "sphere", 1, path([1.2, 0, 6])), num_frames=T))


def quantity(kind, value, subjects=(1,), span=SPAN, sigma=0.05, **extra) -> Quantity:
    size = 0.0 if np.ndim(value) else value
    return Quantity(kind, subjects, span, value, "m", "world", "surface@t0",
                    tuple(size + sigma * SCORES if not np.ndim(value) else sigma * np.arange(1, 10)),
                    {"own": sigma**2, "pose": 0.0, "rig": 0.0, "scale": 0.0}, 1e-9, extra)


def test_an_item_says_where_the_truth_lies_in_what_was_stated():
    one = item(quantity("object_displacement", 0.9), [ONE], truths())
    assert one["truth"] == pytest.approx(0.8) and one["z"] == pytest.approx(-2) and one["miss"] == -1
    assert one["inside"] == {"50": False, "80": False, "95": False, "99": True}
    assert one["half_width"] == pytest.approx(1.96 * 0.05, rel=1e-3)
    assert one["relative_error"] == pytest.approx(0.125) and not one["at_zero"]


def test_what_stands_still_has_a_zero_truth_and_no_direction():
    still = Subject(2, np.zeros(3), 1.0)
    one = item(quantity("object_displacement", 0.02), [still], truths())
    assert one["truth"] == 0 and one["at_zero"] and np.isnan(one["relative_error"])
    assert item(quantity("object_direction", [1.0, 0, 0]), [still], truths()) is None
    moving = item(quantity("object_direction", [np.cos(0.1), np.sin(0.1), 0], sigma=0.03), [ONE], truths())
    assert moving["truth"] == pytest.approx(0.1) and moving["inside"]["50"] and moving["unit"] == "rad"


def test_each_object_is_drawn_once_whatever_the_number_of_its_regions_and_spans():
    regions = {1: ONE, 2: ONE, 3: Subject(2, np.zeros(3), 1.0), 4: Subject(0, np.ones(3), 1.0),
               5: Subject(0, np.ones(3), 1.0)}
    spans = [(0, 4), (0, 8)]
    listed = [quantity("object_displacement", 1.0, (r,), s) for r, s in product(regions, spans)]
    picked = one_each("scene", listed, regions)
    assert sorted(regions[q.subjects[0]].object_id for q in picked) == [0, 0, 1, 2]
    assert picked == one_each("scene", listed, regions)
    assert len({one_each(f"scene{k}", listed, regions)[0].span for k in range(20)}) == 2
    pairs = [quantity("object_object_distance", 1.0, (a, b), (0, 0)) for a, b in ((1, 3), (1, 4), (3, 4))]
    assert 2 <= len(one_each("scene", pairs, regions)) <= 3


def test_the_ideal_estimator_is_asked_only_where_the_truth_is_clear():
    ideal = Oracle(truths())
    clear = oracle_half_width(ideal, quantity("object_displacement", 0.8), [ONE], [2000.0])
    assert 0 < clear < 0.2
    still = Subject(2, np.zeros(3), 1.0)
    assert np.isnan(oracle_half_width(ideal, quantity("object_displacement", 0.8), [still], [2000.0]))
    assert np.isnan(oracle_half_width(ideal, quantity("camera_direction", [1, 0, 0.0], ()), [], []))


def marked(stated: float) -> list[dict]:
    return [i | {"kind": "object_displacement", "asked": True, "forms": {}} for i in made(6_000, stated)]


def test_a_family_with_honest_intervals_meets_its_targets_and_others_do_not(capsys):
    assert all(r["ok"] is not False for r in family_rows("honest", marked(1.0)))
    narrow = {r["name"]: r["ok"] for r in family_rows("narrow", marked(0.6))}
    assert [ok for name, ok in narrow.items() if "inside of 95 %" in name or "z deviation" in name] == [False] * 6
    wide = {r["name"]: r["ok"] for r in family_rows("wide", marked(3.0))}
    assert [ok for name, ok in wide.items() if "ideal" in name] == [False]
    assert [ok for name, ok in wide.items() if "inside of 95 %" in name] == [False, False]
    print_report([{"name": "x", "items": marked(1.0)[:300]}, {"name": "y", "error": "ValueError: broken"}])
    out = capsys.readouterr().out
    assert "object_displacement" in out and "y: ValueError: broken" in out


def test_answers_are_counted_over_scenes_and_failures_told():
    judged = {"family": "object_displacement", "scene": "a", "objects": [1], "covered": None, "right": True,
              "relative_error": float("nan")}
    number = judged | {"right": None, "covered": True, "relative_error": 0.02}
    wrong = judged | {"right": False, "objects": [2]}
    askable = [{"family": "object_displacement", "objects": [k]} for k in (1, 2, 3, 4)]
    results = [{"name": "a", "items": [], "judged": [judged, number, wrong], "askable": askable, "regions": 4,
                "unmatched": 1}, {"name": "b", "error": "BadInput: torn"}]
    rows = {r["name"].split(": all: ")[1].split(" (n")[0]: r for r in answer_rows(results) if ": all: " in r["name"]}
    assert rows["choices right"]["value"] == 50 and not rows["choices right"]["ok"]
    assert rows["numbers, median relative error"]["value"] == pytest.approx(2)
    assert rows["of the askable asked"]["value"] == 50
    health = health_rows(results)
    assert health[0]["value"] == 1 and not health[0]["ok"] and "torn" in health[0]["name"]
    assert health[1]["value"] == 25


def test_the_page_names_what_falls_short_and_what_so_few_items_cannot_tell(tmp_path):
    from benchmarks.table import at_most, skipped
    from benchmarks.truth_doc import write_doc

    sections = {"camera motion": [at_most("one: path length error", 0.7, "%", 0.5), skipped("kind", "none there")],
                "rendered: intervals": family_rows("rendered object displacement", marked(0.6))
                + family_rows("rendered camera rotation", marked(0.9)[:60])}
    write_doc(tmp_path / "truth.md", sections, ["half of it"], "python -m made.by")
    page = (tmp_path / "truth.md").read_text()
    assert "python -m made.by" in page and "Left out: half of it." in page and "skipped, none there" in page
    assert "- one: path length error: 0.7 %, wanted ≤ 0.5" in page
    lines = [line for line in page.splitlines() if line.startswith("- object displacement")]
    assert len(lines) == 1 and "too narrow" in lines[0] and "too small by a factor of 1." in lines[0]
    assert page.count("| object displacement | **") == 1
    rotation = [line for line in page.splitlines() if line.startswith("- camera rotation")]
    assert all("can tell" in line for line in rotation)
