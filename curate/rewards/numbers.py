"""Rewards of numbers: mean relative accuracy, regression, and the proper score of a stated interval."""

from __future__ import annotations

import math

from curate.questions.units import UNITS
from curate.questions.verifier import read_number
from curate.rewards.formulas import interval_reward, mean_relative_accuracy, relative_closeness
from curate.rewards.judged import reward
from curate.rewards.reading import interval
from curate.rewards.record import Record

LEVEL = 0.9  # of a stated interval, where the question names none


def truth_of(record: Record) -> float | None:
    """The true number in the question's unit: of a choice, that of its right option; None where it has none."""
    if record["value"] is not None and (record["answer_type"] == "number" or record["unit"]):
        return record["value"]
    return read_number(record["answer"], record["unit"]) if record["answer_type"] == "choice" else None


def given_number(text: str, record: Record) -> float | None:
    """The finite number that an answer states, in the question's unit."""
    given = read_number(text, record["unit"])
    return given if given is not None and math.isfinite(given) else None


@reward()
def mra(text: str, record: Record) -> float | None:
    """Mean relative accuracy of the number in the answer, converted to the question's unit.

    The floor of the relative error is the question's tolerance, or 5 cm, 5 cm/s, 1°, 0.1 s, 1 of a count.
    """
    truth = truth_of(record)
    if truth is None:
        return None
    given = given_number(text, record)
    return 0.0 if given is None else mean_relative_accuracy(given, truth, record.floor)


@reward()
def regression(text: str, record: Record) -> float | None:
    """1 − min(1, relative error), with the floor of `mra`."""
    truth = truth_of(record)
    if truth is None:
        return None
    given = given_number(text, record)
    return 0.0 if given is None else relative_closeness(given, truth, record.floor)


@reward()
def calibration(text: str, record: Record) -> float | None:
    """A proper score of the interval that the answer states ("1.5 to 2.1 m", "1.8 ± 0.3 m"); a bare number is one
    without width.

    The level is `extra["interval_level"]` of the record, 0.9 where it has none: what the question asks for, never
    what the answer claims. The scale does not depend on the truth, so that the score stays proper
    (`formulas.interval_reward`).
    """
    truth = truth_of(record)
    if truth is None:
        return None
    level = record["extra"].get("interval_level", LEVEL)
    if not (isinstance(level, float) and 0 < level < 1):
        raise ValueError(f"the record's extra['interval_level'] is {level!r}; expected a probability between 0 and 1")
    stated = interval(text, record["unit"])
    if stated is None:
        return 0.0
    return interval_reward(*stated, truth, level, _own_floor(record))


def _own_floor(record: Record) -> float:
    """The floor of the unit alone: the tolerance is the truth's, which the score may not depend on."""
    return Record({**record, "tolerance": None}).floor if record["unit"] in UNITS or not record["unit"] else 1.0
