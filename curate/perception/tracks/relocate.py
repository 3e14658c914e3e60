"""Where a region that was hidden has come out again: patches of its picture are searched for, and vote."""

from __future__ import annotations

import cv2
import numpy as np

VOTERS = 16
MIN_VOTES = 4
AGREE_PX = 3.0
MIN_LIKENESS = 0.75
MIN_CONTRAST = 3.0  # grey levels


def shift_of(patch: np.ndarray, at: np.ndarray, affine: np.ndarray, corner: np.ndarray, image: np.ndarray,
             cut: tuple[slice, slice], side: int) -> np.ndarray | None:
    """[2] px by which the region lies beside where it was last thought to be; None where the votes do not agree.

    Args:
        patch: [h, w] uint8, the region's picture.
        at: [N, 2] points in it.
        affine: [2, 3] from the picture's frame to where the region was last.
        corner: [2] pixel of patch[0, 0] in the picture's frame.
        image: [H, W] uint8 of now.
        cut: box of the region now.
        side: px of the patches.
    """
    order = np.linspace(0, len(at) - 1, min(VOTERS, len(at))).astype(int)
    y0, x0 = max(cut[0].start - side, 0), max(cut[1].start - side, 0)
    view = np.ascontiguousarray(image[y0:cut[0].stop + side, x0:cut[1].stop + side])
    half = side // 2
    inverse = np.linalg.inv(affine[:, :2])
    ramp = np.arange(-half, half + 1)
    grid = np.stack(np.meshgrid(ramp, ramp), -1) @ inverse.T
    votes = []
    if min(view.shape) < side:
        return None
    for k in order:
        look = (at[k] + grid).astype(np.float32)
        template = cv2.remap(patch, look, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if template.std() < MIN_CONTRAST:
            continue
        alike = cv2.matchTemplate(view, template, cv2.TM_CCOEFF_NORMED)
        best = np.unravel_index(int(np.argmax(alike)), alike.shape)
        if alike[best] >= MIN_LIKENESS:
            found = np.array([best[1] + half + x0, best[0] + half + y0], float)
            votes.append(found - (affine[:, :2] @ (at[k] + corner) + affine[:, 2]))
    if len(votes) < MIN_VOTES:
        return None
    votes = np.array(votes)
    near = np.linalg.norm(votes[:, None] - votes[None], axis=-1) < AGREE_PX
    best = int(np.argmax(near.sum(1)))
    return votes[near[best]].mean(0) if near[best].sum() >= MIN_VOTES else None
