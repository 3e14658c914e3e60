"""How fast the speed changes: the mean speed over the second half of a span against that over the first.

(v₂ − v₁) / (T / 2), with v₁ and v₂ the arc lengths of the smoothed path over its two halves by their durations. The
middles of the halves are T/2 apart wherever the span is parted, so that of what speeds up steadily this is the
acceleration along its path, and of all else its mean with a triangle's weight. A difference of speeds at the two ends
would rest on the ends of a path alone, where it is known least.
"""

from __future__ import annotations

import numpy as np

from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Parts, Sample
from curate.measure.paths import mean_speed, p_still
from curate.measure.smoothing import PathPosterior

Span = tuple[int, int]


def middle(span: Span) -> int:
    """The frame that parts a span into its two halves."""
    return (span[0] + span[1]) // 2


def _acceleration(path: PathPosterior, span: Span, offset: int) -> Sample:
    """m/s², negative where it slows down; nan over fewer than three frames. `offset`: the path's first frame."""
    i, m, j = (frame - offset for frame in (span[0], middle(span), span[1]))
    if m == i:
        return Sample(np.full(len(path.points), np.nan), {})
    before, after = mean_speed(path, i, m), mean_speed(path, m, j)
    half = float(path.time_s[j] - path.time_s[i]) / 2
    return Sample((after.draws - before.draws) / half,
                  Parts(lambda: {name: (after.parts[name] - before.parts[name]) / half for name in after.parts}),
                  extra={"middle_frame": middle(span), "speed_before": float(np.median(before.draws)),
                         "speed_after": float(np.median(after.draws))})


def camera_acceleration(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Mean rate of the camera's speed along its path, m/s²."""
    sample = _acceleration(draws.camera, span, 0)
    sample.p_zero = p_still(draws.camera, draws.camera_smoother, *span)
    return sample


def object_acceleration(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Mean rate of an object's speed along its path in the world, m/s²."""
    first = draws.scene.region(subjects[0]).first
    sample = _acceleration(draws.region(subjects[0]), span, first)
    sample.p_zero = p_still(draws.region(subjects[0]), draws.smoother(subjects[0]), span[0] - first, span[1] - first)
    return sample
