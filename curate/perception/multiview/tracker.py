"""Features of one view followed from frame to frame, and described at key frames to be matched with other views."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.spatial import cKDTree

from curate.perception.multiview.config import ViewsConfig

LEVELS = 4
CHANGE_SIGMAS = 5.0  # of the picture's noise
MIN_CHANGE = 6.0  # grey levels
SAME_PX = 2.0  # a feature found anew within as much of one followed is that one
APART_PX = 4.0  # of corners, from other features
MIN_CONTRAST = 0.02
BORDER_PX = 8


@dataclass
class Described:
    """Features at a key frame that have a descriptor: ids [n], uv [n, 2], descriptors [n, 128] of unit length."""

    ids: np.ndarray
    uv: np.ndarray
    descriptors: np.ndarray


@dataclass
class ViewTracks:
    """Everything followed in one view. Sparse: `ids`, `frames`, `uv` are lists of arrays, one a frame."""

    ids: list[np.ndarray] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)
    uv: list[np.ndarray] = field(default_factory=list)
    described: dict[int, Described] = field(default_factory=dict)

    def table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ids [M], frames [M], uv [M, 2], by frame."""
        if not self.ids:
            return np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2))
        return np.concatenate(self.ids), np.concatenate(self.frames), np.concatenate(self.uv).astype(float)


class ViewTracker:
    """Pyramidal Lucas-Kanade from frame to frame, checked backwards; SIFT features and corners as seeds."""

    def __init__(self, config: ViewsConfig) -> None:
        self.config = config
        self.tracks = ViewTracks()
        self._sift = cv2.SIFT_create(0, contrastThreshold=MIN_CONTRAST)
        self._ids = np.zeros(0, int)
        self._uv = np.zeros((0, 2), np.float32)
        self._next = 0
        self._last: np.ndarray | None = None

    def add(self, frame: int, grey: np.ndarray, is_key: bool, changed: np.ndarray | None) -> None:
        """The next frame [H, W] uint8; at key frames with the mask of what changes about it [H, W] bool."""
        if self._last is not None and len(self._ids):
            self._follow(grey)
        if is_key:
            self._seek(frame, grey, changed)
        self.tracks.ids.append(self._ids.copy())
        self.tracks.frames.append(np.full(len(self._ids), frame))
        self.tracks.uv.append(self._uv.copy())
        self._last = grey

    def _follow(self, grey: np.ndarray) -> None:
        side = self.config.patch_px
        options = {"winSize": (side, side), "maxLevel": LEVELS,
                   "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.01)}
        now, found, _ = cv2.calcOpticalFlowPyrLK(self._last, grey, self._uv[:, None], None, **options)
        back, again, _ = cv2.calcOpticalFlowPyrLK(grey, self._last, now, None, **options)
        now, back = now[:, 0], back[:, 0]
        miss = np.linalg.norm(back - self._uv, axis=1)
        height, width = grey.shape
        ok = ((found[:, 0] > 0) & (again[:, 0] > 0) & (miss < self.config.back_px)
              & (now >= BORDER_PX).all(1) & (now < np.float32([width, height]) - BORDER_PX).all(1))
        self._ids, self._uv = self._ids[ok], now[ok]

    def _seek(self, frame: int, grey: np.ndarray, changed: np.ndarray) -> None:
        """Features with descriptors; one on a feature that is followed already keeps its id."""
        points, descriptors = self._sift.detectAndCompute(grey, None)
        if points:
            uv = np.float32([p.pt for p in points])
            order = np.argsort([-p.response for p in points], kind="stable")
            inside = (uv >= BORDER_PX).all(1) & (uv < np.float32(grey.shape[::-1]) - BORDER_PX).all(1)
            order = order[inside[order]]
            moving = changed[uv[order, 1].astype(int), uv[order, 0].astype(int)]
            followed = self._followed_at(uv[order]) >= 0
            parts = []
            for part, room in zip((moving, ~moving), self._room(changed)):  # those followed already, and as many more
                parts += [order[part & followed], order[part & ~followed][:room]]
            keep = np.concatenate(parts)
            # RootSIFT (Arandjelovic & Zisserman 2012): Hellinger's distance of histograms
            unit = np.sqrt(descriptors[keep] / np.maximum(descriptors[keep].sum(1, keepdims=True), 1e-9))
            ids = self._named(uv[keep])
            self.tracks.described[frame] = Described(ids, uv[keep], unit.astype(np.float32))
        self._add_corners(grey, changed)

    def _named(self, uv: np.ndarray) -> np.ndarray:
        """Ids of positions [n, 2]: of the feature followed there, else new ones, which are followed from here on."""
        ids = self._followed_at(uv)
        # several scales or directions of one place are one feature
        fresh = np.flatnonzero(ids < 0)
        place = {}
        for i in fresh:
            key = tuple(np.round(uv[i] / SAME_PX).astype(int))
            if key not in place:
                place[key] = self._next
                self._next += 1
                self._ids = np.append(self._ids, place[key])
                self._uv = np.vstack([self._uv, uv[i]])
            ids[i] = place[key]
        return ids

    def _followed_at(self, uv: np.ndarray) -> np.ndarray:
        """Ids of the features followed at positions [n, 2], -1 where there is none."""
        ids = np.full(len(uv), -1)
        if len(self._uv) and len(uv):
            away, near = cKDTree(self._uv).query(uv, distance_upper_bound=SAME_PX)
            same = np.isfinite(away)
            ids[same] = self._ids[near[same]]
        return ids

    def _room(self, changed: np.ndarray) -> tuple[int, int]:
        """How many more features are followed where something changes, and where nothing does."""
        moving = int(changed[self._uv[:, 1].astype(int), self._uv[:, 0].astype(int)].sum())
        return (max(self.config.features - moving, 0),
                max(self.config.still_features - (len(self._uv) - moving), 0))

    def _add_corners(self, grey: np.ndarray, changed: np.ndarray) -> None:
        """Corners in what changes, where nothing is followed yet: a body's extent, not its identity."""
        free = changed.astype(np.uint8)
        for u, v in self._uv:
            cv2.circle(free, (int(u), int(v)), int(APART_PX), 0, -1)
        room, _ = self._room(changed)
        free[:BORDER_PX], free[-BORDER_PX:], free[:, :BORDER_PX], free[:, -BORDER_PX:] = 0, 0, 0, 0
        if room <= 0:
            return
        corners = cv2.goodFeaturesToTrack(grey, room, 0.01, APART_PX, mask=free)
        if corners is None:
            return
        self._ids = np.concatenate([self._ids, np.arange(self._next, self._next + len(corners))])
        self._next += len(corners)
        self._uv = np.vstack([self._uv, corners[:, 0]])


def change_mask(grey: np.ndarray, index: int) -> np.ndarray:
    """[H, W] bool: where frame `index` of a window [n, H, W] differs from its neighbours or the window's ends."""
    here = cv2.GaussianBlur(grey[index], (0, 0), 2.0)
    out = np.zeros(here.shape, np.uint8)
    for other in sorted({0, max(index - 1, 0), min(index + 1, len(grey) - 1), len(grey) - 1} - {index}):
        away = cv2.absdiff(here, cv2.GaussianBlur(grey[other], (0, 0), 2.0))
        noise = 1.4826 * float(np.median(away))
        out |= (away > max(MIN_CHANGE, CHANGE_SIGMAS * noise)).astype(np.uint8)
    return cv2.dilate(out, np.ones((9, 9), np.uint8)) > 0
