"""What two regions are to each other."""

from __future__ import annotations

from curate.measure.chi2 import zero_p_value
from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Sample, covariance_of, vector_length


def object_object_distance(draws: SceneDraws, subjects: tuple[int, ...], span: tuple[int, int]) -> Sample:
    """‖P_a − P_b‖ between the two reference points, m, at the instant span[0] = span[1]."""
    (a, b), frame = subjects, span[0]
    path_a, path_b = draws.region(a), draws.region(b)
    i, j = frame - draws.scene.region(a).first, frame - draws.scene.region(b).first
    vectors = path_a.points[:, i] - path_b.points[:, j]
    mean = path_a.mean[i] - path_b.mean[j]
    # own and rig errors of the two are independent of each other, the pose error is one
    part_a = {name: part[:, i] for name, part in path_a.parts.items()}
    part_b = {name: part[:, j] for name, part in path_b.parts.items()}
    parts = {name: part_a[name] - part_b[name] for name in part_a}
    covariance = covariance_of(vectors)
    lengths, parts = vector_length(mean, vectors, parts, covariance)
    return Sample(lengths, parts, p_zero=zero_p_value(mean, covariance))
