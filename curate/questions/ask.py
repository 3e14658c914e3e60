"""Scene and quantities to questions: gates, rounding, options, wording, steps. Depends on the clip and the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from curate.measure.quantity import Quantity
from curate.questions import gates, phrases
from curate.questions.config import QuestionsConfig
from curate.questions.digits import round_to, settle, significant_digits, step, text
from curate.questions.draw import Draw
from curate.questions.families import Family, Item, families
from curate.questions.gates import MARK_FRAME, Dropped
from curate.questions.options import OptionSet, category_options, number_options
from curate.questions.question import Question
from curate.questions.units import UNITS, Unit
from curate.questions.wording import listed
from curate.scene import Scene

NUMBER_LEAD = "Give one number."
CHOICE_LEAD = "Answer with the letter of one option."


def ask(scene: Scene, config: QuestionsConfig | None = None,
        quantities: list[Quantity] | None = None) -> tuple[list[Question], list[Dropped]]:
    """Every question that may be asked of one clip, and what may not with its reason.

    Selection (`max_per_clip`, balance of answers, weights) looks at all clips and comes later: `balance.select`.

    Args:
        config: default settings where None.
        quantities: of the scene; measured here where None.

    Returns:
        questions in the order of families, subjects, spans and forms; the same for the same scene and seed.
    """
    config = config or QuestionsConfig()
    is_complete = quantities is None  # what is not among them could not be measured
    if quantities is None:
        from curate.measure import measure
        quantities = measure(scene, wanted=lambda subjects, span: gates.subject_refusal(scene, subjects, span) is None)
    quantities = [_settled(q) for q in quantities]
    index = {(q.kind, tuple(q.subjects), tuple(q.span)): q for q in quantities}
    by_kind: dict[str, list[Quantity]] = {}
    for quantity in quantities:
        by_kind.setdefault(quantity.kind, []).append(quantity)
    times = phrases.Times(scene, config.dialect)
    questions, dropped = [], []
    records: dict[int, dict] = {}  # of quantities, each written out once
    known = families()
    for name, forms in config.chosen().items():
        family = known[name]
        if is_complete:
            for form in (f for f in forms if f in family.forms):
                dropped += gates.unmeasured(scene, family, by_kind.get(family.kind, []), form)
        for quantity in by_kind.get(family.kind, []):
            for form in (f for f in forms if f in family.forms):
                made = _Asker(scene, config, index, times, family, quantity, form, records).ask()
                if isinstance(made, Question):
                    questions.append(made)
                else:
                    dropped.append(Dropped(name, tuple(quantity.subjects), made, form, tuple(quantity.span)))
    return questions, dropped


def _settled(quantity: Quantity) -> Quantity:
    """Without floating-point noise in what the gates and answers use."""
    value = quantity.value
    value = settle(value) if np.ndim(value) == 0 else [settle(float(x)) for x in value]
    p_zero = settle(quantity.p_zero) if math.isfinite(quantity.p_zero) else math.nan
    return replace(quantity, value=value, quantiles=tuple(settle(float(q)) for q in quantity.quantiles), p_zero=p_zero)


class _Asker:
    """One quantity in one form."""

    def __init__(self, scene: Scene, config: QuestionsConfig, index: dict, times: phrases.Times, family: Family,
                 quantity: Quantity, form: str, records: dict[int, dict]) -> None:
        self.scene, self.config, self.family, self.quantity, self.form = scene, config, family, quantity, form
        self.times, self.index, self.records = times, index, records
        self.section = family.section(form)
        subjects = "".join(f"r{i}" for i in quantity.subjects) or "camera"
        first, last = quantity.span
        self.id = f"{scene.key}-{family.name}-{subjects}.f{first}.f{last}-{form}"
        self.draw = Draw(self.id, config.seed)

    def ask(self) -> Question | str:
        """The question, or the reason why there is none."""
        refusal = gates.refusal(self.scene, self.family, self.quantity, self.config.max_p_zero)
        return refusal or (self._number() if self.section == "number" else self._category())

    def _item(self, **known) -> Item:
        kind_index, own = self.index, self.quantity

        def related(kind: str, span: tuple[int, int] | None) -> Quantity | None:
            return kind_index.get((kind, tuple(own.subjects), tuple(span or own.span)))

        words = self.times.fields(*own.span) | phrases.regions(own.subjects, self.config)
        words["reference"] = self.family.reference or phrases.REFERENCES[own.reference]
        words["axes"] = self.family.axes.format(start=words["start"])
        return Item(self.scene, own, related, words, **known)

    def _number(self) -> Question | str:
        unit = UNITS[self.draw.pick(getattr(self.config.units, self.family.dimension))]
        raw = float(self.quantity.value) * unit.factor
        quantiles = tuple(q * unit.factor for q in self.quantity.quantiles)
        if raw == 0:
            return gates.STILL
        low, high = quantiles[1], quantiles[7]
        relative = settle(gates.relative_half_width(raw, quantiles))
        num_digits = significant_digits(relative)
        value = round_to(raw, num_digits)
        item = self._item(unit=unit, value=value, num_digits=num_digits, answer=text(value, num_digits))
        item.words |= {"unit": unit.symbol, "unit_name": unit.name}
        options = None
        if self.form == "numeric":
            if refusal := gates.number_refusal(relative, self.config.max_relative_half_width):
                return refusal
        else:
            gap = settle(gates.option_gap(value, quantiles)) if value > 0 else math.inf
            options = number_options(value, gap, num_digits, self.family.slips(item), self.config.num_options,
                                     self.draw)
            if options is None:
                return gates.CROWDED
        low, high = _outward(low, high, value, num_digits)
        return self._question(item, options, unit, value, low, high)

    def _category(self) -> Question | str:
        category = gates.category(self.quantity, self.family.vocabulary, self.config.min_confidence)
        if category is None:
            return gates.UNCERTAIN
        options = category_options(category, self.family.vocabulary, self.config.num_options, self.draw)
        return self._question(self._item(answer=category), options, None, math.nan, math.nan, math.nan)

    def _question(self, item: Item, options: OptionSet | None, unit: Unit | None, value: float, low: float,
                  high: float) -> Question:
        family, quantity, config = self.family, self.quantity, self.config
        paraphrase = self.draw.pick(family.wording(self.section))
        stem = paraphrase.render(item.words)
        texts = [] if options is None else [
            unit.text(text(v, item.num_digits)) if unit else v for v in options.values]
        letter = options.letter if options else ""
        tail = "\n".join([CHOICE_LEAD, listed(texts)]) if options else NUMBER_LEAD
        tolerance = settle(max(high - value, value - low, step(value, item.num_digits) / 2)) if unit else math.nan
        first, last = quantity.span
        return Question(
            id=self.id, family=family.name, form=self.form, question=f"{stem}\n{tail}" if options else f"{stem} {tail}",
            options=texts, answer=texts[options.index] if options else item.answer, letter=letter, value=value,
            unit=unit.symbol if unit else "", low=low, high=high, tolerance=tolerance, frame=quantity.frame,
            reference=quantity.reference, start_s=self.times.seconds[first], end_s=self.times.seconds[last],
            start_frame=first, end_frame=last, regions=list(quantity.subjects), mark_frame=MARK_FRAME,
            reasoning=list(self._steps(item, texts, letter, low, high)) if config.reasoning else [],
            quantities=[self._record()], template=paraphrase.id, dialect=config.dialect, scale=self.scene.scale,
            extra={"option_values": list(options.values) if options else [],
                   "num_digits": item.num_digits if unit else 0,
                   "recording": str(self.scene.clip.get("recording", self.scene.key)),
                   "clip": self.scene.key})

    def _record(self) -> dict:
        """The quantity's record, which all questions about it share."""
        if id(self.quantity) not in self.records:
            self.records[id(self.quantity)] = self.quantity.to_json()
        return self.records[id(self.quantity)]

    def _steps(self, item: Item, texts: list[str], letter: str, low: float, high: float) -> Iterator[str]:
        yield from self.family.steps(item)
        if item.unit:
            yield (f"With 95 % confidence the value lies between {low} and {high} {item.unit.symbol}; rounded to what "
                   f"this error supports, the best estimate is {item.stated}.")
        if letter:
            yield f"This is option {letter}, {texts['ABCDE'.index(letter)]}."


def _outward(low: float, high: float, value: float, num_digits: int) -> tuple[float, float]:
    """The interval at a hundredth of the answer's last digit, never narrower than it was."""
    fine = step(value, num_digits) / 100
    places = max(round(-math.log10(fine)), 0)
    return round(math.floor(low / fine) * fine, places), round(math.ceil(high / fine) * fine, places)
