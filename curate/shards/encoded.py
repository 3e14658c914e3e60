"""A sample's json as the bytes that a shard holds, made once, from which questions can still be left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curate.shards import schema

_NO_QUESTIONS = '"qa":[]'


@dataclass(frozen=True)
class Encoded:
    """Canonical json with every candidate. `cuts`: where each question ends before the comma or bracket; the first
    number is where the first begins."""

    data: bytes
    cuts: tuple[int, ...]

    def keep(self, wanted: Sequence[bool]) -> bytes:
        """The json with some of its questions: what `schema.to_bytes` gives for a record with only those."""
        if len(wanted) != len(self.cuts) - 1:
            raise ValueError(f"{len(wanted)} marks for {len(self.cuts) - 1} questions")
        if all(wanted):
            return self.data
        starts = [self.cuts[0], *(end + 1 for end in self.cuts[1:-1])]
        kept = [self.data[a:b] for a, b, keep in zip(starts, self.cuts[1:], wanted) if keep]
        return self.data[:self.cuts[0]] + b",".join(kept) + self.data[self.cuts[-1]:]


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _dump(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def encode(record: dict[str, Any]) -> Encoded:
    """
    Args:
        record: of `sample.sample_json`, with every question that may be kept.

    Raises:
        ShardError: where it is not of the schema.
    """
    schema.validate(record, free=False)
    around = _dump(schema.canonical_sample({**record, "qa": []})).split(_NO_QUESTIONS.encode())
    assert len(around) == 2, "a field called qa beside the sample's own"
    questions = [_dump(schema.canonical_question(qa)) for qa in record["qa"]]
    head = around[0] + _NO_QUESTIONS[:-1].encode()
    cuts, at = [len(head)], len(head) - 1
    for question in questions:
        at += 1 + len(question)
        cuts.append(at)
    return Encoded(head + b",".join(questions) + _NO_QUESTIONS[-1:].encode() + around[1], tuple(cuts))
