"""Point tracks: predicted by dense flow, then matched against the patch they started from, so they do not drift.

Chained flow adds up its errors; matching every frame with the first one does not, but fails when the patch has
grown or turned. So each region keeps the picture of its points from the frame they started in (its anchor); in
every later frame this picture is warped by the affine motion of the region so far, and each point is found
again by Lucas-Kanade (Bouguet 2000) starting from the flow's prediction. A match must return to its start, look
alike, and have nothing nearer in its patch than it had (`cover`): a point that something passes in front of ends there
and does not ride on with it. Hidden points rest, and are found again when they come back; so is a whole region that
was hidden for a moment (`relocate`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from curate.perception.estimator import Field, Resources, Window
from curate.perception.tracks.config import FlowChainConfig
from curate.perception.tracks.cover import covered, nearest_about
from curate.perception.tracks.points import TrackPoints
from curate.perception.tracks.relocate import shift_of

MIN_POINTS = 6
FLOOR_PX = 0.08  # error of a match however strong its texture: interpolation, shading
RESEED_GAP = 4  # frames between two anchors of one region
LK_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.005)


@dataclass
class _Anchor:
    """Points of one region, and the picture they started from."""

    region: int
    frame: int
    patch: np.ndarray  # [h, w] uint8, part of the view at `frame`
    corner: np.ndarray  # [2] pixel of patch[0, 0]
    start: np.ndarray  # [N, 2] where the points were at `frame`
    ids: np.ndarray  # [N]
    uv: np.ndarray  # [N, 2] now, or where they would be
    matched: np.ndarray  # [N] bool, in the last frame
    noise: np.ndarray  # [N] px, what image noise does to a match of this patch
    disparity: np.ndarray  # [N] px where they started, nan where unknown
    relief: np.ndarray  # [N] px, how much nearer the nearest of the patch was there
    affine: np.ndarray  # [2, 3] start to now
    last_s: float  # when the region was last seen
    scale: float = 1.0  # apparent size against `frame`
    hidden: bool = False  # the region was not seen in the frame before
    visible: int = 0  # points that should have been seen in the last frame


class FlowChain:
    """Tracks on every region and on the background; see the module's text.

    Needs labels, flow and disparity; gives `tracks`, a list of `TrackPoints`, one for each frame of the window.
    """

    name = "flow-chain"
    version = "2"
    needs = ("disparity", "flow", "regions")
    gives = ("tracks",)
    window = 2
    overlap = 1
    resources = Resources(memory_bytes=200 << 20)

    def __init__(self, config: FlowChainConfig | None = None) -> None:
        self.config = config or FlowChainConfig()

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def run(self, window: Window) -> dict[str, Field]:
        state = window.carry.setdefault(self.name, {"anchors": {}, "next": 1, "tail": [], "ground": _ground()})
        frames: list[TrackPoints] = list(state["tail"][-window.overlap:]) if window.overlap else []
        for j in range(len(frames), window.num_frames):
            parts = []
            labels = window.fields["regions"].values[j]
            where = {k: cut for k, cut in enumerate(ndimage.find_objects(labels), 1) if cut is not None}
            for region, anchor in list(state["anchors"].items()):
                if region in where:
                    continue
                anchor.hidden = True
                if window.time_s[j] - anchor.last_s > self.config.keep_hidden_s:
                    del state["anchors"][region]
            for region, cut in where.items():
                anchor = state["anchors"].get(region)
                if anchor is not None and j > 0:
                    parts.append(self._follow(window, j, anchor, cut))
                    anchor.hidden, anchor.last_s = False, float(window.time_s[j])
                if anchor is None or self._worn(anchor, window.start + j):
                    fresh = self._seed(window, j, region, cut, state)
                    if fresh is not None and (anchor is None or len(fresh.ids) > anchor.matched.sum()):
                        state["anchors"][region] = fresh
                        parts.append(self._measured(window, j, region, fresh.ids, fresh.uv, fresh.noise))
            parts.append(self._follow_ground(window, j, labels, state))
            frames.append(TrackPoints.join(parts))
        state["tail"] = frames[-max(1, self.overlap, window.overlap):]
        return {"tracks": Field(frames, None, None, f"{self.name}@{self.version}")}

    def _worn(self, anchor: _Anchor, frame: int) -> bool:
        limit = self.config.reseed_scale
        changed = not 1 / limit < anchor.scale < limit
        matched = int(anchor.matched.sum())
        # while part of the region is hidden, the points of the other part are not given up
        few = matched < self.config.reseed_share * anchor.visible and anchor.visible > 0.7 * len(anchor.ids)
        few |= matched < MIN_POINTS
        return (changed or few) and frame - anchor.frame >= RESEED_GAP

    def _seed(self, window: Window, j: int, region: int, cut: tuple[slice, slice], state: dict) -> _Anchor | None:
        """Corners spread over the inner pixels of a region, with the picture around them."""
        config = self.config
        labels, field = window.fields["regions"].values[j], window.fields["disparity"]
        margin = 2 * config.patch_px
        height, width = labels.shape
        x0, y0 = max(cut[1].start - margin, 0), max(cut[0].start - margin, 0)
        x1, y1 = min(cut[1].stop + margin, width), min(cut[0].stop + margin, height)
        mask = labels[y0:y1, x0:x1] == region
        inner = inner_mask(mask, config.border_px) & field.valid[j, y0:y1, x0:x1]
        area = int(inner.sum())
        if area < 20:
            return None
        patch = np.ascontiguousarray(window.grey[0][j, y0:y1, x0:x1])
        spacing = max(3.0, 0.8 * np.sqrt(area / config.points_per_region))
        corners = cv2.goodFeaturesToTrack(patch, config.points_per_region, 0.003, spacing,
                                          mask=inner.astype(np.uint8), blockSize=5)
        if corners is None or len(corners) < MIN_POINTS:
            return None
        start = corners[:, 0].astype(float) + [x0, y0]
        ids = np.arange(state["next"], state["next"] + len(start), dtype=np.int64)
        state["next"] += len(start)
        disparity, known = sample(field.values[j][..., None], field.valid[j], start, step=1.5)
        disparity = np.where(known, disparity[:, 0], np.nan)
        # of its own surface alone: what else was in the patch is no relief
        seen = field.valid[j, y0:y1, x0:x1] & mask
        nearest = nearest_about(field.values[j, y0:y1, x0:x1], seen, start - [x0, y0], config.patch_px)
        return _Anchor(region, window.start + j, patch, np.array([x0, y0], float), start, ids, start.copy(),
                       np.ones(len(start), bool), match_noise(patch, corners[:, 0], config.patch_px, config.grey_noise),
                       disparity, np.fmax(nearest - disparity, 0), np.eye(2, 3), float(window.time_s[j]),
                       visible=len(start))

    def _follow(self, window: Window, j: int, anchor: _Anchor, cut: tuple[slice, slice]) -> TrackPoints:
        """The anchor's points in frame j of the window, where its region has the box `cut`; updates the anchor."""
        height, width = window.grey[0].shape[1:]
        if anchor.hidden:
            shift = shift_of(anchor.patch, anchor.start - anchor.corner, anchor.affine, anchor.corner,
                             window.grey[0][j], cut, self.config.patch_px)
            if shift is None:
                anchor.matched, anchor.visible = np.zeros(len(anchor.ids), bool), len(anchor.ids)
                return TrackPoints.empty()
            affine = anchor.affine + np.column_stack([np.zeros((2, 2)), shift])
            usable = np.zeros(len(anchor.ids), bool)
            predicted = anchor.uv
        else:
            flow = window.fields["flow"]
            step, known = sample(flow.values[j - 1], flow.valid[j - 1], anchor.uv)
            usable = known & anchor.matched
            predicted = anchor.uv + step
            affine = fit_affine(anchor.start[usable], predicted[usable])
            if affine is None:
                shift = np.median(step[known], 0) if known.any() else np.zeros(2)
                affine = np.column_stack([np.eye(2), np.median(anchor.uv - anchor.start, 0) + shift])
        anchor.affine = affine
        by_affine = anchor.start @ affine[:, :2].T + affine[:, 2]
        predicted = np.where(usable[:, None], predicted, by_affine)
        inside = ((predicted > 2) & (predicted < [width - 3, height - 3])).all(1)
        anchor.scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
        anchor.uv, anchor.matched, anchor.visible = predicted, np.zeros(len(predicted), bool), int(inside.sum())
        if inside.sum() < 4 or not 0.2 < anchor.scale < 5:
            return TrackPoints.empty()
        found, round_trip, alike = self._match(window.grey[0][j], anchor, affine, by_affine, predicted, inside)
        good = inside & (round_trip < self.config.round_trip_px) & (alike > self.config.min_correlation)
        half = self.config.patch_px // 2
        good &= (np.abs(found - predicted) < 8).all(1)
        good &= ((found >= half) & (found <= [width - 1 - half, height - 1 - half])).all(1)
        labels, field = window.fields["regions"].values[j], window.fields["disparity"]
        on = np.zeros(len(good), np.int16)
        on[inside] = labels[tuple(np.rint(predicted[inside]).astype(int).T[::-1])]
        anchor.visible = int((on == anchor.region).sum())
        good &= (on == anchor.region) | (on == 0)
        good[good] = ~covered(field.values[j], field.valid[j], found[good], anchor.disparity[good], anchor.relief[good],
                              on[good] == anchor.region, self.config.patch_px)
        anchor.uv = np.where(good[:, None], found, predicted)
        anchor.matched = good
        return self._measured(window, j, anchor.region, anchor.ids[good], found[good],
                              np.hypot(anchor.noise, 0.5 * round_trip)[good])

    def _match(self, image, anchor: _Anchor, affine, by_affine, predicted, inside):
        """Lucas-Kanade between the warped anchor picture and the frame, there and back.

        Returns:
            found [N, 2] pixels, round_trip [N] pixels (inf where it failed), alike [N] normalised correlation.
        """
        side, margin = self.config.patch_px, 2 * self.config.patch_px
        height, width = image.shape
        low = np.floor(predicted[inside].min(0)).astype(int) - margin
        high = np.ceil(predicted[inside].max(0)).astype(int) + margin
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, [width, height])
        view = np.ascontiguousarray(image[y0:y1, x0:x1])
        to_view = affine.copy()  # patch pixel -> pixel of the cut-out
        to_view[:, 2] += affine[:, :2] @ anchor.corner - [x0, y0]
        template = cv2.warpAffine(anchor.patch, to_view, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR,
                                  borderMode=cv2.BORDER_REPLICATE)
        offset = np.array([x0, y0], float)
        there = (by_affine - offset).astype(np.float32)[:, None]
        guess = (predicted - offset).astype(np.float32)[:, None]
        options = dict(winSize=(side, side), maxLevel=1, criteria=LK_CRITERIA, flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
                       minEigThreshold=1e-4)
        found, ok, _ = cv2.calcOpticalFlowPyrLK(template, view, there, guess.copy(), **options)
        back, ok_back, _ = cv2.calcOpticalFlowPyrLK(view, template, found, there.copy(), **options)
        round_trip = np.linalg.norm((back - there)[:, 0], axis=1)
        round_trip[(ok[:, 0] == 0) | (ok_back[:, 0] == 0) | ~np.isfinite(round_trip)] = np.inf
        alike = correlation(template, view, there[:, 0], found[:, 0], side)
        return found[:, 0].astype(float) + offset, round_trip, alike

    def _measured(self, window: Window, j: int, region: int, ids, uv, noise) -> TrackPoints:
        """Tracks at `uv`, known to `noise` px, with their disparity: read from the dense field where the valid
        neighbours are one surface."""
        field = window.fields["disparity"]
        disparity, known = sample(field.values[j][..., None], field.valid[j], uv, step=1.5)
        sigma, _ = sample(field.sigma[j][..., None], field.valid[j], uv)
        disparity = np.where(known, disparity[:, 0], np.nan)
        return TrackPoints(ids, np.full(len(ids), region, np.int16), uv, np.hypot(FLOOR_PX, noise), disparity,
                           np.where(known, sigma[:, 0], np.nan))

    def _follow_ground(self, window: Window, j: int, labels, state: dict) -> TrackPoints:
        """Background points: chained by flow alone while it is valid and they stay off the regions."""
        ground, count = state["ground"], self.config.background_points
        if j > 0 and len(ground["ids"]):
            flow = window.fields["flow"]
            step, known = sample(flow.values[j - 1], flow.valid[j - 1], ground["uv"])
            uv = ground["uv"] + step
            height, width = labels.shape
            keep = known & ((uv > 1) & (uv < [width - 2, height - 2])).all(1)
            uv, ids, age = uv[keep], ground["ids"][keep], ground["age"][keep] + 1
            off = labels[uv[:, 1].round().astype(int), uv[:, 0].round().astype(int)] == 0
            ground.update(uv=uv[off], ids=ids[off], age=age[off])
        if len(ground["ids"]) < count / 2:
            room = (labels == 0) & window.fields["disparity"].valid[j]
            spacing = max(5.0, 0.7 * np.sqrt(labels.size / max(count, 1)))
            corners = cv2.goodFeaturesToTrack(window.grey[0][j], count - len(ground["ids"]), 0.005, spacing,
                                              mask=room.astype(np.uint8)) if count else None
            if corners is not None:
                new = corners[:, 0].astype(float)
                ids = np.arange(state["next"], state["next"] + len(new), dtype=np.int64)
                state["next"] += len(new)
                ground.update(uv=np.concatenate([ground["uv"], new]), ids=np.concatenate([ground["ids"], ids]),
                              age=np.concatenate([ground["age"], np.zeros(len(new))]))
        # errors of chained flow add up like a random walk
        return self._measured(window, j, 0, ground["ids"], ground["uv"], 0.15 * np.sqrt(ground["age"]))


