"""What moves and is no rigid body: clusters of the tracks that no body explains, found in two views or more.

Such a region says where something is, roughly and at its first frame, and that its parts move against each other
(`Region.rigid` is false): nothing is asked about its motion. Its place is where the rays through the middles of its
clusters meet; the middles of a thing's two sides are not one point, so the error is a share of its size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from curate.geometry.cameras import Intrinsics
from curate.perception.multiview.bodies import Body
from curate.perception.multiview.cameras import Cameras
from curate.perception.multiview.config import ViewsConfig
from curate.perception.multiview.tracks import Tracks
from curate.scene import Region

RADIUS = 0.035  # of the picture's longer side: tracks nearer to each other are of one cluster
MOVING = 3.0  # times what still features move by
MIN_TRACKS = 10  # of a cluster
OFF = 0.5  # of a cluster's size, by which the middles of its views may miss each other
SIGMA = 0.2  # of a cluster's size, the error of its place
LINK = 1.5  # times its size, how far it may go from frame to frame
MIN_SHARE = 0.3  # of the clip's frames
MIN_FRAMES = 8
BESIDE = 0.2  # of a body's size in the picture: tracks as near to it are its edge's
NEAR_FRAMES = 2
EXPLAINED = 0.7  # of a cluster's tracks: one rigid body explains it


@dataclass
class Cluster:
    """Tracks in one view and frame: uv [n, 2], their median [2], size px (twice the median distance from it)."""

    uv: np.ndarray
    middle: np.ndarray
    size: float


@dataclass
class Loose:
    """place [3], size_m and the cluster of view 0 by frame."""

    place: dict[int, np.ndarray] = field(default_factory=dict)
    size_m: dict[int, float] = field(default_factory=dict)
    cluster: dict[int, Cluster] = field(default_factory=dict)


def loose_regions(first_id: int, cameras: Cameras, tracks: Tracks, bodies: list[Body], owner: np.ndarray,
                  camera: Intrinsics, num_frames: int, config: ViewsConfig) -> list[Region]:
    """
    Args:
        owner: [number of tracks] number of the rigid body that a track goes with, -1 of none.
        camera: of view 0.
    """
    moving = tracks.extent > MOVING * config.still_px
    found: list[Loose] = []
    order = np.argsort(tracks.frame, kind="stable")
    edges = np.searchsorted(tracks.frame[order], np.arange(num_frames + 1))
    for t in range(num_frames):
        rows = order[edges[t]:edges[t + 1]]
        rows = rows[moving[tracks.track[rows]]]
        track = tracks.track[rows]
        held = owner[track] >= 0
        view, uv = tracks.view[track], tracks.at[rows]
        free = ~held & ~_beside(bodies, cameras, t, view, uv)
        clusters = [_clusters(uv[free & (view == v)], RADIUS * cameras.size[v].max()) for v in range(len(cameras))]
        for cluster in clusters[0]:
            mine = held & (view == 0)
            if _explained(cluster, uv[mine], owner[track[mine]]) >= EXPLAINED:
                continue
            placed = _place(cameras, clusters, cluster)
            if placed is not None:
                _link(found, t, *placed, cluster)
    kept = [one for one in found if len(one.place) >= max(MIN_FRAMES, MIN_SHARE * num_frames)]
    kept = _distinct(sorted(kept, key=lambda one: -len(one.place)))[:config.max_bodies]
    return [_region(first_id + number, one, camera, num_frames) for number, one in enumerate(kept)]


def _beside(bodies: list[Body], cameras: Cameras, t: int, view: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """[n] bool: tracks on a rigid body's outline or close around it, where they are dragged along its edge."""
    out = np.zeros(len(uv), bool)
    for body in bodies:
        if not body.known[t]:
            continue
        points = body.anchors @ body.rotation[t].T + body.translation[t]
        for v in range(len(cameras)):
            outline = cameras.project(np.full(len(points), v), points)
            here = np.flatnonzero((view == v) & ~out)
            if not np.isfinite(outline).all() or not len(here):
                continue
            hull = cv2.convexHull(np.float32(outline))
            margin = BESIDE * np.sqrt(max(cv2.contourArea(hull), 1.0))
            out[here] = [cv2.pointPolygonTest(hull, (float(a), float(b)), True) > -margin for a, b in uv[here]]
    return out


def _clusters(uv: np.ndarray, radius: float) -> list[Cluster]:
    if len(uv) < MIN_TRACKS:
        return []
    pairs = cKDTree(uv).query_pairs(radius, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(uv), len(uv)))
    count, label = connected_components(graph, directed=False)
    out = []
    for k in range(count):
        mine = uv[label == k]
        if len(mine) >= MIN_TRACKS:
            middle = np.median(mine, 0)
            out.append(Cluster(mine, middle, max(2 * float(np.median(np.linalg.norm(mine - middle, axis=1))), 1.0)))
    return out


def _explained(cluster: Cluster, uv: np.ndarray, owner: np.ndarray) -> float:
    """Share of what moves within a cluster's hull that the rigid body does which has the most of it."""
    if not len(uv):
        return 0.0
    hull = cv2.convexHull(np.float32(cluster.uv))
    inside = np.array([cv2.pointPolygonTest(hull, (float(u), float(v)), False) >= 0 for u, v in uv])
    most = np.bincount(owner[inside]).max(initial=0) if inside.any() else 0
    return float(most / (most + len(cluster.uv)))


