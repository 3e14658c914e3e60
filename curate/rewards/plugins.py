"""Rewards by name: those of this package, and what other packages give in the entry points `curate.rewards`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from curate.rewards.judged import Reward
from curate.rewards.table import REWARDS, SCORE


@cache
def _plugged() -> dict[str, Reward]:
    found: dict[str, Reward] = {}
    for entry in sorted(entry_points(group="curate.rewards"), key=lambda e: (e.name, e.value)):
        given = entry.load()
        if not callable(given):
            raise ValueError(f"entry point {entry.value!r} gives a {type(given).__name__}; expected a function "
                             "(answer, record) -> float")
        if entry.name in REWARDS or entry.name in found or entry.name == SCORE:
            raise ValueError(f"entry point {entry.value!r}: the reward {entry.name!r} exists already")
        found[entry.name] = given
    return found


def rewards() -> dict[str, Reward]:
    """Every reward by name.

    Raises:
        ValueError: where a plug-in's name is taken or it is no function.
    """
    return REWARDS | _plugged()
