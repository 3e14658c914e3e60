"""Staged mixtures: exact counts, mixed from the first item to the last, read alike by any number of consumers."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.cli.main import main
from curate.mixture.config import MixtureRecipe
from curate.mixture.plan import MixtureError, plan, write
from curate.shards import ShardError, read, read_stage
from curate.shards import mixture as files
from curate.shards.publish import publish
from curate.shards.remote import publish_set
from curate.shards.schedule import Draws, Permutation, counts_of, interleaved
from tests import s3_server
from tests.shard_samples import sample

RECIPE = """
name: three-stages
sets:
  small: {small}
  large: {{path: {large}}}
stages:
  - {{name: align, mix: {{small: all}}, train: [projector]}}
  - {{name: middle, samples: 31, train: {{projector: full, language: lora}}, mix: {{small: 1, large: 2}}}}
  - name: numbers
    samples: 9
    mix: {{large: {{weight: 1, forms: [numeric]}}, small: {{samples: 2}}}}
"""


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> tuple[Path, Path]:
    """Of 3 and of 7 clips with two questions each, in several shards."""
    root = tmp_path_factory.mktemp("sets")
    for name, seeds in (("small", range(3)), ("large", range(10, 17))):
        (root / name).mkdir()
        publish(root / name, [sample(seed) for seed in seeds], max_samples=2)
    return root / "small", root / "large"


def recipe_of(sets: tuple[Path, Path], text: str = RECIPE) -> MixtureRecipe:
    import yaml

    return MixtureRecipe.model_validate(yaml.safe_load(text.format(small=sets[0], large=sets[1])))


@pytest.fixture
def mixed(sets, tmp_path) -> Path:
    write(plan(recipe_of(sets), tmp_path), tmp_path)
    return tmp_path


# ---- counts and order, for any numbers ----

weights = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=6).filter(lambda w: sum(w) > 1e-6)


@given(weights, st.integers(0, 2000))
def test_counts_are_within_one_of_the_weights_and_sum_to_the_total(weights, total):
    counts = counts_of(total, weights)
    assert sum(counts) == total
    for count, weight in zip(counts, weights):
        assert abs(count - total * weight / sum(weights)) < 1 + 1e-6


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.data())
def test_any_first_part_is_mixed_within_one_and_any_place_is_found_again(counts, data):
    total, given_so_far = sum(counts), Counter()
    places = list(interleaved(counts))
    assert len(places) == total
    for done, (source, draw) in enumerate(places, 1):
        assert draw == given_so_far[source], "the draws of a source come in their order"
        given_so_far[source] += 1
        assert all(abs(given_so_far[i] * total - n * done) < total for i, n in enumerate(counts))
    start = data.draw(st.integers(0, total))
    assert list(interleaved(counts, start)) == places[start:]


@given(st.integers(1, 500), st.text(max_size=5))
@settings(max_examples=50)
def test_a_permutation_has_every_number_once(size, name):
    order = Permutation(size, name)
    assert sorted(order[i] for i in range(size)) == list(range(size))


def test_a_permutation_shuffles_and_depends_on_its_name():
    orders = [[Permutation(100, name)[i] for i in range(100)] for name in ("a", "b", "a")]
    assert orders[0] == orders[2] != orders[1]
    assert sum(abs(a - i) for i, a in enumerate(orders[0])) / 100 > 20, "33 on average for a fair shuffle"


@given(st.integers(1, 40), st.integers(1, 130))
@settings(max_examples=50)
def test_each_record_is_drawn_once_before_any_comes_again(size, num):
    order = Draws(size, "x")
    drawn = Counter(order[i] for i in range(num))
    assert max(drawn.values()) - min(drawn[i] for i in range(size)) <= 1


# ---- a stage as it is read ----

def test_a_stage_gives_exactly_its_counts(mixed):
    stage = read_stage(mixed, "middle")
    items = list(stage)
    assert Counter(item["set"] for item in items) == stage.counts == {"small": 10, "large": 21}
    assert len(stage) == len(items) == 31 and [item["position"] for item in items] == list(range(31))
    assert stage.train == {"projector": "full", "llm": "lora"}
    drawn = Counter(item["key"] for item in items)
    assert {drawn[i["key"]] for i in items if i["set"] == "small"} == {1, 2}, "6 questions drawn 10 times"
    assert {drawn[i["key"]] for i in items if i["set"] == "large"} == {1, 2}, "14 questions drawn 21 times"


def test_items_are_those_of_the_reader(mixed, sets):
    known = {item["key"]: item for root in sets for item in read(root)}
    for item in read_stage(mixed, "align"):
        same = known[item["key"]]
        assert repr(item["qa"]) == repr(same["qa"]) and repr(item["json"]) == repr(same["json"])  # nan
        assert dict(item["media"]) == dict(same["media"])


def test_filters_choose_the_questions_of_a_set(mixed):
    items = list(read_stage(mixed, "numbers"))
    assert Counter(item["set"] for item in items) == {"large": 7, "small": 2}
    of_large = [item["key"] for item in items if item["set"] == "large"]
    assert all(key.endswith("-numeric") for key in of_large) and len(set(of_large)) == 7


@pytest.mark.parametrize(("world_size", "num_workers"), [(1, 1), (2, 1), (1, 3), (4, 5)])
def test_consumers_read_a_stage_once_together(mixed, world_size, num_workers):
    whole = [(i["position"], i["key"]) for i in read_stage(mixed, "middle")]
    parts = [[(i["position"], i["key"]) for i in
              read_stage(mixed, "middle", rank=r, world_size=world_size, worker=w, num_workers=num_workers)]
             for r in range(world_size) for w in range(num_workers)]
    assert sorted(place for part in parts for place in part) == whole
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("start", [0, 1, 17, 30, 31])
def test_a_stage_goes_on_from_a_position(mixed, start):
    def keys(**how):
        return [(i["position"], i["key"]) for i in read_stage(mixed, "middle", **how)]

    assert keys(start=start) == keys()[start:]
    place = {"rank": 1, "world_size": 3}
    assert keys(start=start, **place) == [item for item in keys(**place) if item[0] >= start]


def test_the_seed_changes_what_is_drawn_and_nothing_else(sets, tmp_path):
    orders = {}
    for seed in (0, 1):
        recipe = recipe_of(sets).model_copy(update={"seed": seed})
        write(plan(recipe, tmp_path / str(seed)), tmp_path / str(seed))
        orders[seed] = [(i["set"], i["key"]) for i in read_stage(tmp_path / str(seed), "middle")]
    assert [name for name, _ in orders[0]] == [name for name, _ in orders[1]]
    assert orders[0] != orders[1]


def test_memory_does_not_grow_with_the_counts(mixed, sets):
    """A stage of a billion questions begins at once, anywhere in it."""
    content = files.load(mixed)
    stage = files.stage_of(content, "middle")
    stage["samples"], stage["mix"][0]["samples"], stage["mix"][1]["samples"] = 3 * 10**9, 10**9, 2 * 10**9
    write(content, mixed)
    far = iter(read_stage(mixed, "middle", start=2 * 10**9 + 1))
    assert [next(far)["position"] for _ in range(3)] == [2 * 10**9 + i for i in (1, 2, 3)]


# ---- the file ----

def test_the_file_is_the_same_bytes_each_time_and_moves_with_its_sets(sets, tmp_path, monkeypatch):
    for name, root in zip(("small", "large"), sets):
        shutil.copytree(root, tmp_path / "a" / name)
    monkeypatch.chdir(tmp_path / "a")
    recipe = recipe_of((Path("small"), Path("large")))
    first = write(plan(recipe, Path("mix")), Path("mix")).read_bytes()
    assert write(plan(recipe, Path("mix")), Path("mix")).read_bytes() == first
    assert files.load("mix")["sets"]["small"]["path"] == "../small/shards"
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(list(read_stage(tmp_path / "b" / "mix", "align"))) == 6


def test_the_command_writes_and_shows(sets, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE.format(small=sets[0], large=sets[1]))
    done = CliRunner().invoke(main, ["mix", str(recipe), "--out", str(tmp_path / "m")])
    assert done.exit_code == 0, done.output
    assert "middle" in done.output and "llm (lora)" in done.output and "32.3" in done.output
    assert json.loads((tmp_path / "m" / "mixture.json").read_text())["name"] == "three-stages"
    done = CliRunner().invoke(main, ["validate", str(recipe)])
    assert done.exit_code == 0 and "stages align, middle, numbers" in done.output


@pytest.mark.slow
def test_sets_behind_addresses_are_mixed_and_read(sets, tmp_path):
    with s3_server.server() as address, s3_server.exported(address):
        url = f"s3://{s3_server.new_bucket()}/mine"
        publish_set(sets[0], url)
        write(plan(recipe_of((url, sets[1])), tmp_path), tmp_path)
        assert files.load(tmp_path)["sets"]["small"]["path"] == url
        assert Counter(item["set"] for item in read_stage(tmp_path, "middle")) == {"small": 10, "large": 21}
        publish_set(sets[1], url)
        with pytest.raises(ShardError, match=r"set 'small' of the mixture: .* has changed since it was mixed"):
            read_stage(tmp_path, "middle")


def test_sets_that_are_not_there_are_made_by_their_recipes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("q.json").write_text('[{"question": "1 + 1?", "answer": "2"}, {"question": "2 + 2?", "answer": "4"}]')
    Path("talks.yaml").write_text("source: {kind: conversations, root: q.json}\n"
                                  "engine: {kind: inline, isolate: false}\n")
    Path("mix.yaml").write_text("sets: {talks: {path: talks, recipe: talks.yaml}}\n"
                                "stages: [{name: read, mix: {talks: all}, train: [language]}]\n")
    asked = ["mix", "mix.yaml", "--out", "m"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 1 and "`curate run talks.yaml --out talks` makes it" in done.output
    done = CliRunner().invoke(main, [*asked, "--run"])
    assert done.exit_code == 0, done.output
    assert sorted(item["qa"]["answer"] for item in read_stage("m", "read")) == ["2", "4"]


# ---- what cannot be mixed ----

def test_an_unknown_stage_is_named(mixed):
    with pytest.raises(ShardError, match=r"no stage 'midle'; did you mean 'middle'\?"):
        read_stage(mixed, "midle")
    with pytest.raises(ShardError, match="there is align, middle, numbers"):
        read_stage(mixed, "4d")


def test_a_set_that_has_changed_is_noticed(sets, tmp_path):
    small = tmp_path / "small"
    shutil.copytree(sets[0], small)
    write(plan(recipe_of((small, sets[1])), tmp_path), tmp_path)
    publish(small, [sample(seed) for seed in range(4)])
    with pytest.raises(ShardError, match=r"set 'small' of the mixture: .* has changed since it was mixed"):
        read_stage(tmp_path, "align")
    shutil.rmtree(small)
    with pytest.raises(ShardError, match=r"set 'small' of the mixture: .* not published"):
        read_stage(tmp_path, "align")


def test_an_altered_file_is_noticed(mixed):
    path = mixed / "mixture.json"
    text = path.read_text()
    path.write_text(text.replace('"samples": 31', '"samples": 30'))
    with pytest.raises(ShardError, match="altered or torn"):
        read_stage(mixed, "align")
    for other, said in (("{}", "not a mixture"), ("[1]", "not a mixture"), ("{", "not a mixture")):
        path.write_text(other)
        with pytest.raises(ShardError, match=said):
            read_stage(mixed, "align")
    with pytest.raises(ShardError, match="no mixture"):
        read_stage(mixed / "elsewhere", "align")


def test_an_altered_sidecar_is_noticed(sets, tmp_path):
    small = tmp_path / "small"
    shutil.copytree(sets[0], small)
    write(plan(recipe_of((small, sets[1])), tmp_path), tmp_path)
    path = small / "shards" / "samples.parquet"
    path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    with pytest.raises(ShardError, match=r"samples\.parquet: not what the manifest says"):
        read_stage(tmp_path, "align")


@pytest.mark.parametrize(("stage", "said"), [
    ("{{name: a, samples: 5, mix: {{small: 0, large: 0}}}}", "the weights of small, large sum to 0"),
    ("{{name: a, samples: 5, mix: {{small: -1}}}}", "greater than or equal to 0"),
    ("{{name: a, samples: 5, mix: {{small: .nan}}}}", "finite"),
    ("{{name: a, samples: 5, mix: {{other: 1}}}}", "'other', which is none of the sets"),
    ("{{name: a, mix: {{small: 1}}}}", "samples is missing"),
    ("{{name: a, samples: 5, mix: {{small: 1}}, train: [vision, ears]}}", "'vision', 'projector', 'llm' or 'language'"),
    ("{{name: a, samples: 5, mix: {{small: 1}}, train: {{llm: full, language: lora}}}}", "the same part"),
    ("{{name: a, samples: 5, mix: {{small: 1}}, trains: [llm]}}", "Extra inputs"),
])
def test_recipes_that_cannot_be_are_refused(sets, stage, said):
    text = f"sets: {{{{small: {{small}}, large: {{large}}}}}}\nstages:\n  - {stage}\n"
    with pytest.raises(ValueError, match=said):
        recipe_of(sets, text)


@pytest.mark.parametrize(("stage", "said"), [
    ("{{name: a, samples: 5, mix: {{small: {{families: [given]}}}}}}", "'small' has no question of the families given"),
    ("{{name: a, samples: 5, mix: {{small: {{samples: 4}}}}}}", "its sources give 4 questions, samples says 5"),
    ("{{name: a, samples: 5, mix: {{small: all, large: 1}}}}", "its sources give 6 questions, samples says 5"),
])
def test_sets_that_cannot_give_it_are_named(sets, tmp_path, stage, said):
    text = f"sets: {{{{small: {{small}}, large: {{large}}}}}}\nstages:\n  - {stage}\n"
    with pytest.raises(MixtureError, match=said):
        plan(recipe_of(sets, text), tmp_path)


def test_an_empty_set_and_one_that_is_not_there_are_named(sets, tmp_path):
    (tmp_path / "empty").mkdir()
    publish(tmp_path / "empty", [])
    with pytest.raises(ShardError, match=r"set 'small': .*no split 'train'; there is none"):
        plan(recipe_of((tmp_path / "empty", sets[1])), tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE.format(small=f"{{path: {tmp_path}/none, recipe: mine.yaml}}", large=sets[1]))
    done = CliRunner().invoke(main, ["mix", str(recipe), "--out", str(tmp_path / "m")])
    assert done.exit_code == 1 and "`curate mix --run`" in done.output
    assert not (tmp_path / "m" / "mixture.json").exists()


def test_a_place_that_cannot_be_is_refused(mixed):
    with pytest.raises(ValueError, match="start is 32; stage 'middle' has 31 items"):
        read_stage(mixed, "middle", start=32)
    with pytest.raises(ValueError, match="rank is 2"):
        read_stage(mixed, "middle", rank=2, world_size=2)
