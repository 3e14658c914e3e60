"""Rotations as vectors, and angles between them. Closed forms (Rodrigues), batched."""

from __future__ import annotations

import numpy as np


def skew(v: np.ndarray) -> np.ndarray:
    """[..., 3] to the matrix [..., 3, 3] with `skew(a) @ b = a × b`."""
    v = np.asarray(v, float)
    out = np.zeros(v.shape + (3,))
    out[..., 0, 1], out[..., 0, 2] = -v[..., 2], v[..., 1]
    out[..., 1, 0], out[..., 1, 2] = v[..., 2], -v[..., 0]
    out[..., 2, 0], out[..., 2, 1] = -v[..., 1], v[..., 0]
    return out


def exp_so3(v: np.ndarray) -> np.ndarray:
    """Rotation vector [..., 3] (axis times angle, radians) to matrix [..., 3, 3]."""
    v = np.asarray(v, float)
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    theta2 = x * x + y * y + z * z
    theta = np.sqrt(theta2)
    small = theta < 1e-6
    safe = np.where(small, 1.0, theta)
    a = np.where(small, 1 - theta2 / 6, np.sin(safe) / safe)
    b = np.where(small, 0.5 - theta2 / 24, (1 - np.cos(safe)) / safe**2)
    # I + a [v]x + b [v]x² by columns, [v]x² = v vᵀ − θ² I; the batch is the last axis in memory
    out = np.empty((3, 3, *v.shape[:-1]))
    bx, by, bz = b * x, b * y, b * z
    out[0, 0], out[1, 1], out[2, 2] = 1 - by * y - bz * z, 1 - bx * x - bz * z, 1 - bx * x - by * y
    ax, ay, az, xy, xz, yz = a * x, a * y, a * z, bx * y, bx * z, by * z
    out[0, 1], out[1, 0], out[0, 2], out[2, 0] = xy - az, xy + az, xz + ay, xz - ay
    out[1, 2], out[2, 1] = yz - ax, yz + ax
    return np.moveaxis(out, (0, 1), (-2, -1))


def log_so3(rotation: np.ndarray) -> np.ndarray:
    """Rotation matrix [..., 3, 3] to rotation vector [..., 3], radians, length in [0, π]."""
    from_quaternion = quaternion(rotation)
    w, xyz = from_quaternion[..., :1], from_quaternion[..., 1:]
    x, y, z = xyz[..., :1], xyz[..., 1:2], xyz[..., 2:]
    norm = np.sqrt(x * x + y * y + z * z)
    angle = 2 * np.arctan2(norm, w)
    scale = np.where(norm < 1e-9, 2.0, angle / np.where(norm < 1e-9, 1.0, norm))
    return scale * xyz


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """[..., 3, 3] to unit quaternion [..., 4] (w, x, y, z), w ≥ 0. Largest-component branch (Shepperd 1978)."""
    r = np.asarray(rotation, float)
    m00, m11, m22 = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    trace = m00 + m11 + m22
    if (trace >= np.maximum(np.maximum(m00, m11), m22)).all():  # one branch for all: turns of less than 120° or so
        w, x, y, z = 1 + trace, r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
        return np.moveaxis(np.stack([w, x, y, z]) / np.sqrt(w * w + x * x + y * y + z * z), 0, -1)
    q = np.stack([
        np.stack([1 + m00 + m11 + m22, r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0],
                  r[..., 1, 0] - r[..., 0, 1]], -1),
        np.stack([r[..., 2, 1] - r[..., 1, 2], 1 + m00 - m11 - m22, r[..., 1, 0] + r[..., 0, 1],
                  r[..., 0, 2] + r[..., 2, 0]], -1),
        np.stack([r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] + r[..., 0, 1], 1 - m00 + m11 - m22,
                  r[..., 2, 1] + r[..., 1, 2]], -1),
        np.stack([r[..., 1, 0] - r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0], r[..., 2, 1] + r[..., 1, 2],
                  1 - m00 - m11 + m22], -1)], -2)
    best = np.argmax(np.stack([q[..., i, i] for i in range(4)], -1), -1)
    q = np.take_along_axis(q, best[..., None, None], -2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle of vectors [..., 3], radians in [0, π]; exact near 0 and π (atan2 form)."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    x, y, z, u, v, w = a[..., 0], a[..., 1], a[..., 2], b[..., 0], b[..., 1], b[..., 2]
    # by columns: sums over an axis of three take several times longer
    cross = (y * w - z * v) ** 2 + (z * u - x * w) ** 2 + (x * v - y * u) ** 2
    return np.arctan2(np.sqrt(cross), x * u + y * v + z * w)


def yaw_pitch_roll(rotation: np.ndarray) -> np.ndarray:
    """Camera rotation `R_i_j` [..., 3, 3] to (yaw right, pitch up, roll clockwise), radians, OpenCV axes.

    R = R_y(yaw) R_x(pitch) R_z(roll) with x right, y down, z forward: a positive yaw turns the optical axis
    to the right, a positive pitch raises it, a positive roll turns the camera clockwise as seen from behind it.
    """
    r = np.asarray(rotation, float)
    pitch = np.arcsin(np.clip(-r[..., 1, 2], -1, 1))
    yaw = np.arctan2(r[..., 0, 2], r[..., 2, 2])
    roll = np.arctan2(r[..., 1, 0], r[..., 1, 1])
    return np.stack([yaw, pitch, roll], -1)
