"""Published sets for trainers that read other layouts: `curate export OUT --to NAME`.

Exporters are found by listing `formats/` and by the entry points `curate.exporters`.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from curate.exporters import formats
from curate.exporters.base import Example, Exporter, MediaRefs

__all__ = ["Example", "Exporter", "MediaRefs", "exporters"]


@cache
def exporters() -> dict[str, Exporter]:
    """Every installed exporter by name.

    Raises:
        ValueError: where a plug-in's name is taken or what it gives is no Exporter.
    """
    found: dict[str, Exporter] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(formats.__path__)):
        for one in import_module(f"{formats.__name__}.{module}").EXPORTERS:
            assert one.name not in found, f"two exporters are called {one.name!r}"
            found[one.name] = one
    for point in entry_points(group="curate.exporters"):
        one = point.load()
        if not isinstance(one, Exporter):
            raise ValueError(f"entry point curate.exporters {point.name!r} gives {type(one).__name__}; "
                             "expected a curate.exporters.Exporter")
        if one.name in found:
            raise ValueError(f"entry point curate.exporters {point.name!r}: the name {one.name!r} is taken")
        found[one.name] = one
    return found
