"""What one region does: in the world, in the image, and towards the camera. Reference point: surface@t0."""

from __future__ import annotations

import numpy as np

from curate.measure.chi2 import zero_p_value
from curate.measure.direction import AXES_2D, AXES_3D, angular_error, describe
from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Parts, Sample, as_stated, covariance_of, median, vector_length
from curate.measure.paths import displacement, mean_speed, p_still, path_direction, path_length
from curate.measure.speed import peak_speed

Span = tuple[int, int]


def _frames(draws: SceneDraws, region_id: int, span: Span) -> Span:
    first = draws.scene.region(region_id).first
    return span[0] - first, span[1] - first


def _p_still(draws: SceneDraws, region_id: int, span: Span) -> float:
    return p_still(draws.region(region_id), draws.smoother(region_id), *_frames(draws, region_id, span))


def object_displacement(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """‖P_j − P_i‖ of the same physical point, world, m."""
    return displacement(draws.region(subjects[0]), *_frames(draws, subjects[0], span))


def object_path_length(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Arc length of the smoothed path, world, m."""
    sample = path_length(draws.region(subjects[0]), *_frames(draws, subjects[0], span))
    sample.p_zero = _p_still(draws, subjects[0], span)
    return sample


def object_mean_speed(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Path length over duration, m/s."""
    sample = mean_speed(draws.region(subjects[0]), *_frames(draws, subjects[0], span))
    sample.p_zero = _p_still(draws, subjects[0], span)
    return sample


def object_peak_speed(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Speed at the fastest frame of the smoothed path, m/s; `fastest_frame` counts in the clip."""
    rng = draws.rng(f"speed {subjects[0]} {span[0]} {span[1]}")
    sample = peak_speed(draws.region(subjects[0]), *_frames(draws, subjects[0], span), rng)
    sample.p_zero = _p_still(draws, subjects[0], span)
    sample.extra["fastest_frame"] += draws.scene.region(subjects[0]).first
    return sample


def object_direction(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """R_iᵀ (P_j − P_i): true motion, the camera's taken out, in the axes of camera i."""
    rotation = draws.scene.T_world_cam.rotation[span[0]]
    return path_direction(draws.region(subjects[0]), *_frames(draws, subjects[0], span), rotation, AXES_3D)


def apparent_direction(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Motion of the reference point in the image from frame i to j, camera's and object's together, px.

    Its error is the region's own noise at both frames and the drift between, projected; a shared bias cancels. Of a
    region whose place in space is not known it is what its place in the picture is measured by.
    """
    scene, region = draws.scene, draws.scene.region(subjects[0])
    i, j = span
    mean = region.centroid_px[j] - region.centroid_px[i]

    def in_pixels(frame: int, covariance: np.ndarray) -> np.ndarray:
        x, y, z = region.point_cam[frame]
        if not np.isfinite(z):
            return region.flow_sigma_px[frame] ** 2 * np.eye(2)
        jacobian = np.array([[scene.camera.fx / z, 0, -scene.camera.fx * x / z**2],
                             [0, scene.camera.fy / z, -scene.camera.fy * y / z**2]])
        return jacobian @ covariance @ jacobian.T

    drift = np.nan_to_num(region.step_cov[i + 1:j + 1]).sum(0)
    covariance = in_pixels(i, region.cov_frame[i]) + in_pixels(j, region.cov_frame[j] + drift)
    value, vector = np.linalg.eigh(covariance)
    noise = draws.normals(f"image {region.id} {i} {j}", 2) @ (vector * np.sqrt(np.clip(value, 0, None))).T
    angle = angular_error(mean, mean + noise)
    extra = describe(mean, mean + noise, AXES_2D) | {
        "vector_px": [float(x) for x in mean], "sigma_px": [float(s) for s in np.sqrt(np.diagonal(covariance))]}
    return Sample(angle, {"own": angle}, scaled=False, p_zero=zero_p_value(mean, covariance), extra=extra)


def object_camera_distance(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """‖P_i − c_i‖, m, at the instant i = span[0] = span[1]."""
    return Sample(*_distance(draws, subjects[0], span[0]))


def object_camera_distance_change(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """‖P_j − c_j‖ − ‖P_i − c_i‖, m, negative where it comes closer."""
    before, parts_before = _distance(draws, subjects[0], span[0])
    after, parts_after = _distance(draws, subjects[0], span[1])
    change = after - before
    if draws.region(subjects[0]).stated:
        change = as_stated(change, float(median(after)) - float(median(before)))
    closer, middle = float((change < 0).mean()), np.median(change)
    extra = {"category": "closer" if middle < 0 else "farther",
             "probabilities": {"closer": closer, "farther": 1 - closer}}
    return Sample(change, Parts(lambda: {name: parts_after[name] - parts_before[name] for name in parts_after}),
                  p_zero=zero_p_value(middle, np.var(change)), extra=extra)


def _distance(draws: SceneDraws, region_id: int, frame: int) -> tuple[np.ndarray, Parts]:
    path, camera = draws.region(region_id), draws.camera
    if ("distance", frame) not in path.memo:
        k = frame - draws.scene.region(region_id).first
        parts = Parts(lambda: {name: path.parts[name][:, k] - camera.parts[name][:, frame] if name in camera.parts
                               else path.parts[name][:, k] for name in path.parts})
        vectors = path.points[:, k] - camera.points[:, frame]
        path.memo["distance", frame] = vector_length(path.mean[k] - camera.mean[frame], vectors, parts,
                                                     covariance_of(vectors), path.stated)
    return path.memo["distance", frame]
