"""`curate validate`: is a recipe sound?"""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.options import Command, load, recipe_argument, set_option


@click.command(cls=Command, short_help="Check a recipe.")
@recipe_argument
@set_option
def command(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Check a recipe, without looking at any video.

    Every fault is a line with file and line, what was found, what was expected. Exit code 2 if there is any.
    `curate plan` also looks at the videos.

    \b
    Examples:
      curate validate recipes/side_by_side.yaml
      curate validate recipes/side_by_side.yaml --set clip.num_frames=32
    """
    checked = load(recipe, overrides)
    click.echo(f"{recipe}: sound; source {checked.source.kind}, perception {checked.perception_fingerprint()}, "
               f"writing {checked.writing_fingerprint()}")
