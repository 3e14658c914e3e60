"""Recipes: every fault on a line that says where, what and what was expected; fingerprints change when they must."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from curate.recipe import RecipeError, is_of_mixture, is_of_training, load_checked, load_recipe, recipe_from_dict
from curate.recipe.model import differences

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
GOOD = "source:\n  kind: rendered\n  num_scenes: 2\n"


def faults(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    """The lines of the error, without the folder."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_the_recipes_shipped_are_sound(path):
    if is_of_training(path):
        from curate.train.config import TrainRecipe

        assert load_checked(path, (), TrainRecipe).plan()
        with pytest.raises(RecipeError, match=f"a recipe of training; `curate train .*{path.name}` takes it"):
            load_recipe(path)
    elif is_of_mixture(path):
        from curate.mixture.config import MixtureRecipe

        assert load_checked(path, (), MixtureRecipe).stages
        with pytest.raises(RecipeError, match=f"a recipe of a mixture; `curate mix .*{path.name}` takes it"):
            load_recipe(path)
    else:
        from curate.cli.train import load

        assert load_recipe(path).name == path.stem
        with pytest.raises(RecipeError, match=f"a recipe of a dataset; `curate run .*{path.name}` takes it"):
            load(path, ())


@pytest.mark.parametrize(("text", "line"), [
    ("source: {kind: rendered}\nclip:\n  num_frame: 8\n",
     r"mine.yaml:3: unknown key 'clip\.num_frame'; did you mean 'num_frames'\?"),
    ("source: {kind: rendered}\nsauce: {kind: rendered}\n",
     r"mine.yaml:2: unknown key 'sauce'; did you mean 'source'\?"),
    ("source:\n  kind: side_by_side\n  root: x\n  calibration: {fx: 7, baseline: 1, baseline_m: 1}\n",
     r"mine.yaml:4: unknown key 'source\.calibration\.baseline'; did you mean 'baseline_m'\?"),
    ("source:\n  kind: side_by_side\n  root: x\n  videos: 3\n",
     r"mine.yaml:4: source\.videos: should be a valid string, or a valid list \(found 3\)"),
    ("source: {kind: rendered}\nengine:\n  workers: many\n",
     r"mine.yaml:3: engine\.workers: should be a valid integer.* or 'auto' \(found 'many'\)"),
    ("source:\n  kind: rendered\n  zzz: 1\n", r"mine.yaml:3: unknown key 'source\.zzz'; known here: .*num_scenes"),
    ("source: {kind: rendered}\nclip:\n  num_frames: many\n",
     r"mine.yaml:3: clip\.num_frames: should be a valid integer.*found 'many'"),
    ("source:\n  kind: side_by_sid\n  root: x\n", r"mine.yaml:\d: source\.kind is 'side_by_sid'.*did you mean "
                                                 r"'side_by_side'\?"),
    ("source:\n  root: x\n", r"mine.yaml:1: source\.kind is missing"),
    ("source: {kind: side_by_side}\n", r"mine.yaml:1: the key 'source\.root' is missing"),
    ("name: x\n", r"mine.yaml:1: the key 'source' is missing"),
    ("source:\n  kind: side_by_side\n  root: x\n  calibration:\n    fx: 700\n    baseline_m: -0.1\n",
     r"mine.yaml:6: source\.calibration\.baseline_m: should be greater than 0 \(found -0\.1\)"),
    ("source:\n  kind: side_by_side\n  root: x\n  calibration:\n    fx: .nan\n    baseline_m: 0.1\n",
     r"mine.yaml:5: source\.calibration\.fx: .*found nan"),
    ("source: {kind: rendered}\nquestions:\n  families: [object_displacment]\n",
     r"mine.yaml:\d: questions: unknown question family.*did you mean 'object_displacement'"),
    ("source: {kind: rendered}\nperception:\n  depth:\n    num_disparitys: 3\n",
     r"mine.yaml:4: unknown key 'perception\.depth\.num_disparitys'"),
    ("source: {kind: rendered}\nclip: {num_frames: 8, min_frames: 9}\n", r"mine.yaml:2: clip: min_frames 9 is above"),
    ("source: {kind: rendered}\n? [a, b]\n: 1\n", r"mine.yaml:2: a key is a sequence, expected a name"),
])
def test_a_fault_names_its_line_and_what_was_expected(tmp_path, text, line):
    found = faults(tmp_path, text)
    assert any(re.fullmatch(rf"{line}.*", f) for f in found), found
    assert len(found) == 1


