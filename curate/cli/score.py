"""`curate score`: a run of rendered videos against their truth, or a model's answers against a set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli import score_answers
from curate.cli.errors import FAILURE
from curate.cli.options import Command, Folder

if TYPE_CHECKING:
    from curate.synth.score import Report

MAX_WRONG = 10


@click.command(cls=Command, short_help="Hold a run's answers against a known truth, or a model's against a set.")
@click.argument("out", metavar="OUT|ANSWERS", type=Folder())
@click.option("--against", metavar="OUT|SHARDS|URL|FILE",
              help="ANSWERS is a file of a model's answers, and these are the questions: a run, a shard set, or a "
                   "benchmark's JSON file.")
@click.option("--split", metavar="NAME", help="With --against a set: of this split alone. Default: every split.")
@click.option("--report", "report_path", metavar="FILE", type=click.Path(path_type=Path),
              help="Of ANSWERS: write every figure and every judged answer there, as JSON.")
@click.option("--truth", "truth_dir", metavar="DIR", type=click.Path(path_type=Path),
              help="Folder of the scenes' truth; default: `truth` beside the run's videos, or, of a source of kind "
                   "`rendered`, written to OUT/truth.")
@click.option("--no-preview", is_flag=True, help="Do not rebuild the HTML preview.")
@click.option("--quiet", is_flag=True, help="Write the file, print nothing.")
@click.pass_context
def command(ctx: click.Context, out: Path, against: str | None, split: str | None, report_path: Path | None,
            truth_dir: Path | None, no_preview: bool, quiet: bool) -> None:
    """Hold every answer of a run against the scenes' true geometry, and show how reliable its intervals are.

    For rendered scenes, whose motion is known. Prints a table and the floor, writes OUT/score.json, and puts
    reliability diagrams and each answer's truth into the preview. Exit code 1 below the floor.

    With a file of a model's ANSWERS (JSON lines with id and text): scores it per family and per column of R4D-Bench and
    MLLM-4D, with intervals clustered by source recording. Letters, option texts, values and units are read; what
    letters alone would score stands beside it. A benchmark's own file (choices, answer, response) needs no --against.

    \b
    Examples:
      curate score out/demo/run
      curate score out/demo/run --truth out/demo/data/truth
      curate run recipes/rendered.yaml --out out/rendered && curate score out/rendered
      curate ask out/demo/run --recipe mine.yaml && curate score out/demo/run
      curate score answers.jsonl --against out/mine                # a model's answers to a run's questions
      curate score answers.jsonl --against s3://bucket/set --split val --report scores.json
      curate score vlm4d_outputs.json                              # choices, answer and response in one file
    """
    if against is not None or split or report_path or score_answers.is_answers(out):
        if truth_dir is not None:
            raise click.UsageError("--truth is of a run of rendered scenes; answers are scored --against a set", ctx)
        score_answers.run(ctx, out, against, split, report_path, quiet)
        return
    from curate.cli.console import make_console
    from curate.cli.run import build_preview
    from curate.synth.score import score

    if not out.is_dir():
        found = "is a file" if out.exists() else "no such folder"
        raise click.UsageError(f"{out}: {found}; expected the --out of `curate run`", ctx)
    for needed in ("shards/manifest.json", "run.json"):
        if not (out / needed).is_file():
            near = f"; did you mean {out / 'run'}?" if (out / "run" / needed).is_file() else ""
            raise click.UsageError(f"{out}: nothing is published in it (no {needed}); expected the --out of a finished "
                                   f"`curate run`{near}", ctx)
    try:
        report = score(out, find_truth(out, truth_dir))
    except ValueError as error:  # a clip without truth; a torn set is a ShardError and says so itself
        if type(error) is not ValueError:
            raise
        raise click.UsageError(f"{error}; score a run with the truth of its own videos", ctx) from None
    path = write_score(out, report)
    preview = None if no_preview else build_preview(out)
    if not quiet:
        console = make_console()
        show_report(report, console)
        console.print(reliability(path))
        for name, place in {"scores": path, "preview": preview}.items():
            if place:
                console.print(f"{name + ':':<9}{place}", markup=False, soft_wrap=True)
    ctx.exit(0 if report.ok else FAILURE)


def find_truth(out: Path, given: Path | None) -> Path:
    """The folder of the truth that goes with a run; of scenes rendered on demand, it is written first.

    Raises:
        click.UsageError: where there is none.
    """
    from curate.synth.dataset import TRUTH_SUFFIX

    if given is not None:
        if not any(given.glob(f"*{TRUTH_SUFFIX}")):
            found = "no such folder" if not given.is_dir() else f"no *{TRUTH_SUFFIX} in it"
            raise click.UsageError(f"{given}: {found}; expected the folder `data/truth` that `curate demo` writes "
                                   f"beside its videos{_nearby(given, TRUTH_SUFFIX)}")
        return given
    recipe = json.loads((out / "run.json").read_text())["recipe"]
    if recipe["source"]["kind"] == "rendered":
        return _write_truths(recipe, out / "truth")
    beside = Path(recipe["source"].get("root", out)).parent / "truth"
    if not any(beside.glob(f"*{TRUTH_SUFFIX}")):
        raise click.UsageError(f"{out}: no truth of its videos is known (no *{TRUTH_SUFFIX} in {beside}); name its "
                               f"folder with --truth; only rendered scenes have one")
    return beside


def _write_truths(recipe: dict[str, Any], folder: Path) -> Path:
    from curate.sources.config import ClipConfig, RenderedConfig
    from curate.sources.rendered import Rendered
    from curate.synth.dataset import write_truth

    source = Rendered(RenderedConfig.model_validate(recipe["source"]), ClipConfig.model_validate(recipe["clip"]))
    for index in range(source.config.num_scenes):
        scene = source.scene(index)
        if not (folder / f"{scene.name}.truth.json").is_file():  # written last
            write_truth(folder, scene)
    return folder


def write_score(out: Path, report: Report, **more: Any) -> Path:
    """OUT/score.json, marked with the set of questions it is about."""
    from curate.report.scores import NAME
    from curate.shards import manifest
    from curate.shards.reader import find_root

    path, temp = out / NAME, out / f".{NAME}.partial"
    temp.write_text(json.dumps({"set": manifest.load(find_root(out))["digest"], **report.to_json(), **more},
                               allow_nan=False) + "\n")
    temp.rename(path)
    return path


def show_report(report: Report, console: Any) -> None:
    """The table, the floor, and the first answers that are not right."""
    report.print(console)
    wrong = report.wrong()
    for judged in wrong[:MAX_WRONG]:
        console.print(f"  not right: {judged.id}: {judged.answer}, truth {judged.truth or judged.problem}",
                      markup=False, soft_wrap=True)
    if len(wrong) > MAX_WRONG:
        console.print(f"  and {len(wrong) - MAX_WRONG} more, in score.json")


def reliability(path: Path):
    """The diagram of the preview as a table: how many of the intervals hold, of those that state so much."""
    from rich.table import Table

    from curate.report.reliability import reliability_table
    from curate.report.scores import curves_of

    rows = reliability_table(curves_of(json.loads(path.read_text())["judged"]))
    table = Table(title="Stated intervals that hold the truth, % (red: not within what these clips allow at 99 %)")
    table.add_column("family", no_wrap=True)
    for name in ("n", "effective n", *(f"at {100 * p.level:.0f} %" for p in (rows[0]["points"] if rows else ())),
                 "z mean", "z deviation"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        held = [f"{100 * p.share:.1f}" if p.honest else f"[red]{100 * p.share:.1f}[/red]" for p in row["points"]]
        z = [f"{row[name]:.2f}" if row[name] == row[name] else "–" for name in ("z_mean", "z_std")]
        table.add_row(row["family"], str(row["n"]), f"{row['n_eff']:.0f}", *held, *z)
    return table


def _nearby(folder: Path, suffix: str) -> str:
    """Where the truth may be meant, when it lies one step away."""
    for near in (folder / "truth", folder / "data" / "truth", folder.parent / "truth"):
        if any(near.glob(f"*{suffix}")):
            return f"; did you mean {near}?"
    return ""
