"""The demo's scenes asked a second time, into shards that a small student can learn from within minutes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from importlib import resources
from pathlib import Path

NAME = "train_on_demo.yaml"
SHARE = "val_share: 0.34"  # as it stands there; of a few recordings a hash may hold out none, or all


def training_set(out: Path) -> Path:
    """Makes OUT/train of OUT/run: the same scenes, their files linked, with questions and shards of their own.

    Args:
        out: of the demo, with data/recipe.yaml and run/.

    Returns:
        OUT/train, a run's folder, whose recipe is OUT/data/train.yaml.

    Raises:
        OutError: where the run has no scene.
    """
    import pyarrow.parquet as pq

    from curate.engine.run import write_again
    from curate.recipe import load_recipe

    recipe = out / "data" / "train.yaml"
    asked = resources.files("curate.data").joinpath(NAME).read_text("utf-8")
    assert SHARE in asked, f"{NAME} no longer says {SHARE}"
    recordings = pq.read_table(out / "run" / "shards" / "samples.parquet", columns=["recording"])["recording"]
    asked = asked.replace(SHARE, f"val_share: {share_of(set(recordings.to_pylist())):.9g}")
    recipe.write_text(asked + "\n" + (out / "data" / "recipe.yaml").read_text("utf-8"), "utf-8")
    folder = out / "train"
    shutil.copytree(out / "run", folder, ignore=shutil.ignore_patterns("scenes", "shards", "preview", ".lease",
                                                                       "score.json", "questions.json"))
    shutil.copytree(out / "run" / "scenes", folder / "scenes", copy_function=_link)
    write_again(folder, load_recipe(recipe))
    return folder


def share_of(recordings: Collection[str], wanted: float = 1 / 3) -> float:
    """The val_share that holds out a third of these recordings, at least one and not all; 0 where there is only one."""
    from curate.shards.writer import place_of

    places = sorted(map(place_of, recordings))
    if len(places) < 2:
        return 0.0
    held_out = min(max(1, round(wanted * len(places))), len(places) - 1)
    return (places[held_out - 1] + places[held_out]) / 2


def _link(source: str, target: str) -> None:
    """A scene's files never change; where the file system has no links, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
