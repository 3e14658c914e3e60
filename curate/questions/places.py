"""Where a region's reference point is, in the camera's axes and in both images, as joint draws of one instant.

A point measured in the camera's own axes knows nothing of the camera's motion, so its error at one instant is that of
its frame, what drifted since the point was defined, the bias that all frames share, and the pan between the cameras.
Draws of one region share their bias and their heaviness of tail over all frames, and all regions the pan.
"""

from __future__ import annotations

import numpy as np

from curate.measure.draws import SceneDraws, ray_root
from curate.measure.pose_errors import covariance_root
from curate.measure.rig_effect import pan_of_points
from curate.measure.strata import stratified_tails
from curate.questions.view import View
from curate.scene import Region, Scene

OFF = "its centre is not on its own surface"
NAMES_PLACES = ("box", "box1000", "point", "point1000")  # region dialects that say where a region is


def says_where(view: View) -> bool:
    """Whether regions are named by their place in the first frame: options of places would then tell too much."""
    return view.config.region_dialect in NAMES_PLACES


def instants(view: View, region: Region) -> list[int]:
    """The frames of a region that are asked about: the last where it is measured, and one half way to it; never the
    marked one."""
    frames = view.frames(region)
    frames = frames[frames > 0]
    if not len(frames):
        return []
    middle = int(frames[np.argmin(np.abs(frames - (frames[-1] + frames[0]) / 2))])
    return sorted({middle, int(frames[-1])})


def on_surface(region: Region) -> bool:
    """Whether the reference point is seen on the region itself: the middle of a ring, or of two things taken for one,
    is no point that one could follow."""
    u, v = np.rint(region.centroid_px[region.defined_at]).astype(int)
    height, width = region.mask_first.shape
    return bool(0 <= u < width and 0 <= v < height and region.mask_first[v, u])


