"""The parts of a sentence that state time, region, reference point and axes, in the dialect asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.scene import Scene

REFERENCES = {
    "surface@t0": "the centre of the surface that is visible in the first frame",
    "surface@t1": "the centre of the surface that is visible in the last frame",  # of a clip played backwards
    "cuboid centre": "the centre of its annotated box",
    "box-centre": "the centre of the bounding box",
    "nearest": "the nearest visible point",
    "camera-centre": "the camera's optical centre",
}
LASTS = "The video lasts {duration} from its first frame to its last."
WORLD = "in the fixed world, with the camera's own motion taken out"


class Times:
    """Instants and spans as text; seconds count from the clip's start, frames from 0."""

    def __init__(self, scene: Scene, dialect: str) -> None:
        self.seconds = [float(t - scene.time_s[0]) for t in scene.time_s]
        self.dialect = dialect
        self._fields: dict[tuple[int, int], dict[str, str]] = {}

    def at(self, frame: int) -> str:
        return f"{self.seconds[frame]:.2f} s" if self.dialect == "seconds" else f"frame {frame}"

    def moment(self, seconds: float) -> str:
        """A time between frames, in the dialect: "0.28 s", or "frame 3.4"."""
        return f"{seconds:.2f} s" if self.dialect == "seconds" else f"frame {self.frames(seconds):.1f}"

    def frames(self, seconds: float) -> float:
        """Where a time lies among the frames, counted from 0; parts of a frame by the times of its neighbours."""
        return float(np.interp(seconds, self.seconds, np.arange(len(self.seconds))))

    @property
    def _base(self) -> str:
        last = len(self.seconds) - 1
        return "" if self.dialect == "seconds" else f" (of frames 0 to {last}, counting from 0)"

    def instant(self, frame: int) -> str:
        return f"at {self.at(frame)}{self._base}"

    def span(self, first: int, last: int) -> str:
        return f"between {self.at(first)} and {self.at(last)}{self._base}"

    def fields(self, first: int, last: int) -> dict[str, str]:
        """Fields of the wording for a span."""
        if (first, last) not in self._fields:
            self._fields[first, last] = {
                "start": self.at(first), "end": self.at(last), "counting": self._base, "span": self.span(first, last),
                "at": self.instant(first), "duration": f"{self.seconds[-1]:.2f} s"}
        return self._fields[first, last].copy()


def regions(names: Sequence[str]) -> dict[str, str]:
    """Fields of the wording for the regions of a question, in its order."""
    fields = ("region",) if len(names) == 1 else ("region_a", "region_b", "region_c", "region_d")
    return dict(zip(fields, names))
