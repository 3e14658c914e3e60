"""curate4d: stereo, multi-view and 4D video in; questions about metric space whose answers carry their error out.

In a notebook, without Ray:

    import curate
    recipe = curate.load_recipe("recipes/kitti_odometry.yaml", ["source.root=..."])
    clip = curate.clips(recipe)[0]
    scene = curate.perceive(clip)
    quantities = curate.measure(scene)
    questions = curate.ask(scene)
    curate.run(recipe, "OUT")
    for item in curate.shards.read("OUT/shards"): ...
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Clip": "curate.api", "clips": "curate.api", "perceive": "curate.api", "ask": "curate.api", "run": "curate.api",
    "load_recipe": "curate.recipe", "Recipe": "curate.recipe", "RecipeError": "curate.recipe",
    "Scene": "curate.scene", "Quantity": "curate.measure.quantity", "Question": "curate.questions.question",
    "BadInput": "curate.sources.base",
}
_FOLDERS = ("measure", "shards", "questions", "geometry", "recipe")
__all__ = [*_WHERE, *_FOLDERS]


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return import_module(f"curate.{name}")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")
