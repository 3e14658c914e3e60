"""`curate sources`: driven by the registry, so that a kind that is registered is listed, described and documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from curate.cli.main import main
from curate.recipe import recipe_from_dict
from curate.sources import SOURCES
from curate.sources.catalogue import ABOUT, About, Kind, kinds
from curate.sources.catalogue_layouts import LAYOUTS

ROOT = Path(__file__).parents[1]


def curate(*args: str):
    return CliRunner().invoke(main, list(args))


def test_every_registered_kind_is_listed():
    done = curate("sources")
    assert done.exit_code == 0
    assert [line for line in done.output.splitlines() if line in SOURCES] == list(SOURCES)


@pytest.mark.parametrize("kind", list(SOURCES))
def test_a_kind_in_full(kind):
    done = curate("sources", kind)
    assert done.exit_code == 0, done.output
    for part in ("gives", "layout", "settings of source:", "licence", "example"):
        assert part in done.output
    for setting in next(k for k in kinds() if k.name == kind).settings():
        assert f"  {setting[0]} ({setting[1]})" in done.output


@pytest.mark.parametrize("kind", list(SOURCES))
def test_examples_are_sound_recipes(kind):
    recipe = recipe_from_dict(next(k for k in kinds() if k.name == kind).example())
    assert recipe.source.kind == kind


@pytest.mark.parametrize("kind", list(ABOUT))
def test_recipes_that_are_named_are_there_and_of_that_kind(kind):
    for name in ABOUT[kind].recipes:
        said = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())["source"]["kind"]
        assert said == kind or {said, kind} == {"side_by_side", "top_bottom"}


def test_every_recipe_of_a_source_is_named():
    """But those that show something else than the source."""
    others = {"learned", "p4d_large", "p4d_tiny", "stages", "mixture", "mixture_train"}
    named = {name for about in ABOUT.values() for name in about.recipes}
    assert {p.stem for p in (ROOT / "recipes").glob("*.yaml")} - others == named


def test_a_kind_nobody_described_appears_by_itself():
    """With what its settings and its module say."""
    told = Kind("vr180", next(k for k in kinds() if k.name == "vr180").model, About())
    assert told.gives.startswith("Spherical stereo video") and told.about.scale == "-"
    kept = LAYOUTS.pop("vr180")
    try:
        assert len(told.layout) > 40 and told.layout != kept.strip("\n")
    finally:
        LAYOUTS["vr180"] = kept


def test_the_table_has_no_kind_that_is_not_there():
    assert set(ABOUT) <= set(SOURCES) and set(LAYOUTS) <= set(SOURCES)


def test_as_json():
    told = json.loads(curate("sources", "--json").output)
    assert [one["kind"] for one in told] == list(SOURCES)
    assert all(one["settings"] and one["layout"] for one in told)


def test_an_unknown_kind():
    done = curate("sources", "stereo_par")
    assert done.exit_code == 2 and "did you mean 'stereo_pair'?" in done.output
    assert "known: stereo_pair" in curate("sources", "xyzzy").output


def test_the_page_is_what_the_command_prints():
    """`curate sources --markdown > docs/sources.md` where this fails."""
    assert curate("sources", "--markdown").output == (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
