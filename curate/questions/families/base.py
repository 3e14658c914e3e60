"""What a question family declares, and what it is given to speak of one quantity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from curate.measure.quantity import Quantity
from curate.questions.digits import decimals, text
from curate.questions.units import Unit
from curate.questions.wording import Paraphrase, load
from curate.scene import Scene

TEMPLATES = Path(__file__).parents[1] / "templates"
Related = Callable[[str, "tuple[int, int] | None"], "Quantity | None"]


@dataclass
class Item:
    """One quantity on its way to a question.

    Args:
        value: rounded answer in `unit` (nan for a category). answer: its text without unit, or the category.
        related: (kind, span or None for the same) -> another quantity of the same subjects, or None.
        words: fields of the wording (times, regions, reference, axes).
    """

    scene: Scene
    quantity: Quantity
    related: Related
    words: dict[str, str]
    unit: Unit | None = None
    value: float = math.nan
    num_digits: int = 2
    answer: str = ""

    @property
    def seconds(self) -> float:
        """Length of the span."""
        first, last = self.quantity.span
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


def no_slips(item: Item) -> Sequence[float]:
    return ()


@dataclass(frozen=True)
class Family:
    """A kind of question about one kind of quantity.

    Args:
        name: of the family. kind: `Quantity.kind` that it needs.
        subjects: number of regions.
        dimension: of its number: "length", "speed", "angle"; "" where it has none.
        forms: forms it can be asked in. choice_of: "number" or "category".
        vocabulary: every category, in the words of the options.
        instant: asked of one time rather than a span.
        metric: needs a scene whose scale is known. moves: asked only of a motion that is clear of zero.
        reference, axes: phrases; "" takes what the quantity says. `axes` may speak of {start}.
        slips: item -> ratios of plausible mistakes to the truth.
        steps: item -> sentences of how the answer comes about, the last but the conclusion.
        templates: YAML of its wording; None is `templates/NAME.yaml` of this package.
    """

    name: str
    kind: str
    subjects: int
    dimension: str
    axes: str
    steps: Callable[[Item], list[str]]
    forms: tuple[str, ...] = ("numeric", "choice")
    choice_of: str = "number"
    vocabulary: tuple[str, ...] = ()
    instant: bool = False
    metric: bool = True
    moves: bool = True
    signed: bool = False
    reference: str = ""
    slips: Callable[[Item], Sequence[float]] = no_slips
    templates: Path | None = field(default=None)

    def section(self, form: str) -> str:
        """Which wording a form takes: "number" or "category"."""
        return "number" if form == "numeric" else self.choice_of

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(sorted({self.section(form) for form in self.forms}))

    def required(self, section: str) -> set[str]:
        """What every wording must state."""
        regions = {0: set(), 1: {"region"}, 2: {"region_a", "region_b"}}[self.subjects]
        return regions | {"at" if self.instant else "span", "reference", "axes"} | (
            {"unit_name"} if section == "number" else set())

    def wording(self, section: str) -> tuple[Paraphrase, ...]:
        """
        Raises:
            TemplateError: where its templates leave the subset or do not state what they must.
        """
        return self._wordings[section]

    @cached_property
    def _wordings(self) -> dict[str, tuple[Paraphrase, ...]]:
        return load(self.templates or TEMPLATES / f"{self.name}.yaml", self.name,
                    {section: tuple(sorted(self.required(section))) for section in self.sections})


def ratio(other: float, value: float) -> tuple[float, ...]:
    """A slip to another measured value, where both are there."""
    return (other / value,) if math.isfinite(other) and other > 0 and value > 0 else ()
