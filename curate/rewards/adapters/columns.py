"""Finds the truth of each sample among the columns that a trainer passes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.rewards.record import Record, as_record

# A column of whole records: objects, or their JSON text (which holds targets of any type in one column).
WHOLE = ("record", "solution", "ground_truth", "reward_model")
# Columns of `curate.questions.rft`, where a data set has those instead.
FLAT = ("answer_type", "metric", "answer", "unit", "value", "tolerance", "interval", "letter", "options", "target",
        "target_json", "extra", "extra_json", "family", "tags")


def record_from(value: Any) -> Record:
    """A record of what stands in one row: a record, its JSON text, or verl's {"ground_truth": ..}.

    Raises:
        ValueError: where it is none of them.
    """
    if isinstance(value, Mapping) and "ground_truth" in value:
        value = value["ground_truth"]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        value = value.tolist()
    if isinstance(value, (list, tuple)) and len(value) == 1:  # ms-swift's datasets may hold [solution]
        value = value[0]
    return as_record(value)


def records_of(columns: Mapping[str, Any], num: int) -> list[Record]:
    """One record a sample, from a column of whole records or from the columns of `curate.questions.rft`.

    Raises:
        ValueError: where there is neither, or a column has another number of rows.
    """
    for name in WHOLE:
        if columns.get(name) is not None:
            return [record_from(value) for value in _rows(columns[name], name, num)]
    flat = {name: _rows(columns[name], name, num) for name in FLAT if columns.get(name) is not None}
    if "answer_type" not in flat:
        raise ValueError(f"no column tells the truth: expected one of {', '.join(WHOLE)} with whole records, or those "
                         f"of curate.questions.rft (answer_type, ..); got {', '.join(sorted(columns)) or 'none'}")
    return [as_record({name: rows[i] for name, rows in flat.items()}) for i in range(num)]


def _rows(values: Any, name: str, num: int) -> Sequence[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise ValueError(f"column {name!r} is a {type(values).__name__}; expected a list with one entry a completion")
    if len(values) != num:
        raise ValueError(f"column {name!r} has {len(values)} rows for {num} completions")
    return values
