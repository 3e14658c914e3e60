"""The picture without what moves: what each pixel shows most often, and what differs from it in a frame, less shadows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

NOISE_FLOOR = 2.5  # of 255: least noise of a pixel, for coded video repeats pixels exactly
NORMAL = 1.4826  # median absolute deviation to sigma
ALIKE, ALIKE_FLOOR = 3.0, 8.0  # sigmas, or of 255, within which a pixel shows the same thing
SURE = 0.8  # of the frames that agree with the median: nothing stood there for long
OTHER = 0.1  # of the frames, to make a second thing that a pixel may show
NEARER = 0.5  # of the other's distance: the more frequent one has the first claim
AROUND = 9  # pixels around one that say what its background looks like
CHUNK = 4096
EVERY = 3  # pixels, where the light as a whole is looked at
CHROMA = 0.05  # a shadow changes the share of colours by less
RIPPLE = 0.03  # and darkens neighbours alike, to this share of the light
PATCH = 4
SEED = 2.0  # thresholds: a patch of foreground holds a pixel beyond twice the threshold


@dataclass(frozen=True)
class Background:
    """
    Args:
        image: [H, W, 3] float32. noise: [H, W] float32, sigma of a pixel, of 255.
    """

    image: np.ndarray
    noise: np.ndarray

    def gain(self, frame: np.ndarray) -> np.ndarray:
        """[3] by how much the frame is lighter as a whole: what most pixels say."""
        image, frame = self.image[::EVERY, ::EVERY], frame[::EVERY, ::EVERY]
        lit = (image.min(-1) > 16) & (image.max(-1) < 250)
        if lit.sum() < 100:
            return np.ones(3, np.float32)
        return np.clip(np.median(frame[lit].astype(np.float32) / image[lit], 0), 0.5, 2.0).astype(np.float32)

    def foreground(self, frame: np.ndarray, threshold: float, min_contrast: float,
                   shadow: tuple[float, float]) -> np.ndarray:
        """[H, W] bool, where the frame [H, W, 3] uint8 shows something else.

        Args:
            threshold: sigmas. min_contrast: of 255. shadow: shares of the light that a shadow leaves.
        """
        light = frame.astype(np.float32) / self.gain(frame)
        difference = largest(cv2.absdiff(light, self.image))
        level = np.maximum(threshold * self.noise, min_contrast)
        level = cv2.dilate(level, np.ones((3, 3), np.uint8))  # edges of the background waver
        weak = (difference > level) & ~self._shadow(light, shadow)
        weak = cv2.medianBlur(weak.astype(np.uint8), 3)
        return seeded(weak > 0, difference > SEED * level)

    def _shadow(self, light: np.ndarray, share: tuple[float, float]) -> np.ndarray:
        """[H, W] bool: darker by one factor in all colours (Horprasert et al. 1999) and all of the patch."""
        norm = total(self.image * self.image) + 1
        ratio = total(light * self.image) / norm
        rest = light - ratio[..., None] * self.image
        chroma = np.sqrt(total(rest * rest) / norm)
        grain = 2 * self.noise / np.sqrt(norm / 3)
        maybe = (ratio > share[0]) & (ratio < share[1]) & (chroma < CHROMA + grain)
        return maybe & (least_ripple(ratio, maybe) < RIPPLE + grain)


def largest(image: np.ndarray) -> np.ndarray:
    """[H, W] over the channels of [H, W, 3]; several times as fast as along a short last axis."""
    a, b, c = cv2.split(image)
    return cv2.max(cv2.max(a, b), c)


def total(image: np.ndarray) -> np.ndarray:
    """[H, W] sums over the channels of [H, W, 3]."""
    return cv2.transform(image, np.ones((1, 3), np.float32))


def least_ripple(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """[H, W] standard deviation of values [H, W], of the pixels `among`, in that of the four patches with the pixel in
    a corner where it is least (Kuwahara et al. 1976): beside an object's edge, on the side of the ground."""
    parts = [x.astype(np.float32) for x in (among, among * values, among * values**2)]
    least = np.full(values.shape, np.inf, np.float32)
    for corner in ((0, 0), (0, PATCH - 1), (PATCH - 1, 0), (PATCH - 1, PATCH - 1)):
        count, mean, square = (cv2.boxFilter(x, -1, (PATCH, PATCH), normalize=False, anchor=corner) for x in parts)
        variance = square / np.maximum(count, 1) - (mean / np.maximum(count, 1)) ** 2
        least = np.where(count >= PATCH, np.minimum(least, np.sqrt(np.maximum(variance, 0))), least)
    return least


