"""`curate status`: how a run stands, without disturbing it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.console import make_console
from curate.cli.options import Command, out_argument

if TYPE_CHECKING:
    from curate.engine.generation import Generation
    from curate.engine.status import Status

MAX_GENERATIONS = 6
HOLDER_IS = {"at work": "", "released": " (ended)", "gone": " (its process is gone; the next run takes over)",
             "silent": " (silent; the next run takes over)"}


@click.command(cls=Command, short_help="How a run stands: while it goes on, or after a crash.")
@out_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines for a person.")
def command(out: Path, as_json: bool) -> None:
    """How a run stands: clips by state and kind of failure, rate, time left, who works on it, what is published.

    Reads only, and takes no lease: it may be asked at any time, from any machine that sees OUT.

    \b
    Examples:
      curate status out/mine
      curate status out/mine --json | jq .counts
      watch -n 10 curate status out/mine
    """
    from curate.engine.status import status

    found = status(out)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        show(found)


def show(found: Status) -> None:
    from rich.table import Table

    from curate.engine.progress import duration

    console = make_console()
    console.print(f"{found.out}: {found.state}", markup=False, soft_wrap=True, style="bold")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right")
    table.add_row("clips planned", str(found.planned))
    for state, count in found.counts.items():
        if count or state != "missing":
            table.add_row(f"  {'to do' if state == 'missing' else state}", str(count))
        if state == "quarantined":
            for kind, number in found.failures.items():
                table.add_row(f"    {kind}", str(number))
    console.print(table)

    def line(name: str, text: str) -> None:
        console.print(f"{name + ':':<12}{text}", markup=False, soft_wrap=True)

    if found.clips_per_s is not None:
        line("rate", f"{found.clips_per_s:.3g} clips/s, ETA {duration(found.eta_s or 0)}")
    if found.last_settled_s is not None:
        line("last clip", f"{duration(found.last_settled_s)} ago")
    if found.holder:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.holder["since"]))
        beat = "" if found.holder_is == "released" else f", last heartbeat {found.holder['heartbeat_s']:.0f} s ago"
        line("holder", f"process {found.holder['pid']} on {found.holder['host']} since {since}{beat}"
                       f"{HOLDER_IS[found.holder_is]}")
    for generation in found.generations[-MAX_GENERATIONS:]:
        line("generation", _generation(generation))
    line("published", _published(found))
    for failure in found.last_failures:
        first, stop = failure["frames"]
        line("failure", f"{failure['uri']} frames {first}..{stop - 1}: {failure['kind']}: {failure['reason']}")
    if found.state == "stopped":
        line("next", "the same `curate run` goes on where it stopped")
    elif found.failures:
        line("next", f"curate retry {found.out} --kind {max(found.failures, key=found.failures.get)}")


def _generation(generation: Generation) -> str:
    if generation.why == "retry":
        again = ", ".join(f"{count} {kind}" for kind, count in sorted(generation.again.items()))
        return f"{generation.number}: tried again: {again}"
    if not generation.number:
        return f"0: {generation.planned} clips"
    named = f" ({', '.join(generation.named[:3])}{', ...' if generation.lost > 3 else ''})" if generation.lost else ""
    return (f"{generation.number}: {generation.new} new clips, {generation.lost} lost{named}; "
            f"{generation.planned} planned")


def _published(found: Status) -> str:
    if found.published is None:
        return "nothing yet"
    if "problem" in found.published:
        return found.published["problem"]
    behind = "" if found.published["all_done"] else "; not of all that is done: a run or `curate ask` writes them anew"
    return f"{found.published['samples']} clips, {found.published['questions']} questions{behind}"
