"""A room with a plate that moves in it, in closed form, seen along any rays; and spherical files made of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.geometry.poses import Pose
from curate.sources.equirect import Lens
from curate.video.encode import encode_h264

EYES_M = 0.063
WAVES = 28


@dataclass(frozen=True)
class Room:
    """Walls at x = ±half_width, z = ±depth, floor and ceiling at y = ±half_height, metres about the rig's first place;
    a plate square to z of `plate_size` (width, height) whose centre at time t is `plate_at + plate_velocity t`.

    The colour of a surface is a sum of plane waves over the place in the room (on the plate: over the place on it), so
    that it is known at every point and as smooth as its shortest wave, `shortest` metres.
    """

    half_width: float = 2.4
    half_height: float = 1.6
    depth: float = 4.0
    plate_at: tuple[float, float, float] = (-0.25, 0.1, 1.8)
    plate_velocity: tuple[float, float, float] = (0.45, 0.0, 0.12)
    plate_size: tuple[float, float] = (0.6, 0.55)
    rig_velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shortest: float = 0.05
    seed: int = 3

    def rig(self, t: float) -> Pose:
        """T_world_cam of the middle between the eyes at time t, seconds."""
        return Pose("world", "cam", np.eye(3), np.asarray(self.rig_velocity) * t)

    def plate(self, t: float) -> np.ndarray:
        return np.asarray(self.plate_at) + np.asarray(self.plate_velocity) * t

    def hits(self, origin: np.ndarray, rays: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Length along rays [n, 3] from `origin` [3] or [n, 3] to the first surface [n], and whether it is the
        plate [n]."""
        origin = np.broadcast_to(origin, rays.shape)
        walls = np.array([self.half_width, self.half_height, self.depth])
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(rays != 0, (np.sign(rays) * walls - origin) / rays, np.inf).min(-1)
            centre = self.plate(t)
            plate = (centre[2] - origin[:, 2]) / rays[:, 2]
        at = origin + plate[:, None] * rays - centre
        on = (plate > 0) & (plate < room) & (np.abs(at[:, 0]) < self.plate_size[0] / 2) \
            & (np.abs(at[:, 1]) < self.plate_size[1] / 2)
        return np.where(on, plate, room), on

    def colours(self, origin: np.ndarray, rays: np.ndarray, t: float) -> np.ndarray:
        """[..., 3] uint8 of what is seen along rays [..., 3] from `origin` ([3] or as rays)."""
        flat = rays.reshape(-1, 3)
        start = np.broadcast_to(origin, rays.shape).reshape(-1, 3)
        length, on_plate = self.hits(start, flat, t)
        points = start + length[:, None] * flat
        points[on_plate] += [7.0, 3.0, -5.0] - self.plate(t)
        rng = np.random.default_rng(self.seed)
        wave = rng.normal(size=(WAVES, 3))
        wave *= (2 * np.pi / (self.shortest * 8.0 ** rng.uniform(0, 1, WAVES)) / np.linalg.norm(wave, axis=1))[:, None]
        phase = np.float32(points) @ np.float32(wave.T) + np.float32(rng.uniform(0, 2 * np.pi, WAVES))
        grey = np.sin(phase, out=phase) @ np.float32(1.0 + 0.2 * rng.normal(size=(WAVES, 3)))
        return np.clip(np.rint(118 + 12 * grey), 0, 255).astype(np.uint8).reshape(rays.shape)


def eye_centres(room: Room, t: float, eyes_m: float = EYES_M) -> list[np.ndarray]:
    return [room.rig(t) @ np.array([side * eyes_m / 2, 0.0, 0.0]) for side in (-1, 1)]


def omnidirectional_centres(room: Room, rays: np.ndarray, t: float, eyes_m: float = EYES_M) -> list[np.ndarray]:
    """Eyes that turn with the direction of view: each ray leaves from the side of the head, square to it."""
    level = np.stack([rays[..., 2], np.zeros_like(rays[..., 0]), -rays[..., 0]], -1)
    level /= np.linalg.norm(level, axis=-1, keepdims=True)
    return [room.rig(t).translation + side * eyes_m / 2 * level for side in (-1, 1)]


