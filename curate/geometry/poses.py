"""Poses whose type names the two frames they join, so that a wrong direction cannot pass in silence.

`T_a_b` maps coordinates in b to coordinates in a: `p_a = T_a_b @ p_b`. The position of the camera in the
world is `T_world_cam.translation`. Rotations are float64 3x3 matrices, translations metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ORTHONORMAL_TOLERANCE = 1e-6


class FrameError(ValueError):
    """Two poses were joined, or a pose was used, in frames that do not fit."""


@dataclass(frozen=True, eq=False)
class Pose:
    """Rigid transform from frame `source` to frame `target`, one or a batch.

    Args:
        target: name of frame a in `T_a_b`.
        source: name of frame b in `T_a_b`.
        rotation: [..., 3, 3] orthonormal, determinant +1.
        translation: [..., 3] metres, in `target`.

    Raises:
        ValueError: where the rotation is not one, or anything is not finite.
    """

    target: str
    source: str
    rotation: np.ndarray
    translation: np.ndarray

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, float)
        translation = np.asarray(self.translation, float)
        if rotation.shape[-2:] != (3, 3) or translation.shape[-1:] != (3,):
            raise ValueError(f"pose {self}: expected shapes [..., 3, 3] and [..., 3], got "
                             f"{rotation.shape} and {translation.shape}")
        if rotation.shape[:-2] != translation.shape[:-1]:
            raise ValueError(f"pose {self}: {rotation.shape[:-2]} rotations but {translation.shape[:-1]} translations")
        if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
            raise ValueError(f"pose {self}: not finite")
        gram = np.swapaxes(rotation, -1, -2) @ rotation
        if np.abs(gram - np.eye(3)).max(initial=0) > 1e-3 or (np.linalg.det(rotation) < 0).any():
            raise ValueError(f"pose {self}: not a rotation (RᵀR differs from I by "
                             f"{np.abs(gram - np.eye(3)).max():.2g})")
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", translation)

    def __str__(self) -> str:
        return f"T_{self.target}_{self.source}"

    def __len__(self) -> int:
        return len(self.translation) if self.translation.ndim > 1 else 1

    def __getitem__(self, index) -> Pose:
        return Pose(self.target, self.source, self.rotation[index], self.translation[index])

    @staticmethod
    def identity(target: str, source: str) -> Pose:
        return Pose(target, source, np.eye(3), np.zeros(3))

    @staticmethod
    def from_matrix(target: str, source: str, matrix: np.ndarray) -> Pose:
        """From [..., 3, 4] or [..., 4, 4]; published rotations are re-orthonormalised (polar, by SVD)."""
        matrix = np.asarray(matrix, float)
        u, _, vt = np.linalg.svd(matrix[..., :3, :3])
        return Pose(target, source, u @ vt, matrix[..., :3, 3])

    def matrix(self) -> np.ndarray:
        """[..., 4, 4]."""
        out = np.zeros(self.rotation.shape[:-2] + (4, 4))
        out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = self.rotation, self.translation, 1
        return out

    def expect(self, target: str, source: str) -> Pose:
        """This pose, if it is `T_target_source`.

        Raises:
            FrameError: where it is not; says how to mend an inverted one.
        """
        if (self.target, self.source) == (target, source):
            return self
        hint = "; invert it with .inverse()" if (self.source, self.target) == (target, source) else ""
        raise FrameError(f"expected T_{target}_{source}, got {self}{hint}")

    def inverse(self) -> Pose:
        rotation = np.swapaxes(self.rotation, -1, -2)
        return Pose(self.source, self.target, rotation, -(rotation @ self.translation[..., None])[..., 0])

    def __matmul__(self, other):
        """Joins two poses (`T_a_b @ T_b_c`) or maps points [..., N, 3] / [3] given in `source`."""
        if isinstance(other, Pose):
            if self.source != other.target:
                raise FrameError(f"cannot join {self} @ {other}: {self.source!r} is not {other.target!r}")
            return Pose(self.target, other.source, self.rotation @ other.rotation,
                        (self.rotation @ other.translation[..., None])[..., 0] + self.translation)
        points = np.asarray(other, float)
        if points.ndim == 1:
            return (self.rotation @ points[..., None])[..., 0] + self.translation
        return points @ np.swapaxes(self.rotation, -1, -2) + self.translation[..., None, :]


def relative(poses_world_cam: Pose, i: int, j: int) -> Pose:
    """Motion of the camera from frame i to frame j, in the axes of camera i: `T_cam@i_cam@j`."""
    poses_world_cam.expect("world", "cam")
    a, b = poses_world_cam[i], poses_world_cam[j]
    return Pose(f"cam@{i}", "world", a.inverse().rotation, a.inverse().translation) @ Pose(
        "world", f"cam@{j}", b.rotation, b.translation)
