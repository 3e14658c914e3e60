"""Set-of-marks pictures: a frame with its regions outlined and numbered, and dense fields as colour.

Deterministic: the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

# outlines that keep apart from each other and from natural images, also for most colour-blind readers (RGB)
COLOURS = ((230, 25, 75), (0, 150, 255), (255, 190, 0), (60, 180, 75), (200, 60, 230), (0, 210, 200), (255, 120, 0),
           (150, 105, 255), (190, 255, 0), (255, 130, 190), (150, 90, 40), (120, 200, 255))
QUALITY = 92


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
    if area > 5 * size[0] * size[1]:
        return inside
    gap = 0.75 * size[1]
    return float(x0 + x1) / 2, float(y0) - gap if y0 > 1.5 * size[1] else float(y1) + gap


def _around(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row (x0, y0, x1, y1) of a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _place(size: tuple[int, int], anchor: tuple[float, float], image: tuple[int, int],
           taken: list[tuple[int, int, int, int]]) -> tuple[int, int]:
    """Top left corner of a label: at the anchor, else the nearest spot on a spiral that covers no other label."""
    (width, height), (rows, cols) = size, image
    for step in range(200):
        radius, angle = 0.35 * height * np.sqrt(step), 2.399963 * step
        x = int(np.clip(anchor[0] + radius * np.cos(angle) - width / 2, 0, max(cols - width, 0)))
        y = int(np.clip(anchor[1] + radius * np.sin(angle) - height / 2, 0, max(rows - height, 0)))
        if all(x + width <= a or a + w <= x or y + height <= b or b + h <= y for a, b, w, h in taken):
            break
    return x, y


@cache
def _tints(colour: tuple[int, int, int]) -> np.ndarray:
    """[256, 3] what a little of a colour makes of each level of red, green and blue."""
    return (0.82 * np.arange(256)[:, None] + 0.18 * np.array(colour)).round().astype(np.uint8)


def draw_marks(frame: np.ndarray, regions: Iterable[dict[str, Any]]) -> np.ndarray:
    """The frame with outlines and labels.

    Args:
        frame: [H, W, 3] uint8 RGB; not changed.
        regions: dicts with `id` (≥ 1), `mask` ([H, W] bool, or None), `box` (x0, y0, x1, y1 in pixels; needed where
            there is no mask), and optionally `label` (default "R{id}").

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        ValueError: on a mask of another size than the frame, or a region with neither mask nor box.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"frame of shape {frame.shape} and type {frame.dtype}; expected [H, W, 3] uint8 RGB")
    cv2 = _cv2()
    out = np.ascontiguousarray(frame).copy()
    shape = out.shape[:2]
    unit = max(1, round(min(shape) / 360))
    placed = []
    for region in sorted(regions, key=lambda r: r["id"]):
        mask, box = region.get("mask"), np.asarray(region.get("box", [np.nan] * 4), float)
        colour = colour_of(region["id"])
        if mask is not None and mask.shape != shape:
            raise ValueError(f"region {region['id']}: mask of {mask.shape}, the frame is {shape}")
        if mask is not None and mask.any():
            mask = np.asarray(mask, bool)
            x0, y0, x1, y1 = _around(mask)
            own, part = mask[y0:y1 + 1, x0:x1 + 1], out[y0:y1 + 1, x0:x1 + 1]
            part[own] = _tints(colour)[part[own], np.arange(3)]
            lines, _ = cv2.findContours(np.pad(own, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE,
                                        offset=(x0 - 1, y0 - 1))
            for line_colour, thickness in (((0, 0, 0), 4 * unit), (colour, 2 * unit)):
                cv2.drawContours(out, lines, -1, line_colour, thickness, cv2.LINE_AA)
        elif np.isfinite(box).all():
            mask = None
            corners = [tuple(int(v) for v in box[i:i + 2].round()) for i in (0, 2)]
            for line_colour, thickness in (((0, 0, 0), 4 * unit), (colour, 2 * unit)):
                cv2.rectangle(out, *corners, line_colour, thickness, cv2.LINE_AA)
        else:
            raise ValueError(f"region {region['id']}: neither a mask nor a finite box")
        placed.append((region, mask, box, colour))
    _draw_labels(out, placed, unit)
    return out


def _draw_labels(out: np.ndarray, placed: list[tuple[dict[str, Any], np.ndarray | None, np.ndarray, tuple]],
                 unit: int) -> None:
    """Writes the labels after all outlines, so that none is drawn over."""
    cv2 = _cv2()
    font, scale, pad, taken = cv2.FONT_HERSHEY_SIMPLEX, 0.55 * unit, 3 * unit, []
    for region, mask, box, colour in placed:
        text = region.get("label") or f"R{region['id']}"
        (width, height), below = cv2.getTextSize(text, font, scale, unit)
        size = (width + 2 * pad, height + below // 2 + 2 * pad)
        x, y = _place(size, _anchor(mask, box, size), out.shape[:2], taken)
        taken.append((x, y, *size))
        cv2.rectangle(out, (x, y), (x + size[0], y + size[1]), (0, 0, 0), -1)
        cv2.rectangle(out, (x, y), (x + size[0], y + size[1]), colour, unit)
        cv2.putText(out, text, (x + pad, y + pad + height), font, scale, (255, 255, 255), unit, cv2.LINE_AA)


def mark_jpeg(frame: np.ndarray, regions: Iterable[dict[str, Any]], quality: int = QUALITY) -> bytes:
    """`draw_marks` as JPEG bytes: the part `mark.jpg` of a sample."""
    return _jpeg(draw_marks(frame, regions), quality)


def scene_marks(frame: np.ndarray, scene: Any, only: Iterable[int] | None = None) -> bytes:
    """The marked first frame of a scene.

    Args:
        frame: [H, W, 3] uint8 RGB, frame 0.
        scene: `curate.scene.Scene`; regions seen in frame 0 are marked.
        only: ids of the regions to mark; None marks all.

    Returns:
        JPEG bytes. With no region to mark, the plain frame.
    """
    wanted = None if only is None else set(only)
    regions = [{"id": r.id, "mask": r.mask_at(0), "box": r.box[0]}
               for r in scene.regions if r.seen[0] and (wanted is None or r.id in wanted)]
    return mark_jpeg(frame, regions)


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
