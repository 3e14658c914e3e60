"""Which way: of the camera, of an object in the world, and of an object as seen in the image. Never mixed."""

from __future__ import annotations

from curate.questions.families.base import Item
from curate.questions.families.of_quantity import quantity_family

IN_IMAGE = ("left", "right", "up", "down")
IN_SPACE = ("forward", "backward", *IN_IMAGE)
CAMERA_AXES = ("in the axes of the camera at {start} (forward along its line of sight, right, left, up and down as in "
               "its image)")
UNIT_AXES = {"right": (0, 1), "left": (0, -1), "down": (1, 1), "up": (1, -1), "forward": (2, 1), "backward": (2, -1)}


def _dominant(item: Item, name: str, unit: str, nouns: tuple[str, ...]) -> list[str]:
    vector = item.quantity.extra.get(name)
    if vector is None:
        return []
    if "sigma_px" in item.quantity.extra:
        parts = [f"{x:.1f}" for x in vector]
    else:
        places = 3 if max(map(abs, vector)) < 1 else 2
        parts = [f"{x:.{places}f}" for x in vector]
    axis, sign = UNIT_AXES[item.answer]
    sizes = [abs(float(p)) for p in parts]
    if sizes[axis] < max(sizes) or float(parts[axis]) * sign <= 0:
        return []
    listed = ", ".join(f"{part} {unit} {noun}" for part, noun in zip(parts, nouns))
    return [f"From {item.words['start']} to {item.words['end']} it shifts by {listed} (negative numbers point the "
            "other way).", f"The largest of these by size points {item.answer}."]


def camera_steps(item: Item) -> list[str]:
    return ["The camera's displacement is turned into its own axes at the start.",
            *_dominant(item, "vector_m", "m", ("to the right", "down", "forward"))]


def object_steps(item: Item) -> list[str]:
    return ["The object is placed in the world at both times, so that the camera's motion drops out, and its "
            "displacement is turned into the camera's axes at the start.",
            *_dominant(item, "vector_m", "m", ("to the right", "down", "forward"))]


def image_steps(item: Item) -> list[str]:
    return ["Only the place in the image counts, whether the object or the camera causes the shift.",
            *_dominant(item, "vector_px", "px", ("to the right", "down"))]


COMMON = {"forms": ("choice",), "choice_of": "category", "metric": False}
FAMILIES = (
    quantity_family("camera_direction", "camera_direction", 0, "", CAMERA_AXES, camera_steps, vocabulary=IN_SPACE,
                    **COMMON),
    quantity_family("object_direction", "object_direction", 1, "",
                    "with the camera's own motion taken out, " + CAMERA_AXES, object_steps, vocabulary=IN_SPACE,
                    **COMMON),
    quantity_family("apparent_direction", "apparent_direction", 1, "",
                    "in the image, whether the camera or the object moves",
                    image_steps, vocabulary=IN_IMAGE, **COMMON),
)
