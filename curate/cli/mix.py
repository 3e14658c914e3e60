"""`curate mix`: shard sets mixed in stages, as one small file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.options import Command, recipe_argument, set_option

if TYPE_CHECKING:
    from curate.mixture.config import MixtureRecipe


@click.command(cls=Command, short_help="Mix shard sets in stages, for training.")
@recipe_argument
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
              help="Folder that mixture.json is put into.")
@set_option
@click.option("--run", "make", is_flag=True, help="First run the recipes of the sets that are not there yet.")
@click.option("--quiet", is_flag=True, help="No table; errors only.")
@click.pass_context
def command(ctx: click.Context, recipe: Path, out: Path, overrides: tuple[str, ...], make: bool, quiet: bool) -> None:
    """Mix shard sets in stages: how much of each set comes in each stage, and what is trained in it.

    Nothing is copied. DIR/mixture.json names the sets with their digests, the stages, their weights, the exact counts
    that follow from them, the seed, and the parts of a student that train. `curate.shards.read_stage(DIR, NAME)` reads
    a stage by its name; a recipe of `curate train` with `mixture: DIR` takes its stages from it. Changed sets are
    noticed by their digests when a stage is read: mix again.

    \b
    Examples:
      curate mix recipes/mixture.yaml --out out/mixture --run
      curate mix recipes/mixture.yaml --out out/mixture --set seed=1
      curate train recipes/mixture_train.yaml --out out/run

    \b
    Exit codes: 0 done, 1 a set is torn or not there, 2 bad request.
    """
    from curate.mixture.plan import MixtureError, missing, plan, write
    from curate.recipe import RecipeError

    made = load(recipe, overrides)
    if make:
        for name in missing(made):
            _run(recipe, made, name, quiet)
    try:
        content = plan(made, out)
    except MixtureError as error:
        raise RecipeError(f"{recipe}: {error}") from None
    path = write(content, out)
    if not quiet:
        _show(content)
        parts = {tuple(sorted(entry["parts"])) for entry in content["sets"].values()}
        if len(parts) > 1:
            click.echo("note:    samples of these sets have different parts: " + "; ".join(
                f"{name}: {', '.join(sorted(entry['parts']))}" for name, entry in content["sets"].items()))
        click.echo(f"written: {path}")


def load(path: Path, overrides: tuple[str, ...]) -> MixtureRecipe:
    """The checked recipe. Raises RecipeError."""
    from curate.mixture.config import MixtureRecipe
    from curate.recipe import load_checked

    return load_checked(path, overrides, MixtureRecipe)


def _run(path: Path, recipe: MixtureRecipe, name: str, quiet: bool) -> None:
    """Makes a set by its own recipe."""
    from curate.cli.options import load as load_source
    from curate.engine.run import run
    from curate.recipe import RecipeError
    from curate.storage.urls import is_url

    entry = recipe.sets[name]
    if entry.recipe is None or is_url(entry.path):
        raise RecipeError(f"{path}: sets.{name}: no set at {entry.path}, and no recipe on this machine makes one; name "
                          f"it (sets.{name}.recipe), or correct the path")
    if not quiet:
        click.echo(f"{name}: {entry.recipe} into {entry.path}")
    done = run(load_source(Path(entry.recipe)), Path(entry.path), quiet=quiet)
    if not done.questions:
        raise RecipeError(f"{entry.recipe}: ran into {entry.path} and left no question; `curate status {entry.path}` "
                          "says how its clips ended")


def _show(content: dict[str, Any]) -> None:
    from rich.table import Table

    from curate.cli.console import make_console

    table = Table(title=f"{content['name']}: {len(content['stages'])} stages")
    for name, justify in (("stage", "left"), ("trains", "left"), ("set", "left"), ("questions", "right"),
                          ("share, %", "right"), ("times each", "right")):
        table.add_column(name, justify=justify)
    for stage in content["stages"]:
        trains = ", ".join(f"{part} ({how})" for part, how in stage["train"].items()) or "nothing"
        for first, part in zip([True] + [False] * len(stage["mix"]), stage["mix"]):
            table.add_row(stage["name"] if first else "", trains if first else "", part["set"], str(part["samples"]),
                          f"{100 * part['samples'] / stage['samples']:.1f}",
                          f"{part['samples'] / part['available']:.2f}" if part["available"] else "-")
        table.add_section()
    make_console().print(table)
