"""What a family sees of one scene: its quantities, its joint draws, and the words for times and regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from curate.measure import SceneDraws, quantity, values
from curate.measure.measure import MIN_SEEN, region_spans, usable_frames
from curate.measure.quantity import Quantity
from curate.questions import gates, phrases, region_words
from curate.questions.config import QuestionsConfig
from curate.questions.digits import settle
from curate.scene import Region, Scene

Span = tuple[int, int]


class View:
    """One scene, ready to be spoken of. Nothing is worked out before a family asks for it.

    Args:
        measured: quantities at hand; others are measured when a family asks for them.
        complete: whether `measured` is all that the default measurement gives, so that what is not in it could not be
            measured.
    """

    def __init__(self, scene: Scene, config: QuestionsConfig, measured: Sequence[Quantity], complete: bool,
                 draws: SceneDraws | None = None) -> None:
        self.scene, self.config, self.complete = scene, config, complete
        self.times = phrases.Times(scene, config.dialect)
        self.by_kind: dict[str, list[Quantity]] = {}
        for found in map(settled, measured):
            self.by_kind.setdefault(found.kind, []).append(found)
        self.index = {(q.kind, tuple(q.subjects), tuple(q.span)): q for group in self.by_kind.values() for q in group}
        self._more: dict[tuple, Quantity] = {}
        self._values: dict[tuple, np.ndarray] = {}
        self.memo: dict[tuple, Any] = {}  # what several families work out of this scene, by name
        self._frames: dict[int, np.ndarray] = {}
        self._names: dict[int, region_words.Marked] = {}
        self._short: dict[int, str] = {}
        self._long: dict[int, str] = {}
        self._centres: dict[tuple[int | None, int], tuple[np.ndarray, np.ndarray] | None] = {}
        self._draws = draws

    @cached_property
    def draws(self) -> SceneDraws:
        """Joint draws: draw n is the same world in every array."""
        return self._draws or SceneDraws(self.scene)

    def quantity(self, kind: str, subjects: tuple[int, ...], span: Span) -> Quantity:
        """A quantity, measured now where it was not. Its value is nan where the region is not seen at both ends."""
        key = kind, tuple(subjects), tuple(span)
        if key in self.index:
            return self.index[key]
        if key not in self._more:
            self._more[key] = settled(quantity(self.draws, *key))
        return self._more[key]

    def values(self, kind: str, subjects: tuple[int, ...], span: Span) -> np.ndarray:
        """Joint draws [S] of a number, scale included: compare two of them draw by draw, and shared errors cancel."""
        key = kind, tuple(subjects), tuple(span)
        if key not in self._values:
            self._values[key] = values(self.draws, *key)
        return self._values[key]

    # ---- regions and spans ----

    @cached_property
    def regions(self) -> list[Region]:
        """Regions that may be asked about: marked (seen in the marked frame) and measured in some frames. Of a body
        that is not rigid the reference point must be of the marked frame."""
        return [r for r in self.scene.regions
                if r.seen[gates.MARK_FRAME] and gates.is_named(self.scene, r) and len(self.frames(r)) >= MIN_SEEN
                and (r.rigid or r.defined == "first")]

    @cached_property
    def rigid(self) -> list[Region]:
        """Those whose reference point goes with a rigid body: the only ones to follow over a span."""
        return [r for r in self.regions if r.rigid]

    def frames(self, region: Region) -> np.ndarray:
        """Frames where the region's reference point is measured, ascending; not to be written to."""
        if region.id not in self._frames:
            self._frames[region.id] = usable_frames(region)
        return self._frames[region.id]

    def spans(self, region: Region) -> list[Span]:
        """The spans asked of a region by default: all of its track, and of a long one its first half."""
        return region_spans(self.frames(region), None)

    def common_span(self, regions: Sequence[Region]) -> Span | None:
        """The longest span that begins and ends where all of them are measured; None where they share no two frames."""
        key = "common span", *(region.id for region in regions)
        if key not in self.memo:
            shared = set.intersection(*(set(self.frames(r).tolist()) for r in regions))
            self.memo[key] = (min(shared), max(shared)) if len(shared) > 1 else None
        return self.memo[key]

    @property
    def clip(self) -> Span:
        return 0, self.scene.num_frames - 1

    def centre(self, region_id: int | None, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Place of the camera (None) or of a region's reference point, and its standard deviation: [3] m each, in the
        axes of the camera at the first frame. None where it is not measured."""
        if (region_id, frame) not in self._centres:
            self._centres[region_id, frame] = self._centre(region_id, frame)
        return self._centres[region_id, frame]

    def _centre(self, region_id: int | None, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        draws = self.draws
        if region_id is None:
            path, at = draws.camera, frame
        else:
            region = self.scene.region(region_id)
            if frame not in self.frames(region):
                return None
            if not region.rigid and frame != region.defined_at:
                return None  # its reference point goes with none of its parts
            path, at = draws.region(region_id), frame - region.first
        turn = self.scene.T_world_cam.rotation[0]
        place = (path.mean[at] - draws.camera.mean[0]) @ turn
        drawn = (path.points[:, at] - draws.camera.points[:, 0]) * draws.scale[:, None]
        return place, (drawn @ turn).std(0)

    # ---- words ----

    def mark(self, region_id: int) -> str:
        """A region's name alone, as options give it: "<R1>", in the recipe's dialect."""
        if region_id not in self._short:
            self._short[region_id] = region_words.short(self._marked(region_id), self.config.region_dialect)
        return self._short[region_id]

    def marked(self, region_id: int) -> str:
        """A region in a sentence: "the object marked <R1> in the first frame"."""
        if region_id not in self._long:
            self._long[region_id] = region_words.long(self._marked(region_id), self.config.region_dialect)
        return self._long[region_id]

    @property
    def legend(self) -> str:
        """The sentence that says where the marks, boxes or points of `mark` are to be found."""
        return region_words.legend(self.picture_size, self.config.region_dialect)

    @property
    def picture_size(self) -> tuple[int, int]:
        """(width, height), pixels; `region_words.NOTHING` of a clip without pictures."""
        camera = self.scene.camera
        return (camera.width, camera.height) if self.scene.has_pictures else region_words.NOTHING

    def _marked(self, region_id: int) -> region_words.Marked:
        if region_id not in self._names:
            self._names[region_id] = region_words.of_scene(self.scene, self.scene.region(region_id))
        return self._names[region_id]

    def at(self, frame: int) -> str:
        """An instant's name alone: "1.20 s" or "frame 12"."""
        return self.times.at(frame)

    def seconds(self, span: Span) -> float:
        """Length of a span."""
        return float(self.scene.time_s[span[1]] - self.scene.time_s[span[0]])


def settled(found: Quantity) -> Quantity:
    """Without floating-point noise in what the gates and answers use."""
    value = found.value
    value = settle(value) if np.ndim(value) == 0 else [settle(float(x)) for x in value]
    p_zero = settle(found.p_zero) if math.isfinite(found.p_zero) else math.nan
    quantiles = tuple(map(float, ("%.6g " * len(found.quantiles) % tuple(found.quantiles)).split()))  # as `settle` does
    return Quantity(**vars(found) | {"value": value, "quantiles": quantiles, "p_zero": p_zero})
