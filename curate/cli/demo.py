"""`curate demo`: rendered stereo videos with known motion go the way of any user's, and every answer is checked."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command

MARKER = "demo.json"
NUM_SCENES = 6


class DemoFailed(RuntimeError):
    """The demo did not do its job; the text says which part."""


@click.command(cls=Command, short_help="Rendered videos to scored shards: see it work.")
@click.option("--out", default="out/demo", show_default=True, metavar="DIR", type=click.Path(path_type=Path),
              help="Written anew each time; a folder that is no demo's is refused.")
@click.option("--scenes", default=NUM_SCENES, show_default=True, type=click.IntRange(1, 10_000),
              help="Scenes to render.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Other scenes for another seed.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes; 1 needs no Ray.")
@click.pass_context
def command(ctx: click.Context, out: Path, scenes: int, seed: int, workers: int) -> None:
    """Render stereo videos with known motion, make question shards of them, score every answer.

    The videos are H.264 side-by-side files with a calibration beside each: what a user would have. They go through
    the same recipe, plan, workers and shards as any. Then the shards are read back, and each answer is held
    against the scene's true geometry. Exit code 1 below the floor printed under the table.

    \b
    Examples:
      curate demo
      curate demo --seed 7 --out out/demo7
      curate demo --scenes 4 --workers 1        # a glance; too few questions for the floor
    """
    from curate.cli.console import make_console
    from curate.cli.demo_training import training_set
    from curate.cli.run import build_preview
    from curate.cli.score import show_report, write_score
    from curate.engine.run import run
    from curate.recipe import load_recipe
    from curate.shards.verify import verify
    from curate.synth.dataset import write_dataset
    from curate.synth.score import score

    begin, seconds, console = time.perf_counter(), {}, make_console()
    clear(out, {"seed": seed, "scenes": scenes})
    with step("render", seconds):
        processes = max(1, min(workers, os.cpu_count() or 1))
        dataset = write_dataset(out / "data", scenes, seed, num_workers=processes)
    console.print(f"{len(dataset.videos)} side-by-side videos with known motion: {dataset.root}", markup=False)

    kind = "ray" if workers > 1 else "inline"
    recipe = load_recipe(dataset.recipe, [f"engine.workers={workers}", f"engine.kind={kind}", "teacher.enabled=true"])
    with step("perceive, ask, write", seconds):
        summary = run(recipe, out / "run", quiet=False)
    for entry in summary.failures:
        click.echo(f"{entry['state']}: {entry['uri']}: {entry['reason']}", err=True)
    if not summary.questions:
        raise DemoFailed(f"no question came out of {summary.planned} clips ({dict(summary.counts)})")
    with step("verify", seconds):
        problems = verify(out / "run")
    for problem in problems:
        click.echo(str(problem), err=True)
    with step("read back and score", seconds):
        report = score(out / "run", dataset.truth_dir)
        write_score(out / "run", report)
    with step("preview", seconds):
        preview = build_preview(out / "run")
    with step("shards to train on", seconds):
        training = training_set(out)

    show_report(report, console)
    total = time.perf_counter() - begin
    figures = {name: value for name, value in report.to_json().items() if name != "judged"}
    (out / "score.json").write_text(json.dumps({**figures, "seconds": seconds, "seed": seed, "scenes": scenes},
                                               indent=1) + "\n")
    console.print("time:    " + ", ".join(f"{name} {s:.1f} s" for name, s in seconds.items()) + f"; all {total:.1f} s",
                  soft_wrap=True)
    places = {"shards": out / "run" / "shards", "preview": preview or "none", "scores": out / "score.json",
              "train": training / "shards"}
    for name, path in places.items():
        console.print(f"{name + ':':<9}{path}", markup=False, soft_wrap=True)
    ctx.exit(summary.exit_code or (0 if report.ok and preview and not problems else FAILURE))


def clear(out: Path, content: dict) -> None:
    """An empty folder with the demo's mark, instead of an older demo.

    Raises:
        OutError: where the folder holds anything else, or cannot be written.
    """
    from curate.engine.ledger import OutError

    try:
        if out.is_dir() and any(out.iterdir()):
            if not (out / MARKER).is_file():
                raise OutError(f"{out}: holds files and is no demo's folder; nothing was deleted; name another with "
                               f"--out")
            shutil.rmtree(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text(json.dumps(content) + "\n")
    except OSError as error:
        raise OutError(f"{out}: cannot be written ({error.strerror}); name another folder with --out") from None


@contextmanager
def step(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Says what begins, and takes its time."""
    click.echo(f"{name} ...", err=True)
    begin = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begin, 2)
