"""`curate run`: perceive what has no scene yet, ask, publish, show."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.options import Command, load, recipe_argument, set_option, with_workers


@click.command(cls=Command, short_help="Turn a recipe's videos into question shards.")
@recipe_argument
@click.option("--out", required=True, metavar="OUT", type=click.Path(path_type=Path),
              help="Folder of the run: scenes, ledger, shards, preview. Made if missing, continued if it is there.")
@set_option
@click.option("--workers", type=click.IntRange(1), help="Worker processes; default: as the recipe says.")
@click.option("--inline", is_flag=True, help="Work in this process, without Ray.")
@click.option("--address", metavar="auto|ray://HOST:10001|none",
              help="Ray cluster to work on; none: this machine. Default: as the recipe says.")
@click.option("--retry", is_flag=True, help="Try quarantined and filtered clips once more.")
@click.option("--quiet", is_flag=True, help="No progress, no summary; errors only.")
@click.option("--no-preview", is_flag=True, help="Do not build the HTML preview.")
@click.pass_context
def command(ctx: click.Context, recipe: Path, out: Path, overrides: tuple[str, ...], workers: int | None, inline: bool,
            address: str | None, retry: bool, quiet: bool, no_preview: bool) -> None:
    """Turn a recipe's videos into question shards.

    Safe to stop and to repeat: a clip that has its scene is not perceived again.

    \b
    Examples:
      curate run recipes/side_by_side.yaml --out out/mine
      curate run recipes/kitti_odometry.yaml --set source.root=/data/kitti/06 --out out/kitti06
      curate run recipes/rendered.yaml --out out/small --set source.num_scenes=2 --inline
      curate run recipes/side_by_side.yaml --out out/mine --retry     # quarantined clips once more
      curate run recipes/side_by_side.yaml --out /shared/out --address auto   # on this node's Ray cluster

    \b
    Exit codes: 0 done, 3 some clips quarantined (the others are in the shards), 2 bad request, 1 failure.
    """
    from curate.engine.run import run

    summary = run(with_workers(load(recipe, overrides), workers, inline, address), out, retry=retry, quiet=quiet)
    preview = None
    if not no_preview and summary.counts["done"]:
        preview = build_preview(out)
    if not quiet:
        from curate.cli.summary import show

        show(summary, preview)
    elif summary.exit_code:
        from curate.cli.summary import list_failures

        list_failures(summary)
    ctx.exit(summary.exit_code)


def build_preview(out: Path) -> Path | None:
    """The preview; a failure of it is told and never spoils a finished run."""
    try:
        from curate.report import build_report

        return build_report(out)
    except Exception as error:
        click.echo(f"warning: no preview: {type(error).__name__}: {' '.join(str(error).split())}", err=True)
        return None
