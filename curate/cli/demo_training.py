"""The demo's scenes asked a second time, into shards that a small student can learn from within minutes."""

from __future__ import annotations

import os
import shutil
from importlib import resources
from pathlib import Path

NAME = "train_on_demo.yaml"


def training_set(out: Path) -> Path:
    """Makes OUT/train of OUT/run: the same scenes, their files linked, with questions and shards of their own.

    Args:
        out: of the demo, with data/recipe.yaml and run/.

    Returns:
        OUT/train, a run's folder, whose recipe is OUT/data/train.yaml.

    Raises:
        OutError: where the run has no scene.
    """
    from curate.engine.run import write_again
    from curate.recipe import load_recipe

    recipe = out / "data" / "train.yaml"
    asked = resources.files("curate.data").joinpath(NAME).read_text("utf-8")
    recipe.write_text(asked + "\n" + (out / "data" / "recipe.yaml").read_text("utf-8"), "utf-8")
    folder = out / "train"
    shutil.copytree(out / "run", folder, ignore=shutil.ignore_patterns("scenes", "shards", "preview", ".lease",
                                                                       "score.json", "questions.json"))
    shutil.copytree(out / "run" / "scenes", folder / "scenes", copy_function=_link)
    write_again(folder, load_recipe(recipe))
    return folder


def _link(source: str, target: str) -> None:
    """A scene's files never change; where the file system has no links, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
