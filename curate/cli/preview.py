"""`curate preview`: static HTML of a run."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.options import Command, out_argument


@click.command(cls=Command, short_help="Build the HTML preview of a run.")
@out_argument
@click.option("--max-clips", type=click.IntRange(1), help="Clips to show at most.")
@click.option("--score", metavar="FILE", type=click.Path(path_type=Path),
              help="Judged answers of `curate score`; default: OUT/score.json where it is there.")
@click.pass_context
def command(ctx: click.Context, out: Path, max_clips: int | None, score: Path | None) -> None:
    """Build the HTML preview of a run and print its path.

    Video, marks, depth, tracks from above, each question with its interval and where its error comes from, and what
    was not asked and why. Where the truth is known (`curate score`), also reliability diagrams and each answer's
    truth. Opens from disk; nothing remote.

    \b
    Examples:
      curate preview out/mine
      xdg-open "$(curate preview out/mine --max-clips 20)"
      curate preview out/mine --score elsewhere/score.json
    """
    from curate.report import build_report

    if not out.is_dir():
        raise click.UsageError(f"{out}: no such folder; expected the --out of `curate run`", ctx)
    if not (out / "run.json").is_file():
        raise click.UsageError(f"{out}: not a run's folder (no run.json); expected the --out of `curate run`", ctx)
    try:
        path = build_report(out, score=score, **({} if max_clips is None else {"max_clips": max_clips}))
    except ValueError as error:  # the score file; a torn set is a ShardError and says so itself
        if type(error) is not ValueError:
            raise
        raise click.UsageError(str(error), ctx) from None
    click.echo(path)
