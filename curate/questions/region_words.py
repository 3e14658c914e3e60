"""How a region is named in text: by its mark, a box, a point. From one record into every dialect.

| dialect | in a sentence | as an option |
|---|---|---|
| `<R1>` | the object marked <R1> in the first frame | <R1> |
| `[R1]`, `region 1` | the same, written so | [R1] |
| `<obj_1>` | the object marked <obj_1> in the marked image (R4D-Bench: an image beside the video) | <obj_1> |
| `box` | the object in the box [12, 40, 96, 120] of the first frame (x0, y0, x1, y1 in pixels ...) | [12, ...] |
| `box1000` | the same in thousandths of width and height | [19, 83, 150, 250] |
| `point`, `point1000` | the object at the point (54, 80) of the first frame ... | (54, 80) |

Where a source or a detector names what a region shows, its name stands for "object".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from curate.scene import Region, Scene

RegionDialect = Literal["<R1>", "[R1]", "region 1", "<obj_1>", "box", "box1000", "point", "point1000"]
MAX_NAME = 40
NOTHING = (0, 0)  # size of no picture: marks are names in a table
ABSENT = "no object has this mark"  # an option of `false_premise`
NOTHING_THERE = "there is no object at this place"  # the same where regions are named by their place
_BROKEN_ENDS = frozenset(["a", "an", "the", "of", "with", "and", "or", "in", "on", "at", "to", "for", "by", "from"])


@dataclass(frozen=True)
class Marked:
    """What is known of a region in the marked frame.

    Args:
        id: of the region. name: of what it shows, "" where nobody says.
        box: x0, y0, x1, y1, pixels. point: a pixel (x, y) inside of the region. size: width, height of the image.
    """

    id: int
    name: str
    box: tuple[float, float, float, float]
    point: tuple[float, float]
    size: tuple[int, int]


def clean_name(label: str) -> str:
    """A label as a noun without an article: "A dolphin with" gives "dolphin"; "" where nothing is left that is safe to
    print in a sentence.

    >>> clean_name("The traffic_light"), clean_name("<b>"), clean_name("A dolphin with")
    ('traffic light', '', 'dolphin')
    """
    words = label.replace("_", " ").split()
    while words and words[0].lower() in ("a", "an", "the"):
        words = words[1:]
    while words and words[-1].lower() in _BROKEN_ENDS:
        words = words[:-1]
    name = " ".join(w if w.isupper() and len(w) > 1 else w[:1].lower() + w[1:] for w in words)
    return name if len(name) <= MAX_NAME and re.fullmatch(r"[^\W_]+(?:[ '-][^\W_]+)*", name) else ""


def inner_point(mask: np.ndarray) -> tuple[float, float]:
    """The mask's pixel (x, y) nearest to its middle: inside of it, whatever its shape. nan where the mask is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return math.nan, math.nan
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return float(columns[nearest]), float(rows[nearest])


def _point_in(mask: np.ndarray | None, box: tuple[float, ...]) -> tuple[float, float]:
    """Inside of the mask; the middle of the box where no mask is kept of that frame."""
    if mask is None or not mask.any():
        return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return inner_point(mask)


def of_scene(scene: Scene, region: Region) -> Marked:
    """A region as its scene shows it in the frame where it is first seen; of a scene without pictures as a table names
    it, the size is (0, 0)."""
    if not scene.has_pictures:
        return Marked(region.id, clean_name(region.label), (math.nan,) * 4, (math.nan, math.nan), NOTHING)
    box = tuple(float(x) for x in region.box[region.first])
    return Marked(region.id, clean_name(region.label), box, _point_in(region.mask_at(region.first), box),
                  (scene.camera.width, scene.camera.height))


def of_record(region: Mapping[str, Any]) -> Marked:
    """A region of a sample's record (`curate.shards`)."""
    height, width = region["mask_rle"]["size"]
    counts = np.asarray(region["mask_rle"]["counts"], int)
    mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape((height, width), order="F")
    box = tuple(math.nan if x is None else float(x) for x in region["box"])
    return Marked(region["id"], clean_name(region["label"]), box, _point_in(mask, box), (width, height))


def _thousandths(value: float, length: int) -> int:
    return min(max(round(value * 1000 / length), 0), 1000)


def short(region: Marked, dialect: str) -> str:
    """A region's name alone: "<R3>", "[12, 40, 96, 120]", "(54, 80)"."""
    width, height = region.size
    if dialect.startswith("box"):
        parts = [round(x) for x in region.box] if dialect == "box" else [
            _thousandths(x, length) for x, length in zip(region.box, (width, height, width, height))]
        return f"[{', '.join(map(str, parts))}]"
    if dialect.startswith("point"):
        parts = [round(x) for x in region.point] if dialect == "point" else [
            _thousandths(x, length) for x, length in zip(region.point, region.size)]
        return f"({', '.join(map(str, parts))})"
    return dialect.replace("1", str(region.id))


def names_places(dialect: str) -> bool:
    """Whether a dialect names regions by where they are, and not by marks."""
    return dialect.startswith(("box", "point"))


def marked_where(dialect: str, size: tuple[int, int] | None = None) -> str:
    """Where a dialect's marks are to be seen."""
    if size == NOTHING:
        return "table"
    return "marked image" if dialect == "<obj_1>" else "first frame"


