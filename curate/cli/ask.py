"""`curate ask`: the second pass alone."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command, load, out_argument, publish_option, set_option, with_publish


@click.command(cls=Command, short_help="New questions from the scenes already in OUT.")
@out_argument
@click.option("--recipe", required=True, metavar="RECIPE", type=click.Path(path_type=Path),
              help="Its `questions`, `shards` and `name` are used; what it says about perception is not.")
@set_option
@publish_option
@click.option("--quiet", is_flag=True, help="No summary; errors only.")
@click.option("--no-preview", is_flag=True, help="Do not rebuild the HTML preview.")
@click.pass_context
def command(ctx: click.Context, out: Path, recipe: Path, overrides: tuple[str, ...], publish_to: str | None,
            quiet: bool, no_preview: bool) -> None:
    """Ask again: new questions and shards from the scenes already in OUT.

    No video is decoded and nothing is perceived, so families, thresholds, wording and mixture cost seconds.
    The old shards stay until the new ones have passed the audit. Exit code 1 where a scene that was done is gone.

    \b
    Examples:
      curate ask out/mine --recipe recipes/side_by_side.yaml --set questions.seed=7
      curate ask out/mine --recipe recipes/side_by_side.yaml --set 'questions.families=[object_displacement]'
    """
    from curate.cli.run import build_preview
    from curate.cli.summary import show
    from curate.engine.run import write_again

    summary = write_again(out, with_publish(load(recipe, overrides, estimators=False), publish_to))
    preview = None if no_preview or not summary.counts["done"] else build_preview(out)
    if not quiet:
        show(summary, preview)
    if summary.unpublished:
        if quiet:
            click.echo(f"error: not published: {summary.unpublished}", err=True)
        ctx.exit(FAILURE)
    if summary.counts["missing"]:
        click.echo(f"error: {summary.counts['missing']} of the plan's clips have no scene in {out} and no questions "
                   "above: not perceived yet, or gone; `curate run` makes them", err=True)
        ctx.exit(FAILURE)
