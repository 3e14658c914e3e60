"""Identities over time: a Kalman filter on the ground for each object, kept through short occlusions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from curate.geometry.ground import GroundPlane
from curate.perception.ground.config import GroundConfig
from curate.perception.ground.figures import Expected, Figure, seen_figures
from curate.perception.ground.identities import close, colour_of, settle, touch
from curate.perception.ground.upright import Sighting, from_foot, seen_at, sight, slopes

SPEED, ACCELERATION = 2.0, 0.8  # sigmas of what is not known: heights a second, heights a second²
GATE = 12.0  # chi-square of one row or column, beyond which it is of something else
SHORT = 0.93  # of the known height: head or foot is hidden, whichever is farther from where it should be
MISSING = 0.2  # of a silhouette: its middle column may be of what is left
KNOWN = 4  # frames after which the height is known
FOUND_AGAIN = 13.8  # chi-square, 2 degrees of freedom, 99.9 %
SAME_HEIGHT = 0.25  # by which heights of one object may differ
TRIALS = 2  # frames that a new object may be missed in
MAX_ASPECT = 4.0
RATIO = (0.15, 6.0)  # width over height of what can be an object


@dataclass
class Track:
    """One object. `state` [4] X, Y (m), and their speeds; `covariance` [4, 4]."""

    id: int
    state: np.ndarray
    covariance: np.ndarray
    shapes: dict[int, np.ndarray]  # by frame where it is seen whole: height; box's width and silhouette's area in it
    figures: dict[int, Figure] = field(default_factory=dict)
    sightings: dict[int, Sighting] = field(default_factory=dict)
    colours: dict[int, np.ndarray] = field(default_factory=dict)  # of frames where it is seen clearly
    since: float = 0.0  # seconds since it was seen

    @property
    def height(self) -> float:
        return float(np.median([shape[0] for shape in self.shapes.values()]))

    @property
    def width(self) -> float:
        return float(np.median([shape[1] for shape in self.shapes.values()]))

    @property
    def area(self) -> float:
        return float(np.median([shape[2] for shape in self.shapes.values()]))


class Tracker:
    """Takes the foreground of frame after frame.

    Args:
        plane: the ground. Of a relative clip `curate.perception.ground.flat.picture_plane`, whose unit is the pixel.
        size: (width, height) of the image.
        heights: lowest and highest object, in the plane's unit.
    """

    def __init__(self, plane: GroundPlane, size: tuple[int, int], heights: tuple[float, float],
                 config: GroundConfig) -> None:
        self.plane, self.size, self.limits, self.config = plane, size, heights, config
        self.meetings: dict[tuple[int, int], list[int]] = {}  # ids of two that are one patch -> frames
        self.partings: list[tuple[int, int, int]] = []  # id, who came out of its patch, frame
        self.live: list[Track] = []
        self.done: list[Track] = []
        self._next = 1

    def step(self, frame: int, seconds: float, foreground: np.ndarray, image: np.ndarray) -> None:
        """
        Args:
            seconds: since the frame before. foreground: [H, W] bool. image: [H, W, 3] uint8.
        """
        for track in self.live:
            self._predict(track, seconds)
        expected = [self._expected(track) for track in self.live]
        inside = [k for k, about in enumerate(expected) if about is not None]
        figures, others = seen_figures(foreground, [expected[k] for k in inside])
        for k, figure in zip(inside, figures):
            if figure is not None:
                self._see(self.live[k], frame, figure)
        self._find(frame, others)
        for pair in close({self.live[k].id: expected[k].box for k in inside}):
            self.meetings.setdefault(pair, []).append(frame)
        for track in self.live:
            if frame in track.sightings and track.sightings[frame].known.all():
                track.colours[frame] = colour_of(track.figures[frame], image)
        kept = []
        for track in self.live:
            too_long = self.config.max_gap_s if len(track.sightings) > TRIALS else TRIALS * seconds
            gone = track.since > too_long + 1e-9
            (self.done if gone else kept).append(track)
        self.live = kept

    def finish(self) -> list[Track]:
        """Every object, its identity checked, in the order of their ids."""
        return settle([track for track in [*self.done, *self.live] if track.sightings], self.meetings,
                      self.partings)

    def _predict(self, track: Track, seconds: float) -> None:
        move = np.eye(4)
        move[:2, 2:] = seconds * np.eye(2)
        rate = (ACCELERATION * track.height) ** 2
        track.state = move @ track.state
        noise = rate * np.block([[seconds**3 / 3 * np.eye(2), seconds**2 / 2 * np.eye(2)],
                                 [seconds**2 / 2 * np.eye(2), seconds * np.eye(2)]])
        track.covariance = move @ track.covariance @ move.T + noise
        track.since += seconds

    def _expected(self, track: Track) -> Expected | None:
        u, foot, head = seen_at(self.plane, track.state[:2], track.height)
        if not np.isfinite([u, foot, head]).all() or foot - head < 2:
            return None
        half = track.width * (foot - head) / 2
        box = np.array([u - half, head, u + half, foot])
        if box[2] < 0 or box[3] < 0 or box[0] > self.size[0] or box[1] > self.size[1]:
            return None
        return Expected(box)

    def _see(self, track: Track, frame: int, figure: Figure) -> None:
        """Updates by what agrees with the prediction; each row and the column is judged by itself."""
        sighting = sight(figure, self.size, self.config)
        if sighting.known.all() and not figure.is_shared:  # before it is judged by the height: the first may be wrong
            _, tall = from_foot(self.plane, sighting)
            if np.isfinite(tall):
                track.shapes[frame] = shape_of(figure, tall)
        place, height = track.state[:2], track.height
        by_place, by_height = slopes(self.plane, place, height)
        H = np.concatenate([by_place, np.zeros((3, 2))], 1)
        spread = 0.1 * height if len(track.shapes) < 3 else 0.03 * height
        extra = np.array([0, 0, (by_height[2] * spread) ** 2])
        expected = seen_at(self.plane, place, height)
        tall = expected[1] - expected[2]
        gone = 1 - figure.area / (track.area * tall**2)  # behind a pole, or of the ground's colour
        if gone > MISSING:
            sighting.sigma[0] = np.hypot(sighting.sigma[0], gone * track.width * tall / 2)
        innovation = sighting.z - expected
        variance = np.einsum("ij,jk,ik->i", H, track.covariance, H) + np.where(
            sighting.known, sighting.sigma, 0) ** 2 + extra
        sighting.sigma[innovation**2 > GATE * variance] = np.inf
        is_short = sighting.z[1] - sighting.z[2] < SHORT * tall
        if is_short and len(track.shapes) >= KNOWN and sighting.known[1:].all():
            sighting.sigma[1 + int((innovation[1:] ** 2 / variance[1:]).argmax())] = np.inf
        known = sighting.known
        if not known[1:].any():
            return
        R = np.diag(sighting.sigma[known] ** 2 + extra[known])
        H = H[known]
        gain = track.covariance @ H.T @ np.linalg.inv(H @ track.covariance @ H.T + R)
        track.state = track.state + gain @ innovation[known]
        track.covariance = (np.eye(4) - gain @ H) @ track.covariance
        track.figures[frame], track.sightings[frame], track.since = figure, sighting, 0.0
    def _find(self, frame: int, others: list[Figure]) -> None:
        """Silhouettes that nobody was expected to make: objects seen again, and new ones."""
        found = []
        for figure in others:
            sighting = sight(figure, self.size, self.config)
            if not sighting.known.all():
                continue
            place, height = from_foot(self.plane, sighting)
            if not (self.limits[0] <= height <= self.limits[1]
                    and RATIO[0] <= shape_of(figure, height)[1] <= RATIO[1]):
                continue
            found.append((figure, sighting, place, height))
        lost = [track for track in self.live if track.since > 0]
        cost = np.full((len(found), len(lost)), np.inf)
        for i, (_, sighting, place, height) in enumerate(found):
            for j, track in enumerate(lost):
                apart = place - track.state[:2]
                by_place, _ = slopes(self.plane, place, height)
                own = np.linalg.inv(by_place.T @ (by_place / sighting.sigma[:, None] ** 2))
                chi = apart @ np.linalg.solve(track.covariance[:2, :2] + own, apart)
                if chi <= FOUND_AGAIN and abs(height - track.height) <= SAME_HEIGHT * track.height:
                    cost[i, j] = chi
        taken = set()
        if cost.size:
            for i, j in zip(*linear_sum_assignment(np.minimum(cost, 1e6))):
                if np.isfinite(cost[i, j]):
                    self._see(lost[j], frame, found[i][0])
                    taken.add(i)
        for i, (figure, sighting, place, height) in enumerate(found):
            if i not in taken:
                self._begin(frame, figure, sighting, place, height)

    def _begin(self, frame: int, figure: Figure, sighting: Sighting, place: np.ndarray, height: float) -> None:
        by_place, _ = slopes(self.plane, place, height)
        covariance = np.zeros((4, 4))
        covariance[:2, :2] = np.linalg.inv(by_place.T @ (by_place / sighting.sigma[:, None] ** 2))
        covariance[2:, 2:] = (SPEED * height) ** 2 * np.eye(2)
        track = Track(self._next, np.concatenate([place, np.zeros(2)]), covariance,
                      {frame: shape_of(figure, height)}, {frame: figure}, {frame: sighting})
        self._next += 1
        for other in self.live:
            about = self._expected(other)
            if about is not None and touch(about.box, figure.box):
                self.partings.append((other.id, track.id, frame))
        self.live.append(track)


def shape_of(figure: Figure, height: float) -> np.ndarray:
    """[3]: an object's height as given; its box's width in box heights; its silhouette's area in squares of them."""
    rows = figure.box[3] - figure.box[1]
    return np.array([height, (figure.box[2] - figure.box[0]) / rows, figure.area / rows**2])