def _scale(size: tuple[int, int], dialect: str) -> str:
    width, height = size
    return "thousandths of its width and height" if dialect.endswith("1000") else f"pixels of {width} x {height}"


def legend(size: tuple[int, int], dialect: str) -> str:
    """The sentence that says where names that stand alone (`short`) are to be found.

    >>> legend((320, 180), "<R1>"), legend((320, 180), "point")
    ('The marks are those in the first frame.', 'Objects are named by points (x, y) of the first frame, in pixels of \
320 x 180.')
    """
    if dialect.startswith("box"):
        return f"Objects are named by boxes [x0, y0, x1, y1] of the first frame, in {_scale(size, dialect)}."
    if dialect.startswith("point"):
        return f"Objects are named by points (x, y) of the first frame, in {_scale(size, dialect)}."
    return f"The marks are those in the {marked_where(dialect, size)}."


def long(region: Marked, dialect: str) -> str:
    """A region in a sentence, with where its mark or its numbers are to be found."""
    noun, name, scale = region.name or "object", short(region, dialect), _scale(region.size, dialect)
    if dialect.startswith("box"):
        return f"the {noun} in the box {name} of the first frame (x0, y0, x1, y1 in {scale})"
    if dialect.startswith("point"):
        return f"the {noun} at the point {name} of the first frame (x, y in {scale})"
    return f"the {noun} marked {name} in the {marked_where(dialect, region.size)}"


def mark_text(region_id: int, dialect: str) -> str:
    """What is drawn on the marked frame for a region."""
    return f"obj_{region_id}" if dialect == "<obj_1>" else f"R{region_id}"


def _sets_respoken(text: str, regions: Sequence[Marked], dialect: str, given: str) -> str:
    """"The objects marked <R1> and <R2> in the first frame": where they are marked, or each by itself where a dialect
    has no marks. Their names stay those of `given`."""
    named = {short(region, given): region for region in regions}
    if not named:
        return text
    name = "|".join(re.escape(n) for n in sorted(named, key=len, reverse=True))
    where = {d: marked_where(d, regions[0].size) for d in (given, dialect)}

    def respoken(found: re.Match) -> str:
        if not names_places(dialect):
            return f"the objects marked {found[1]} in the {where[dialect]}"
        each = [long(named[n], given) for n in re.findall(name, found[1])]
        return f"{', '.join(each[:-1])} and {each[-1]}"

    return re.sub(rf"the objects marked ((?:{name})(?:(?:, | and )(?:{name}))+) in the {where[given]}", respoken, text)


def respeak(text: str, regions: Iterable[Marked], dialect: str, given: str = "<R1>") -> str:
    """A text written in a dialect of marks, in another dialect.

    Args:
        regions: all that the text may name.
        dialect: wanted. given: of the text, one whose names are marks ("<R1>", "[R1]", "region 1", "<obj_1>").

    Raises:
        ValueError: where `given` names regions by numbers, from which they cannot be told.
    """
    if names_places(given):
        raise ValueError(f"a text in the dialect {given!r} does not say which region it means; write the shards in "
                         f"'<R1>' and convert when reading")
    regions = list(regions)
    text = _sets_respoken(text, regions, dialect, given)
    for region in regions:
        text = text.replace(long(region, given), long(region, dialect))
        text = text.replace(legend(region.size, given), legend(region.size, dialect))
        text = re.sub(rf"{re.escape(short(region, given))}(?!\d)", lambda _, r=region: short(r, dialect), text)
    return text


def is_sayable(qa: Mapping[str, Any], dialect: str) -> bool:
    """Whether a question can be worded in a region dialect: one about a mark that is on nothing cannot be by places."""
    return not (names_places(dialect) and "absent" in qa.get("extra", ()))


def in_dialect(qa: Mapping[str, Any], regions: Iterable[Mapping[str, Any]], dialect: str,
               given: str = "<R1>") -> dict[str, Any]:
    """A question's record in another region dialect; letters, values and truths stay what they are.

    Args:
        qa: a record of a sample's `qa`. regions: the sample's `regions`. dialect, given: as `respeak`.

    Returns:
        a copy with question, options, answer and reasoning reworded. A question about a mark that is on nothing
        (`is_sayable`) has no words in a dialect of places: it keeps those of marks.
    """
    known = [of_record(region) for region in regions]
    if names_places(dialect) and known and known[0].size == NOTHING:
        return dict(qa)  # there is no place in a picture to name
    if not is_sayable(qa, dialect):
        return dict(qa)
    if "absent" in qa.get("extra", ()):  # whatever it is called
        known += [replace(region, id=qa["extra"]["absent"]) for region in known]

    def said(text: str) -> str:
        text = respeak(text, known, dialect, given)
        if names_places(dialect):
            return NOTHING_THERE if text == ABSENT else text.replace(f". {ABSENT}", f". {NOTHING_THERE}")
        return text.replace(f"In the {marked_where(given)} no object", f"In the {marked_where(dialect)} no object")

    return {**qa, "question": said(qa["question"]), "options": [said(o) for o in qa["options"]],
            "answer": said(qa["answer"]) if qa["form"] != "numeric" else qa["answer"],
            "reasoning": [said(s) for s in qa["reasoning"]]}
