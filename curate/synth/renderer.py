"""Renders stereo frames of a scene by ray casting: colour, depth and object ids, without a display."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import open3d as o3d

from curate.geometry.poses import Pose
from curate.synth.scene import SUB, Body, SceneTruth
from curate.synth.texture import fractal

AMBIENT = 0.62
BLUR_PX = 0.5  # the lens
SPHERE_RESOLUTION = 48
NO_HIT = 0xFFFFFFFF
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
        self._half = np.array([body.size / 2 for body in scene.bodies], np.float32)
        self._texture_scale = np.array([body.texture_scale_m for body in scene.bodies] + [0.35], np.float32)
        self._contrast = np.array([body.contrast for body in scene.bodies] + [0.12], np.float32)
        self._colours = np.array([body.colours for body in scene.bodies]
                                 + [[[0.62, 0.74, 0.9], [0.82, 0.87, 0.93]]], np.float32)
        self._offset = np.array([np.random.default_rng(body.texture_seed).uniform(0, 512, 2) for body in scene.bodies]
                                + [[17.0, 91.0]], np.float32)

    def geometry(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Depth [H, W] float32 metres (inf: sky) and object ids [H, W] int16 of the left view; no shading."""
        camera = self.scene.rig.left
        hit = self._cast(self._world(frame), self.scene.camera(frame), self._rays)
        shape = (camera.height, camera.width)
        return hit["t"].reshape(shape), self._object_ids(hit["body"]).reshape(shape)

    def render(self, frame: int) -> Rendered:
        """
        Raises:
            IndexError: where the scene has no such frame.
        """
        scene, camera = self.scene, self.scene.rig.left
        if not 0 <= frame < scene.num_frames:
            raise IndexError(f"frame {frame} of a scene with {scene.num_frames} frames")
        world = self._world(frame)
        left_pose = scene.camera(frame)
        right_pose = left_pose @ Pose("cam", "right", np.eye(3), np.array([scene.rig.baseline_m, 0, 0]))
        shape = (camera.height, camera.width)
        images, first = [], None
        for view, pose in enumerate((left_pose, right_pose)):
            hit = self._cast(world, pose, self._rays)
            colour, facet = self._shade(hit, pose, self._rays, frame)
            edge = np.flatnonzero(_edges(facet.reshape(shape)))
            if len(edge):
                step = SUBPIXELS / np.float32([camera.fx, camera.fy])
                rays = np.repeat(self._rays[edge], len(step), 0)
                rays[:, :2] += np.tile(step, (len(edge), 1))
                fine, _ = self._shade(self._cast(world, pose, rays), pose, rays, frame)
                colour[edge] = fine.reshape(len(edge), len(step), 3).mean(1)
            images.append(self._expose(colour.reshape(*shape, 3), frame, view))
            first = first or hit
        return Rendered(images[0], images[1], first["t"].reshape(shape), self._object_ids(first["body"]).reshape(shape))

    def _object_ids(self, body: np.ndarray) -> np.ndarray:
        return np.array([b.id for b in self.scene.bodies] + [0], np.int16)[body]

    def _world(self, frame: int) -> o3d.t.geometry.RaycastingScene:
        world = o3d.t.geometry.RaycastingScene(nthreads=1)
        for body, (vertices, triangles) in zip(self.scene.bodies, self._meshes):
            pose = body.pose(frame * SUB)
            world.add_triangles((vertices @ pose.rotation.T + pose.translation).astype(np.float32), triangles)
        return world

    def _cast(self, world: o3d.t.geometry.RaycastingScene, pose: Pose, rays: np.ndarray) -> dict[str, np.ndarray]:
        """`t` [n] float32, depth along the optical axis (rays [n, 3] have z = 1), and index of the `body` [n]."""
        both = np.empty((len(rays), 6), np.float32)
        both[:, :3] = pose.translation
        both[:, 3:] = rays @ pose.rotation.T.astype(np.float32)
        found = world.cast_rays(o3d.core.Tensor(both), nthreads=1)
        body = found["geometry_ids"].numpy()
        sky = len(self.scene.bodies)
        return {"t": found["t_hit"].numpy().copy(), "body": np.where(body == NO_HIT, sky, body).astype(np.int32)}

    def _shade(self, hit: dict[str, np.ndarray], pose: Pose, rays: np.ndarray, frame: int):
        """Colours [n, 3] float32 in 0..1, and a number [n] for the facet each ray meets."""
        scene, n = self.scene, len(rays)
        body_of = hit["body"]
        uv, face = np.empty((n, 2), np.float32), np.zeros(n, np.int32)
        slant, light = np.ones(n, np.float32), np.ones(n, np.float32)
        world_rays = rays @ pose.rotation.T.astype(np.float32)
        for index in np.unique(body_of):
            at = np.flatnonzero(body_of == index)
            if index == len(scene.bodies):  # the sky: noise on the direction, at infinity
                uv[at] = world_rays[at, :2] / np.maximum(np.abs(world_rays[at, 2:]), 0.1)
                hit["t"][at] = np.inf
                continue
            body, T_obj_world = scene.bodies[index], scene.bodies[index].pose(frame * SUB).inverse()
            direction = world_rays[at] @ T_obj_world.rotation.T.astype(np.float32)
            origin = (T_obj_world @ pose.translation).astype(np.float32)
            point = origin + hit["t"][at, None] * direction
            part = point / self._half[index]
            axis = np.abs(part).argmax(1)
            rows = np.arange(len(at))
            other = np.array([[2, 1], [0, 2], [0, 1]])[axis]
            uv[at] = point[rows[:, None], other]
            positive = part[rows, axis] > 0
            if body.shape == "sphere":  # six square patches, as on a cube
                uv[at] *= (self._half[index][0] / np.abs(point[rows, axis]))[:, None]
                normal = part / np.linalg.norm(part, axis=1, keepdims=True)
            else:
                normal = np.zeros_like(point)
                normal[rows, axis] = np.where(positive, 1, -1)
            face[at] = 2 * axis + positive
            towards = T_obj_world.rotation @ scene.light_world
            light[at] = AMBIENT + (1 - AMBIENT) * np.maximum(normal @ towards.astype(np.float32), 0)
            slant[at] = np.abs((normal * direction).sum(1)) / np.linalg.norm(direction, axis=1)
        scale = self._texture_scale[body_of]
        sky = body_of == len(scene.bodies)
        reach = np.where(sky, 1, hit["t"]) / scene.rig.left.fx * np.linalg.norm(rays, axis=1)
        offset = self._offset[body_of] + 37 * face[:, None].astype(np.float32)
        noise, low = fractal(uv / scale[:, None], reach / np.maximum(slant, 0.05) / scale, offset)
        mix = (0.5 + 0.5 * np.tanh(1.2 * low * self._contrast[body_of]))[:, None]
        colour = self._colours[body_of, 0] * (1 - mix) + self._colours[body_of, 1] * mix
        colour *= np.clip(1 + 0.42 * self._contrast[body_of] * noise, 0.12, 2.2)[:, None] * light[:, None]
        return colour, body_of * 6 + face

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
    else:
        mesh = o3d.t.geometry.TriangleMesh.create_box(1, 1, 1)
        vertices = (mesh.vertex.positions.numpy() - 0.5) * body.size
    return vertices, mesh.triangle.indices.numpy().astype(np.uint32)
