"""Foreground to figures: which pieces belong to which upright object, known or new."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MIN_PIECE_PX = 12
OVER, BESIDE = 0.5, 0.4  # pieces are one above the other: shared columns of the narrower; gap, of the joint height
REACH = 0.12  # of its height: how far beside its expected box an object's pieces may be
END_ROWS, OPEN = 4, 0.3  # rows about an end of a silhouette, and the share of its columns where others go on
CLAIM = 0.5  # of a piece, or of the expected silhouette, inside the box
FILL = 0.5  # of a box that a silhouette fills
MIN_SEEN = 0.2  # of the expected silhouette, to be seen at all
WIDER = 1.15  # half sizes of the expected box and its reach: what is farther is somebody else's
TALL, BROAD = 0.65, 0.6  # two pieces side by side, each of this share of the height, wider together than this share of
#                         it: two objects; narrower, one that a pole stands before


@dataclass
class Expected:
    """Where an object should be. box: [4] x0, y0, x1, y1 px."""

    box: np.ndarray


@dataclass
class Figure:
    """One object's silhouette in one frame.

    Args:
        box: [4] x0, y0, x1, y1 px, pixel borders. crop: [h, w] bool, the silhouette inside the box.
        is_shared: whether its patch of foreground is another's too.
        is_open: (below, above) whether another's silhouette begins there, so that its foot or head may be hidden.
    """

    box: np.ndarray
    crop: np.ndarray
    is_shared: bool = False
    is_open: tuple[bool, bool] = (False, False)

    @property
    def area(self) -> int:
        return int(self.crop.sum())

    @property
    def middle(self) -> np.ndarray:
        """[2] px, centroid."""
        v, u = np.nonzero(self.crop)
        return np.array([u.mean(), v.mean()]) + self.box[:2] + 0.0

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """[H, W] bool."""
        out = np.zeros(shape, bool)
        x0, y0, x1, y1 = self.box.astype(int)
        out[y0:y1, x0:x1] = self.crop
        return out


def figure_of(mask: np.ndarray) -> Figure:
    """Of a mask [H, W] that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return Figure(np.array([x0, y0, x1, y1], float), mask[y0:y1, x0:x1].copy())


def seen_figures(foreground: np.ndarray, expected: list[Expected]) -> tuple[list[Figure | None], list[Figure]]:
    """Silhouettes of the expected objects (None: not seen) and of others.

    A piece belongs to each object that should be where it is; one that belongs to several is cut along where they are
    equally far, in sizes of their boxes.

    Args:
        foreground: [H, W] bool.
    """
    _, label, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    label = np.where(stats[label, cv2.CC_STAT_AREA] >= MIN_PIECE_PX, label, 0)
    owner = np.full(foreground.shape, -1, np.int32)
    owners = _claims(label, stats[:, cv2.CC_STAT_AREA], expected)
    shared = np.zeros(len(expected), bool)
    _part_neighbours(owners, stats, expected)
    for piece, claimants in owners.items():
        if not claimants:
            continue
        x, y, w, h = stats[piece, :4]
        window = np.s_[y:y + h, x:x + w]
        inside = label[window] == piece
        choice = _nearest(claimants, expected, x, y, w, h)
        # what is far from all of them is somebody else
        owner[window][inside] = choice[inside]
        shared[claimants] |= len(claimants) > 1
    figures: list[Figure | None] = []
    for number, about in enumerate(expected):
        own = owner == number
        if own.sum() < MIN_SEEN * FILL * _area(about.box):
            owner[own] = -1
            figures.append(None)
            continue
        figure = figure_of(own)
        figure.is_shared = bool(shared[number])
        if figure.is_shared:
            figure.is_open = (_borders(figure, own, foreground, below=True),
                              _borders(figure, own, foreground, below=False))
        figures.append(figure)
    rest = np.where((owner < 0) & (label > 0), label, 0)
    least = {piece: min(TALL * (expected[n].box[3] - expected[n].box[1]) for n in claimants)
             for piece, claimants in owners.items() if claimants}
    return figures, grouped(rest, least)


def _area(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], 1) * max(box[3] - box[1], 1))


