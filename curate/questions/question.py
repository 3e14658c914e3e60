"""Question: what is asked, and everything needed to check or reword it. This is the `qa` record of a shard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curate.measure.quantity import plain_copy


@dataclass(frozen=True)
class Question:
    """One question of a clip. Every field is always present; the schema is frozen.

    Args:
        id: "{clip key}-{family}-{subjects}-{form}", unique in a shard set.
        family: name of the question family.
        form: "numeric" | "choice" | "open" (free text with a typed truth).
        question: text; a region is named by its mark, `<R` + id + `>`.
        options: texts of the choices; empty for numeric.
        answer: always text: the letter's option text for a choice, "1.8" for a number.
        letter: "A".. for a choice, "" else.
        value: the measured number in `unit` as asked (nan for a choice without number).
        unit: the unit stated in the question ("m", "m/s", "km/h", "°", "cm", ""), low, high: stated 95 % interval.
        tolerance: the half-width a verifier should allow at least, in `unit`.
        frame: axes, stated in the question. reference: reference point of the quantity.
        start_s, end_s: span asked about, seconds from the clip's start. start_frame, end_frame: frame indices.
        regions: ids of the marked regions, in the order of the question; region 3 is "<R3>" there and "R3" in the
            marked picture, which serves all questions of the clip. mark_frame: frame where the marks are drawn.
        reasoning: the solver's steps as sentences with the real numbers.
        quantities: the Quantity records the answer rests on.
        answer_type: of `claim.ANSWER_TYPES`. metric: of `claim.METRICS`, what judges an answer.
        target: typed truth of an open answer, None else (`claim.Open`).
        coordinates: of an open answer's text: {"start", "end", "vector"}, the characters that write a coordinate and
            its (x, y, z, t), nan where it has no such part.
        task: "answer", "reason" or "cold_start" (`reasoning`); "" leaves it to the training form.
    """

    id: str
    family: str
    form: str
    question: str
    options: list[str]
    answer: str
    letter: str
    value: float
    low: float
    high: float
    unit: str
    tolerance: float
    frame: str
    reference: str
    start_s: float
    end_s: float
    start_frame: int
    end_frame: int
    regions: list[int]
    mark_frame: int
    reasoning: list[str]
    quantities: list[dict[str, Any]]
    template: str = ""
    dialect: str = "seconds"
    scale: str = "calibrated"
    answer_type: str = "number"
    metric: str = "mra"
    task: str = ""
    target: Any = None
    coordinates: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {name: plain_copy(value) for name, value in vars(self).items()}
