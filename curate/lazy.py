"""Names of a package that load their module when first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, places: Mapping[str, str | None]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: its `__name__`.
        places: name -> the module below the package that has it; None: the name is such a module itself.

    Raises:
        AttributeError: by `__getattr__`, where the name is none of them.
    """
    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{places[name] or name}")
        return module if places[name] is None else getattr(module, name)

    return get, lambda: sorted({*vars(sys.modules[package]), *places})