def _place(cameras: Cameras, clusters: list[list[Cluster]], cluster: Cluster) -> tuple[np.ndarray, float] | None:
    """Where a cluster of view 0 is with those of other views that it meets [3], and its size in metres; None where it
    meets none."""
    ray = cameras.rays(0, cluster.middle[None])[0]
    met = [(0, cluster)]
    for view in range(1, len(cameras)):
        best, least = None, OFF
        for other in clusters[view]:
            point, miss = _meet(cameras.centre[0], ray, cameras.centre[view], cameras.rays(view, other.middle[None])[0])
            if point is None:
                continue
            size = _metres(cameras, 0, cluster, point) + _metres(cameras, view, other, point)
            if miss < least * size / 2:
                best, least = other, 2 * miss / size
        if best is not None:
            met.append((view, best))
    while len(met) >= 2:
        A, b = np.zeros((3, 3)), np.zeros(3)
        for view, one in met:
            d = cameras.rays(view, one.middle[None])[0]
            across = np.eye(3) - np.outer(d, d)
            A, b = A + across, b + across @ cameras.centre[view]
        point = np.linalg.solve(A, b)
        off = [np.linalg.norm(cameras.project(np.array([view]), point[None])[0] - one.middle) / one.size
               for view, one in met]
        worst = int(np.nanargmax(off)) if np.isfinite(off).any() else 0
        if np.isfinite(off).all() and off[worst] < OFF:
            return point, float(np.median([_metres(cameras, view, one, point) for view, one in met]))
        if worst == 0:
            return None
        met.pop(worst)
    return None


def _meet(a: np.ndarray, ray_a: np.ndarray, b: np.ndarray, ray_b: np.ndarray) -> tuple[np.ndarray | None, float]:
    """The point between two rays where they are nearest, and how near; None behind a camera or nearly parallel."""
    across = ray_a @ ray_b
    bent = 1 - across**2
    if bent < 1e-3:
        return None, np.inf
    w = b - a
    along_a, along_b = (w @ ray_a - across * (w @ ray_b)) / bent, (across * (w @ ray_a) - w @ ray_b) / bent
    if min(along_a, along_b) <= 0:
        return None, np.inf
    on_a, on_b = a + along_a * ray_a, b + along_b * ray_b
    return (on_a + on_b) / 2, float(np.linalg.norm(on_a - on_b))


def _metres(cameras: Cameras, view: int, cluster: Cluster, point: np.ndarray) -> float:
    return cluster.size * float(np.linalg.norm(point - cameras.centre[view])) / cameras.K[view, 0, 0]


def _link(found: list[Loose], t: int, place: np.ndarray, size_m: float, cluster: Cluster) -> None:
    """Adds it to what was last seen nearest, if that is near enough, else as something new."""
    best, least = None, LINK * size_m
    for one in found:
        last = max(one.place)
        away = float(np.linalg.norm(one.place[last] - place))
        if last < t and away < least:
            best, least = one, away
    if best is None:
        best = Loose()
        found.append(best)
    best.place[t], best.size_m[t], best.cluster[t] = place, size_m, cluster


def _distinct(found: list[Loose]) -> list[Loose]:
    """Those that do not go where an earlier one goes, all of the time that both are seen about."""
    out: list[Loose] = []
    for one in found:
        for other in out:
            near = [min(np.linalg.norm(one.place[t] - other.place[s]) for s in other.place if abs(s - t) <= NEAR_FRAMES)
                    < one.size_m[t] for t in one.place if any(abs(s - t) <= NEAR_FRAMES for s in other.place)]
            if near and np.mean(near) > 0.5:
                break
        else:
            out.append(one)
    return out


def _region(number: int, loose: Loose, camera: Intrinsics, num_frames: int) -> Region:
    def filled(*size):
        return np.full((num_frames, *size), np.nan)

    at = np.array(sorted(loose.place))
    first = int(at[0])
    seen = np.zeros(num_frames, bool)
    seen[at] = True
    point, box, nearest, nearest_sigma = filled(3), filled(4), filled(), filled()
    own, shared = np.zeros((num_frames, 3, 3)), np.zeros((num_frames, 3, 3))
    for t in at:
        uv, size = loose.cluster[t].uv, loose.size_m[t]
        point[t] = loose.place[t]
        box[t] = *np.clip(uv.min(0), 0, None), *np.minimum(uv.max(0) + 1, [camera.width, camera.height])
        own[t] = shared[t] = (SIGMA * size) ** 2 / 2 * np.eye(3)
        nearest[t], nearest_sigma[t] = max(np.linalg.norm(point[t]) - size / 2, 0.0), SIGMA * size
    centroid = camera.project(point)
    z = point[first, 2]
    width, height = box[first, 2] - box[first, 0], box[first, 3] - box[first, 1]
    sides = np.sort([width * z / camera.fx, height * z / camera.fy, loose.size_m[first]])[::-1].copy()
    return Region(
        id=number, first=first, last=int(at[-1]), seen=seen, box=box, centroid_px=centroid,
        flow_px=np.vstack([np.diff(centroid, axis=0), np.full((1, 2), np.nan)]),
        flow_sigma_px=np.where(seen, 0.2 * loose.cluster[first].size, np.nan), visible_fraction=seen.astype(float),
        point_cam=point, cov_frame=own, cov_shared=shared, step_cov=np.zeros((num_frames, 3, 3)), nearest_m=nearest,
        nearest_sigma_m=nearest_sigma, extent_m=sides, mask_first=_mask(loose.cluster[first], camera),
        motion_p=float("nan"), rigidity=0.0, rigid=False)


def _mask(cluster: Cluster, camera: Intrinsics) -> np.ndarray:
    """[H, W] bool: the tracks' surroundings, joined."""
    mask = np.zeros((camera.height, camera.width), np.uint8)
    radius = max(2, int(RADIUS * max(mask.shape) / 2))
    for u, v in cluster.uv:
        cv2.circle(mask, (round(u), round(v)), radius, 1, -1)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    return cv2.erode(mask, np.ones((radius, radius), np.uint8)) > 0
