"""How a reward is made of a reading and a formula: the same signature for all, per sample, always a number in 0..1."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

from curate.rewards.record import Record, Source, answer_of, as_record, as_text


class Reward(Protocol):
    """answer text, record -> 0..1, or None where the record has nothing that this reward could compare with."""

    def __call__(self, answer: Any, record: Source) -> float | None: ...


def reward(whole: bool = False) -> Callable[[Callable[[str, Record], float | None]], Reward]:
    """Decorates (text, Record) -> number: any form of record and answer is taken, and the number is held in 0..1.

    Args:
        whole: the text with its thinking; else what stands in the answer tags.
    """
    def decorate(function: Callable[[str, Record], float | None]) -> Reward:
        @wraps(function)
        def judged(answer: Any, record: Source) -> float | None:
            text, known = as_text(answer), as_record(record)
            found = function(text if whole else answer_of(text, known), known)
            if found is None:
                return None
            return min(max(float(found), 0.0), 1.0) if math.isfinite(found) else 0.0
        return judged
    return decorate
