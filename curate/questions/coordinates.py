"""Coordinates in text: points, boxes and places in space, in the dialect of the recipe, and back again.

Image coordinates count from the image's top left corner, x to the right and y down. The pixel of column u covers u to
u + 1, so that its centre, where a projection has the whole number u, lies at u + ½ (`Canvas.edge`). A box runs from the
left edge of its first column to the right edge of its last one.

| dialect | point, box | place in space |
|---|---|---|
| `plain` | `[210, 87]`, `[190, 60, 240, 110]` in pixels | `[1.2, 0.3, 7.5, 0.80]`: x, y, z in metres, t |
| `box1000` | `[547, 403]` in thousandths of width and height | as `plain` |
| `tokens` | `<WIDTH-109><HEIGHT-080>`, twice for a box | `<WIDTH-109><HEIGHT-080><DEPTH-113><TEMP-040>` |

A place in tokens is where it is seen and how deep: with the camera's intrinsics (`Canvas`) that is a point in the
camera's axes at that time. Each axis is cut into bins, half open, the outermost taking what lies beyond:

| axis | bins | bin k | decodes to |
|---|---|---|---|
| TEMP | 100 | [k, k + 1) / 100 of the time from the first to the last frame | its middle |
| WIDTH, HEIGHT | 200 | [k, k + 1) / 200 of the image's width, height | its middle |
| DEPTH | 200 | [e(k), e(k + 1)), e(k) = 0.1 · 2000^(k / 200) m, to nine digits: 0.1 to 200 m | √(e(k) e(k + 1)) |

A value that is known to a sigma belongs to several bins: `Axis.neighbours` gives each one's share, to train on.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from curate.scene import Scene

DIALECTS = ("plain", "box1000", "tokens")
LEAST_SHARE = 1e-3  # of a neighbour that is listed
Vector = tuple[float, float, float, float]
Spans = tuple[tuple[int, int, Vector], ...]  # first character, one past the last, (x, y, z, t)


@dataclass(frozen=True)
class Axis:
    """One kind of token.

    Args:
        name: "TEMP", "WIDTH", "HEIGHT" or "DEPTH".
        num: bins. low, high: outer edges; shares of the whole, or metres. log: bins of equal ratio.
    """

    name: str
    num: int
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """The num + 1 edges, ascending; the same on every machine."""
        if not self.log:
            return tuple(self.low + (self.high - self.low) * k / self.num for k in range(self.num + 1))
        ratio = self.high / self.low
        return tuple(float(f"{self.low * ratio ** (k / self.num):.9g}") for k in range(self.num + 1))

    def encode(self, value: float) -> int:
        """The bin of a value, 0..num - 1.

        Raises:
            ValueError: on nan.

        >>> WIDTH.encode(0.5), WIDTH.encode(-1.0), DEPTH.encode(0.1), DEPTH.encode(1e9)
        (100, 0, 0, 199)
        """
        if math.isnan(value):
            raise ValueError(f"nan has no {self.name} token; expected a number")
        return min(max(bisect_right(self.edges, value) - 1, 0), self.num - 1)

    def decode(self, index: int) -> float:
        """The middle of a bin; the geometric one where bins are of equal ratio.

        Raises:
            ValueError: on an index that is no bin's.
        """
        if not 0 <= index < self.num:
            raise ValueError(f"{self.name} has bins 0 to {self.num - 1}, not {index}")
        a, b = self.edges[index], self.edges[index + 1]
        return math.sqrt(a * b) if self.log else (a + b) / 2

    def token(self, index: int) -> str:
        """
        >>> DEPTH.token(7)
        '<DEPTH-007>'
        """
        return f"<{self.name}-{index:03d}>"

    def neighbours(self, value: float, sigma: float) -> list[tuple[int, float]]:
        """Bins and their shares of a normal distribution about a value: a soft label instead of one bin.

        Args:
            value, sigma: in the axis' unit. Of a logarithmic axis the logarithm is taken to be normal, with
                sigma / value.

        Returns:
            (bin, share), by bin; shares of at least 0.001, made to sum to 1. With sigma 0 the value's own bin alone.

        >>> WIDTH.neighbours(0.5, 0.0), [(k, round(w, 2)) for k, w in WIDTH.neighbours(0.5025, 0.00125)]
        ([(100, 1.0)], [(99, 0.02), (100, 0.95), (101, 0.02)])
        """
        own = self.encode(value)
        if not sigma >= 0 or math.isinf(sigma):
            raise ValueError(f"sigma is {sigma}; expected zero or a positive number")
        if sigma == 0 or (self.log and value <= 0):
            return [(own, 1.0)]
        at, width = (math.log(value), sigma / value) if self.log else (value, sigma)
        inner = [math.log(e) for e in self.edges[1:-1]] if self.log else self.edges[1:-1]
        below = [0.0, *(0.5 * math.erfc((at - e) / (width * math.sqrt(2))) for e in inner), 1.0]
        shares = [(k, below[k + 1] - below[k]) for k in range(self.num)]
        kept = [(k, w) for k, w in shares if w >= LEAST_SHARE] or [(own, 1.0)]
        total = sum(w for _, w in kept)
        return [(k, w / total) for k, w in kept]


TEMP, WIDTH, HEIGHT = Axis("TEMP", 100), Axis("WIDTH", 200), Axis("HEIGHT", 200)
DEPTH = Axis("DEPTH", 200, 0.1, 200.0, log=True)
def vector(x: float, y: float, z: float, t: float) -> Vector:
    """(x, y, z, t) for the record, without floating-point noise; nan where a coordinate has no such part."""
    return round(float(x), 4), round(float(y), 4), round(float(z), 4), round(float(t), 4)


AXES = {axis.name: axis for axis in (TEMP, WIDTH, HEIGHT, DEPTH)}
_TOKEN = re.compile(r"<(TEMP|WIDTH|HEIGHT|DEPTH)-(\d{3})>")
_RUN = re.compile(r"(?:<(?:TEMP|WIDTH|HEIGHT|DEPTH)-\d{3}>\s*)+")


def special_tokens() -> list[str]:
    """Every token of the dialect `tokens`, in a fixed order, to be added to a tokenizer."""
    return [axis.token(k) for axis in AXES.values() for k in range(axis.num)]


@dataclass(frozen=True)
class Canvas:
    """What coordinates are relative to: the image, the video's length, and the camera.

    Args:
        width, height: pixels. duration_s: from the first to the last frame. fx, fy, cx, cy: pixels.
    """

    width: int
    height: int
    duration_s: float
    fx: float
    fy: float
    cx: float
    cy: float

    @staticmethod
    def of(scene: Scene) -> Canvas:
        """Of a clip's first view."""
        c = scene.camera
        return Canvas(c.width, c.height, float(scene.time_s[-1] - scene.time_s[0]), float(c.fx), float(c.fy),
                      float(c.cx), float(c.cy))

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Canvas:
        """From `to_json`, as it stands in a question's `extra["canvas"]`."""
        return Canvas(**fields)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @staticmethod
    def edge(pixel: float) -> float:
        """From a projection's pixel, whole at the pixel's centre, to the distance from the image's edge."""
        return pixel + 0.5

    def image_point(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Where a point in camera axes is seen, counted from the image's corner."""
        return self.edge(self.fx * x / z + self.cx), self.edge(self.fy * y / z + self.cy)

    def camera_point(self, across: float, down: float, z: float) -> tuple[float, float, float]:
        """The point in camera axes that is seen there at depth z."""
        return (across - 0.5 - self.cx) / self.fx * z, (down - 0.5 - self.cy) / self.fy * z, z


@dataclass(frozen=True)
class Writer:
    """Coordinates as a dialect writes them.

    Args:
        dialect: of DIALECTS. canvas: of the clip.
    """

    dialect: str
    canvas: Canvas

    def __post_init__(self) -> None:
        if self.dialect not in DIALECTS:
            raise ValueError(f"coordinate dialect {self.dialect!r}; expected one of {', '.join(DIALECTS)}")

    @property
    def size(self) -> str:
        return f"{self.canvas.width} × {self.canvas.height}"

    # ---- how coordinates are to be read, for a question's sentence ----

    @property
    def units(self) -> str:
        """What the numbers of a point or a box mean."""
        origin = "x to the right and y down from its top left corner"
        return {"plain": f"in pixels of the {self.size} image, {origin}",
                "box1000": f"in thousandths of the image's width and height, {origin}",
                "tokens": f"in tokens for {WIDTH.num} equal columns and {HEIGHT.num} equal rows of the image, counted "
                          "from its top left corner"}[self.dialect]

    @property
    def point_format(self) -> str:
        return ("<WIDTH-...><HEIGHT-...> " if self.dialect == "tokens" else "[x, y] ") + self.units

    @property
    def box_format(self) -> str:
        corners = "<WIDTH-...><HEIGHT-...>" * 2 if self.dialect == "tokens" else "[x0, y0, x1, y1]"
        return f"{corners}, its top left and its bottom right corner {self.units}"

    def converted(self, written: str) -> list[str]:
        """The step from pixels and metres to the dialect, as a sentence; none where there is none to take."""
        return {"plain": [], "box1000": [f"In thousandths of the image's width and height that is {written}."],
                "tokens": [f"In tokens that is {written}."]}[self.dialect]

    def place_format(self, time: str) -> str:
        """`time`: what t is, "in seconds from the start of the video"."""
        if self.dialect == "tokens":
            return (f"<WIDTH-...><HEIGHT-...><DEPTH-...><TEMP-...>: where it is seen {self.units}, its depth in "
                    f"{DEPTH.num} steps of equal ratio from {DEPTH.low:g} m to {DEPTH.high:g} m, and the time in "
                    f"{TEMP.num} equal parts of the video")
        return f"[x, y, z, t] with x to the right, y down and z forward in metres, and t {time}"

    # ---- what is written ----

    def image(self, *values: float) -> tuple[float, ...]:
        """x, y, x, y ... from pixels to the numbers of the dialect, not rounded; of tokens to what they decode to, in
        pixels."""
        sizes = (self.canvas.width, self.canvas.height)
        if self.dialect == "box1000":
            return tuple(1000 * v / sizes[i % 2] for i, v in enumerate(values))
        if self.dialect == "tokens":
            return tuple(_AXIS_OF[i % 2].decode(_AXIS_OF[i % 2].encode(v / sizes[i % 2])) * sizes[i % 2]
                         for i, v in enumerate(values))
        return values

    def numbers(self, *values: float) -> list[float]:
        """As `image`, rounded as the text is: the typed truth beside it."""
        found = self.image(*values)
        return [round(v, 2) if self.dialect == "tokens" else float(round(v)) for v in found]

    def point(self, x: float, y: float) -> str:
        """Pixels from the image's corner."""
        return self._written(x, y)

    def box(self, x0: float, y0: float, x1: float, y1: float) -> str:
        """Pixels from the image's corner."""
        return self._written(x0, y0, x1, y1)

    def box_spans(self, box: Sequence[float], seconds: float) -> Spans:
        """Where in `box`'s text its corners stand, and their (x, y, nan, t): pixels from the corner, seconds."""
        text, (x0, y0, x1, y1) = self.box(*box), box
        if self.dialect == "tokens":
            ends = (0, len(text) // 2), (len(text) // 2, len(text))
        else:
            comma = text.index(",", text.index(",") + 1)
            ends = (1, comma), (comma + 2, len(text) - 1)
        return tuple((a, b, vector(x, y, math.nan, seconds)) for (a, b), (x, y) in zip(ends, ((x0, y0), (x1, y1))))

    def _written(self, *values: float) -> str:
        if self.dialect == "tokens":
            sizes = (self.canvas.width, self.canvas.height)
            return "".join(_AXIS_OF[i % 2].token(_AXIS_OF[i % 2].encode(v / sizes[i % 2]))
                           for i, v in enumerate(values))
        return f"[{', '.join(f'{v:.0f}' for v in self.numbers(*values))}]"

    def place(self, point: Sequence[float], seconds: float, digits: int, time: str = "") -> str:
        """A point [3] in camera axes, metres, z > 0, at a time from the start.

        Args:
            digits: decimals of x, y and z. time: t as written; default seconds to two decimals.
        """
        x, y, z = point
        if self.dialect == "tokens":
            across, down = self.canvas.image_point(x, y, z)
            share = seconds / self.canvas.duration_s if self.canvas.duration_s > 0 else 0.0
            return (self.point(across, down) + DEPTH.token(DEPTH.encode(z)) + TEMP.token(TEMP.encode(share)))
        metres = ", ".join(f"{round(v, digits) + 0.0:.{digits}f}" for v in point)
        return f"[{metres}, {time or f'{seconds:.2f}'}]"


_AXIS_OF = (WIDTH, HEIGHT)


def runs(text: str, canvas: Canvas) -> Iterator[tuple[int, int, list[float]]]:
    """Every run of tokens in a text that is a point, a box or a place.

    Yields:
        (first character, one past the last, numbers): [x, y] or [x0, y0, x1, y1] in pixels from the image's corner,
        [x, y, z, t] in metres in camera axes and seconds. A run of another order, or with an index that is no bin's, is
        passed over.
    """
    shapes = {("WIDTH", "HEIGHT"): 2, ("WIDTH", "HEIGHT") * 2: 4, ("WIDTH", "HEIGHT", "DEPTH", "TEMP"): 0}
    for run in _RUN.finditer(text):
        tokens = [(m[1], int(m[2])) for m in _TOKEN.finditer(run[0])]
        names = tuple(name for name, _ in tokens)
        if names not in shapes or any(k >= AXES[name].num for name, k in tokens):
            continue
        shares = [AXES[name].decode(k) for name, k in tokens]
        sizes = (canvas.width, canvas.height)
        values = [v * sizes[i % 2] for i, v in enumerate(shares)]
        if not shapes[names]:
            values = [*canvas.camera_point(*values[:2], shares[2]), shares[3] * canvas.duration_s]
        yield run.start(), run.start() + len(run[0].rstrip()), values


def plain_text(text: str, canvas: Canvas) -> str:
    """A text with its tokens written out as numbers, for readers that know no tokens.

    >>> plain_text("at <WIDTH-100><HEIGHT-000>.", Canvas(400, 200, 2.0, 300, 300, 199.5, 99.5))
    'at [201, 0.5].'
    """
    out, at = "", 0
    for begin, end, values in runs(text, canvas):
        out += text[at:begin] + f"[{', '.join(f'{v:.6g}' for v in values)}]"
        at = end
    return out + text[at:]
