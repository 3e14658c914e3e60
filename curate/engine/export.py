"""A run's last step: the new shard set to the address that the recipe names."""

from __future__ import annotations

from pathlib import Path

from curate.recipe import Recipe
from curate.shards.remote import publish_set


def export(out: Path, recipe: Recipe) -> str:
    """What was published, for people; "" where the recipe names no address.

    Raises:
        UrlError, StorageError: OUT/shards is whole all the same; `curate publish OUT URL` goes on.
    """
    return str(publish_set(out, recipe.shards.publish)) if recipe.shards.publish else ""
