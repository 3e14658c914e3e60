"""What two regions are to each other."""

from __future__ import annotations

import numpy as np

from curate.measure.chi2 import zero_p_value
from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Parts, Sample, as_stated, covariance_of, median, vector_length


def object_object_distance(draws: SceneDraws, subjects: tuple[int, ...], span: tuple[int, int]) -> Sample:
    """‖P_a − P_b‖ between the two reference points, m, at the instant span[0] = span[1]."""
    lengths, parts, p_zero = _apart(draws, subjects, span[0])
    return Sample(lengths, parts, p_zero=p_zero)


def object_object_distance_change(draws: SceneDraws, subjects: tuple[int, ...], span: tuple[int, int]) -> Sample:
    """‖P_a − P_b‖ at the end less that at the start, m; negative where they come closer together."""
    before, parts_before, _ = _apart(draws, subjects, span[0])
    after, parts_after, _ = _apart(draws, subjects, span[1])
    change = after - before
    if draws.region(subjects[0]).stated:
        change = as_stated(change, float(median(after)) - float(median(before)))
    closer, middle = float((change < 0).mean()), np.median(change)
    extra = {"category": "closer together" if middle < 0 else "farther apart",
             "probabilities": {"closer together": closer, "farther apart": 1 - closer}}
    return Sample(change, Parts(lambda: {name: parts_after[name] - parts_before[name] for name in parts_after}),
                  p_zero=zero_p_value(middle, np.var(change)), extra=extra)


def _apart(draws: SceneDraws, subjects: tuple[int, ...],
           frame: int) -> tuple[np.ndarray, Parts, float]:
    """Distances [S], m, of the two points, their parts by source, and the p-value of "they are in one place"."""
    a, b = subjects
    path_a, path_b = draws.region(a), draws.region(b)
    if ("apart", b, frame) not in path_a.memo:
        i, j = frame - draws.scene.region(a).first, frame - draws.scene.region(b).first
        vectors = path_a.points[:, i] - path_b.points[:, j]
        mean = path_a.mean[i] - path_b.mean[j]
        # own and rig errors of the two are independent of each other, the pose error is one
        parts = Parts(lambda: {name: part[:, i] - path_b.parts[name][:, j] for name, part in path_a.parts.items()})
        covariance = covariance_of(vectors)
        path_a.memo["apart", b, frame] = (*vector_length(mean, vectors, parts, covariance, path_a.stated),
                                          zero_p_value(mean, covariance))
    return path_a.memo["apart", b, frame]
