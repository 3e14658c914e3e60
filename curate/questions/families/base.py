"""What a question family declares, and what its steps are told of one claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from curate.measure.quantity import Quantity
from curate.questions.claim import Claim
from curate.questions.digits import decimals, text
from curate.questions.units import Unit
from curate.questions.wording import Paraphrase, load
from curate.scene import Scene

if TYPE_CHECKING:
    from curate.questions.view import View

TEMPLATES = Path(__file__).parents[1] / "templates"
Related = Callable[[str, "tuple[int, int] | None"], "Quantity | None"]


@dataclass
class Item:
    """One claim on its way to a question: what steps and slips are told.

    Args:
        quantity: the main one behind it, None where there is none.
        value: rounded answer in `unit` (nan for a category). answer: its text without unit, or the category.
        related: (kind, span or None for the same) -> another quantity of the same subjects, or None.
        words: fields of the wording (times, regions, reference, axes).
    """

    scene: Scene
    quantity: Quantity | None
    related: Related
    words: dict[str, str]
    unit: Unit | None = None
    value: float = math.nan
    num_digits: int = 2
    answer: str = ""
    span: tuple[int, int] = (0, 0)

    @property
    def seconds(self) -> float:
        """Length of the span."""
        first, last = self.span
        return float(self.scene.time_s[last] - self.scene.time_s[first])

    @property
    def stated(self) -> str:
        """The answer with its unit."""
        return self.unit.text(self.answer) if self.unit else self.answer

    def number(self, inside: float) -> str:
        """An intermediate number (metres, m/s or rad) in the question's unit, one digit finer than the answer."""
        places = max(decimals(self.value, self.num_digits) + 1, 0)
        return f"{inside * self.unit.factor:.{places}f}"

    def agrees(self, inside: float) -> bool:
        """Whether a recomputed value, as printed, lies inside the stated interval or rounds to the answer."""
        low, high = (q * self.unit.factor for q in self.quantity.interval95)
        again = float(self.number(inside))
        return low <= again <= high or text(again, self.num_digits) == self.answer

    def median_step(self, length: float) -> list[str]:
        """From a length as computed from the points to the stated one, where they differ in the digits given."""
        if text(float(self.number(length)), self.num_digits) == self.answer:
            return []
        return [f"Noise lengthens a measured line; the median over its error, with that taken out, is "
                f"{self.number(float(self.quantity.value))} {self.unit.symbol}."]

    def other(self, kind: str, span: tuple[int, int] | None = None) -> float:
        """Value of another quantity of the same subjects; nan where there is none."""
        found = self.related(kind, span)
        return float(found.value) if found is not None else math.nan


@dataclass(frozen=True)
class Family:
    """A kind of question.

    Args:
        name: of the family.
        claims: view of a scene -> what it could say of it, in a fixed order.
        forms: forms it can be asked in: "numeric", "choice", "open".
        choice_of: what a choice is made of: "number" or "category".
        dimension: of its number: "length", "speed", "angle" ..., "count" for a plain number; "" where it has none.
        states: section of the wording ("number", "category", "open") -> fields that every wording of it must state.
        fields: declared fields of its wording beside `wording.FIELDS`.
        metric: needs a scene whose scale is known.
        score: name of the metric; "" takes "accuracy" for a choice, "mra" for a number, its own for an open answer.
        reference, axes: phrases; "" takes what the claim says. `axes` may speak of {start}.
        templates: YAML of its wording; None is `templates/NAME.yaml` of this package.
    """

    name: str
    claims: Callable[[View], Iterable[Claim]] | None = None
    forms: tuple[str, ...] = ("choice",)
    choice_of: str = "category"
    dimension: str = ""
    states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    metric: bool = True
    score: str = ""
    reference: str = ""
    axes: str = ""
    templates: Path | None = None

    def make(self, view: View) -> Iterable[Claim]:
        """What it can say of a scene."""
        return self.claims(view)

    def section(self, form: str) -> str:
        """Which wording a form takes: "number", "category" or "open"."""
        return {"numeric": "number", "open": "open"}.get(form, self.choice_of)

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(sorted({self.section(form) for form in self.forms}))

    def required(self, section: str) -> set[str]:
        """What every wording must state."""
        return set(self.states.get(section, ())) | ({"unit_name"} if section == "number" and self.dimension != "count"
                                                    else set())

    def wording(self, section: str) -> tuple[Paraphrase, ...]:
        """
        Raises:
            TemplateError: where its templates leave the subset or do not state what they must.
        """
        return self._wordings[section]

    @cached_property
    def _wordings(self) -> dict[str, tuple[Paraphrase, ...]]:
        return load(self.templates or TEMPLATES / f"{self.name}.yaml", self.name,
                    {section: tuple(sorted(self.required(section))) for section in self.sections}, self.fields)


def ratio(other: float, value: float) -> tuple[float, ...]:
    """A slip to another measured value, where both are there."""
    return (other / value,) if math.isfinite(other) and other > 0 and value > 0 else ()
