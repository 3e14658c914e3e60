"""A run's last step: the new shard set to the address that the recipe names."""

from __future__ import annotations

from pathlib import Path

from curate.recipe import Recipe
from curate.shards.errors import ShardError
from curate.shards.remote import publish_set
from curate.storage import StorageError


def export(out: Path, recipe: Recipe) -> tuple[str, str]:
    """What was published, and why it was not, for people; both "" where the recipe names no address.

    A store that fails spoils no run: OUT/shards is whole by then, and `curate publish` goes on from there.
    """
    if not recipe.shards.publish:
        return "", ""
    try:
        return str(publish_set(out, recipe.shards.publish)), ""
    except (StorageError, ShardError) as error:
        return "", f"{error}. OUT/shards is whole; `curate publish {out} {recipe.shards.publish}` goes on"
