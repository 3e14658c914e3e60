"""`curate run`: perceive what has no scene yet, ask, publish, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from curate.cli.options import (
    Command,
    Folder,
    load,
    publish_option,
    recipe_argument,
    set_option,
    with_publish,
    with_workers,
)

if TYPE_CHECKING:
    from curate.engine.run import Summary


@click.command(cls=Command, short_help="Turn a recipe's videos into question shards.")
@recipe_argument
@click.option("--out", required=True, metavar="OUT", type=Folder(),
              help="Folder of the run: scenes, ledger, shards, preview. Made if missing, continued if it is there.")
@set_option
@click.option("--workers", type=click.IntRange(1), help="Worker processes; default: as the recipe says.")
@click.option("--inline", is_flag=True, help="One worker on this machine, without Ray.")
@click.option("--address", metavar="auto|ray://HOST:10001|none",
              help="Ray cluster to work on; none: this machine. Default: as the recipe says.")
@publish_option
@click.option("--retry", is_flag=True, help="Try quarantined and filtered clips once more.")
@click.option("--quiet", is_flag=True, help="No progress, no summary; errors only.")
@click.option("--json-logs", is_flag=True, help="One JSON line an event on stderr, instead of progress.")
@click.option("--no-preview", is_flag=True, help="Do not build the HTML preview.")
@click.pass_context
def command(ctx: click.Context, recipe: Path, out: Path, overrides: tuple[str, ...], workers: int | None, inline: bool,
            address: str | None, publish_to: str | None, retry: bool, quiet: bool, json_logs: bool,
            no_preview: bool) -> None:
    """Turn a recipe's videos into question shards.

    Safe to stop and to repeat: a clip that has its scene is not perceived again.

    \b
    Examples:
      curate run recipes/side_by_side.yaml --out out/mine
      curate run recipes/kitti_odometry.yaml --set source.root=/data/kitti/06 --out out/kitti06
      curate run recipes/rendered.yaml --out out/small --set source.num_scenes=2 --inline
      curate run recipes/side_by_side.yaml --out out/mine --retry     # quarantined clips once more
      curate run recipes/side_by_side.yaml --out /shared/out --address auto   # on this node's Ray cluster
      curate run recipes/side_by_side.yaml --out out/mine --json-logs 2> events.jsonl
      curate run recipes/side_by_side.yaml --out out/mine --publish s3://bucket/mine

    \b
    Exit codes: 0 done, 3 some clips quarantined (the others are in the shards), 2 bad request, 1 failure.
    """
    if inline:
        from curate.engine.child import start_ahead

        start_ahead()
    from curate.engine.run import run

    checked = with_publish(with_workers(load(recipe, overrides), workers, inline, address), publish_to)
    summary = run(checked, out, retry=retry, quiet=quiet or json_logs, log=log_stream(json_logs))
    ctx.exit(finish(summary, out, quiet=quiet, preview=not no_preview, json_logs=json_logs))


def log_stream(json_logs: bool) -> TextIO | None:
    """Where events go."""
    return click.get_text_stream("stderr") if json_logs else None


def finish(summary: Summary, out: Path, *, quiet: bool, preview: bool, json_logs: bool = False) -> int:
    """Builds the preview, says how the run ended, and gives the exit code. With `json_logs` stderr is for them."""
    from curate.cli.summary import list_failures, show

    page = build_preview(out) if preview and summary.counts["done"] else None
    if not quiet:
        show(summary, page, failures=not json_logs)
    elif summary.exit_code and not json_logs:
        list_failures(summary)
    return summary.exit_code


def build_preview(out: Path) -> Path | None:
    """The preview; a failure of it is told and never spoils a finished run."""
    try:
        from curate.report import build_report

        return build_report(out)
    except Exception as error:
        click.echo(f"warning: no preview: {type(error).__name__}: {' '.join(str(error).split())}", err=True)
        return None
