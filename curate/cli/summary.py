"""What a person reads at the end of a run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from curate.engine.run import Summary

MAX_FAILURES = 20
TOP_REASONS = 2
MAX_DOUBTS = 6


def show(summary: Summary, preview: Path | None, *, failures: bool = True) -> None:
    """Counts, questions by family and why no more, doubtful clips, where everything is, and what to do next; with
    `failures` also, on stderr, each clip that is not in the shards."""
    from rich.table import Table

    from curate.cli.console import make_console

    console = make_console()
    console.print(str(summary.out), markup=False, soft_wrap=True, style="italic")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("clips planned", str(summary.planned))
    for state in ("done", "filtered", "quarantined", "missing"):
        if summary.counts[state] or state != "missing":
            table.add_row(f"  {state}", str(summary.counts[state]))
    table.add_row("questions", str(summary.questions))
    console.print(table)
    if summary.families or summary.dropped:
        console.print(families_table(summary))
    if summary.mixture:
        console.print(mixture_table(summary))
    if len(summary.splits) > 1:
        parts = (f"{name} {own['clips']} clips, {own['questions']} questions" for name, own in summary.splits.items())
        console.print(f"splits:  {'; '.join(parts)}", markup=False, soft_wrap=True)
    if summary.audit and summary.questions:
        from curate.cli.audit import audit_lines

        for line in audit_lines(summary.audit):
            console.print(line, markup=False, soft_wrap=True)
    for line in doubt_lines(summary):
        console.print(f"warning: {line}", markup=False, soft_wrap=True, style="yellow")
    if summary.lost_latents:
        console.print("warning: the shards before these held latents of a teacher, these do not: store them again with "
                      "`curate train latents RECIPE`", markup=False, soft_wrap=True, style="yellow")
    if summary.new or summary.lost:
        console.print(plan_line(summary), markup=False, soft_wrap=True, style="yellow" if summary.lost else None)
    if summary.workers:
        console.print(f"workers: {summary.workers}", soft_wrap=True)
    for line in work_lines(summary):
        console.print(line, markup=False, soft_wrap=True)
    if failures:
        list_failures(summary)
    shards = summary.out / "shards"
    if (shards / "manifest.json").is_file():
        console.print(f"shards:  {shards}", markup=False, soft_wrap=True)
    if summary.published:
        console.print(summary.published, markup=False, soft_wrap=True)
    if summary.unpublished:
        console.print(f"not published: {summary.unpublished}", markup=False, soft_wrap=True, style="yellow")
    if preview:
        console.print(f"preview: {preview}", markup=False, soft_wrap=True)
    if not summary.questions:
        console.print("no question was asked" + ("; the table says why" if summary.dropped else ""))
    out = shlex.quote(str(summary.out))
    steps = [f"curate verify {out}", f"curate ask {out} --recipe RECIPE"]
    if summary.counts["quarantined"]:
        from curate.engine.ledger import state_of

        kinds = sorted({state_of(entry) for entry in summary.failures if entry["state"] == "quarantined"})
        steps.append(f"the same command with --retry, once the causes are mended (or curate retry {out} "
                     f"{' '.join(f'--kind {kind}' for kind in kinds)})")
    console.print("next:    " + "\n         ".join(steps), markup=False, soft_wrap=True)


def plan_line(summary: Summary) -> str:
    """What the source has gained and lost since the plan before."""
    text = f"plan:    generation {summary.generation}: {summary.new} new clips, {summary.lost} lost"
    if not summary.lost:
        return text
    named = ", ".join(summary.lost_uris[:3]) + (", ..." if summary.lost > 3 else "")
    return (f"{text} ({named}): the source no longer has them, so they are not in the shards; their scenes stay until "
            f"`curate compact`")


def work_lines(summary: Summary) -> list[str]:
    """What this run's work took: clips a second, how busy the workers were, seconds by stage, and the rate that
    workers which never wait would reach (the speed of light of this number of workers)."""
    if not summary.worked or not summary.seconds:
        return []
    lines = [f"work:    {summary.worked} clips in {summary.seconds:.1f} s, {summary.clips_per_s:.3g} clips/s"]
    if summary.busy_s and summary.num_workers:
        busy = summary.busy_s / (summary.seconds * summary.num_workers)
        light = summary.worked * summary.num_workers / summary.busy_s
        lines[0] += f"; workers {min(busy, 1.0):.0%} busy, {light:.3g} clips/s if they never waited"
    if summary.stages:
        total = sum(summary.stages.values())
        parts = sorted(summary.stages.items(), key=lambda item: -item[1])
        lines.append("stages:  " + ", ".join(f"{name} {s:.1f} s ({s / total:.0%})" for name, s in parts))
    return lines


def families_table(summary: Summary):
    """A row a family: questions, what was not asked, and the reasons that stopped most of it."""
    from rich.table import Table

    dropped: dict[str, list[tuple[int, str]]] = {}
    for entry in summary.dropped:
        dropped.setdefault(entry["family"], []).append((entry["count"], entry["reason"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("family", "questions", "not asked"):
        table.add_column(name, justify="left" if name == "family" else "right", no_wrap=True)
    table.add_column("mostly because")  # the one that gives way on a narrow terminal
    for family in sorted({*summary.families, *dropped}):
        reasons = sorted(dropped.get(family, []), key=lambda r: (-r[0], r[1]))
        total = sum(count for count, _ in reasons)
        text = ", ".join(f"{reason} ({count})" for count, reason in reasons[:TOP_REASONS])
        table.add_row(family, str(summary.families.get(family, 0)), str(total or "–"), text)
    return table


def mixture_table(summary: Summary):
    """What came out against the target mixture; also in each split, where there are several."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"mixture by {summary.mixture['by']}", no_wrap=True)
    splits = list(summary.splits) if len(summary.splits) > 1 else []
    for name in ("target %", "share %", "questions", "candidates", *(f"{split} %" for split in splits)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary.mixture["columns"]:
        own = [next((f"{100 * c['share']:.1f}" for c in summary.splits[split]["mixture"]["columns"]
                     if c["column"] == row["column"]), "–") for split in splits]
        table.add_row(row["column"], f"{100 * row['target']:.1f}", f"{100 * row['share']:.1f}", str(row["questions"]),
                      str(row["candidates"]), *own)
    return table


def named(uri: str) -> str:
    """A clip's medium; "." is the root itself, where that is the one recording."""
    return "the recording" if uri == "." else uri


def doubt_lines(summary: Summary) -> list[str]:
    """One line for each kind of doubt, with how many clips have it and the first of them."""
    groups: dict[str, list[dict[str, str]]] = {}
    for entry in summary.doubts:
        groups.setdefault(re.sub(r"[-+−]?\d+(\.\d+)?", "#", entry["doubt"]), []).append(entry)
    lines = []
    for group in sorted(groups.values(), key=len, reverse=True)[:MAX_DOUBTS]:
        first, more = group[0], len(group) - 1
        also = f" (and {more} more clip{'s' if more > 1 else ''} alike)" if more else ""
        lines.append(f"{named(first['uri'])}: {first['doubt']}{also}")
    return lines


def list_failures(summary: Summary) -> None:
    """One line for each clip that is not in the shards, on stderr."""
    for entry in summary.failures[:MAX_FAILURES]:
        span = f" frames {entry['start']}..{entry['start'] + entry['num_frames'] - 1}" if entry["num_frames"] else ""
        click.echo(f"{entry['state']}: {named(entry['uri'])}{span}: {' '.join(entry['reason'].split())}", err=True)
    more = summary.counts["quarantined"] + summary.counts["filtered"] - MAX_FAILURES
    if more > 0:
        click.echo(f"and {more} more in {summary.out / 'ledger.jsonl'}", err=True)
