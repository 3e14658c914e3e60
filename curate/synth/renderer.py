"""Renders stereo frames of a scene by ray casting: colour, depth and object ids, without a display."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import open3d as o3d

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.synth.scene import SUB, Body, SceneTruth
from curate.synth.texture import fractal

AMBIENT = 0.62
BLUR_PX = 0.5  # the lens
SPHERE_RESOLUTION = 48
NO_HIT = 0xFFFFFFFF
SKY = ((0.62, 0.74, 0.9), (0.82, 0.87, 0.93))
SKY_CONTRAST = 0.12
BOX_VERTICES = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
# two triangles a face; faces in the order −x, +x, −y, +y, −z, +z
BOX_TRIANGLES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                          [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]], np.uint32)
SUBPIXELS = np.array([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]], np.float32)


@dataclass(frozen=True)
class Rendered:
    """One stereo frame; unpacks to `left, right, depth, ids`.

    left, right: [H, W, 3] uint8 RGB. depth: [H, W] float32 metres along the left optical axis, inf for the sky.
    ids: [H, W] int16, id of the object seen in the left view, 0 for the still world.
    """

    left: np.ndarray
    right: np.ndarray
    depth: np.ndarray
    ids: np.ndarray

    def __iter__(self):
        return iter((self.left, self.right, self.depth, self.ids))


class Renderer:
    """Renders frames of one scene. One thread; the same scene and frame give the same pixels."""

    def __init__(self, scene: SceneTruth) -> None:
        self.scene = scene
        camera = scene.rig.left
        cv2.setNumThreads(1)
        self._rays = camera.rays().reshape(-1, 3).astype(np.float32)
        self._meshes = [_mesh(body) for body in scene.bodies]
        self._ray_norm = np.linalg.norm(self._rays, axis=1)
        # each surface has its own far-off place in the noise
        self._offset = np.array([np.random.default_rng(body.texture_seed).uniform(0, 128, 2) for body in scene.bodies])

    def geometry(self, frame: int, view: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Depth [H, W] float32 metres (inf: sky) and object ids [H, W] int16 of view 0 (left) or 1; no shading."""
        camera = self.scene.rig.left
        depth, facet = self._cast(self._world(frame), self._pose(frame, view), self._rays)
        shape = (camera.height, camera.width)
        return depth.reshape(shape), self._object_ids(facet).reshape(shape)

    def outline(self, object_id: int, frame: int) -> float:
        """Pixels an object would cover in the left view, were it alone and the image three times as wide and high."""
        camera = self.scene.rig.left
        index = next(i for i, body in enumerate(self.scene.bodies) if body.id == object_id)
        step = 4
        u, v = np.meshgrid(np.arange(-camera.width, 2 * camera.width, step, dtype=float),
                           np.arange(-camera.height, 2 * camera.height, step, dtype=float))
        rays = camera.lift(np.stack([u, v], -1), np.ones(u.shape)).reshape(-1, 3).astype(np.float32)
        depth, _ = self._cast(self._world(frame, [index]), self._pose(frame, 0), rays)
        return float(np.isfinite(depth).sum() * step**2)

    def _pose(self, frame: int, view: int) -> Pose:
        """Pose of a view in the world; both views are named "cam"."""
        if view == 0:
            return self.scene.camera(frame)
        turn = exp_so3(np.radians(self.scene.rig_rotation_deg))
        return self.scene.camera(frame) @ Pose("cam", "cam", turn, np.array([self.scene.rig.baseline_m, 0, 0]))

    def render(self, frame: int) -> Rendered:
        """
        Raises:
            IndexError: where the scene has no such frame.
        """
        scene, camera = self.scene, self.scene.rig.left
        if not 0 <= frame < scene.num_frames:
            raise IndexError(f"frame {frame} of a scene with {scene.num_frames} frames")
        world = self._world(frame)
        shape = (camera.height, camera.width)
        images, seen = [], []
        for view in (0, 1):
            pose = self._pose(frame, view)
            depth, facet = self._cast(world, pose, self._rays)
            colour = self._shade(depth, facet, pose, self._rays, self._ray_norm, frame)
            edge = np.flatnonzero(_edges(facet.reshape(shape)))
            if len(edge):
                step = SUBPIXELS / np.float32([camera.fx, camera.fy])
                rays = np.repeat(self._rays[edge], len(step), 0)
                rays[:, :2] += np.tile(step, (len(edge), 1))
                fine = self._shade(*self._cast(world, pose, rays), pose, rays, np.linalg.norm(rays, axis=1), frame)
                colour[edge] = fine.reshape(len(edge), len(step), 3).mean(1)
            images.append(self._expose(colour.reshape(*shape, 3), frame, view))
            seen.append((depth, facet))
        depth, facet = seen[0]
        return Rendered(images[0], images[1], depth.reshape(shape), self._object_ids(facet).reshape(shape))

    def _object_ids(self, facet: np.ndarray) -> np.ndarray:
        return np.array([body.id for body in self.scene.bodies] + [0], np.int16)[facet // 6]

    def _world(self, frame: int, only: list[int] | None = None) -> o3d.t.geometry.RaycastingScene:
        world = o3d.t.geometry.RaycastingScene(nthreads=1)
        for index in range(len(self._meshes)) if only is None else only:
            body, (vertices, triangles) = self.scene.bodies[index], self._meshes[index]
            pose = body.pose(frame * SUB)
            world.add_triangles((vertices @ pose.rotation.T + pose.translation).astype(np.float32), triangles)
        return world

    def _cast(self, world: o3d.t.geometry.RaycastingScene, pose: Pose, rays: np.ndarray):
        """Depth [n] float32 along the optical axis (rays [n, 3] have z = 1, inf: sky) and the facet [n] int16.

        A facet is 6 times the index of its body plus the face of a box; the sky comes after the last body.
        """
        both = np.empty((len(rays), 6), np.float32)
        both[:, :3] = pose.translation
        both[:, 3:] = rays @ pose.rotation.T.astype(np.float32)
        found = world.cast_rays(o3d.core.Tensor(both), nthreads=1)
        body, triangle = found["geometry_ids"].numpy(), found["primitive_ids"].numpy()
        is_box = np.array([b.shape == "box" for b in self.scene.bodies] + [False])
        body = np.where(body == NO_HIT, len(self.scene.bodies), body).astype(np.int16)
        facet = 6 * body + np.where(is_box[body], triangle // 2, 0).astype(np.int16)
        return found["t_hit"].numpy().copy(), facet

    def _shade(self, depth, facet, pose: Pose, rays, ray_norm, frame: int) -> np.ndarray:
        """Colours [n, 3] float32 in 0..1. Pixels are sorted by facet, so that each facet is one slice."""
        order = np.argsort(facet, kind="stable")
        ordered = facet[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        groups = [(int(ordered[a]), slice(a, b)) for a, b in zip(starts, [*starts[1:], len(order)])]
        rays, reach = rays[order], (depth * ray_norm)[order] / np.float32(self.scene.rig.left.fx)
        points = rays * np.where(np.isfinite(depth), depth, 1)[order, None]
        uv, footprint = np.empty((len(order), 2), np.float32), np.empty(len(order), np.float32)
        light = np.empty(len(order), np.float32)
        ray_norm = ray_norm[order]
        from_world = pose.inverse()
        in_camera = {index: from_world @ self.scene.bodies[index].pose(frame * SUB)
                     for index in {key // 6 for key, _ in groups} - {len(self.scene.bodies)}}
        to_light = (pose.rotation.T @ self.scene.light_world).astype(np.float32)
        for key, at in groups:
            if key // 6 in in_camera:
                uv[at], footprint[at], light[at] = self._surface(key, rays[at], points[at], reach[at], ray_norm[at],
                                                                 in_camera[key // 6], to_light)
            else:
                uv[at], footprint[at], light[at] = self._sky(rays[at], pose)
        noise, low = fractal(uv, footprint)
        colour = np.empty((len(order), 3), np.float32)
        for key, at in groups:
            sky = key // 6 == len(self.scene.bodies)
            contrast = SKY_CONTRAST if sky else self.scene.bodies[key // 6].contrast
            first, second = np.float32(SKY if sky else self.scene.bodies[key // 6].colours)
            mix = 0.5 + 0.5 * np.tanh(np.float32(1.2 * contrast) * low[at])
            tone = light[at] * np.clip(1 + np.float32(0.38 * contrast) * noise[at], 0.12, 2.2)
            colour[at] = (first + mix[:, None] * (second - first)) * tone[:, None]
        out = np.empty_like(colour)
        out[order] = colour
        return out

    def _sky(self, rays: np.ndarray, pose: Pose):
        """Noise on the direction in the world, at infinity."""
        towards = rays @ pose.rotation.T.astype(np.float32)
        return towards[:, :2] / np.maximum(np.abs(towards[:, 2:]), 0.1) / 0.35, 3 / self.scene.rig.left.fx, 1.0

    def _surface(self, key: int, rays, points, reach, ray_norm, T_cam_obj: Pose, to_light: np.ndarray):
        """Texture coordinates [n, 2], pixel footprints [n] (both in texture wavelengths) and light of one facet.

        The coordinates are those of the body, so that the texture moves with it.
        """
        body = self.scene.bodies[key // 6]
        axes, centre = T_cam_obj.rotation.astype(np.float32), T_cam_obj.translation.astype(np.float32)
        local = (points - centre) @ axes
        if body.shape == "box":
            axis = key % 6 // 2
            normal = axes[:, axis] * (1 if key % 2 else -1)
            uv = local[:, [(axis + 1) % 3, (axis + 2) % 3]]
            offset = self._offset[key // 6] + 19.3 * (key % 6)
        else:  # six square patches, as on a cube; they scatter over the noise by the side they face
            direction = local / np.linalg.norm(local, axis=1, keepdims=True)
            axis = np.abs(direction).argmax(1)
            rows = np.arange(len(axis))
            along = direction[rows, axis]
            uv = np.stack([direction[rows, (axis + 1) % 3], direction[rows, (axis + 2) % 3]], -1)
            uv *= (np.float32(body.size[0] / 2) / np.abs(along))[:, None]
            offset = self._offset[key // 6] + 19.3 * (2 * axis + (along > 0))[:, None]
            normal = direction @ axes.T
        facing = np.abs((rays * normal).sum(-1)) / ray_norm
        # between the long and the short side of a slanted pixel: neither shimmer nor mush
        footprint = reach / np.maximum(facing, 0.03) ** 0.75 / np.float32(body.texture_scale_m)
        light = AMBIENT + (1 - AMBIENT) * np.maximum(normal @ to_light, 0)
        return uv / np.float32(body.texture_scale_m) + offset.astype(np.float32), footprint, light

    def _expose(self, colour: np.ndarray, frame: int, view: int) -> np.ndarray:
        scene = self.scene
        image = cv2.GaussianBlur(colour, (0, 0), BLUR_PX) * np.float32(255 * (scene.gain_right if view else 1))
        rng = np.random.default_rng([*scene.seed, frame, view])
        image += rng.standard_normal(image.shape, np.float32) * np.float32(scene.noise_grey)
        return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def render(scene: SceneTruth, frame: int) -> Rendered:
    """One stereo frame. For many frames of a scene make one `Renderer`."""
    return Renderer(scene).render(frame)


def _edges(facet: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels with a neighbour on another facet."""
    edge = np.zeros(facet.shape, bool)
    across, down = facet[:, 1:] != facet[:, :-1], facet[1:] != facet[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _mesh(body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in the body's coordinates, metres, and triangles [F, 3]."""
    if body.shape == "sphere":
        mesh = o3d.t.geometry.TriangleMesh.create_sphere(body.size[0] / 2, SPHERE_RESOLUTION)
        vertices = mesh.vertex.positions.numpy().astype(float)
        return vertices, mesh.triangle.indices.numpy().astype(np.uint32)
    return BOX_VERTICES * body.size, BOX_TRIANGLES
