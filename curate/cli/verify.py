"""`curate verify`: is a run, or a shard set, whole?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command


@click.command(cls=Command, short_help="Check every byte of a run and of its shards.")
@click.argument("path", metavar="OUT|SHARDS|URL")
@click.option("--deep", is_flag=True, help="Load every staged scene and decode every frame of its media.")
@click.option("--discard", is_flag=True,
              help="Remove the staged folders of torn clips, so that `curate run` makes them again.")
@click.option("--json", "as_json", is_flag=True, help="Problems as JSON lines on stdout, with every clip concerned.")
@click.pass_context
def command(ctx: click.Context, path: str, deep: bool, discard: bool, as_json: bool) -> None:
    """Check every byte of a run's folder or of a shard set.

    Finds torn, missing, doubled and altered bytes of the shards (against the manifest and the schema), of the staged
    clips (against the digests that were written with them, the plan and the ledger), and says which clips to make
    again and how. Needs no source video. What only reports (preview, questions.json, quarantine.jsonl) is not looked
    at.

    \b
    Examples:
      curate verify out/mine
      curate verify out/mine --deep
      curate verify out/mine --discard && curate run RECIPE --out out/mine
      curate verify /data/published/shards
      curate verify s3://bucket/datasets/mine      # what `curate publish` put there; every byte is fetched

    \b
    Exit codes: 0 whole, 1 any problem, 2 bad request.
    """
    from curate.shards.verify import clips_of, summary, verify
    from curate.storage import location

    place = location(path)
    if not place.exists():
        raise click.UsageError(f"{path}: no such folder; expected a run's folder or a shard set", ctx)
    torn: list[str] = []
    problems = []
    is_run = isinstance(place, Path) and (place / "run.json").exists()
    if is_run:
        from curate.engine.check import check_run

        problems = list(check_run(place, deep))
        torn = clips_of(p for p in problems if p.file.startswith("scenes/"))
    elif deep or discard:
        raise click.UsageError(f"{path}: no run's folder (no run.json); --deep and --discard look at staged clips", ctx)
    problems += verify(place)
    for problem in problems:
        if as_json:
            click.echo(json.dumps({**vars(problem), "clips": list(problem.clips)}))
        else:
            click.echo(str(problem), err=True)
    if not as_json:
        click.echo(f"{path}: {summary(problems)}")
        if is_run:
            _say_what_to_do(path, torn, clips_of(p for p in problems if not p.file.startswith("scenes/")))
    if discard and torn:
        from curate.engine.check import discard as remove

        click.echo(f"{remove(place, torn)} staged clips removed", err=as_json)
    ctx.exit(FAILURE if problems else 0)


def _say_what_to_do(path: str, torn: list[str], published: list[str]) -> None:
    if torn:
        click.echo(f"clips to make again ({len(torn)}): {' '.join(torn)}")
        click.echo(f"  curate verify {path} --discard && curate run RECIPE --out {path}")
    elif published:
        click.echo(f"clips to write again ({len(published)}): {' '.join(published)}")
        click.echo(f"  curate ask {path} --recipe RECIPE")
