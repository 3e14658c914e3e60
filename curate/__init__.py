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

from curate.lazy import lazy_names

__version__ = "0.1.0"

_PLACES = {
    "Clip": "api", "clips": "api", "perceive": "api", "ask": "api", "run": "api", "load_recipe": "recipe",
    "Recipe": "recipe", "RecipeError": "recipe", "Scene": "scene", "Quantity": "measure.quantity",
    "Question": "questions.question", "BadInput": "sources.base",
    "measure": None, "shards": None, "questions": None, "geometry": None, "recipe": None,
}
__all__ = [*_PLACES]

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
