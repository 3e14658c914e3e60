"""What a person reads at the end of a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from curate.engine.run import Summary

MAX_FAILURES = 20


def show(summary: Summary, preview: Path | None) -> None:
    """Counts, questions by family, where everything is, and what to do next."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table(title=str(summary.out), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("clips planned", str(summary.planned))
    for state in ("done", "filtered", "quarantined", "missing"):
        if summary.counts[state] or state != "missing":
            table.add_row(f"  {state}", str(summary.counts[state]))
    table.add_row("questions", str(summary.questions))
    for family, count in summary.families.items():
        table.add_row(f"  {family}", str(count))
    console.print(table)
    if summary.workers:
        console.print(f"workers: {summary.workers}")
    list_failures(summary)
    shards = summary.out / "shards"
    if (shards / "manifest.json").is_file():
        console.print(f"shards:  {shards}", markup=False)
    if preview:
        console.print(f"preview: {preview}", markup=False)
    if not summary.questions:
        reasons = "; ".join(f"{d['count']} {d['family']}: {d['reason']}" for d in summary.dropped[:3])
        console.print(f"no question was asked{': ' + reasons if reasons else ''}", markup=False)
    out = shlex.quote(str(summary.out))
    steps = [f"curate verify {out}", f"curate ask {out} --recipe RECIPE"]
    if summary.counts["quarantined"]:
        steps.append("the same command with --retry, once the causes are mended")
    console.print("next:    " + "\n         ".join(steps), markup=False)


def list_failures(summary: Summary) -> None:
    """One line for each clip that is not in the shards, on stderr."""
    for entry in summary.failures[:MAX_FAILURES]:
        span = f" frames {entry['start']}..{entry['start'] + entry['num_frames'] - 1}" if entry["num_frames"] else ""
        click.echo(f"{entry['state']}: {entry['uri']}{span}: {' '.join(entry['reason'].split())}", err=True)
    if len(summary.failures) > MAX_FAILURES:
        click.echo(f"and {len(summary.failures) - MAX_FAILURES} more in {summary.out / 'ledger.jsonl'}", err=True)
