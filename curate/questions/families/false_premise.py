"""Questions whose premise may be false: which way, or how far, does the object with this mark move?

It may stand still (as `motion_state` defines it), and there may be no object with that mark. One wording and one set of
possible options, whatever is true: eight names, six ways (or lengths), "it does not move" and "no object has this
mark", of which four are shown, each set with equal chance. So that their being offered tells nothing, the false
premises of a clip are thinned by lot until each name is right as often as it would be by chance: one of each kind for
six ordinary questions. Lengths are rungs of a ladder on which the true one has any place; a false premise borrows the
ladder of something in the clip that moves, and a mark that is on nothing has the next number or one that was passed
over. Gates: stillness and motion beyond doubt, the direction in 99 % of the joint draws, rungs clear of the error.
Metric: accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curate.questions import gates, region_words
from curate.questions.claim import Category, Claim
from curate.questions.digits import round_to, settle, significant_digits, text
from curate.questions.draw import Draw
from curate.questions.families import groups
from curate.questions.families.base import Family
from curate.questions.families.direction import CAMERA_AXES, IN_SPACE
from curate.questions.families.motion_state import RULE, SHARE, farthest, object_moves
from curate.questions.phrases import WORLD
from curate.questions.units import UNITS

if TYPE_CHECKING:
    from curate.questions.view import View

STILL, ABSENT = "it does not move", region_words.ABSENT
SPARE = "left out, so that no option is likelier than another"
RUNGS, RATIO = 6, 1.6  # of a ladder of lengths, as many as there are directions
Span = tuple[int, int]


@dataclass(frozen=True)
class Ordinary:
    """A question with a true premise, and the names that its object could be given."""

    claim: Claim
    names: tuple[str, ...]


def lot(share: float, stream: Draw) -> int:
    """A whole number whose expectation is `share`."""
    return math.floor(share + stream.uniform())


def claims(view: View) -> Iterator[Claim]:
    spans = {r.id: view.spans(r) for r in view.rigid}
    state = {(i, span): object_moves(view, i, span) for i in spans for span in spans[i]}
    for asked in ("direction", "length") if groups.is_metric(view) else ("direction",):
        made = [(_direction if asked == "direction" else _length)(view, i, span)
                for (i, span), moves in state.items() if moves]
        yield from (one.claim for one in made)
        sure = [one for one in made if not one.claim.refusal
                and gates.certain(one.claim.category.confidence, view.config.min_confidence)]
        stream = groups.draw(view, "false premise", asked)
        number = len(sure) / RUNGS
        still = stream.shuffled([place for place, moves in state.items() if moves is False])
        kept = lot(number, stream)
        for n, (i, span) in enumerate(still):
            names = stream.pick(sure).names if sure else ()
            yield _still(view, i, span, asked, names, "" if n < kept and names else SPARE)
        if view.config.region_dialect in groups.MARK_DIALECTS:
            for n in range(lot(number, stream)):
                yield _absent(view, stream, stream.pick(sure), asked, n)


def _names(view: View, names: Sequence[str]) -> tuple[str, ...]:
    """Whatever could be answered, the false premises among them."""
    return (*names, STILL, *((ABSENT,) if view.config.region_dialect in groups.MARK_DIALECTS else ()))


def _words(view: View, span: Span, asked: str) -> dict[str, str]:
    start = view.at(span[0])
    axes = "with the camera's own motion taken out, " + CAMERA_AXES.format(start=start)
    return {"asked": asked, "rule": RULE.format(start=start), "axes": axes if asked == "direction" else WORLD}


def _claim(view: View, i: int, span: Span, asked: str, category: Category, **more) -> Claim:
    return Claim((i,), span, f"camera@{span[0]}" if asked == "direction" else "world", view.scene.region(i).reference,
                 category=category, words=_words(view, span, asked), variant=asked, **more)


def _direction(view: View, i: int, span: Span) -> Ordinary:
    found = view.quantity("object_direction", (i,), span)
    name, share = gates.likeliest(found, IN_SPACE)
    return Ordinary(_claim(view, i, span, "direction", Category(name, share, _names(view, IN_SPACE)),
                           steps=lambda item: _moved(view, i, span, f"Its displacement points {name} most."),
                           quantities=(found,)), IN_SPACE)


def _length(view: View, i: int, span: Span) -> Ordinary:
    found = view.quantity("object_displacement", (i,), span)
    stream = groups.draw(view, "ladder", i, *span)
    unit = UNITS[stream.pick(view.config.units.length)]
    value = float(found.value) * unit.factor
    quantiles = tuple(q * unit.factor for q in found.quantiles)
    if not (value > 0 and gates.option_gap(value, quantiles) <= math.log(RATIO)):
        return Ordinary(Claim((i,), span, "world", refusal=gates.CROWDED, variant="length"), ())
    digits = significant_digits(settle(gates.relative_half_width(value, quantiles)))
    place = stream.integer(RUNGS)
    names = tuple(unit.text(text(round_to(value * RATIO ** (k - place), digits), digits)) for k in range(RUNGS))
    return Ordinary(_claim(view, i, span, "length", Category(names[place], 1.0, _names(view, names)),
                           steps=lambda item: _moved(view, i, span, f"Its displacement is {names[place]} long."),
                           quantities=(found,)), names)


def _moved(view: View, i: int, span: Span, so: str) -> list[str]:
    share = farthest(view, [i], span)[0].rsplit(" ", 2)[1]
    return [f"{view.mark(i)} gets up to {share} % of its distance to the camera away from its place, which is "
            f"{'more' if float(share) > 100 * SHARE else 'not more'} than 2 %.", so]


def _still(view: View, i: int, span: Span, asked: str, names: tuple[str, ...], refusal: str) -> Claim:
    return _claim(view, i, span, asked, Category(STILL, 1.0, _names(view, names)), refusal=refusal,
                  steps=lambda item: _moved(view, i, span, "So it counts as standing still."))


def _absent(view: View, stream: Draw, one: Ordinary, asked: str, n: int) -> Claim:
    """About a mark that is on nothing: a number among those in use, or the next."""
    used = {r.id for r in view.scene.regions if r.seen[gates.MARK_FRAME]}
    mark = stream.pick([i for i in range(1, max(used) + 2) if i not in used])
    like = region_words.of_scene(view.scene, view.scene.region(one.claim.subjects[0]))
    named = replace(like, id=mark)  # what it is called must not tell either
    dialect = view.config.region_dialect
    words = one.claim.words | {"region": region_words.long(named, dialect)}
    short = region_words.short(named, dialect)
    return replace(one.claim, subjects=(), category=Category(ABSENT, 1.0, _names(view, one.names)), words=words,
                   variant=f"{asked}.absent{mark}.{n}", quantities=(), extra={"absent": mark},
                   steps=lambda item: [f"In the {region_words.marked_where(dialect)} no object is marked {short}."])


FAMILIES = (
    Family("false_premise", claims, fields=("asked", "rule"), metric=False,
           states={"category": ("region", "span", "reference", "axes", "asked", "rule")}),
)
