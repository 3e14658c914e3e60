"""Closer or farther, and by how much: ‖P_j − c_j‖ − ‖P_i − c_i‖, positive where it grows."""

from __future__ import annotations

from curate.questions.families.base import Item
from curate.questions.families.of_quantity import quantity_family


def steps(item: Item) -> list[str]:
    first, last = item.quantity.span
    before = item.other("object_camera_distance", (first, first))
    after = item.other("object_camera_distance", (last, last))
    if not (before > 0 and after > 0):
        return [f"The distance to the camera at {item.words['start']} is taken from that at {item.words['end']}."]
    if item.unit is None:
        change = float(item.quantity.value)
        places = 2 if abs(change) >= 0.1 else 3
        texts = f"{before:.{places}f}", f"{after:.{places}f}"
        if (float(texts[1]) - float(texts[0])) * (1 if item.answer == "farther" else -1) <= 0:
            return []
        return [f"The distance to the camera is {texts[0]} m at {item.words['start']} and {texts[1]} m at "
                f"{item.words['end']}.", f"It has become {'larger' if item.answer == 'farther' else 'smaller'}."]
    texts = item.number(before), item.number(after)
    change = (float(texts[1]) - float(texts[0])) / item.unit.factor
    if not item.agrees(change):
        return []
    symbol = item.unit.symbol
    return [f"The distance to the camera is {texts[0]} {symbol} at {item.words['start']} and {texts[1]} {symbol} at "
            f"{item.words['end']}.", f"The change is {texts[1]} − {texts[0]} = {item.number(change)} {symbol}."]


FAMILIES = (
    quantity_family("object_camera_distance_change", "object_camera_distance_change", 1, "length",
                    "in three-dimensional space, along a straight line from the camera's optical centre", steps,
                    choice_of="category", vocabulary=("closer", "farther"), signed=True),
)
