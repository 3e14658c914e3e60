"""How tall an object's visible surface is: from its lowest to its highest visible point, along the vertical of the
camera's image, at the instant where the region is defined (the marked frame). Metres, MRA.

Of the surface's extents this is the one whose error can be stated (`curate.measure.extent`): width is what matching
fattens, and the longest side of the oriented box that of the inner pixels alone. Asked only of
what clearly moves (a still piece of surface may be a part of something larger) and does not reach the image's edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from curate.measure.extent import surface_height
from curate.questions import gates
from curate.questions.claim import Claim, Number
from curate.questions.families.base import Family, Item
from curate.scene import Region

if TYPE_CHECKING:
    from curate.questions.view import View


def steps(item: Item) -> list[str]:
    extra = item.quantity.extra
    return [f"Its picture is about {extra['rows_px']:.0f} pixels tall at a depth of {extra['depth_m']:.3g} m.",
            f"With a focal length of {item.scene.camera.fy:.4g} pixels, and what matching adds to or takes from a "
            f"surface's border allowed for, that is {item.stated}."]


def moves(view: View, region: Region) -> bool:
    """Whether it moves as one body over the longest span it is followed."""
    return region.rigid and gates.moves(view.quantity("object_displacement", (region.id,), view.spans(region)[0]),
                                        view.config.max_p_zero)


def claims(view: View) -> Iterator[Claim]:
    for region in view.regions:
        frame = region.defined_at
        if frame != gates.MARK_FRAME or region.size_m is not None:  # of a size that is given: `object_size`
            continue
        found = surface_height(view.draws, region.id)
        refusal = gates.NOT_MEASURED if found is None else \
            gates.CUT_OFF if gates.cut_off(view.scene, region.id, frame) else \
            "" if moves(view, region) else gates.STILL
        yield Claim((region.id,), (frame, frame), f"camera@{frame}", found.reference if found else "",
                    None if refusal else Number(found.value, found.quantiles, "length"), steps=steps,
                    quantities=(found,) if found else (), refusal=refusal)


FAMILIES = (
    Family("object_height", claims, ("numeric",), "number", "length", {"number": ("region", "at", "axes")},
           axes="along the vertical direction of the camera's image at {start}"),
)
