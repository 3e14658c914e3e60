"""Question families by name: our own in a plain dict, others through the entry point group `curate.families`.

To add one: a `Family` in a file of this folder, its templates in `../templates/NAME.yaml`, a line in `OWN`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from curate.questions.families import direction, displacement, distance, distance_change, path_length, rotation, speed
from curate.questions.families.base import Family, Item

OWN: dict[str, Family] = {family.name: family for family in (
    *displacement.FAMILIES, *path_length.FAMILIES, *speed.FAMILIES, *direction.FAMILIES, *rotation.FAMILIES,
    *distance.FAMILIES, *distance_change.FAMILIES)}


@cache
def families() -> dict[str, Family]:
    """Every installed family.

    Raises:
        ValueError: where a plug-in's name is taken or what it gives is not a Family.
    """
    found = dict(OWN)
    for entry in sorted(entry_points(group="curate.families"), key=lambda e: e.name):
        family = entry.load()
        if not isinstance(family, Family):
            raise ValueError(f"entry point {entry.value!r} gives a {type(family).__name__}; expected a Family")
        if family.name in found:
            raise ValueError(f"entry point {entry.value!r}: the family {family.name!r} exists already")
        found[family.name] = family
    return found


__all__ = ["OWN", "Family", "Item", "families"]