def _borders(figure: Figure, own: np.ndarray, foreground: np.ndarray, below: bool) -> bool:
    """Whether more foreground than its own [H, W] lies at the columns of a silhouette's lower or upper end."""
    x0, y0, x1, y1 = figure.box.astype(int)
    rows = np.s_[y1 - END_ROWS:y1 + END_ROWS] if below else np.s_[max(y0 - END_ROWS, 0):y0 + END_ROWS]
    columns = (figure.crop[-END_ROWS:] if below else figure.crop[:END_ROWS]).any(0)
    others = (foreground & ~own)[rows, x0:x1].any(0)
    return bool((others & columns).sum() > OPEN * columns.sum())


def _claims(label: np.ndarray, area: np.ndarray, expected: list[Expected]) -> dict[int, list[int]]:
    """Piece -> objects that it belongs to."""
    height, width = label.shape
    out: dict[int, list[int]] = {}
    for number, about in enumerate(expected):
        reach = REACH * (about.box[3] - about.box[1])
        x0, y0, x1, y1 = np.clip(np.rint(about.box + reach * np.array([-1, -1, 1, 1])), 0,
                                 [width, height, width, height]).astype(int)
        pieces, count = np.unique(label[y0:y1, x0:x1], return_counts=True)
        for piece, inside in zip(pieces, count):
            if piece and (inside >= CLAIM * area[piece] or inside >= CLAIM * FILL * _area(about.box)):
                out.setdefault(int(piece), []).append(number)
    return out


def _part_neighbours(owners: dict[int, list[int]], stats: np.ndarray, expected: list[Expected]) -> None:
    """Takes from an object the pieces that stand beside its own and are as tall: two that walked in as one."""
    for number, about in enumerate(expected):
        height = about.box[3] - about.box[1]
        mine = [piece for piece, claimants in owners.items()
                if number in claimants and stats[piece, cv2.CC_STAT_HEIGHT] >= TALL * height]
        if len(mine) < 2:
            continue
        middle = (about.box[0] + about.box[2]) / 2
        mine.sort(key=lambda p: abs(stats[p, 0] + stats[p, 2] / 2 - middle))
        x0, x1 = stats[mine[0], 0], stats[mine[0], 0] + stats[mine[0], 2]
        for piece in mine[1:]:
            left, right = stats[piece, 0], stats[piece, 0] + stats[piece, 2]
            beside = left >= x1 or right <= x0
            if beside and max(right, x1) - min(left, x0) > BROAD * height:
                owners[piece].remove(number)


def _nearest(claimants: list[int], expected: list[Expected], x: int, y: int, w: int, h: int) -> np.ndarray:
    """[h, w] which claimant each pixel of a window is nearest to, in half sizes of its box; -1 far from all."""
    u, v = np.meshgrid(np.arange(x, x + w), np.arange(y, y + h))
    distance = []
    for number in claimants:
        x0, y0, x1, y1 = expected[number].box
        reach = REACH * (y1 - y0)
        a, b = (x1 - x0) / 2 + reach, (y1 - y0) / 2 + reach
        distance.append(np.maximum(np.abs(u - (x0 + x1) / 2) / a, np.abs(v - (y0 + y1) / 2) / b))
    distance = np.stack(distance)
    best = distance.argmin(0)
    return np.where(distance.min(0) <= WIDER, np.array(claimants)[best], -1)


def grouped(label: np.ndarray, least: dict[int, float]) -> list[Figure]:
    """Figures of pieces [H, W] int (0: none) that stand one above the other.

    Args:
        least: piece -> rows that what is left of it must have, where the rest of it is somebody's: an arm is nobody.
    """
    pieces = []
    for number in np.unique(label):
        if number:
            piece = figure_of(label == number)
            if piece.area >= MIN_PIECE_PX and piece.box[3] - piece.box[1] >= least.get(int(number), 0):
                pieces.append(piece)
    parent = list(range(len(pieces)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, a in enumerate(pieces):
        for j in range(i):
            b = pieces[j]
            shared = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
            gap = max(a.box[1], b.box[1]) - min(a.box[3], b.box[3])
            joint = max(a.box[3], b.box[3]) - min(a.box[1], b.box[1])
            if shared >= OVER * min(a.box[2] - a.box[0], b.box[2] - b.box[0]) and gap <= BESIDE * joint:
                parent[root(i)] = root(j)
    groups: dict[int, list[Figure]] = {}
    for i, piece in enumerate(pieces):
        groups.setdefault(root(i), []).append(piece)
    return [joined(group, label.shape) for group in groups.values()]


def joined(pieces: list[Figure], shape: tuple[int, int]) -> Figure:
    return pieces[0] if len(pieces) == 1 else figure_of(np.any([p.mask(shape) for p in pieces], axis=0))
