"""A recipe brings its own wording: checked before anything runs, part of the recipe and of its fingerprint."""

import pytest

from curate.questions import QuestionsConfig, ask
from curate.recipe.load import RecipeError, load_recipe
from tests.scenes import make_scene

GOOD = ("Friend, how far did {{ region }} get {{ span }}, in {{ unit_name }}? I mean {{ reference }}, {{ axes }}.")
RECIPE = """\
source: {kind: rendered, num_scenes: 1}
questions:
  families: [object_displacement]
  templates: [words]
  %s
"""


def write(tmp_path, name="object_displacement", text=None, more=""):
    (tmp_path / "words").mkdir(exist_ok=True)
    (tmp_path / "words" / f"{name}.yaml").write_text(text or f"number:\n  - '{GOOD}'\n")
    (tmp_path / "mine.yaml").write_text(RECIPE % more)
    return tmp_path / "mine.yaml"


def test_a_folder_of_templates_adds_its_wording(tmp_path):
    recipe = load_recipe(write(tmp_path, more="own_wording_only: true"))
    asked, _ = ask(make_scene(0)[0], recipe.questions)
    assert asked and all(q.question.startswith("Friend, how far did the object marked <R") for q in asked)
    recipe = load_recipe(write(tmp_path))
    said = [q.question.startswith("Friend") for seed in range(8) for q in ask(make_scene(seed)[0], recipe.questions)[0]]
    assert 0 < sum(said) < len(said)


def test_the_words_are_part_of_the_recipe_and_of_its_fingerprint(tmp_path):
    path = write(tmp_path)
    one = load_recipe(path)
    assert one.questions.wording["object_displacement"]["number"] == (GOOD,)
    write(tmp_path, text=f"number:\n  - '{GOOD} Thanks.'\n")
    two = load_recipe(path)
    assert one.writing_fingerprint() != two.writing_fingerprint()
    (tmp_path / "other").mkdir()
    (tmp_path / "words").rename(tmp_path / "other" / "words")
    path.write_text(path.read_text().replace("[words]", "[other/words]"))
    assert load_recipe(path).writing_fingerprint() == two.writing_fingerprint()  # a place changes nothing


@pytest.mark.parametrize("name,text,message", [
    ("object_displacement", f"number:\n  - '{GOOD}'\n  - 'How far? {{{{ region }}}}'\n",
     r"object_displacement.yaml:3: does not state axes, reference, span, unit_name"),
    ("object_displacement", "number:\n  - '{% for x in span %}{% endfor %}'\n", r"yaml:2: For is not allowed"),
    ("object_displacement", "number:\n\n  - '{{ secret }}'\n", r"yaml:3: unknown field 'secret'"),
    ("object_displacement", f"category:\n  - '{GOOD}'\n", r"yaml:2: family 'object_displacement' has no section"),
    ("object_displacemnt", None, r"did you mean 'object_displacement'"),
    ("object_displacement", "number: [\n", r"yaml:2: cannot be read")])
def test_a_template_that_cannot_be_used_stops_the_recipe_by_file_and_line(tmp_path, name, text, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, name, text))


def test_a_folder_that_is_not_there_is_said(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("[words]", "[word]"))
    with pytest.raises(RecipeError, match="word: no such folder; expected a folder of templates"):
        load_recipe(path)


def test_wording_may_stand_in_the_recipe_itself():
    config = QuestionsConfig(families=["object_displacement"], own_wording_only=True,
                             wording={"object_displacement": {"number": [GOOD]}})
    assert all(q.question.startswith("Friend") for q in ask(make_scene(0)[0], config)[0])
    with pytest.raises(ValueError, match="Call is not allowed"):
        QuestionsConfig(wording={"object_displacement": {"number": ["{{ span() }}"]}})
