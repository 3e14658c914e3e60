"""Marks on a frame: its regions outlined, filled or boxed, and numbered; and dense fields as colour.

    contour   a set of marks: outline, a light tint, a label
    mask      an overlay: the region filled with its colour, half translucent, and a label
    box       the box around it, and a label

Deterministic: the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

Style = Literal["contour", "mask", "box"]
TINT = {"contour": 0.18, "mask": 0.5, "box": 0.0}  # share of its colour inside of a region
IN_VIDEO = "in the first frame of v0.mp4"  # how a record says that it was burnt
Box = tuple[int, int, int, int]

# outlines that keep apart from each other and from natural images, also for most colour-blind readers (RGB)
COLOURS = ((230, 25, 75), (0, 150, 255), (255, 190, 0), (60, 180, 75), (200, 60, 230), (0, 210, 200), (255, 120, 0),
           (150, 105, 255), (190, 255, 0), (255, 130, 190), (150, 90, 40), (120, 200, 255))
QUALITY = 92
ROOM = 5  # areas of its label that a region has at least, for the label to stand inside of it


def colour_of(region_id: int) -> tuple[int, int, int]:
    """RGB 0..255 of a region's outline; the same id has the same colour everywhere."""
    return COLOURS[(region_id - 1) % len(COLOURS)]


def _cv2() -> Any:
    import cv2

    cv2.setNumThreads(1)
    return cv2


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    cv2 = _cv2()
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"an image of shape {image.shape} cannot be written as JPEG")
    return data.tobytes()


def read_jpeg(data: bytes) -> np.ndarray:
    """JPEG bytes to [H, W, 3] uint8 RGB.

    Raises:
        ValueError: where they are not a picture.
    """
    cv2 = _cv2()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError(f"{len(data)} bytes that are not a JPEG picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _anchor(mask: np.ndarray | None, box: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """(x, y) for the middle of a label of `size`: well inside a large region, above a small one (below it where
    there is no room), so that the label never hides what it names."""
    if mask is None:
        x0, y0, x1, y1 = (float(v) for v in box)
        inside, area = ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0) * (y1 - y0)
    else:
        cv2 = _cv2()
        x0, y0, x1, y1 = _around(mask)
        own = mask[y0:y1 + 1, x0:x1 + 1]
        area = int(own.sum())
        depth = cv2.distanceTransform(np.pad(own, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        row, column = np.unravel_index(np.argmax(depth), depth.shape)
        inside = float(x0 + column), float(y0 + row)
    if area > ROOM * size[0] * size[1]:
        return inside
    gap = 0.75 * size[1]
    return float(x0 + x1) / 2, float(y0) - gap if y0 > 1.5 * size[1] else float(y1) + gap


def _around(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row (x0, y0, x1, y1) of a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _apart(a: Box, b: Box) -> bool:
    """Whether two rectangles (x, y, width, height) have no pixel in common."""
    return a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]


def _place(size: tuple[int, int], anchor: tuple[float, float], image: tuple[int, int], labels: list[Box],
           small: list[Box]) -> tuple[int, int]:
    """Top left corner of a label: at the anchor, else the nearest spot on a spiral that covers no other label and no
    small region; where there is no such spot, none that covers a label."""
    (width, height), (rows, cols) = size, image
    best, fewest = (0, 0), None
    for step in range(200):
        radius, angle = 0.35 * height * np.sqrt(step), 2.399963 * step
        x = int(np.clip(anchor[0] + radius * np.cos(angle) - width / 2, 0, max(cols - width, 0)))
        y = int(np.clip(anchor[1] + radius * np.sin(angle) - height / 2, 0, max(rows - height, 0)))
        here = x, y, width, height
        covered = (sum(not _apart(here, other) for other in labels), sum(not _apart(here, other) for other in small))
        if fewest is None or covered < fewest:
            best, fewest = (x, y), covered
        if covered == (0, 0):
            break
    return best


@cache
def _tints(colour: tuple[int, int, int], share: float) -> np.ndarray:
    """[256, 3] what a share of a colour makes of each level of red, green and blue."""
    return ((1 - share) * np.arange(256)[:, None] + share * np.array(colour)).round().astype(np.uint8)


def draw_marks(frame: np.ndarray, regions: Iterable[dict[str, Any]], style: Style = "contour") -> np.ndarray:
    """The frame with marks and labels.

    Args:
        frame: [H, W, 3] uint8 RGB; not changed.
        regions: dicts with `id` (≥ 1), `mask` ([H, W] bool, or None), `box` (x0, y0, x1, y1 in pixels; needed where
            there is no mask), and optionally `label` (default "R{id}").
        style: how regions are marked; one without a mask is boxed in each.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        ValueError: on a mask of another size than the frame, a region with neither mask nor box, an unknown style.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"frame of shape {frame.shape} and type {frame.dtype}; expected [H, W, 3] uint8 RGB")
    if style not in TINT:
        raise ValueError(f"{style!r} is no style of marks; expected {', '.join(get_args(Style))}")
    out = np.ascontiguousarray(frame).copy()
    shape = out.shape[:2]
    unit = max(1, round(min(shape) / 360))
    placed = []
    for region in sorted(regions, key=lambda r: r["id"]):
        mask, box = region.get("mask"), np.asarray(region.get("box", [np.nan] * 4), float)
        if mask is not None and mask.shape != shape:
            raise ValueError(f"region {region['id']}: mask of {mask.shape}, the frame is {shape}")
        if mask is not None and mask.any():
            mask = np.asarray(mask, bool)
            if not np.isfinite(box).all():
                x0, y0, x1, y1 = _around(mask)
                box = np.array([x0, y0, x1 + 1, y1 + 1], float)
        elif np.isfinite(box).all():
            mask = None
        else:
            raise ValueError(f"region {region['id']}: neither a mask nor a finite box")
        _draw_region(out, mask, box, colour_of(region["id"]), style, unit)
        placed.append((region, mask, box, colour_of(region["id"])))
    _draw_labels(out, placed, unit)
    return out


