"""Scene and quantities to questions: gates, rounding, options, wording, steps. Depends on the clip and the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from curate.measure.quantity import Quantity
from curate.questions import gates, phrases, text_alone
from curate.questions.claim import Claim
from curate.questions.config import QuestionsConfig
from curate.questions.digits import round_to, settle, significant_digits, step, text
from curate.questions.draw import Draw
from curate.questions.families import Family, Item, QuantityFamily, families
from curate.questions.gates import MARK_FRAME, Dropped
from curate.questions.options import OptionSet, category_options, number_options
from curate.questions.own_words import paraphrases
from curate.questions.question import Question
from curate.questions.reasoning import state_of, task_of
from curate.questions.region_words import names_places
from curate.questions.units import COUNT, UNITS, Unit
from curate.questions.view import View
from curate.questions.wording import CHOICE_LEAD, Paraphrase, listed
from curate.scene import Scene

NUMBER_LEAD = "Give one number."


def ask(scene: Scene, config: QuestionsConfig | None = None,
        quantities: list[Quantity] | None = None) -> tuple[list[Question], list[Dropped]]:
    """Every question that may be asked of one clip, and what may not with its reason.

    Selection (`max_per_clip`, balance of answers, weights) looks at all clips and comes later: `balance.select`.

    Args:
        config: default settings where None.
        quantities: of the scene; measured here where None. Families that need others measure them.

    Returns:
        questions in the order of families, subjects, spans and forms; the same for the same scene and seed.
    """
    config = config or QuestionsConfig()
    if not scene.has_pictures and names_places(config.region_dialect):
        config = config.model_copy(update={"region_dialect": "<R1>"})  # there is no place in a picture to name
    is_complete = quantities is None  # what is not among them could not be measured
    chosen, known, draws = config.chosen(), families(), None
    if quantities is None:
        from curate.measure import SceneDraws, measure

        draws = SceneDraws(scene) if scene.num_frames > 1 else None
        kinds = [f.kind for f in map(known.get, chosen) if isinstance(f, QuantityFamily)]
        quantities = measure(scene, kinds=list(dict.fromkeys(kinds)) or None, draws=draws, wanted=lambda subjects, span:
                             gates.subject_refusal(scene, subjects, span) is None) if kinds else []
    view = View(scene, config, quantities, is_complete, draws)
    questions, dropped = [], []
    records: dict[int, dict] = {}  # of quantities, each written out once
    for name, forms in chosen.items():
        family = known[name]
        forms = [form for form in forms if form in family.forms]
        if not scene.has_pictures and name not in text_alone.FAMILIES:
            dropped += [Dropped(name, (), gates.NO_PICTURES, form, view.clip) for form in forms]
            continue
        if is_complete and isinstance(family, QuantityFamily):
            for form in forms:
                dropped += gates.unmeasured(scene, family, view.by_kind.get(family.kind, []), form)
        if forms:
            for claim in claims(view, family):
                for form in forms:
                    made = claim.refusal or _answered(view, family, claim, form, records)
                    if isinstance(made, Question):
                        questions.append(made)
                    elif made:
                        dropped.append(Dropped(name, tuple(claim.subjects), made, form, tuple(claim.span)))
    return questions, dropped


def claims(view: View, family: Family) -> Iterator[Claim]:
    """What a family could say of a scene; nothing metric of one whose scale is not known."""
    if view.scene.num_frames < 2:
        return
    if not isinstance(family, QuantityFamily) and gates.not_metric(view.scene, family):
        yield Claim((), view.clip, "", refusal=gates.NOT_METRIC)
        return
    yield from family.make(view)


def _answered(view: View, family: Family, claim: Claim, form: str, records: dict[int, dict]) -> Question | str:
    """The question, or the reason why there is none; "" where the claim has no answer of this form."""
    section = family.section(form)
    if getattr(claim, section) is None:
        return ""
    if section != "number" and not gates.certain(getattr(claim, section).confidence, view.config.min_confidence):
        return gates.UNCERTAIN
    return _Asker(view, family, claim, form, records).ask()


class _Asker:
    """One claim in one form."""

    def __init__(self, view: View, family: Family, claim: Claim, form: str, records: dict[int, dict]) -> None:
        self.view, self.scene, self.config, self.times = view, view.scene, view.config, view.times
        if claim.reference == "surface@t0" and claim.subjects and not claim.refusal:
            # of a clip played backwards it is another frame's
            reference = view.scene.region(claim.subjects[0]).reference
            claim = claim if reference == claim.reference else replace(claim, reference=reference)
        self.family, self.claim, self.form, self.records = family, claim, form, records
        self.section = family.section(form)
        subjects = "".join(f"r{i}" for i in claim.subjects) or "camera"
        first, last = claim.span
        variant = f".{claim.variant}" if claim.variant else ""
        self.id = f"{self.scene.key}-{family.name}-{subjects}.f{first}.f{last}{variant}-{form}"
        self.draw = Draw(self.id, self.config.seed)

    def ask(self) -> Question | str:
        """The question, or the reason why there is none."""
        if self.section == "number":
            return self._number()
        return self._open() if self.section == "open" else self._category()

    def _item(self, **known) -> Item:
        index, claim = self.view.index, self.claim

        def related(kind: str, span: tuple[int, int] | None) -> Quantity | None:
            return index.get((kind, tuple(claim.subjects), tuple(span or claim.span)))

        words = self.times.fields(*claim.span) | phrases.regions([*map(self.view.marked, claim.subjects)])
        words["reference"] = self.family.reference or phrases.REFERENCES.get(claim.reference, claim.reference)
        words["axes"] = self.family.axes.format(start=words["start"])
        words |= claim.words
        main = claim.quantities[0] if claim.quantities else None
        return Item(self.scene, main, related, words, span=claim.span, **known)

    def _number(self) -> Question | str:
        number = self.claim.number
        if number.dimension == "count":
            return self._count()
        unit = UNITS[self.draw.pick(getattr(self.config.units, number.dimension))]
        raw = float(number.value) * unit.factor
        quantiles = tuple(q * unit.factor for q in number.quantiles)
        if raw == 0 or not (number.signed or raw > 0):
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
            slips = number.slips(item) if number.slips else ()
            options = number_options(value, gap, num_digits, slips, self.config.num_options, self.draw)
            if options is None:
                return gates.CROWDED
        low, high = _outward(low, high, value, num_digits)
        return self._question(item, options, unit, value, low, high)

    def _count(self) -> Question | str:
        number = self.claim.number
        value = round(float(number.value))
        if round(number.quantiles[0]) != value or round(number.quantiles[8]) != value:
            return gates.UNCERTAIN
        item = self._item(unit=COUNT, value=float(value), num_digits=max(len(str(value)), 1), answer=str(value))
        return self._question(item, None, COUNT, float(value), float(value), float(value))

    def _category(self) -> Question:
        category = self.claim.category
        options = category_options(category.name, category.vocabulary, self.config.num_options, self.draw)
        return self._question(self._item(answer=category.name), options, None, math.nan, math.nan, math.nan)

    def _open(self) -> Question:
        return self._question(self._item(answer=self.claim.open.text), None, None, math.nan, math.nan, math.nan)

    def _question(self, item: Item, options: OptionSet | None, unit: Unit | None, value: float, low: float,
                  high: float) -> Question:
        family, claim, config = self.family, self.claim, self.config
        wordings = self._wordings()
        paraphrase = self.draw.pick(wordings if self.scene.has_pictures else text_alone.sayable(wordings, item.words))
        stem = paraphrase.render(item.words)
        asks_time = not claim.subjects and unit is not None and unit.dimension == "time"
        if config.state_duration and self.scene.has_pictures and not asks_time:
            stem = f"{phrases.LASTS.format(**item.words)} {stem}"
        texts = [] if options is None else [
            unit.text(text(v, item.num_digits)) if unit else v for v in options.values]
        letter = options.letter if options else ""
        is_open = self.form == "open"
        if not self.scene.has_pictures:
            stem = text_alone.unpictured(stem)
            stem = text_alone.table(self.view, claim.subjects, claim.span, " ".join([stem, *texts])) + stem
        tail = "\n".join([CHOICE_LEAD, listed(texts)]) if options else claim.open.lead if is_open else NUMBER_LEAD
        is_count = unit is COUNT
        tolerance = math.nan if unit is None else 0.0 if is_count else settle(
            max(high - value, value - low, step(value, item.num_digits) / 2))
        first, last = claim.span
        kind = claim.open.kind if is_open else "choice" if options else "number"
        metric = family.score or (claim.open.metric if is_open else "accuracy" if options else "mra")
        # rewards take the metric "st" for the centres of the target, where the record has no others
        state = {} if metric == "st" or not config.wants_state else state_of(
            self.view, claim.subjects, claim.extra.get("frames_until"))
        return Question(
            id=self.id, family=family.name, form=self.form, question=f"{stem}\n{tail}" if options else f"{stem} {tail}",
            options=texts, answer=texts[options.index] if options else item.answer, letter=letter, value=value,
            unit=unit.symbol if unit else "", low=low, high=high, tolerance=tolerance, frame=claim.frame,
            reference=claim.reference, start_s=self.times.seconds[first], end_s=self.times.seconds[last],
            start_frame=first, end_frame=last, regions=list(claim.subjects), mark_frame=MARK_FRAME,
            reasoning=list(self._steps(item, texts, letter, low, high)) if config.reasoning else [],
            quantities=[self._record(q) for q in claim.quantities], template=paraphrase.id, dialect=config.dialect,
            scale=self.scene.scale, answer_type=kind, metric=metric, task=task_of(self.id, config),
            target=claim.open.target if is_open else None,
            coordinates=[{"start": a, "end": b, "vector": list(vector)} for a, b, vector in claim.coordinates]
            if is_open else [],
            extra={"option_values": list(options.values) if options else [],
                   "num_digits": item.num_digits if unit else 0,
                   "recording": str(self.scene.clip.get("recording", self.scene.key)),
                   "clip": self.scene.key} | state | claim.extra)

    def _wordings(self) -> tuple[Paraphrase, ...]:
        own = self.config.wording.get(self.family.name, {}).get(self.section, ())
        if not own:
            return self.family.wording(self.section)
        words = paraphrases(self.family.name, self.section, own)
        return words if self.config.own_wording_only else (*self.family.wording(self.section), *words)

    def _record(self, quantity: Quantity) -> dict:
        """A quantity's record, which all questions about it share."""
        if id(quantity) not in self.records:
            self.records[id(quantity)] = quantity.to_json()
        return self.records[id(quantity)]

    def _steps(self, item: Item, texts: list[str], letter: str, low: float, high: float) -> Iterator[str]:
        yield from self.claim.steps(item)
        if item.unit and item.unit is not COUNT:
            yield (f"With 95 % confidence the value lies between {low} and {item.unit.text(str(high))}; rounded to "
                   f"what this error supports, the best estimate is {item.stated}.")
        if letter:
            yield f"This is option {letter}, {texts['ABCDE'.index(letter)]}."


def _outward(low: float, high: float, value: float, num_digits: int) -> tuple[float, float]:
    """The interval at a hundredth of the answer's last digit, never narrower than it was."""
    fine = step(value, num_digits) / 100
    places = max(round(-math.log10(fine)), 0)
    return round(math.floor(low / fine) * fine, places), round(math.ceil(high / fine) * fine, places)
