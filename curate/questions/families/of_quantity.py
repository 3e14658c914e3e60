"""Families that ask for one quantity of one kind, as a number or by its category."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.quantity import Quantity
from curate.questions import gates
from curate.questions.claim import Category, Claim, Number
from curate.questions.families.base import Family, Item

if TYPE_CHECKING:
    from curate.questions.view import View


def no_slips(item: Item) -> Sequence[float]:
    return ()


@dataclass(frozen=True)
class QuantityFamily(Family):
    """A question about one kind of quantity: it makes a claim of each of the scene's quantities of that kind.

    Args:
        kind: `Quantity.kind` that it needs.
        subjects: number of regions.
        vocabulary: every category, in the words of the options.
        steps: item -> sentences of how the answer comes about, the last but the conclusion.
        slips: item -> ratios of plausible mistakes to the truth.
        instant: asked of one time rather than a span.
        moves: asked only of a motion that is clear of zero. signed: its number may be zero or less.
    """

    kind: str = ""
    subjects: int = 0
    vocabulary: tuple[str, ...] = ()
    steps: Callable[[Item], list[str]] = lambda item: []
    slips: Callable[[Item], Sequence[float]] = no_slips
    instant: bool = False
    moves: bool = True
    signed: bool = False

    def required(self, section: str) -> set[str]:
        """What every wording must state."""
        regions = {0: set(), 1: {"region"}, 2: {"region_a", "region_b"}}[self.subjects]
        return super().required(section) | regions | {"at" if self.instant else "span", "reference", "axes"}

    def make(self, view: View) -> Iterator[Claim]:
        """One claim a quantity of the kind."""
        for quantity in view.by_kind.get(self.kind, []):
            yield self._claim(view, quantity)

    def _claim(self, view: View, quantity: Quantity) -> Claim:
        refusal = gates.refusal(view.scene, self, quantity, view.config.max_p_zero) or ""
        number = category = None
        if not refusal:
            if self.dimension and np.ndim(quantity.value) == 0:
                number = Number(float(quantity.value), quantity.quantiles, self.dimension, self.signed, self.slips)
            if self.vocabulary:
                category = Category(*gates.likeliest(quantity, self.vocabulary), self.vocabulary)
        return Claim(quantity.subjects, quantity.span, quantity.frame, quantity.reference, number, category,
                     steps=self.steps, quantities=(quantity,), refusal=refusal)


def quantity_family(name: str, kind: str, subjects: int, dimension: str, axes: str,
                    steps: Callable[[Item], list[str]], *, forms: tuple[str, ...] = ("numeric", "choice"),
                    choice_of: str = "number", **more) -> QuantityFamily:
    """A family about the quantities of one kind; see `QuantityFamily`."""
    return QuantityFamily(name, forms=forms, choice_of=choice_of, dimension=dimension, axes=axes, kind=kind,
                          subjects=subjects, steps=steps, **more)
