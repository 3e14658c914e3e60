"""What the joint fit of a body does not know of its own error; fitted on rendered scenes, kept as data.

The fit takes its matches for independent but for their number. Neighbours and frames share image and error; the relief
of the surface errs as a whole, which shows once the body has turned; pixels beside it stray into its mask. How far the
body is, is no matter of the fit: that errs as the mean disparity of a region does, by the matcher's own calibration
(`DisparityNoise`), which knows the region's size and texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.data import calibration

VERSION = "4"


@dataclass(frozen=True)
class TrackError:
    """
    Args:
        along: factor on the fit's standard deviation along the line of sight.
        across: the same across it.
        own: of a frame's own error, the share (of its standard deviation) that is another one in each frame; a template
            errs alike in neighbouring frames, and what is left counts as drift.
        steady: share of the drift's variance that goes on in one direction; the rest is a random walk.
        turn_along, turn_across: error of the position along and across the line of sight, as a share of the body's
            size, for each radian it has turned.
        turn_turn: error of the turn itself as a share of it.
        reference_share: error of where the reference point lies on the body, as a share of its size: stray pixels in
            its mask.
    """

    along: float
    across: float
    own: float
    steady: float
    turn_along: float
    turn_across: float
    turn_turn: float
    reference_share: float

    @staticmethod
    def load() -> TrackError:
        return TrackError(**{name: float(value) for name, value in calibration("lift", VERSION).items()})

    def stretch(self, rays: np.ndarray) -> np.ndarray:
        """[F, 3, 3] the factors as matrices about unit rays [F, 3]."""
        return _about(rays, self.along, self.across)

    def by_turn(self, rays: np.ndarray, size: float, turned: np.ndarray) -> np.ndarray:
        """[F, 3, 3] m², what turning by `turned` [F] radians adds to the error of a body of `size` metres."""
        return _about(rays, self.turn_along**2, self.turn_across**2) * ((size * turned) ** 2)[:, None, None]


def _about(rays: np.ndarray, along: float, across: float) -> np.ndarray:
    return across * np.eye(3) + (along - across) * rays[:, :, None] * rays[:, None]
