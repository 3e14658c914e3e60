"""`curate replay`: one clip again, in this process, up to a stage, with pictures of that stage."""

from __future__ import annotations

import difflib
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.errors import FAILURE
from curate.cli.options import Command, out_argument, set_option

if TYPE_CHECKING:
    from curate.recipe import Recipe
    from curate.sources.base import ClipSpec

STAGES = ("depth", "flow", "camera", "regions", "lift", "questions")
SHORTEST = 4  # characters of a key that name a clip


@click.command(cls=Command, short_help="Perceive one clip again, up to a stage, and look at it.")
@out_argument
@click.argument("key", metavar="KEY")
@click.option("--stage", type=click.Choice(STAGES), default="questions", show_default=True,
              help="How far to go; what this stage gives is written.")
@click.option("--to", "folder", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Where pictures and arrays go; default: replay/KEY-STAGE here.")
@set_option
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="A picture for each n-th frame.")
@click.pass_context
def command(ctx: click.Context, out: Path, key: str, stage: str, folder: Path | None, overrides: tuple[str, ...],
            every: int) -> None:
    """Run one clip of OUT again in this process, up to a stage, with the full traceback where it fails.

    KEY is the clip's key, its first characters, or its uri (as `quarantine.jsonl` and the previews show them). OUT is
    only read, so a run may go on meanwhile; the recipe is the one OUT was made with, and --set tries another value.

    \b
    What is written:
      depth      depth in colour, sigma as a share of depth (blue 0, red 20 %), depth_*.npz (metres)
      flow       direction as hue, length as strength, flow_*.npz (pixels a frame)
      camera     camera.csv (pose and sigma of each frame), camera.jpg (the path from above)
      regions    outlines, what moves in red, regions_*.npz (ids, chi-square)
      lift       scene.npz, regions.csv, marked.jpg
      questions  as lift, and questions.json: what is asked, and why no more

    \b
    Examples:
      curate replay out/mine 0d86cf --stage depth
      curate replay out/mine garden.mp4 --stage regions --every 8 --to /tmp/garden
      curate replay out/mine 0d86cf --stage depth --set perception.depth.num_disparities=128

    \b
    Exit codes: 0 done, 1 the clip fails (the traceback is on stderr), 2 bad request.
    """
    from rich.table import Table

    from curate.cli.console import make_console
    from curate.engine.replay import replay
    from curate.sources import make_source

    recipe = _recipe(out, overrides)
    clip, told = find_clip(out, key, recipe)
    folder = folder or Path("replay") / f"{clip.key}-{stage}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.UsageError(f"{folder} is there already; name another folder with --to, or remove it")
    console, timings = make_console(), {}
    console.print(f"{clip.uri}, {clip.num_frames} frames from {clip.start} ({clip.key}){f': {told}' if told else ''}",
                  markup=False, soft_wrap=True)
    try:
        written = replay(clip, make_source(recipe.source, recipe.clip), recipe, stage, folder, every, timings)
    except Exception as error:
        traceback.print_exception(error)
        click.echo(f"error: {clip.uri} fails before the end of {stage}: {type(error).__name__}: "
                   f"{' '.join(str(error).split())}", err=True)
        ctx.exit(FAILURE)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("ms a frame", justify="right")
    for name, seconds in timings.items():
        table.add_row(name, f"{seconds:.3f}", f"{1000 * seconds / max(clip.num_frames, 1):.1f}")
    table.add_row("all", f"{sum(timings.values()):.3f}",
                  f"{1000 * sum(timings.values()) / max(clip.num_frames, 1):.1f}", style="bold")
    console.print(table)
    console.print(f"{len(written)} files in {folder}: {', '.join(written[:4])}{' ...' if len(written) > 4 else ''}",
                  markup=False, soft_wrap=True)


def _recipe(out: Path, overrides: tuple[str, ...]) -> Recipe:
    """The recipe OUT was made with, with another value here and there.

    Raises:
        OutError, RecipeError.
    """
    from curate.engine.ledger import RUN, OutError
    from curate.recipe import recipe_from_dict

    try:
        recipe = json.loads((out / RUN).read_text())["recipe"]
        if not isinstance(recipe, dict):
            raise TypeError
    except FileNotFoundError:
        raise OutError(f"{out}: not a run's folder (no {RUN}); `curate run` makes one") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise OutError(f"{out / RUN}: not a run's description; `curate run` with the same recipe writes it") from None
    return recipe_from_dict(recipe, overrides)


def find_clip(out: Path, key: str, recipe: Recipe) -> tuple[ClipSpec, str]:
    """The clip that a key, the beginning of one, or a uri names; and what is known against it.

    A staged clip says itself what it is; any other is looked for in the source.

    Raises:
        click.UsageError: where none or several fit; lists what comes close.
        BadInput: where the source cannot be planned.
    """
    from curate.scene import Scene
    from curate.sources import make_source
    from curate.sources.base import ClipSpec

    staged = [p.parent for p in (out / "scenes").glob("[!.]*/scene.npz")]
    fitting = [p for p in staged if p.name == key or (len(key) >= SHORTEST and p.name.startswith(key))]
    if len(fitting) == 1:
        return ClipSpec(**Scene.load(fitting[0] / "scene.npz").clip), ""
    found: dict[str, tuple[ClipSpec, str]] = {}
    known: list[str] = [p.name for p in staged]
    for item in make_source(recipe.source, recipe.clip).plan():
        clip, told = item if isinstance(item, tuple) else (item, "")
        known += [clip.key, clip.uri]
        if key in (clip.key, clip.uri) or (len(key) >= SHORTEST and clip.key.startswith(key)):
            found[clip.key] = clip, told
            if clip.key == key:
                break
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        clips = ", ".join(f"{clip.key} ({clip.uri} from frame {clip.start})" for clip, _ in list(found.values())[:6])
        raise click.UsageError(f"{key!r} names {len(found)} clips: {clips}; give the key of one")
    close = list(dict.fromkeys(difflib.get_close_matches(key, known, 3, 0.6)))
    hint = f"; close to it: {', '.join(close)}" if close else f"; there are {', '.join(known[:3])} ..." if known else ""
    raise click.UsageError(f"no clip {key!r} in {out} or its source{hint}")