def heavy_tail(draws: SceneDraws, region: Region) -> np.ndarray:
    """Factor [S, 1] of a region's own errors, that makes normal draws Student's t of the same variance."""
    memo = draws.region(region.id).memo
    if "place tail" not in memo:
        half = stratified_tails(draws.rng(f"place {region.id} tail"), draws.num_draws // 2)
        memo["place tail"] = np.concatenate([half, half])[:, None]
    return memo["place tail"]


def camera_points(draws: SceneDraws, region: Region, frame: int) -> np.ndarray:
    """Draws [S, 3] of the reference point in the camera's axes at a frame where it is measured, m, without the scale's
    error."""
    memo = draws.region(region.id).memo
    if ("place", frame) not in memo:
        memo["place", frame] = _camera_points(draws, region, frame, memo)
    return memo["place", frame]


def _camera_points(draws: SceneDraws, region: Region, frame: int, memo: dict) -> np.ndarray:
    name, point = f"place {region.id}", region.point_cam[frame]
    if "place bias" not in memo:
        memo["place bias"] = draws.normals(name, 3)
    first, last = sorted((region.defined_at, frame))
    own = np.nan_to_num(region.cov_frame[frame]) + np.nan_to_num(region.step_cov[first + 1:last + 1]).sum(0)
    shared = np.nan_to_num(region.cov_shared[frame])
    error = draws.normals(f"{name} {frame}", 3) @ covariance_root(own[None])[0].T
    error += memo["place bias"] @ ray_root(shared[None], point[None])[0].T
    error *= heavy_tail(draws, region)
    pan = draws.normals("pan", 1) * draws.pan_sigma
    return point + error + pan * pan_of_points(point[None], draws.scene.baseline_m)


def held_still(draws: SceneDraws, region: Region, frame: int, origin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The reference point at `frame` in the axes of the camera at frame `origin`: [3] and draws [S, 3], m, unscaled.

    What is left is the point's true motion: p = R_oᵀ (P(t) − c_o).
    """
    path, pose = draws.region(region.id), draws.scene.T_world_cam
    turn, centre = pose.rotation[origin], pose.translation[origin]
    k = frame - region.first
    mean, drawn = path.mean[k], path.points[:, k]
    if origin:  # the camera's own error there
        drawn = drawn - (draws.camera.points[:, origin] - centre)
        turned = np.cross(draws.rotation_error[:, origin], drawn - centre)
        drawn = drawn - turned
    return (mean - centre) @ turn, (drawn - centre) @ turn


def held_still_point(draws: SceneDraws, region: Region, frame: int) -> np.ndarray:
    """The point [3] of `held_still` for the first frame, m, without its draws."""
    pose = draws.scene.T_world_cam
    return (draws.region(region.id).mean[frame - region.first] - pose.translation[0]) @ pose.rotation[0]


def pixels(scene: Scene, points: np.ndarray) -> np.ndarray:
    """Points [..., 3] in camera axes to [..., 2], counted from the image's corner; nan behind the camera."""
    camera = scene.camera
    points = np.asarray(points, float)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(z > 0, 1 / z, np.nan)
    out = np.empty((*z.shape, 2))
    out[..., 0] = camera.fx * x * inverse + camera.cx + 0.5
    out[..., 1] = camera.fy * y * inverse + camera.cy + 0.5
    return out


def inside(scene: Scene, point: np.ndarray, border: float = 0.0) -> bool:
    """Whether an image point [2], from the corner, is at least a share `border` of the size inside the image."""
    size = np.array([scene.camera.width, scene.camera.height])
    return bool(np.isfinite(point).all() and (point >= border * size).all() and (point <= (1 - border) * size).all())


def away_from(draws: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Distances [S] of draws [S, d] from a point [d]."""
    off = draws - centre
    return np.sqrt(np.einsum("sd,sd->s", off, off))


def radius(away: np.ndarray, share: float = 0.995) -> float:
    """How far away that share of the draws [S] is at most; inf where one is not finite."""
    rank = min(int(share * len(away)), len(away) - 1)
    found = float(np.partition(away, rank)[rank])  # nan sorts to the end
    return found if np.isfinite(away.max()) else float("inf")


def has_second_view(scene: Scene) -> bool:
    """Whether the clip has a rectified second view, beside the first by a known baseline."""
    return bool(np.isfinite(scene.baseline_m) and scene.baseline_m != 0)


def sides(scene: Scene) -> tuple[str, str]:
    """Which camera of the pair the first view is, and which the second: "left", "right"; the other way in a mirrored
    clip, whose first view is what its left camera saw, and so stands to the right."""
    return ("left", "right") if scene.baseline_m > 0 else ("right", "left")


def disparity(scene: Scene, depth: np.ndarray) -> np.ndarray:
    """Depth along the line of sight, m, to pixels: how far to the left a point moves from the first view to the second.

    d = f B / z − (cx₂ − cx₁); B is negative in a mirrored clip, whose points shift right.
    """
    return scene.camera.fx * scene.baseline_m / depth - float(scene.stats.get("doffs_px", 0.0))


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boxes [4], x0, y0, x1, y1; 0 where one is not finite."""
    ax0, ay0, ax1, ay1 = map(float, a)
    bx0, by0, bx1, by1 = map(float, b)
    shared = max(min(ax1, bx1) - max(ax0, bx0), 0.0) * max(min(ay1, by1) - max(ay0, by0), 0.0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    return shared / union if union > 0 else 0.0


def carried_box(scene: Scene, region: Region, frame: int, origin: int) -> np.ndarray:
    """The box [4] at `origin` moved with the reference point and scaled by its depth, cut to the image."""
    factor = region.point_cam[origin, 2] / region.point_cam[frame, 2]
    corners = region.box[origin].reshape(2, 2) - (region.centroid_px[origin] + 0.5)
    moved = region.centroid_px[frame] + 0.5 + factor * corners
    return np.clip(moved, 0, [scene.camera.width, scene.camera.height]).ravel()
