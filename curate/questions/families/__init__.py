"""Question families by name: every file of this folder that has `FAMILIES`, and the entry points `curate.families`.

To add one: a file here with `FAMILIES = (Family(...),)`, its templates in `../templates/NAME.yaml`, a closed-form test.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from curate.questions.families.base import Family, Item
from curate.questions.families.of_quantity import QuantityFamily

FIRST = ("displacement", "path_length", "speed", "direction", "rotation", "distance", "distance_change")


def _own() -> dict[str, Family]:
    """Families of this folder, the first ones in the order they came to be, the others by file name."""
    files = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found: dict[str, Family] = {}
    for name in (*FIRST, *(name for name in files if name not in FIRST)):
        for family in getattr(import_module(f"{__name__}.{name}"), "FAMILIES", ()):
            assert family.name not in found, f"two families are called {family.name!r}"
            found[family.name] = family
    return found


OWN: dict[str, Family] = _own()


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


__all__ = ["OWN", "Family", "Item", "QuantityFamily", "families"]