def test_every_fault_is_told_at_once(tmp_path):
    found = faults(tmp_path, "source: {kind: rendered, num_scenes: 0}\nclip: {num_frame: 8}\nname: ' '\n")
    assert len(found) == 3 and {f.split(":")[1] for f in found} == {"1", "2", "3"}


@pytest.mark.parametrize(("text", "words"), [
    ("", "expected a mapping"), ("- a\n", "expected a mapping"), ("a: [1\n", "not valid YAML"),
    ("source: {kind: rendered}\nsource: {kind: rendered}\n", "mine.yaml:2: the key 'source' stands twice"),
    ("a: &a [*a]\nsource: {kind: rendered}\n", "aliases expand"),
    ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)),
     "aliases expand to more than")])
def test_what_is_no_recipe_is_refused(tmp_path, text, words):
    assert words in " ".join(faults(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00source")
    with pytest.raises(RecipeError, match="not a text file in UTF-8"):
        load_recipe(tmp_path / "mine.yaml")


def test_a_missing_recipe_suggests_its_neighbour(tmp_path):
    (tmp_path / "side_by_side.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match=r"no such recipe; did you mean .*side_by_side\.yaml\?"):
        load_recipe(tmp_path / "side_by_sid.yaml")
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "nowhere" / "x.yaml")


def test_set_reaches_into_sections(tmp_path):
    (tmp_path / "mine.yaml").write_text(GOOD)
    recipe = load_recipe(tmp_path / "mine.yaml", ["clip.num_frames=16", "questions.families=[object_displacement]",
                                                  "name=x", "source.seed=3"])
    assert (recipe.clip.num_frames, recipe.name, recipe.source.seed) == (16, "x", 3)
    assert [f.name for f in recipe.questions.families] == ["object_displacement"]


@pytest.mark.parametrize(("override", "words"), [
    ("clip.num_frames", "expected key=value"), ("=3", "expected key=value"),
    ("clip.num_frame=8", r"--set clip.num_frame=8: unknown key 'clip.num_frame'; did you mean 'num_frames'?"),
    ("clip.num_frames=many", "--set clip.num_frames=many: clip.num_frames: should be a valid integer"),
    ("source.kind.x=1", "'kind' is not a section of the recipe"),
    ("source.kind=nothing", "--set source.kind=nothing: source.kind is 'nothing'; expected one of")])
def test_a_bad_override_is_named(tmp_path, override, words):
    found = faults(tmp_path, GOOD, override)
    assert len(found) == 1 and words in found[0]


def stereo(**changes):
    sections = {"source": {"kind": "side_by_side", "root": "a", "calibration": {"fx": 700, "baseline_m": 0.1}}}
    for path, value in changes.items():
        at = sections
        *above, last = path.split("__")
        for part in above:
            at = at.setdefault(part, {})
        at[last] = value
    return recipe_from_dict(sections)


@pytest.mark.parametrize(("changes", "perception", "writing"), [
    ({"source__root": "elsewhere"}, False, False),
    ({"engine__workers": 7}, False, False),
    ({"clip__max_clips": 3}, False, False),
    ({"source__calibration__fx": 701}, True, False),
    ({"clip__num_frames": 16}, True, False),
    ({"perception__window": 4}, True, False),
    ({"media__crf": 30}, True, False),
    ({"questions__seed": 5}, False, True),
    ({"questions__families": ["object_displacement"]}, False, True),
    ({"shards__val_share": 0.5}, False, True),
    ({"name": "other"}, False, True)])
def test_a_fingerprint_changes_with_what_it_stands_for(changes, perception, writing):
    a, b = stereo(), stereo(**changes)
    assert (a.perception_fingerprint() != b.perception_fingerprint()) is perception
    assert (a.writing_fingerprint() != b.writing_fingerprint()) is writing


def test_differences_are_told_by_path():
    a, b = stereo().perception_parts(), stereo(source__calibration__fx=701).perception_parts()
    assert differences(a, b) == ["source.calibration.fx: 700.0 -> 701.0"]
