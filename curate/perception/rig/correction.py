"""Frames whose right view is seen by a camera without the rig's residual rotation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.rotations import exp_so3
from curate.sources.base import Frames


def homography(camera: Intrinsics, theta: np.ndarray) -> np.ndarray:
    """[3, 3] from pixels of the camera as it should be to those of the camera turned by `theta` [3]: K Rᵀ K⁻¹
    (Hartley and Zisserman, Multiple View Geometry, 8.4.2)."""
    return camera.matrix @ exp_so3(theta).T @ np.linalg.inv(camera.matrix)


class CorrectedFrames:
    """Frames with the right view turned back by `theta` [3] (tilt, pan, roll), radians; all else is that of `frames`.

    Exact for a pure rotation, whatever the depth. Resampled by Lanczos' kernel, which keeps the detail that
    matching lives on; what comes in at a border repeats it.
    """

    def __init__(self, frames: Frames, theta: np.ndarray) -> None:
        self._frames, self.theta = frames, np.asarray(theta, float)
        camera = frames.rig.left
        right = Intrinsics(camera.fx, camera.fy, camera.cx + frames.rig.doffs_px, camera.cy, camera.width,
                           camera.height)
        self._homography = homography(right, self.theta)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frames, name)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """As `frames.read`, with view 1 warped.

        Raises:
            IndexError: outside of the clip.
            BadInput: where the media cannot be decoded.
        """
        cv2.setNumThreads(1)
        views = self._frames.read(start, stop)
        if len(views[1]):
            views[1] = np.stack([self._turned_back(image) for image in views[1]])
        return views

    def _turned_back(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3], warped. A grey camera's three channels are one, and most of the cost is a channel's."""
        is_grey = np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])
        warped = cv2.warpPerspective(np.ascontiguousarray(image[..., 0]) if is_grey else image, self._homography,
                                     image.shape[1::-1], flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
                                     borderMode=cv2.BORDER_REPLICATE)
        return cv2.cvtColor(warped, cv2.COLOR_GRAY2RGB) if is_grey else warped
