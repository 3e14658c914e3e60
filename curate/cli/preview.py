"""`curate preview`: static HTML of a run."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.options import Command, out_argument


@click.command(cls=Command, short_help="Build the HTML preview of a run.")
@out_argument
@click.option("--max-clips", type=click.IntRange(1), help="Clips to show at most.")
@click.pass_context
def command(ctx: click.Context, out: Path, max_clips: int | None) -> None:
    """Build the HTML preview of a run and print its path.

    Video, marks, depth, tracks from above, and each question with its interval. Opens from disk; nothing remote.

    \b
    Examples:
      curate preview out/mine
      xdg-open "$(curate preview out/mine --max-clips 20)"
    """
    from curate.report import build_report

    if not out.is_dir():
        raise click.UsageError(f"{out}: no such folder; expected the --out of `curate run`", ctx)
    if not (out / "run.json").is_file():
        raise click.UsageError(f"{out}: not a run's folder (no run.json); expected the --out of `curate run`", ctx)
    click.echo(build_report(out, **({} if max_clips is None else {"max_clips": max_clips})))
