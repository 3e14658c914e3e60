"""What a family could say of a scene, before it is a question: of whom, over which span, and how certain it is.

A claim carries one answer a form it can be asked in: a `Number` (numeric, or a choice among numbers), a `Category`
(a choice among names) or an `Open` answer (free text with a typed truth). Gates, rounding, options and wording are the
asker's (`curate.questions.asker`), the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate.measure.quantity import Quantity

# what an open answer is, and the metric that judges it (`curate.rewards`)
ANSWER_TYPES = ("number", "choice", "sequence", "span", "box", "points", "trajectory", "text", "json")
METRICS = ("mra", "accuracy", "sequence", "tiou", "iou", "pck", "facts", "st")


@dataclass(frozen=True)
class Number:
    """A number with its error.

    Args:
        value: in metres, seconds, radians or their rates; a plain number where `dimension` is "count".
        quantiles: of it, at `curate.measure.LEVELS`.
        dimension: of `curate.questions.units`, or "count".
        signed: may be zero or less.
        slips: item -> ratios of plausible mistakes to the truth.
    """

    value: float
    quantiles: tuple[float, ...]
    dimension: str
    signed: bool = False
    slips: Callable[[Any], Sequence[float]] | None = None


@dataclass(frozen=True)
class Category:
    """One of several names.

    Args:
        name: the likeliest.
        confidence: its probability, 0..1, from joint draws.
        vocabulary: every name that could be true here, `name` among them. The options are drawn from it, each subset
            with equal chance: every member must be as good an option as any other.
    """

    name: str
    confidence: float
    vocabulary: tuple[str, ...]


@dataclass(frozen=True)
class Open:
    """An answer in free text with a typed truth.

    Args:
        text: the model answer, as it should be written.
        target: JSON-serialisable truth that `metric` compares with: a list of run names for "sequence",
            [start_s, end_s] for "span", [x0, y0, x1, y1] px for "box", [[x, y], ..] or [[x, y, z, t], ..] for "points"
            and "trajectory", a list of facts for "text", an object for "json".
        kind: of ANSWER_TYPES. metric: of METRICS.
        lead: the sentence that says how to answer ("Answer with two times in seconds.").
        confidence: probability that all of it is so within the digits given.
    """

    text: str
    target: Any
    kind: str
    metric: str
    lead: str
    confidence: float = 1.0


@dataclass(frozen=True)
class Claim:
    """
    Args:
        subjects: region ids in the order of the question; empty for the camera or the whole clip.
        span: first and last frame; equal for an instant.
        frame: axes, as `Quantity.frame`. reference: reference point, as `Quantity.reference`.
        number, category, open: the answers it can give; None where it cannot.
        words: the family's own fields of the wording.
        steps: item -> the solver's sentences with the real numbers, all but the conclusion.
        quantities: what the answer rests on, the first the main one.
        variant: tells apart claims of one family on the same subjects and span; part of the question's id; of
            lower-case letters, digits and dots.
        refusal: why nothing may be asked; "" where it may. One of a few fixed texts, so that reasons can be counted.
        extra: more for the question's `extra`, JSON-serialisable.
        coordinates: of the open answer's text: (first character, one past the last, (x, y, z, t)) each, nan where a
            coordinate has no such part.
    """

    subjects: tuple[int, ...]
    span: tuple[int, int]
    frame: str
    reference: str = ""
    number: Number | None = None
    category: Category | None = None
    open: Open | None = None
    words: dict[str, str] = field(default_factory=dict)
    steps: Callable[[Any], Sequence[str]] = lambda item: ()
    quantities: tuple[Quantity, ...] = ()
    variant: str = ""
    refusal: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    coordinates: tuple[tuple[int, int, tuple[float, ...]], ...] = ()