def frames(room: Room, lens: Lens, times: np.ndarray, axis: int = 1, omnidirectional: bool = False) -> np.ndarray:
    """Packed frames [T, h, w, 3], left eye first, side by side (axis 1) or one above the other (0)."""
    rays = lens.rays()
    packed = []
    for t in times:
        centres = omnidirectional_centres(room, rays, t) if omnidirectional else eye_centres(room, t)
        packed.append(np.concatenate([room.colours(centre, rays, t) for centre in centres], axis))
    return np.stack(packed)


def write(path: Path, packed: np.ndarray, fps: float = 10.0, boxes: bytes = b"", track_boxes: bytes = b"",
          crf: int = 6, **timing) -> Path:
    """An mp4 with further boxes at the end of the video's sample entry, and at the end of its track."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = encode_h264(packed, crf=crf, **(timing or {"fps": fps}))
    path.write_bytes(with_boxes(data, boxes, track_boxes))
    return path


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def full_box(kind: bytes, payload: bytes) -> bytes:
    return box(kind, bytes(4) + payload)


def st3d(mode: int) -> bytes:
    return full_box(b"st3d", bytes([mode]))


def sv3d(top: float = 0.0, bottom: float = 0.0, left: float = 0.25, right: float = 0.25, pose=(0.0, 0.0, 0.0),
         projection: bytes | None = None) -> bytes:
    """Spherical Video V2, `left` ... shares of the sphere that are missing; or another projection box."""
    shares = [min(round(share * 2**32), 2**32 - 1) for share in (top, bottom, left, right)]
    equi = full_box(b"equi", struct.pack(">4I", *shares)) if projection is None else projection
    prhd = full_box(b"prhd", struct.pack(">3i", *(round(angle * 65536) for angle in pose)))
    return box(b"sv3d", full_box(b"svhd", b"test\0") + box(b"proj", prhd + equi))


def v1(**said) -> bytes:
    """Spherical Video V1: the track's uuid box with XML."""
    text = "".join(f"<GSpherical:{name}>{value}</GSpherical:{name}>" for name, value in said.items())
    xml = ('<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
           f'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/">{text}</rdf:SphericalVideo>')
    return box(b"uuid", bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + xml.encode())


def with_boxes(mp4: bytes, entry_boxes: bytes = b"", track_boxes: bytes = b"") -> bytes:
    """The file with boxes put into its first sample entry and track; chunk offsets are moved along."""
    if entry_boxes:
        mp4 = _insert(mp4, ["moov", "trak", "mdia", "minf", "stbl", "stsd", None], entry_boxes)
    if track_boxes:
        mp4 = _insert(mp4, ["moov", "trak"], track_boxes)
    return mp4


def _insert(mp4: bytes, path: list[str | None], new: bytes) -> bytes:
    data, start, end, sizes = bytearray(mp4), 0, len(mp4), []
    for name in path:
        if name is None:
            start += 8  # version, flags and the number of entries
        while True:
            size, kind = struct.unpack(">I4s", data[start:start + 8])
            if name is None or kind == name.encode():
                break
            start += size
            assert start < end, f"no {name}"
        sizes.append(start)
        start, end = start + 8, start + size
    moov_end = sizes[0] + struct.unpack(">I", data[sizes[0]:sizes[0] + 4])[0]
    for at in sizes:
        data[at:at + 4] = struct.pack(">I", struct.unpack(">I", data[at:at + 4])[0] + len(new))
    media_follows = moov_end < len(mp4) and bytes(mp4).find(b"mdat") > sizes[0]
    if media_follows:
        at = bytes(data).find(b"stco")
        count = struct.unpack(">I", data[at + 8:at + 12])[0]
        offsets = struct.unpack(f">{count}I", data[at + 12:at + 12 + 4 * count])
        data[at + 12:at + 12 + 4 * count] = struct.pack(f">{count}I", *(o + len(new) for o in offsets))
    data[end:end] = new
    return bytes(data)
