"""`curate export`: a published set in the layout of another trainer."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import click

from curate.cli.errors import BAD_REQUEST
from curate.cli.options import Command


def _list(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from rich.table import Table

    from curate.cli.console import make_console
    from curate.exporters import exporters

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "what", "forms", "media", "shown by"):
        table.add_column(name, no_wrap=name != "what")
    for name, one in sorted(exporters().items()):
        table.add_row(name, one.about, ", ".join(one.forms), ", ".join(one.media), one.proof)
    make_console().print(table)
    ctx.exit(0)


@contextmanager
def _progress():
    """A bar over clips with rate and time left, where somebody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(TextColumn("export"), BarColumn(), MofNCompleteColumn(),
                  TextColumn("clips, {task.fields[rows]} rows"), TimeRemainingColumn(), console=console,
                  disable=not console.is_terminal, transient=True) as bar:
        yield bar, bar.add_task("export", total=None, rows=0)


@click.command(cls=Command, short_help="Write a published set in the layout of another trainer.")
@click.argument("source", metavar="OUT")
@click.option("--to", required=True, metavar="NAME", help="The consumer; --list names them.")
@click.option("--out", "out", required=True, type=click.Path(path_type=Path),
              help="Folder to write: new, empty, or an older export, which is replaced.")
@click.option("--split", default="train", show_default=True)
@click.option("--form", type=click.Choice(["sft", "rl"]), default=None,
              help="Conversations, or prompts with what rewards judge by. Default: the consumer's first.")
@click.option("--media", type=click.Choice(["frames", "video"]), default=None,
              help="Default: the consumer's first.")
@click.option("--frames", "num_frames", default=8, show_default=True, type=click.IntRange(0),
              help="Frames of a clip, spread evenly, the first and the last among them; 0: all.")
@click.option("--max-side", default=0, type=click.IntRange(0), metavar="PIXELS",
              help="Longest side of exported frames; 0 leaves them.")
@click.option("--regions", default="<R1>", show_default=True, metavar="DIALECT",
              help="How texts name regions: <R1>, [R1], 'region 1', <obj_1>, box, box1000, point, point1000.")
@click.option("--families", default="", metavar="A,B", help="Only these families.")
@click.option("--task", type=click.Choice(["answer", "reason", "cold_start"]), default=None,
              help="The task that each question is given. Default: the record's own.")
@click.option("--limit", default=0, type=click.IntRange(0), help="Rows at most; 0: all.")
@click.option("--list", "list_all", is_flag=True, is_eager=True, expose_value=False, callback=_list,
              help="Name the consumers and stop.")
@click.pass_context
def command(ctx: click.Context, source: str, to: str, out: Path, split: str, form: str | None, media: str | None,
            num_frames: int, max_side: int, regions: str, families: str, task: str | None, limit: int) -> None:
    """Write OUT's questions in another trainer's layout, with media once a clip: of both views where a question is on
    two.

    Rows that the consumer would misread (more tags than files, frame numbers of frames it does not get, marks without a
    marked picture ..) are left out, counted by rule, and named in export.json.

    \b
    Examples:
      curate export --list
      curate export out/mine --to llama-factory --out exported/factory
      curate export out/mine --to trl --form rl --out exported/grpo --frames 16 --max-side 448
      curate export out/mine --to qwen-vl --media video --regions box1000 --out exported/qwen
    """
    from curate.cli.console import make_console
    from curate.exporters.run import ExportError, export

    names = tuple(name.strip() for name in families.split(",") if name.strip())
    try:
        with _progress() as (bar, task_id):
            report = export(source, to, out, split=split, form=form, media=media, num_frames=num_frames,
                            max_side=max_side, regions=regions, families=names, task=task, limit=limit,
                            each=lambda r: bar.update(task_id, completed=r.seen, total=r.total or None,
                                                      rows=r.rows))
    except ExportError as error:
        click.echo(f"error: {error}", err=True)
        ctx.exit(BAD_REQUEST)
    console = make_console()
    console.print(f"rows:    {report.rows} of {report.clips} clips in {', '.join(report.files)}", markup=False)
    console.print(f"media:   {report.media_files} files, {report.media_bytes / 2**20:.1f} MiB", markup=False)
    for rule, num in sorted(report.refused.items()):
        console.print(f"refused: {num} by {report.named[rule][0].split(': ', 1)[1]}", markup=False, soft_wrap=True)
    console.print(f"written: {out}", markup=False)
