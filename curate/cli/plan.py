"""`curate plan`: what a run would do, and whether it fits this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.console import make_console, mebibytes
from curate.cli.options import Command, load, recipe_argument, set_option, with_workers

if TYPE_CHECKING:
    from rich.console import Console

    from curate.engine.plan import Plan
    from curate.recipe import Recipe

MAX_BAD = 20
# libx264 at crf 23: measured 0.1 to 0.19 on rendered scenes, 0.7 on driving at 10 frames a second. Six steps of crf
# double the rate. Beside the video a staged clip holds its scene and two pictures: measured 140 to 250 kB.
BITS_PER_PIXEL, CRF_OF_DOUBLE = (0.1, 0.7), 6.0
SCENE_BYTES = 200_000
CELL_BYTES = 7  # of a frame's teacher tensors as they lie in the shards; staged they take about half


@click.command(cls=Command, short_help="Dry run: clips, stages, workers, bytes.")
@recipe_argument
@set_option
@click.option("--workers", type=click.IntRange(1), help="Worker processes; default: as the recipe says.")
def command(recipe: Path, overrides: tuple[str, ...], workers: int | None) -> None:
    """Dry run: clips, stages, workers against this machine, expected bytes. Writes nothing.

    Exit code 2 where nothing can be planned, 1 where the workers do not fit this machine.

    \b
    Examples:
      curate plan recipes/side_by_side.yaml
      curate plan recipes/kitti_odometry.yaml --set source.root=/data/kitti/06 --workers 8
    """
    from curate.engine.plan import make_plan

    checked = with_workers(load(recipe, overrides), workers, inline=False)
    plan = make_plan(checked)
    console = make_console()
    _clips(console, plan)
    _stages(console, checked)
    fits = _workers(console, plan, checked)
    _bytes(console, plan, checked)
    click.get_current_context().exit(0 if fits else 1)


def _clips(console: Console, plan: Plan) -> None:
    from rich.table import Table

    table = Table(title="Clips", title_justify="left")
    for name in ("recordings", "clips", "frames", "shortest", "longest", "known bad"):
        table.add_column(name, justify="right")
    lengths = [c.num_frames for c in plan.clips] or [0]
    table.add_row(*map(str, (len({c.recording for c in plan.clips}), len(plan.clips), sum(lengths), min(lengths),
                             max(lengths), len(plan.bad))))
    console.print(table)
    for clip, reason in plan.bad[:MAX_BAD]:
        console.print(f"  bad: {clip.uri}: {reason}", markup=False, soft_wrap=True)
    if len(plan.bad) > MAX_BAD:
        console.print(f"  and {len(plan.bad) - MAX_BAD} more")


def _stages(console: Console, recipe: Recipe) -> None:
    from rich.table import Table

    from curate.perception import make_estimators

    table = Table(title="Stages", title_justify="left")
    for name in ("estimator", "version", "needs", "gives", "CPU", "GPU", "memory"):
        table.add_column(name, justify="right" if name in ("CPU", "GPU", "memory") else "left")
    for estimator in make_estimators(recipe.perception):
        resources = estimator.resources
        table.add_row(estimator.name, estimator.version, " ".join(estimator.needs) or "images",
                      " ".join(estimator.gives), f"{resources.cpu:g}", f"{resources.gpu:g}",
                      mebibytes(resources.memory_bytes))
    console.print(table)


def _workers(console: Console, plan: Plan, recipe: Recipe) -> bool:
    """Prints what the workers take and what is there; whether it fits."""
    from rich.table import Table

    from curate.cli import machine
    from curate.engine.run import num_workers
    from curate.perception import make_estimators

    count = num_workers(recipe, max(1, len(plan.clips)))
    resources = [e.resources for e in make_estimators(recipe.perception)]
    # Estimators of a worker run one after another, but what they hold adds up.
    memory = count * sum(r.memory_bytes for r in resources)
    gpu = count * max([recipe.engine.gpus_per_worker, *(r.gpu for r in resources)])
    kind = recipe.engine.kind if recipe.engine.kind != "auto" else "ray" if count > 1 else "inline"
    if recipe.engine.address:
        console.print(f"{count} workers on the cluster at {recipe.engine.address}; it is asked when the run starts")
        return True
    rows = [("CPU", count * recipe.engine.cpus_per_worker, machine.cpus(), "{:g}".format),
            ("GPU", gpu, float(len(machine.gpus())), "{:g}".format),
            ("memory at most", float(memory), float(machine.memory_bytes() or 0), mebibytes)]
    table = Table(title=f"{count} {'worker' if count == 1 else 'workers'} ({kind})", title_justify="left")
    for name in ("", "needed", "here", ""):
        table.add_column(name, justify="right")
    fits = True
    for name, needed, here, show in rows:
        unknown = name.startswith("memory") and not here
        ok = unknown or needed <= here + 1e-6
        fits &= ok
        table.add_row(name, show(needed), "unknown" if unknown else show(here), "fits" if ok else "does not fit")
    console.print(table)
    if not fits:
        console.print("lower engine.workers (or --workers), or join a cluster with engine.address")
    return fits


def _bytes(console: Console, plan: Plan, recipe: Recipe) -> None:
    from curate.engine.teacher import grid_of
    from curate.sources import make_source

    if not plan.clips:
        return
    first = plan.clips[0]
    frames = make_source(recipe.source, recipe.clip).open(first)
    try:
        if not frames.views:
            console.print(f"staged: about {mebibytes(SCENE_BYTES * len(plan.clips))}: places alone, no pictures")
            return
        camera = frames.views[0].camera
        views = len(frames.views) if recipe.media.views == "all" else 1
    finally:
        frames.close()
    scale = min(1.0, recipe.media.max_height / camera.height)
    bits = [b * 2 ** ((23 - recipe.media.crf) / CRF_OF_DOUBLE) for b in BITS_PER_PIXEL]
    num_frames = sum(c.num_frames for c in plan.clips)
    pixels = num_frames * views * camera.width * camera.height * scale**2
    teacher = 0
    if recipe.teacher.enabled:
        height, width = grid_of(camera, recipe.teacher)
        teacher = num_frames * height * width * CELL_BYTES
    low, high = (mebibytes(pixels * b / 8 + SCENE_BYTES * len(plan.clips) + teacher) for b in bits)
    size = f"{camera.width}x{camera.height}"
    console.print(f"staged: {low} to {high} for {num_frames} frames of {views} x {size} (an estimate from the "
                  f"first clip's size at {bits[0]:.2g} to {bits[1]:.2g} bit a pixel"
                  + (f"; {mebibytes(teacher)} of it teacher tensors), " if teacher else "), ") +
                  "and about as much again in the shards",
                  soft_wrap=True)
