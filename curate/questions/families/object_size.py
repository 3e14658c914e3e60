"""How long, wide or tall an object is: the sides of the box that its source gives around all of it, along its heading,
across it and upwards. Metres, MRA.

Asked only of annotated objects: of what is measured, one side is seen, and the sides of a box around that side are no
size (`object_height` asks for the visible surface, and says so).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.quantity import LEVELS, Quantity
from curate.questions.claim import Claim, Number
from curate.questions.families.base import Family, Item, ratio
from curate.scene import Region

if TYPE_CHECKING:
    from curate.questions.view import View

SIDES = (("length", "long"), ("width", "wide"), ("height", "tall"))
AXES = {"length": "along the direction it faces", "width": "across the direction it faces",
        "height": "from bottom to top"}


def given_size(view: View, region: Region, side: int) -> Quantity:
    """One side of an annotated box, m; normal error of the stated standard deviation."""
    value, sigma = float(region.size_m[side]), float(view.scene.stats.get("size_sigma_m", 0.0))
    quantiles = tuple(value + sigma * NormalDist().inv_cdf(level) for level in LEVELS)
    frame = region.defined_at
    return Quantity("object_size", (region.id,), (frame, frame), value, "m", "object", region.reference, quantiles,
                    {"own": sigma**2, "pose": 0.0, "rig": 0.0, "scale": 0.0},
                    extra={"sides_m": [float(v) for v in region.size_m]})


def slips(item: Item) -> Sequence[float]:
    """Another side of the same box."""
    value = float(item.quantity.value)
    return tuple(r for side in item.quantity.extra["sides_m"] for r in ratio(side, value) if abs(r - 1) > 1e-9)


def claims(view: View) -> Iterator[Claim]:
    for region in view.regions:
        if region.size_m is None or not np.isfinite(region.size_m).all():
            continue
        for index, (side, adjective) in enumerate(SIDES):
            found = given_size(view, region, index)

            def steps(item: Item, side=side) -> list[str]:
                return [f"The box around the whole object, not only around what can be seen, has a {side} of "
                        f"{item.stated}."]

            yield Claim((region.id,), found.span, "object", found.reference,
                        Number(found.value, found.quantiles, "length", slips=slips), steps=steps, quantities=(found,),
                        words={"side": side, "adjective": adjective, "axes": AXES[side]}, variant=side)


FAMILIES = (
    Family("object_size", claims, ("numeric", "choice"), "number", "length", {"number": ("region", "axes")},
           ("side", "adjective")),
)
