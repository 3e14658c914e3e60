"""`curate verify`: is a shard set whole?"""

from __future__ import annotations

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command


@click.command(cls=Command, short_help="Check every byte of a shard set.")
@click.argument("path", metavar="OUT|SHARDS|URL")
@click.pass_context
def command(ctx: click.Context, path: str) -> None:
    """Check every byte of a shard set against its manifest and schema.

    Finds torn, missing, doubled and altered samples; needs no source video. Exit code 1 if there is any problem.

    \b
    Examples:
      curate verify out/mine
      curate verify /data/published/shards
      curate verify s3://bucket/datasets/mine      # what `curate publish` put there; every byte is fetched
    """
    from curate.shards.verify import summary, verify
    from curate.storage import location

    place = location(path)
    if not place.exists():
        raise click.UsageError(f"{path}: no such folder; expected a run's folder or a shard set", ctx)
    problems = verify(place)
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(f"{path}: {summary(problems)}")
    ctx.exit(FAILURE if problems else 0)
