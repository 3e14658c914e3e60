"""How tall the visible surface of a region is: the rows of its box at the distance of its reference point.

h = rows · Z / f_y, along the camera's downward axis. The box is drawn by matching, which does not end where the
surface does, and the surface is not flat: on rendered scenes the true height lies `BIAS` above the box's and within
Student's t of four degrees of freedom and scale `SPREAD` of it (both in cells of the segmentation's grid, `GRID` wide),
whatever the height. The longest side of the oriented box (`Region.extent_m`) has no honest error of the kind: it is
that of the inner pixels alone, 0.6 to 1.0 of the surface's, and turns with noise where two sides are alike.
"""

from __future__ import annotations

import numpy as np

from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Sample, state, summarise
from curate.measure.quantity import Quantity
from curate.measure.strata import stratified_tails

GRID = 400  # cells in a row, at most
BIAS, SPREAD = 1.0, 4.2  # cells; SPREAD is the scale of Student's t: √2 of it is the standard deviation


def surface_height(draws: SceneDraws, region_id: int) -> Quantity | None:
    """Height of the visible surface along the camera's downward axis at the frame where the region is defined, m; None
    where it has no box there."""
    scene, region = draws.scene, draws.scene.region(region_id)
    frame = region.defined_at
    box, point = region.box[frame], region.point_cam[frame]
    if not (np.isfinite(box).all() and np.isfinite(point).all()):
        return None
    cell = max(scene.camera.width / GRID, 1.0)
    half = draws.num_draws // 2
    rng = draws.rng(f"height {region_id}")
    error = np.sqrt(2) * SPREAD * rng.standard_normal(half) * stratified_tails(rng, half)
    rows = box[3] - box[1] + cell * (BIAS + np.concatenate([error, -error]))
    variance = float((region.cov_frame[frame] + region.cov_shared[frame])[2, 2])
    depth = point[2] + np.sqrt(max(variance, 0.0)) * draws.normals(f"depth of {region_id}", 1)[:, 0]
    heights = np.maximum(rows * depth / scene.camera.fy, 0.0)
    sample = Sample(heights, {"own": heights}, extra={"rows_px": float(box[3] - box[1]), "depth_m": float(point[2])})
    return state(sample, summarise([sample], draws.scale)[0], draws.scale_sigma, kind="object_height",
                 subjects=(region_id,), span=(frame, frame), unit="m", frame=f"camera@{frame}",
                 reference=region.reference)
