"""`curate validate`: are recipes sound?"""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.errors import explain
from curate.cli.options import Command, load, set_option


@click.command(cls=Command, short_help="Check recipes.")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@set_option
@click.pass_context
def command(ctx: click.Context, recipes: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Check recipes of datasets, of mixtures and of training, without looking at any video.

    Every fault is a line with file and line, what was found, what was expected. Exit code 2 if there is any.
    `curate plan` also looks at the videos.

    \b
    Examples:
      curate validate recipes/side_by_side.yaml
      curate validate recipes/side_by_side.yaml --set clip.num_frames=32
      curate validate recipes/*.yaml
    """
    from curate.recipe import is_of_mixture, is_of_training

    worst = 0
    for recipe in recipes:
        try:
            if is_of_training(recipe):
                click.echo(f"{recipe}: sound; {of_training(recipe, overrides)}")
                continue
            if is_of_mixture(recipe):
                from curate.cli.mix import load as load_mixture

                names = ", ".join(stage.name for stage in load_mixture(recipe, overrides).stages)
                click.echo(f"{recipe}: sound; stages {names}")
                continue
            checked = load(recipe, overrides)
            click.echo(f"{recipe}: sound; source {checked.source.kind}, perception {checked.perception_fingerprint()}, "
                       f"writing {checked.writing_fingerprint()}")
        except Exception as error:  # the others are still looked at
            if ctx.meta.get("debug"):
                raise
            text, code = explain(error, "validate")
            click.echo(text, err=True)
            worst = max(worst, code)
    ctx.exit(worst)


def of_training(path: Path, overrides: tuple[str, ...]) -> str:
    """What a recipe of training would do, in words. Raises RecipeError."""
    from curate.recipe import load_checked

    try:
        from curate.train.config import TrainRecipe
        from curate.train.rft_config import RftRecipe
    except ImportError as error:
        raise click.ClickException(f"{path}: a recipe of training; pip install 'curate4d[train]' ({error})") from None
    if "\nrft:" in f"\n{path.read_text(encoding='utf-8')}":
        return f"reinforcement with {load_checked(path, overrides, RftRecipe).rft.reward}"
    made = load_checked(path, overrides, TrainRecipe)
    if made.mixture is not None:
        return f"strategy {made.strategy.name}, stages of the mixture {made.mixture}"
    return f"strategy {made.strategy.name}, {sum(stage.steps for stage in made.plan())} steps"
