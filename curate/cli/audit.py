"""`curate audit`: can the answers of a published set be had without its videos?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command, out_argument

COLOURS = {"pass": "green", "fail": "red", "not judged": "dim"}
MAX_LISTED = 5


@click.command(cls=Command, short_help="Hold a set's choices against guessers that see no video.")
@out_argument
@click.option("--purpose", type=click.Choice(["training", "balanced", "benchmark"]), default=None,
              help="What an answer prior means. training: it is reported. balanced: it fails a set of 200 source "
                   "recordings or more. benchmark: it fails. Default: as OUT's last run says, else training.")
@click.option("--benchmark-ids", "lists", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
              help="Text file with the ids of benchmark videos, one a line (a path or an address will do); may be "
                   "given again. A clip of such a video fails the audit.")
@click.option("--all", "show_all", is_flag=True, help="Every guesser, not the strongest of each family alone.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON on stdout.")
@click.pass_context
def command(ctx: click.Context, out: Path, purpose: str | None, lists: tuple[Path, ...], show_all: bool,
            as_json: bool) -> None:
    """Audit the published set: can its answers be had from the options, or from the questions' words alone?

    Option leak: a guesser that sees the options only (letter, rank, nearest to a mean, hub of ratios, cover of known
    bounds, length, digits, unit, or what it has learned from other recordings) is right more often than chance. It
    always fails. Answer prior: the commonest answer, one direction of two, or a classifier of words is. It is reported,
    and fails where --purpose says so.

    A guesser counts from 5 points over chance at p < 0.01, corrected for all guessers (Holm), with whole source
    recordings drawn; families with fewer than 200 choices are not judged. Also looked for: clips of different
    recordings whose first frames look alike, and clips of a benchmark's videos. Exit code 1 on a failed verdict.

    \b
    Examples:
      curate audit out/mine
      curate audit out/mine --all
      curate audit out/mine --purpose benchmark --benchmark-ids lists/vlm4d.txt
      curate audit out/mine --json | jq .option_leak
    """
    from curate.engine.audit_set import audit_set
    from curate.questions.audit import FAIL, complaints
    from curate.questions.overlap import read_ids

    try:
        ids = read_ids(lists)
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from None
    if not out.exists():
        raise click.UsageError(f"{out}: no such folder; expected the --out of `curate run`, or a shard set", ctx)
    found = audit_set(out, purpose=purpose or _purpose(out), ids=ids)
    if as_json:
        click.echo(json.dumps(found, indent=1, allow_nan=False))
    else:
        show(found, show_all)
    for line in complaints(found):
        click.echo(f"error: {line}", err=True)
    ctx.exit(FAILURE if found["verdict"] == FAIL else 0)


def _purpose(out: Path) -> str:
    """Of the last run, where it says one."""
    try:
        return str(json.loads((out / "questions.json").read_text())["audit"]["purpose"])
    except (OSError, ValueError, KeyError, TypeError):
        return "training"


def show(found: dict[str, Any], show_all: bool) -> None:
    from curate.cli.console import make_console

    console = make_console()
    console.print(families_table(found))
    if show_all:
        console.print(guessers_table(found))
    for line in audit_lines(found):
        console.print(line, markup=False, soft_wrap=True)


def families_table(found: dict[str, Any]):
    """A row a family: both verdicts, each with the guesser farthest above its chance."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("family", no_wrap=True)
    for name in ("choices", "recordings"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("option leak", "strongest guesser", "answer prior", "strongest guesser"):
        table.add_column(name)
    for row in found["families"]:
        prior = row["answer_prior"] or {"verdict": "", "guessers": [], "answer": ""}
        told = _strongest(prior["guessers"])
        if not prior["guessers"] and prior["answer"]:  # too little to judge, told all the same
            told = f"always \"{prior['answer']}\": {prior['right']:.0%} (chance {prior['chance']:.0%})"
        table.add_row(row["family"], str(row["items"]), str(row["recordings"]), _coloured(row["verdict"]),
                      _strongest(row["guessers"]), _coloured(prior["verdict"]), escape(told))
    return table


def _coloured(verdict: str) -> str:
    return f"[{COLOURS[verdict]}]{verdict}[/]" if verdict in COLOURS else verdict


def _strongest(tests: list[dict[str, Any]]) -> str:
    if not tests:
        return "–"
    best = max(tests, key=lambda t: (t["leak"], t["right"] - t["chance"]))
    return f"{best['guesser']} {best['right']:.0%} (chance {best['chance']:.0%})"


def guessers_table(found: dict[str, Any]):
    """Every guesser of both verdicts, the farthest above its chance first."""
    from rich.table import Table

    from curate.engine.audit_set import judged

    table = Table(box=None, pad_edge=False, header_style="bold", title="guessers", title_justify="left")
    for name in ("verdict", "family", "guesser"):
        table.add_column(name, no_wrap=True)
    for name in ("right %", "chance %", "design effect", "p, Holm"):
        table.add_column(name, justify="right", no_wrap=True)
    for part in ("option_leak", "answer_prior"):
        for test in judged(found, part):
            style = "red" if test["leak"] else None
            table.add_row(part.replace("_", " "), test["family"], test["guesser"], f"{100 * test['right']:.1f}",
                          f"{100 * test['chance']:.1f}", f"{test['design_effect']:.2f}", f"{test['p_holm']:.2g}",
                          style=style)
    return table


def audit_lines(found: dict[str, Any]) -> list[str]:
    """The verdicts in words, a line each."""
    rows = [row for row in found["families"] if row["family"] != "all"]
    judged = sum(row["verdict"] != "not judged" for row in rows)
    lines = [f"option leak:  {found['option_leak']} ({judged} of {len(rows)} families judged; "
             f"under {found['rules']['least_items']} choices they are not)"]
    skewed = [row["family"] for row in rows if row["answer_prior"] and row["answer_prior"]["verdict"] == "fail"]
    told = f" in {', '.join(skewed)}" if skewed else ""
    weight = "" if found["answer_prior_fails"] or not skewed else f"; reported, as the set is for {found['purpose']}"
    lines.append(f"answer prior: {'found' if skewed else found['answer_prior']}{told}{weight}")
    if alike := found.get("duplicates"):
        text = (f"{alike['groups']} groups of {alike['clips']} clips of different recordings look alike, "
                f"{alike['across_splits']} across splits" if alike["groups"] else "none")
        lines.append(f"duplicates:   {text} ({alike['compared']} first frames compared)")
        lines += [f"              {', '.join(group)}" for group in alike["listed"][:MAX_LISTED]]
    if (overlap := found.get("overlap")) and overlap["ids"]:
        lines.append(f"benchmarks:   {overlap['clips']} clips of {overlap['videos']} of {overlap['ids']} videos listed")
        lines += [f"              {name}: {clip}" for name, clip in list(overlap["listed"].items())[:MAX_LISTED]]
    return lines
