"""May it be asked? Every gate is here, and every refusal is a record with its reason.

In their order: is there a quantity (`unmeasured`), may it be asked at all (`refusal`), is it clear of zero and narrow
enough for a number (`number_refusal`), is its category certain (`likeliest`, `certain`), and do options stand clear of
its error (`option_gap`). What is left out later, among questions that may be asked, is `balance`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.measure.quantity import Quantity
from curate.scene import Region, Scene

if TYPE_CHECKING:
    from curate.questions.families.of_quantity import QuantityFamily as Family

NOT_METRIC = "the scene's scale is not metric"
NOT_VISIBLE = "not visible in the marked frame"
NOT_KNOWN = "region unknown to the scene"
NOT_RIGID = "its parts move against each other"
NOT_NAMED = "its reference point is defined between the first and the last frame"
NOT_FINITE = "no finite value"
NOT_MEASURED = "seen too briefly to be measured"
STILL = "not clear of zero"
WIDE = "95 % interval too wide for a number"
UNCERTAIN = "category not certain"
CUT_OFF = "reaches the image's edge"
CROWDED = "options would not stand clear of the error"
NO_PICTURES = "a matter of pictures, and the clip has none"

METRIC_SCALES = ("calibrated", "predicted", "assumed")
MARK_FRAME = 0  # where regions are marked, and where they must be seen
NORMAL_TAIL = 2.5758 / 1.96  # 99 % interval of a normal distribution over its 95 % one


@dataclass(frozen=True)
class Dropped:
    """A question that is not asked. `reason` is one of a few fixed texts, so that reasons can be counted."""

    family: str
    subjects: tuple[int, ...]
    reason: str
    form: str = ""
    span: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def unmeasured(scene: Scene, family: Family, measured: Sequence[Quantity], form: str) -> Iterator[Dropped]:
    """What the family could speak of in this scene, had it been measured.

    Args:
        measured: every quantity of the family's kind.
    """
    ids = [region.id for region in scene.regions]
    known = {tuple(quantity.subjects) for quantity in measured}
    span = (0, scene.num_frames - 1)
    for subjects in combinations(ids, family.subjects):
        if subjects in known or subjects[::-1] in known:
            continue
        hidden = any(not scene.region(i).seen[MARK_FRAME] for i in subjects)
        reason = NOT_METRIC if not_metric(scene, family) else NOT_VISIBLE if hidden else NOT_MEASURED
        yield Dropped(family.name, subjects, reason, form, span)


def not_metric(scene: Scene, family: Family) -> bool:
    """Whether the family speaks of metres in a scene whose scale is not known."""
    return family.metric and scene.scale not in METRIC_SCALES


def refusal(scene: Scene, family: Family, quantity: Quantity, max_p_zero: float) -> str | None:
    """Why nothing may be asked of a quantity, or None."""
    if not_metric(scene, family):
        return NOT_METRIC
    if reason := subject_refusal(scene, quantity.subjects, quantity.span):
        return reason
    if not np.isfinite(quantity.value).all() or not all(map(math.isfinite, quantity.quantiles)):
        return NOT_FINITE
    if family.moves and not moves(quantity, max_p_zero):
        return STILL
    if family.dimension and np.ndim(quantity.value) == 0 and not family.signed and not quantity.value > 0:
        return STILL
    return None


def subject_refusal(scene: Scene, subjects: Sequence[int], span: tuple[int, int]) -> str | None:
    """Why nothing may be asked of these regions over this span, whatever is measured of them, or None."""
    for subject in subjects:
        region = next((region for region in scene.regions if region.id == subject), None)
        if region is None:
            return NOT_KNOWN
        if not region.seen[MARK_FRAME]:
            return NOT_VISIBLE
        if not is_named(scene, region):
            return NOT_NAMED
        if not region.rigid and set(span) != {region.defined_at}:
            return NOT_RIGID  # the reference point goes with none of its parts
    return None


def is_named(scene: Scene, region: Region) -> bool:
    """Whether the wording can say where its reference point is: on the surface that the marked frame shows, or, of a
    clip played backwards, the last frame."""
    return region.defined == "first" or region.point == "cuboid" or region.last == scene.num_frames - 1


def cut_off(scene: Scene, region_id: int, frame: int) -> bool:
    """Whether a region's box reaches the image's edge (or is not known): then what is seen of the object is not all
    that faces the camera, and changes with its place."""
    if not scene.has_pictures:
        return False
    x0, y0, x1, y1 = scene.region(region_id).box[frame]
    return not (x0 > 1 and y0 > 1 and x1 < scene.camera.width - 1 and y1 < scene.camera.height - 1)


def relative_half_width(value: float, quantiles: Sequence[float]) -> float:
    """Half of the 95 % interval over the value's size, or what the 99 % interval makes of it where the tails are
    heavier than a normal distribution's: an answer is rounded and gated by its whole error.

    Args:
        value: not zero. quantiles: at LEVELS, in the same unit.
    """
    return max(quantiles[7] - quantiles[1], (quantiles[8] - quantiles[0]) / NORMAL_TAIL) / 2 / abs(value)


def number_refusal(relative: float, max_relative_half_width: float) -> str | None:
    """Why a number may not be asked for, or None. `relative` as `relative_half_width`."""
    return WIDE if relative > max_relative_half_width else None


def moves(quantity: Quantity, max_p_zero: float) -> bool:
    """False where the vector may be zero; an unknown p-value (nan) means that zero is not a question."""
    return not quantity.p_zero > max_p_zero


def likeliest(quantity: Quantity, vocabulary: tuple[str, ...]) -> tuple[str, float]:
    """The category with the largest share of the quantity's draws, and that share.

    Raises:
        ValueError: where the quantity carries a category that the family cannot name.
    """
    shares = quantity.extra["probabilities"]
    if unknown := set(shares) - set(vocabulary):
        raise ValueError(f"{quantity.kind} has categories {sorted(unknown)}; the family names {vocabulary}")
    best = max(sorted(shares), key=lambda name: shares[name])
    return best, shares[best]


def certain(confidence: float, min_confidence: float) -> bool:
    """Compared in units of 1e-6, finer than draws can tell, so that a share such as 0.99 is the same on every
    machine."""
    return round(confidence, 6) >= min_confidence


def option_gap(value: float, quantiles: tuple[float, ...]) -> float:
    """Least log-ratio between options, so that a truth anywhere in the 99.5 % interval stays nearest to its option,
    by difference as by ratio; inf where none will do.

    Args:
        value: the rounded answer, positive. quantiles: at LEVELS, in the same unit.
    """
    low, high = min(quantiles[0], value) / value, max(quantiles[8], value) / value
    if low <= 0.5:
        return math.inf
    return max(2 * math.log(high), -math.log(2 * low - 1))