def _ground() -> dict:
    return {"ids": np.zeros(0, np.int64), "uv": np.zeros((0, 2)), "age": np.zeros(0)}


def inner_mask(mask: np.ndarray, border: int) -> np.ndarray:
    """Pixels of [H, W] bool at least `border` pixels from any other; the image's edge counts as other."""
    if border <= 0:
        return mask
    padded = np.pad(mask.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1] > border


def sample(values: np.ndarray, valid: np.ndarray, uv: np.ndarray,
           step: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear values [N, C] of [H, W, C] at pixels uv [N, 2], and whether all four neighbours are valid and
    differ by less than `step` (no reading across a depth edge)."""
    height, width = valid.shape
    x0 = np.clip(np.floor(uv[:, 0]).astype(int), 0, width - 2)
    y0 = np.clip(np.floor(uv[:, 1]).astype(int), 0, height - 2)
    a, b = (uv[:, 0] - x0)[:, None], (uv[:, 1] - y0)[:, None]
    corners = np.stack([values[y0, x0], values[y0, x0 + 1], values[y0 + 1, x0], values[y0 + 1, x0 + 1]]).astype(float)
    known = valid[y0, x0] & valid[y0, x0 + 1] & valid[y0 + 1, x0] & valid[y0 + 1, x0 + 1]
    known &= ((a >= 0) & (a <= 1) & (b >= 0) & (b <= 1))[:, 0]
    corners = np.where(np.isfinite(corners), corners, 0.0)
    if np.isfinite(step):
        known &= (np.ptp(corners, axis=0) < step).all(1)
    out = (corners[0] * (1 - a) + corners[1] * a) * (1 - b) + (corners[2] * (1 - a) + corners[3] * a) * b
    return out, known


def fit_affine(start: np.ndarray, now: np.ndarray) -> np.ndarray | None:
    """Affine [2, 3] with now ≈ A start + b, least squares with Tukey weights; None for fewer than six points."""
    if len(start) < MIN_POINTS:
        return None
    centre = start.mean(0)
    design = np.column_stack([start - centre, np.ones(len(start))])
    shift = np.median(now - start, 0)
    residual = np.linalg.norm(now - start - shift, axis=1)
    weight = 1 / (1 + (residual / max(3.0, 1.5 * np.median(residual))) ** 2)
    for _ in range(6):
        root = np.sqrt(weight)[:, None]
        # a whisper of "moves as it is" keeps points on one line from tilting the picture
        prior = np.diag([3.0, 3.0, 0.0])
        solution = np.linalg.lstsq(np.vstack([design * root, prior]),
                                   np.vstack([now * root, np.array([[3.0, 0], [0, 3.0], [0, 0]])]), rcond=None)[0]
        residual = np.linalg.norm(now - design @ solution, axis=1)
        scale = max(0.3, 1.48 * np.median(residual))
        weight = np.clip(1 - (residual / (4.7 * scale)) ** 2, 0, None) ** 2
    affine = solution.T
    affine[:, 2] -= affine[:, :2] @ centre
    return affine


def match_noise(image: np.ndarray, uv: np.ndarray, side: int, grey_noise: float) -> np.ndarray:
    """[N] px: error of a least-squares match of side × side patches at uv [N, 2], both pictures noisy: noise · √2
    over the root of the smaller eigenvalue of the gradients' tensor (Förstner 1987)."""
    gx, gy = (cv2.Sobel(image, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    box = [cv2.boxFilter(g, -1, (side, side), normalize=False) for g in (gx * gx, gx * gy, gy * gy)]
    column, row = np.rint(uv).astype(int).T
    a, b, c = (x[row, column].astype(float) for x in box)
    weakest = (a + c) / 2 - np.sqrt(((a - c) / 2) ** 2 + b**2)
    return grey_noise * np.sqrt(2 / np.maximum(weakest, 1.0))


def correlation(a: np.ndarray, b: np.ndarray, at_a: np.ndarray, at_b: np.ndarray, side: int) -> np.ndarray:
    """Normalised correlation [N] of side × side patches of two grey images around float32 pixels [N, 2]."""
    ramp = np.arange(side, dtype=np.float32) - side // 2
    dx, dy = np.meshgrid(ramp, ramp)

    def patches(image, at):
        x = (at[:, 0, None] + dx.ravel()).astype(np.float32)
        y = (at[:, 1, None] + dy.ravel()).astype(np.float32)
        p = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        return p - p.mean(1, keepdims=True)

    p, q = patches(a, at_a), patches(b, at_b)
    return (p * q).sum(1) / np.maximum(np.sqrt((p * p).sum(1) * (q * q).sum(1)), 1e-6)
