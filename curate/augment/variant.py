"""Which operations made a scene of a clip's own: kept in the scene, readable from its key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from curate.scene import Scene

SUFFIX = re.compile(r"-(?=[lmrx])(?:l(?P<start>[1-9][0-9]*))?(?P<mirror>m?)(?P<reverse>r?)"
                    r"(?:x(?P<rate>[0-9]+(?:p[0-9]+)?))?")
MIN_RATE, MAX_RATE = 0.1, 10.0
RECORD = "augmented"  # in Scene.clip
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Variant:
    """What was done to a clip. A cut comes first; the other operations commute, so that their order does not matter.

    Args:
        mirror: left and right change sides.
        reverse: played backwards.
        rate: playback rate; 2 is twice as fast. At most three decimals, so that a key holds it.
        start: the clip's own frame that is the first; what was before it is cut off.

    Raises:
        ValueError: on a rate outside 0.1 to 10, or with more decimals; on a start below 0.
    """

    mirror: bool = False
    reverse: bool = False
    rate: float = 1.0
    start: int = 0

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ValueError(f"start is {self.start}; expected a frame of the clip, 0 or later")
        if not MIN_RATE <= self.rate <= MAX_RATE:  # nan too
            raise ValueError(f"playback rate is {self.rate:g}; expected {MIN_RATE:g} to {MAX_RATE:g}, 2 being twice as "
                             f"fast")
        if abs(self.rate - round(self.rate, 3)) > 1e-9:
            raise ValueError(f"playback rate is {self.rate!r}; expected at most three decimals")
        object.__setattr__(self, "rate", round(float(self.rate), 3))

    @property
    def suffix(self) -> str:
        """What the key of a clip gets: "-m", "-r", "-mr", "-x2", "-mrx0p5", "-l12"; "" for the clip itself."""
        rate = "" if self.rate == 1 else "x" + f"{self.rate:.3f}".rstrip("0").rstrip(".").replace(".", "p")
        parts = (f"l{self.start}" if self.start else "") + "m" * self.mirror + "r" * self.reverse + rate
        return f"-{parts}" if parts else ""

    @property
    def operations(self) -> tuple[str, ...]:
        """("from frame 12", "mirror", "reverse", "playback 2"), those that it has."""
        start = (f"from frame {self.start}",) if self.start else ()
        rate = (f"playback {self.rate:g}",) if self.rate != 1 else ()
        return start + ("mirror",) * self.mirror + ("reverse",) * self.reverse + rate

    def frames(self, num_frames: int) -> np.ndarray:
        """Where each frame of the variant comes from: [T'] indices among the clip's own `num_frames`. Whatever is kept
        by frame (media, dense fields) is of the variant after `values[variant.frames(T)]`, then flipped where `mirror`.

        >>> Variant(start=2).frames(5).tolist(), Variant(reverse=True, start=2).frames(5).tolist()
        ([2, 3, 4], [4, 3, 2])
        """
        own = np.arange(self.start, num_frames)
        return own[::-1] if self.reverse else own

    def through(self, thing: Thing, later: Callable[[Thing, int], Thing], mirror: Callable[[Thing], Thing],
                reverse: Callable[[Thing], Thing], playback: Callable[[Thing, float], Thing]) -> Thing:
        """What is kept of a clip, after the operations that this has, in their order: the one place that knows it."""
        if self.start:
            thing = later(thing, self.start)
        if self.mirror:
            thing = mirror(thing)
        if self.reverse:
            thing = reverse(thing)
        return thing if self.rate == 1 else playback(thing, self.rate)

    @staticmethod
    def split(key: str) -> tuple[str, Variant]:
        """The clip's key and the variant of an augmented clip's key.

        Raises:
            ValueError: where the key has no suffix of a variant.
        """
        group, dash, parts = key.rpartition("-")
        found = SUFFIX.fullmatch(dash + parts)
        if not group or not found:
            raise ValueError(f"key {key!r} is not of an augmented clip; those end in -m, -r, -x2, -l12 or several "
                             f"of these")
        return group, Variant(bool(found["mirror"]), bool(found["reverse"]),
                              float((found["rate"] or "1").replace("p", ".")), int(found["start"] or 0))


def variant_of(scene: Scene) -> Variant:
    """What has been done to the clip's own scene."""
    return Variant(**{name: value for name, value in scene.clip.get(RECORD, {}).items() if name != "of"})


def renamed(scene: Scene, variant: Variant) -> Scene:
    """The scene with the key, the clip's record and the origin of a variant of its clip."""
    group = scene.group
    clip = {name: value for name, value in scene.clip.items() if name != RECORD}
    origin = {name: value for name, value in scene.origin.items() if name != RECORD}
    if variant.suffix:
        clip[RECORD] = {"of": group, **vars(variant)}
        origin[RECORD] = ", ".join(variant.operations)
    key = group + variant.suffix
    return replace(scene, key=key, clip=clip | ({"key": key} if "key" in clip else {}), origin=origin)


def apply(scene: Scene, variant: Variant) -> Scene:
    """The scene of a clip as recorded, after a variant's operations."""
    from curate.augment.later import later
    from curate.augment.mirror import mirror
    from curate.augment.playback import playback
    from curate.augment.reverse import reverse

    return variant.through(scene, later, mirror, reverse, playback)
