"""True answers of question families that ask for more than one quantity: every file of this folder that has `ANSWERS`.

An independent twin of `curate.questions.families`: nothing here has been measured, and no code is shared with what is
judged. To add one: a function (Case) -> TrueAnswer in a file here, and its line in that file's `ANSWERS`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module

from curate.synth.answers.base import Case, TrueAnswer


@cache
def answers() -> dict[str, Callable[[Case], TrueAnswer]]:
    """Family name -> its true answer."""
    found: dict[str, Callable[[Case], TrueAnswer]] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for family, function in getattr(import_module(f"{__name__}.{module}"), "ANSWERS", {}).items():
            assert family not in found, f"two true answers for {family!r}"
            found[family] = function
    return found


__all__ = ["Case", "TrueAnswer", "answers"]