def _draw_region(out: np.ndarray, mask: np.ndarray | None, box: np.ndarray, colour: tuple[int, int, int], style: Style,
                 unit: int) -> None:
    cv2 = _cv2()
    lines = None
    if mask is not None and style != "box":
        x0, y0, x1, y1 = _around(mask)
        own, part = mask[y0:y1 + 1, x0:x1 + 1], out[y0:y1 + 1, x0:x1 + 1]
        part[own] = _tints(colour, TINT[style])[part[own], np.arange(3)]
        if style == "mask":
            return
        lines, _ = cv2.findContours(np.pad(own, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE,
                                    offset=(x0 - 1, y0 - 1))
    for line_colour, thickness in (((0, 0, 0), 4 * unit), (colour, 2 * unit)):
        if lines is not None:
            cv2.drawContours(out, lines, -1, line_colour, thickness, cv2.LINE_AA)
        else:
            corners = [tuple(int(v) for v in box[i:i + 2].round()) for i in (0, 2)]
            cv2.rectangle(out, *corners, line_colour, thickness, cv2.LINE_AA)


def _draw_labels(out: np.ndarray, placed: list[tuple[dict[str, Any], np.ndarray | None, np.ndarray, tuple]],
                 unit: int) -> None:
    """Writes the labels after all regions, so that none is drawn over."""
    cv2 = _cv2()
    font, scale, pad, taken = cv2.FONT_HERSHEY_SIMPLEX, 0.55 * unit, 3 * unit, []
    sizes, bases = [], []
    for region, *_ in placed:
        (width, height), below = cv2.getTextSize(_text(region), font, scale, unit)
        sizes.append((width + 2 * pad, height + below // 2 + 2 * pad))
        bases.append(pad + height)
    small = []  # regions that a label would hide
    for (_, mask, box, _), size in zip(placed, sizes):
        area = (box[2] - box[0]) * (box[3] - box[1]) if mask is None else mask.sum()
        if area <= ROOM * size[0] * size[1]:
            x0, y0, x1, y1 = (int(v) for v in box.round())
            small.append((x0, y0, x1 - x0, y1 - y0))
    for (region, mask, box, colour), size, base in zip(placed, sizes, bases):
        x, y = _place(size, _anchor(mask, box, size), out.shape[:2], taken, small)
        taken.append((x, y, *size))
        cv2.rectangle(out, (x, y), (x + size[0], y + size[1]), (0, 0, 0), -1)
        cv2.rectangle(out, (x, y), (x + size[0], y + size[1]), colour, unit)
        cv2.putText(out, _text(region), (x + pad, y + base), font, scale, (255, 255, 255), unit, cv2.LINE_AA)


def _text(region: Mapping[str, Any]) -> str:
    return region.get("label") or f"R{region['id']}"


def mark_jpeg(frame: np.ndarray, regions: Iterable[dict[str, Any]], quality: int = QUALITY,
              style: Style = "contour") -> bytes:
    """`draw_marks` as JPEG bytes: the part `mark.jpg` of a sample."""
    return _jpeg(draw_marks(frame, regions, style), quality)


def scene_marks(frame: np.ndarray, scene: Any, only: Iterable[int] | None = None, style: Style = "contour",
                label: Callable[[int], str] | None = None) -> bytes:
    """The marked first frame of a scene.

    Args:
        frame: [H, W, 3] uint8 RGB, frame 0.
        scene: `curate.scene.Scene`; regions seen in frame 0 are marked.
        only: ids of the regions to mark; None marks all.
        style: how. label: of a region's id; default "R{id}".

    Returns:
        JPEG bytes. With no region to mark, the plain frame.
    """
    wanted = None if only is None else set(only)
    regions = [{"id": r.id, "mask": r.mask_at(0), "box": r.box[0], "label": label and label(r.id)}
               for r in scene.regions if r.seen[0] and (wanted is None or r.id in wanted)]
    return mark_jpeg(frame, regions, style=style)


def stated(style: Style, burn: bool) -> str:
    """How a record says it, in `origin["marks"]`."""
    return f"{style}, {IN_VIDEO}" if burn else style


def in_video(record: Mapping[str, Any]) -> bool:
    """Whether the marks of a sample are burnt into the first frame of its `v0.mp4`.

    Args:
        record: a sample's `json` as `curate.shards.read` gives it.
    """
    return str(record.get("origin", {}).get("marks", "")).endswith(IN_VIDEO)


def record_regions(record: Mapping[str, Any], size: tuple[int, int], only: Iterable[int] | None = None,
                   label: Callable[[int], str] | None = None) -> list[dict[str, Any]]:
    """What `draw_marks` takes, from a sample's record.

    Args:
        record: a sample's `json`; boxes and masks are those of its first frame.
        size: width and height of the picture, which may be smaller than that of the record's pixels.
        only: ids of the regions; default: those that its questions speak of.
    """
    asked = {i for qa in record["qa"] for i in qa["regions"]}
    wanted = asked if only is None else set(only)
    found = []
    for region in record["regions"]:
        if region["id"] not in wanted or not region["seen"][0] or region["first"] != 0:
            continue
        rows, columns = region["mask_rle"]["size"]
        counts = np.asarray(region["mask_rle"]["counts"], int)
        mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape((rows, columns), order="F")
        if (columns, rows) != tuple(size):
            mask = _cv2().resize(mask.astype(np.uint8), size, interpolation=_cv2().INTER_NEAREST) > 0
        box = np.array([np.nan if v is None else v for v in region["box"]], float) * (
            np.tile(size, 2) / [columns, rows, columns, rows])
        found.append({"id": region["id"], "mask": mask if mask.any() else None, "box": box,
                      "label": label(region["id"]) if label else region["mark"]})
    return found


def burn(frames: np.ndarray, record: Mapping[str, Any], style: Style = "contour", only: Iterable[int] | None = None,
         label: Callable[[int], str] | None = None) -> np.ndarray:
    """A sample's video with its marks drawn into the first frame, from what the record says of regions.

    Args:
        frames: [T, H, W, 3] uint8 RGB of `v0.mp4`, beginning with its first frame; not changed.
        record: the sample's `json`. One whose marks are in the video already is not marked again.
        style, only, label: as `draw_marks` and `record_regions`.

    Returns:
        [T, H, W, 3] uint8 RGB.

    Example:
        >>> burn(np.zeros((2, 4, 4, 3), np.uint8), {"qa": [], "regions": []}).shape
        (2, 4, 4, 3)
    """
    if in_video(record) or not len(frames):
        return frames
    out = frames.copy()
    out[0] = draw_marks(frames[0], record_regions(record, frames.shape[2:0:-1], only, label), style)
    return out


def depth_colour(depth_m: np.ndarray, near_m: float | None = None, far_m: float | None = None) -> np.ndarray:
    """Depth as colour (turbo, linear in 1/depth: red near, blue far), black where unknown.

    Args:
        depth_m: [H, W] metres; inf, nan or not positive where unknown.
        near_m, far_m: ends of the scale; by default the 2nd and 98th percentile of what is known.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    cv2 = _cv2()
    depth = np.asarray(depth_m, np.float64)
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        return np.zeros((*depth.shape, 3), np.uint8)
    inverse = 1 / np.where(known, depth, 1)
    low, high = np.percentile(inverse[known], [2, 98])
    low, high = 1 / far_m if far_m else low, 1 / near_m if near_m else high
    level = np.clip((inverse - low) / max(high - low, 1e-12), 0, 1)
    colour = cv2.applyColorMap((level * 255).round().astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(known[..., None], colour, 0).astype(np.uint8)


def depth_jpeg(depth_m: np.ndarray, *, max_width: int = 480, quality: int = QUALITY) -> bytes:
    """`depth_colour` as a JPEG thumbnail at most `max_width` pixels wide (nearest neighbour: no invented depths)."""
    stride = max(1, -(-depth_m.shape[1] // max_width))
    return _jpeg(depth_colour(depth_m[::stride, ::stride]), quality)
