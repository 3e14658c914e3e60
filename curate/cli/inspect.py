"""`curate inspect`: what is in this folder, and which recipe reads it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.options import Command

if TYPE_CHECKING:
    from curate.sources.inspect import Candidate, Report


MAX_SEEN = 12  # lines of a folder of several recordings


@click.command(cls=Command, short_help="What a folder or a file is, and a recipe that reads it.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--write", "recipe", metavar="RECIPE", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the proposed recipe to this file.")
@click.option("--pick", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="Propose the N-th candidate.")
@click.option("--force", is_flag=True, help="Replace the file that --write names.")
@click.option("--no-try", "is_tried", flag_value=False, default=True, help="Do not plan a clip with each candidate.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def command(ctx: click.Context, path: Path, recipe: Path | None, pick: int, force: bool, is_tried: bool,
            as_json: bool) -> None:
    """Look at a folder or a file: media, calibrations, times, poses, annotations. Say what was seen, which kinds of
    source could read it and why, what is missing, and propose a recipe.

    Names are listed and a few files read, with bounds; nothing is run, and no pickle is opened. Exit code 0 where a
    candidate loads, 1 where none does, 2 where there is nothing to look at.

    \b
    Examples:
      curate inspect data/mav0
      curate inspect data/mav0 --write recipes/mine.yaml
      curate inspect video.mp4 --pick 2
      curate sources KIND          # what a kind reads
    """
    from curate.sources.inspect import inspect

    report = inspect(path, is_tried)
    kinds = [c for c in report.candidates if c.kind]
    chosen = kinds[pick - 1] if pick <= len(kinds) else None
    if as_json:
        click.echo(json.dumps(_plain(report), indent=1, ensure_ascii=False, default=str))
    else:
        _print(report, chosen)
    if pick > 1 and chosen is None:
        raise click.UsageError(f"--pick {pick}: there are {len(kinds)} candidates", ctx)
    if recipe is not None:
        if chosen is None:
            raise click.ClickException(f"{path}: no recipe to write; nothing here is of a kind that is known")
        if recipe.exists() and not force:
            raise click.UsageError(f"{recipe} is there already; --force replaces it", ctx)
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(text_of(chosen, report), encoding="utf-8")
        click.echo(f"{recipe}: written; next: curate plan {recipe}", err=as_json)
    ctx.exit(0 if any(c.loads for c in [*kinds, *report.parts.values()]) or (not is_tried and kinds) else 1)


def text_of(candidate: Candidate, report: Report) -> str:
    """The proposal as a YAML recipe, with what was seen and what is missing as comments."""
    import yaml

    body = yaml.safe_dump(candidate.recipe(str(report.root), name_of(report.path)), sort_keys=False, allow_unicode=True,
                          default_flow_style=None, width=110)
    lines = ["# Proposed by `curate inspect`, because:", *(f"#   {why}" for why in candidate.why)]
    if candidate.missing:
        lines += ["# Missing:", *(f"#   {one}" for one in candidate.missing)]
    if candidate.notes:
        lines += ["# Note:", *(f"#   {one}" for one in candidate.notes)]
    return "\n".join([" ".join(line.split("\n")) for line in lines]) + "\n" + body


def name_of(path: Path) -> str:
    """A recipe's name out of a folder's."""
    import re

    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.resolve().stem).strip("_-")[:64]
    return name or "inspected"


def _print(report: Report, chosen: Candidate | None) -> None:
    click.echo(f"{report.path}")
    if not report.saw:
        click.echo("  saw nothing that is known: no images, videos, calibrations, times, poses or annotations")
    for topic, text in report.saw if not report.parts else report.saw[:MAX_SEEN]:
        click.echo(f"  {topic:<14}{text}")
    if report.parts and len(report.saw) > MAX_SEEN:
        click.echo(f"  ... and {len(report.saw) - MAX_SEEN} more")
    if report.parts:
        click.echo("")
    for number, candidate in enumerate([c for c in report.candidates if c.kind], 1):
        state = {True: "loads", False: "does not load yet", None: "not tried"}[candidate.loads]
        state += ", but something is missing" if candidate.loads and candidate.missing else ""
        click.echo(f"\n{number}. {candidate.kind}: {state}" + (f" ({candidate.planned})" if candidate.planned else ""))
        _details(candidate)
    for candidate in (c for c in report.candidates if not c.kind):
        click.echo("\nno kind of source reads this:")
        _details(candidate)
    for name, part in report.parts.items():
        state = "loads" if part.loads else "does not load yet"
        click.echo(f"  {name:<40} {part.kind or 'no source'}{f': {state}' if part.kind else ''}")
    if report.parts:
        click.echo("a folder of several; look at one: curate inspect PATH/NAME")
    if chosen is not None:
        click.echo(f"\nrecipe{'' if chosen.loads else ' (incomplete)'}:\n")
        click.echo("".join(f"  {line}\n" for line in text_of(chosen, report).splitlines() if line[:1] != "#"))
    elif not report.parts:
        click.echo("\nno recipe to propose; `curate sources` lists the layouts that are read")


def _details(candidate: Candidate) -> None:
    for head, lines in (("because", candidate.why), ("missing", candidate.missing), ("note", candidate.notes)):
        for line in lines:
            click.echo(f"   {head:<8} {line}")


def _plain(report: Report) -> dict:
    def one(c: Candidate) -> dict:
        return {"kind": c.kind, "score": c.score, "loads": c.loads, "why": c.why, "missing": c.missing,
                "notes": c.notes, "recipe": c.recipe(str(report.root), name_of(report.path)) if c.kind else None}

    return {"path": str(report.path), "saw": [{"topic": t, "text": x} for t, x in report.saw],
            "candidates": [one(c) for c in report.candidates], "parts": {n: one(c) for n, c in report.parts.items()}}
