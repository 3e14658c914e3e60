"""Dense truth of a rendered scene as fields of windows: depth, flow both ways, what moves, and the camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.geometry.poses import Pose
from curate.perception.estimator import Field, Window
from curate.synth import Renderer
from curate.synth.scene import SUB, SceneTruth

SAME_DEPTH = 0.01  # what is seen at another depth than a point has there hides it


class Truth:
    """depth [T, H, W] metres (nan: sky), ids [T, H, W]; flow between any two frames."""

    def __init__(self, scene: SceneTruth) -> None:
        self.scene, self.camera = scene, scene.rig.left
        renderer = Renderer(scene)
        seen = [renderer.geometry(t) for t in range(scene.num_frames)]
        self.depth = np.where(np.isfinite(d := np.stack([depth for depth, _ in seen])), d, np.nan)
        self.ids = np.stack([ids for _, ids in seen])

    def moved(self, u: np.ndarray, v: np.ndarray, t: int, to: int) -> tuple[np.ndarray, np.ndarray]:
        """Where what is at pixels [n] of frame t is in frame `to`, [n, 2], and its depth there."""
        points = self.camera.lift(np.stack([u, v], -1), self.depth[t, v, u])
        world = self.scene.camera(t) @ points
        ids = self.ids[t, v, u]
        for body in self.scene.bodies:
            if body.id and body.moves:
                on = ids == body.id
                world[on] = body.pose(to * SUB) @ (body.pose(t * SUB).inverse() @ world[on])
        there = self.scene.camera(to).inverse() @ world
        return self.camera.project(there), there[:, 2]

    def flow(self, t: int, to: int) -> tuple[np.ndarray, np.ndarray]:
        """[H, W, 2] px from frame t to `to`, and where its end is seen in that frame [H, W]."""
        height, width = self.depth.shape[1:]
        v, u = np.mgrid[:height, :width].reshape(2, -1)
        at, z = self.moved(u, v, t, to)
        x, y = np.rint(np.nan_to_num(at, nan=-9)).astype(int).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        seen = np.zeros(len(u), bool)
        seen[inside] = np.abs(self.depth[to, y[inside], x[inside]] - z[inside]) < SAME_DEPTH * z[inside]
        flow = (at - np.stack([u, v], -1)).reshape(height, width, 2)
        return np.nan_to_num(flow).astype(np.float32), seen.reshape(height, width)

    def moving(self, t: int) -> np.ndarray:
        """[H, W] bool."""
        movers = [body.id for body in self.scene.bodies if body.id and body.moves]
        return np.isin(self.ids[t], movers)

    def windows(self, size: int, overlap: int = 1) -> Iterator[Window]:
        """As `curate.perception.pipeline.windows` gives them, filled with the truth."""
        num, start = self.scene.num_frames, 0
        while True:
            stop = min(start + size, num)
            last, frames = stop == num, range(start, stop)
            flows = [self.flow(t, t + 1) for t in frames[:-1]]
            flows.append((np.zeros_like(flows[0][0]), np.zeros_like(flows[0][1])))
            known = np.isfinite(self.depth[start:stop])
            motion = np.stack([self.moving(t) for t in frames]).astype(np.float32)
            tested = known & (np.arange(stop - start) < stop - start - 1)[:, None, None]
            window = Window(start, overlap if start else 0, last, [], [], self.scene.time_s[start:stop], self.scene.rig,
                            self.camera, 0)
            window.fields = {
                "depth": Field(np.where(known, self.depth[start:stop], np.inf), known, None, "truth@1"),
                "flow": Field(np.stack([f for f, _ in flows]), np.stack([s for _, s in flows]), None, "truth@1"),
                "motion": Field(10 * motion, tested, None, "truth@1", {"threshold": 3.0})}
            yield window
            if last:
                return
            start = stop - overlap

    def poses(self) -> Pose:
        return Pose("world", "cam", *(np.stack(x) for x in zip(*(
            (p.rotation, p.translation) for p in map(self.scene.camera, range(self.scene.num_frames))))))
