"""The recipe: what a user writes, checked before any work. Importing it loads no estimator and no codec."""

from curate.recipe.load import (
    RecipeError,
    is_of_dataset,
    is_of_mixture,
    is_of_training,
    load_checked,
    load_recipe,
    recipe_from_dict,
)
from curate.recipe.model import Recipe

__all__ = ["Recipe", "RecipeError", "is_of_dataset", "is_of_mixture", "is_of_training", "load_checked", "load_recipe",
           "recipe_from_dict"]