def background_of(frames: np.ndarray) -> Background:
    """Background and noise of frames [n, H, W, 3] uint8 spread over a clip.

    The median, where nearly all frames agree with it. Elsewhere a pixel shows two things, and somebody who stands there
    for most of the clip may be the more frequent one: the background is the one that goes on from what is around.
    """
    image = np.median(frames, axis=0).astype(np.float32)
    steps = np.stack([largest(cv2.absdiff(a, b)) for a, b in pairwise(frames)])
    noise = np.maximum(NORMAL / np.sqrt(2) * np.median(steps, axis=0), NOISE_FLOOR).astype(np.float32)
    reach = np.maximum(ALIKE * noise, ALIKE_FLOOR)
    agree = np.mean([largest(cv2.absdiff(frame.astype(np.float32), image)) <= reach for frame in frames], axis=0)
    open_ = agree < SURE
    other = image.copy()
    rows, columns = np.nonzero(open_)
    for i in range(0, len(rows), CHUNK):
        at = rows[i:i + CHUNK], columns[i:i + CHUNK]
        image[at], other[at] = _two_most_often(frames[:, *at].astype(np.int16), reach[at])
    open_ &= np.abs(image - other).max(-1) > reach
    return Background(_continued(image, other, open_), noise)


def _two_most_often(values: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[p, 3] means of the largest group of frames that agree and of the largest among the others (the first again where
    that is small); values [n, p, 3], reach [p]."""
    alike = np.stack([np.abs(values - value).max(-1) <= reach for value in values])  # [n, n, p]

    def group(among: np.ndarray) -> np.ndarray:
        best = np.where(among, (alike & among[None]).sum(1), -1).argmax(0)
        return np.take_along_axis(alike, best[None, None], 0)[0] & among  # [n, p]

    def mean(of: np.ndarray) -> np.ndarray:
        return (values * of[..., None]).sum(0) / np.maximum(of.sum(0), 1)[:, None]

    first = group(np.ones(alike.shape[1:], bool))
    rest = group(~first)
    return mean(first), np.where((rest.mean(0) >= OTHER)[:, None], mean(rest), mean(first))


def _continued(image: np.ndarray, other: np.ndarray, open_: np.ndarray) -> np.ndarray:
    """The picture where open pixels, from the border inwards, take which of the two is nearer to what is settled
    around them; [H, W, 3], [H, W, 3], [H, W] bool."""
    out, settled = image.copy(), ~open_
    if not settled.any():
        return out
    while not settled.all():
        ring = ~settled & (cv2.dilate(settled.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        weight = cv2.boxFilter(settled.astype(np.float32), -1, (AROUND, AROUND), normalize=False)[ring]
        total = cv2.boxFilter(out * settled[..., None], -1, (AROUND, AROUND), normalize=False)[ring]
        mean = total / weight[:, None]
        a, b = image[ring], other[ring]
        nearer = np.abs(b - mean).max(-1) < NEARER * np.abs(a - mean).max(-1)
        out[ring] = np.where(nearer[:, None], b, a)
        settled |= ring
    return out


def seeded(weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """Connected parts of `weak` that hold a pixel of `strong`; [H, W] bool each."""
    _, label = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    keep = np.zeros(label.max() + 1, bool)
    keep[np.unique(label[strong & weak])] = True
    keep[0] = False
    return keep[label]
