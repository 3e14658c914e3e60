"""Strategies of teaching a student: sft, concat, pe, coords, p4d, on one interface (`base.Strategy`).

What answering needs beside the student: sft and p4d nothing; concat and pe the teacher, run on the frames; coords
depth, intrinsics and poses of the frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.train.p4d_config import StrategyConfig
from curate.train.strategies.base import Strategy

if TYPE_CHECKING:
    from curate.train.students.student import Student
    from curate.train.teacher.base import Teacher

__all__ = ["NEEDS_TEACHER", "Strategy", "make_strategy"]

NEEDS_TEACHER = frozenset({"concat", "pe", "p4d"})  # in training


def make_strategy(config: StrategyConfig, student: Student, teacher: Teacher | None = None) -> Strategy:
    """
    Args:
        config: which, and its settings.
        student: its hook is put on here where the strategy reads timestamps.
        teacher: of concat, pe and p4d; the others pass it over.

    Raises:
        ValueError: where a teacher is missing, or does not decode what is asked for.
    """
    if config.name in NEEDS_TEACHER and teacher is None:
        raise ValueError(f"strategy {config.name} needs a teacher: fit one with `curate train teacher RECIPE --out "
                         "DIR` and set teacher.path=DIR")
    if config.name == "p4d":
        from curate.train.strategies.distill import P4D

        return P4D(student, config.p4d, config.timestamps, teacher)
    if config.name in ("concat", "pe"):
        from curate.train.strategies.features import Concat, PositionalEncoding

        return (Concat if config.name == "concat" else PositionalEncoding)(student, config.timestamps, teacher)
    if config.name == "coords":
        from curate.train.strategies.coords import Coords

        return Coords(student, config.coords, config.timestamps)
    return Strategy(student, None, config.timestamps)
