"""A dense field on a coarser grid, one surface a cell: medians of pixels that belong together, no mean over an edge.

A cell covers an exact rectangle of the image (pixel p covers p .. p + 1); its pixels are sampled evenly over it. What
is unknown is nan and is left out.
"""

from __future__ import annotations

import numpy as np

PER_SIDE = 8  # samples of a cell along each side at most: enough for a median, whatever the size of the image
MIN_SHARE = 0.25  # of a cell's samples that must be known
EDGE = 0.1  # depths that differ by more than this share are of two surfaces


class Cells:
    """Samples of an image for each cell of a grid.

    Args:
        shape: (H, W) of the image.
        grid: (h, w); finer than the image along a side gives the nearest pixel there.

    Raises:
        ValueError: where a side is not positive.
    """

    def __init__(self, shape: tuple[int, int], grid: tuple[int, int]) -> None:
        if min(*shape, *grid) < 1:
            raise ValueError(f"cells of {grid[0]}x{grid[1]} from an image of {shape[0]}x{shape[1]}; expected positive "
                             f"numbers of rows and columns")
        self.shape, self.grid = tuple(shape), tuple(grid)
        rows, columns = (_samples(size, num) for size, num in zip(shape, grid))
        self._rows, self._columns = rows[:, None, :, None], columns[None, :, None, :]

    def take(self, image: np.ndarray) -> np.ndarray:
        """[H, W] to [h, w, n] samples of each cell."""
        return image[self._rows, self._columns].reshape(*self.grid, -1)

    def surface(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The surface that fills most of each cell.

        Args:
            depth: [H, W] metres, nan where unknown.

        Returns:
            its depth [h, w], that of one of its pixels, nan where too few are known; and which samples [h, w, n] are
            of it: all of them where no depth is known.
        """
        samples = self.take(depth)
        chosen = median(samples, np.full(self.grid, MIN_SHARE * samples.shape[-1]))
        with np.errstate(invalid="ignore"):
            same = np.abs(samples - chosen[..., None]) <= EDGE * chosen[..., None]
        return chosen, same | np.isnan(chosen)[..., None]

    def median(self, image: np.ndarray, same: np.ndarray) -> np.ndarray:
        """[h, w] of an image [H, W] over the samples of each cell's surface; nan where few of them are known."""
        return median(np.where(same, self.take(image), np.nan), MIN_SHARE * same.sum(-1))

    def majority(self, image: np.ndarray, same: np.ndarray) -> np.ndarray:
        """[h, w] 0 or 1 of an image [H, W] of 0, 1 and nan, as `median`."""
        samples = self.take(image)
        known = same & np.isfinite(samples)
        count = known.sum(-1)
        ones = (known & (samples > 0.5)).sum(-1)
        enough = (count > 0) & (count >= MIN_SHARE * same.sum(-1))
        return np.where(enough, (2 * ones > count).astype(np.float32), np.float32(np.nan))


def median(samples: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Lower median over the last axis, which is one of the samples; nan where fewer than `least`, or none, are known.
    """
    ordered = np.sort(samples, -1)  # nan last
    count = np.isfinite(samples).sum(-1)
    value = np.take_along_axis(ordered, np.maximum(count - 1, 0)[..., None] // 2, -1)[..., 0]
    return np.where((count > 0) & (count >= least), value, np.float32(np.nan)).astype(np.float32)


def _samples(size: int, num: int) -> np.ndarray:
    """[num, n] indices of pixels, evenly over each of `num` parts of a side."""
    per_cell = min(PER_SIDE, -(-size // num))
    at = (np.arange(num)[:, None] + (np.arange(per_cell) + 0.5) / per_cell) * (size / num)
    return np.minimum(at.astype(int), size - 1)
