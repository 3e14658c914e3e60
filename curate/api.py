"""The same steps as the command line's, as plain functions for a notebook.

Nothing here uses Ray but `run`, where `engine.kind` says so: "auto" takes it for two or more workers, "inline" never.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.recipe import Recipe, load_recipe
from curate.sources.base import BadInput, ClipSpec

if TYPE_CHECKING:
    from curate.engine.run import Summary
    from curate.measure.quantity import Quantity
    from curate.questions.question import Question
    from curate.scene import Scene


@dataclass(frozen=True)
class Clip:
    """A planned clip together with the recipe it belongs to."""

    spec: ClipSpec
    recipe: Recipe


def clips(recipe: Recipe | str | Path) -> list[Clip]:
    """The usable clips of a recipe, in the order of the plan.

    Raises:
        RecipeError, BadInput.
    """
    from curate.engine.plan import make_plan

    recipe = _recipe(recipe)
    return [Clip(spec, recipe) for spec in make_plan(recipe).clips]


def perceive(clip: Clip) -> Scene:
    """One clip in 4D, in this process.

    Raises:
        BadInput: where its media cannot be used.
    """
    from curate.perception import pipeline
    from curate.sources import make_source

    if not isinstance(clip, Clip):
        raise TypeError(f"perceive takes a Clip (see curate.clips), got {type(clip).__name__}")
    frames = make_source(clip.recipe.source, clip.recipe.clip).open(clip.spec)
    try:
        return pipeline.perceive(clip.spec, frames, clip.recipe.perception)
    finally:
        frames.close()


def ask(scene: Scene, quantities: list[Quantity] | None = None, **settings: Any) -> list[Question]:
    """Every question that can be asked of a scene; `settings` as under `questions:` in a recipe."""
    from curate.questions import QuestionsConfig
    from curate.questions import ask as ask_scene

    return ask_scene(scene, QuestionsConfig(**settings), quantities)[0]


def run(recipe: Recipe | str | Path, out: str | Path, *, retry: bool = False, quiet: bool = False) -> Summary:
    """As `curate run RECIPE --out OUT`. Raises RecipeError, BadInput, OutError, Fatal, AuditFailed."""
    from curate.engine import run as engine

    return engine.run(_recipe(recipe), out, retry=retry, quiet=quiet)


def _recipe(recipe: Recipe | str | Path) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)


__all__ = ["BadInput", "Clip", "ask", "clips", "perceive", "run"]
