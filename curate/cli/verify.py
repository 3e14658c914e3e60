"""`curate verify`: is a shard set whole?"""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command


@click.command(cls=Command, short_help="Check every byte of a shard set.")
@click.argument("path", metavar="OUT|SHARDS", type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, path: Path) -> None:
    """Check every byte of a shard set against its manifest and schema.

    Finds torn, missing, doubled and altered samples; needs no source video. Exit code 1 if there is any problem.

    \b
    Examples:
      curate verify out/mine
      curate verify /data/published/shards
    """
    from curate.shards.verify import summary, verify

    if not path.exists():
        raise click.UsageError(f"{path}: no such folder; expected a run's folder or a shard set", ctx)
    problems = verify(path)
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(f"{path}: {summary(problems)}")
    ctx.exit(FAILURE if problems else 0)
