"""How teacher tensors are stored: small arrays (npy, no pickle) and a json, under the key of their clip.

    {key}.depth.npy        [T, h, w] float16, nan where unknown
    {key}.dynamic.npy      [T, h, w] uint8: 0, 1, or 255 where unknown
    {key}.flow.npy         [T, h, w, 2] float16
    {key}.intrinsics.npy   [T, 3, 3] float32
    {key}.latent.npy       [T', h', w', C] float16, where there is one
    {key}.poses.npy        [T, 3, 4] float32
    {key}.teacher.json     version, time_s, metric, source, latent_id

The same parts lie, zipped, in a staged clip's folder.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from curate.shards.errors import ShardError
from curate.shards.teacher import TeacherTensors

VERSION = 1
PREFIX = "teacher-"  # of a twin tar's name
STAGED = "teacher.npz"  # in a staged clip's folder
PART = re.compile(r"(?:(?:depth|dynamic|flow|intrinsics|latent|poses)\.npy|teacher\.json)")
META = "teacher.json"
HEADER = re.compile(rb"\x93NUMPY\x01\x00..\{'descr': '([<|][fu]\d)', 'fortran_order': False, "
                    rb"'shape': \((\d{1,9}(?:, \d{1,9})+)\), \} *\n", re.DOTALL)
UNKNOWN = 255
MAX_BYTES = 1 << 30
# attribute: (part, stored type, shape with names of sizes)
STORED = {"depth": ("depth.npy", "<f2", ("T", "h", "w")), "dynamic": ("dynamic.npy", "|u1", ("T", "h", "w")),
          "flow": ("flow.npy", "<f2", ("T", "h", "w", 2)), "K": ("intrinsics.npy", "<f4", ("T", 3, 3)),
          "T_world_cam": ("poses.npy", "<f4", ("T", 3, 4))}
LATENT = ("latent.npy", "<f2", ("n", "i", "j", "C"))


def twin_name(shard: str) -> str:
    """Name of the tar with the teacher tensors of a shard's samples."""
    return PREFIX + shard


def to_parts(tensors: TeacherTensors) -> dict[str, bytes]:
    """Part name to bytes, in the order they are stored in; the same tensors give the same bytes.

    Raises:
        ValueError: where shapes do not fit each other.
    """
    sizes: dict[str, int] = {}
    stored = STORED | ({} if tensors.latent is None else {"latent": LATENT})
    out = {}
    for attribute, (part, dtype, shape) in stored.items():
        array = getattr(tensors, attribute)
        _check_shape(array.shape, shape, sizes, f"teacher tensors: {attribute}")
        out[part] = _npy(_dynamic(array) if attribute == "dynamic" else _floats(array, dtype))
    time_s = [float(t) for t in tensors.time_s]
    if len(time_s) != sizes["T"]:
        raise ShardError(f"teacher tensors: {len(time_s)} times for {sizes['T']} frames")
    meta = {"version": VERSION, "time_s": time_s, "metric": bool(tensors.metric), "source": tensors.source,
            "latent_id": tensors.latent_id}
    out[META] = json.dumps(meta, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return dict(sorted(out.items()))


def from_parts(parts: Mapping[str, bytes], where: str = "teacher tensors") -> TeacherTensors:
    """
    Args:
        parts: as `to_parts` gives them.
        where: named in errors.

    Raises:
        ShardError: on a part that is missing, torn, of another type, or of a shape that does not fit the others.
    """
    try:
        meta = json.loads(parts[META])
        if meta["version"] != VERSION:
            raise ShardError(f"{where}: teacher tensors of version {meta['version']}; this reads version {VERSION}")
        time_s = np.array(meta["time_s"], float)
        if time_s.ndim != 1 or not (np.diff(time_s) > 0).all() or not np.isfinite(time_s).all():
            raise ShardError(f"{where}: {META} holds times that do not rise; torn or altered")
        sizes = {"T": len(time_s)}
        arrays: dict[str, Any] = {name: _read(parts[part], dtype, shape, sizes, f"{where}: {part}")
                                  for name, (part, dtype, shape) in STORED.items()}
        if LATENT[0] in parts:
            arrays["latent"] = _read(parts[LATENT[0]], *LATENT[1:], sizes, f"{where}: {LATENT[0]}").astype(np.float32)
        rest = {"metric": bool(meta["metric"]), "source": str(meta["source"]), "latent_id": str(meta["latent_id"])}
    except ShardError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ShardError(f"{where}: torn or altered ({type(error).__name__}: {error})") from None
    dynamic = arrays.pop("dynamic")
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    arrays["dynamic"] = np.where(dynamic == UNKNOWN, np.float32(np.nan), dynamic.astype(np.float32))
    return TeacherTensors(time_s=time_s, **arrays, **rest)


def pack(parts: Mapping[str, bytes]) -> bytes:
    """Parts as one file; the same parts give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(parts):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, parts[name], zipfile.ZIP_DEFLATED, 1)
    return out.getvalue()


def unpack(data: bytes, where: str = STAGED) -> dict[str, bytes]:
    """What `pack` was given.

    Raises:
        ShardError: where it is no such file, is torn or would be too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise ShardError(f"{where}: more than {MAX_BYTES >> 20} MiB unpacked")
            if unknown := [m.filename for m in members if not PART.fullmatch(m.filename)]:
                raise ShardError(f"{where}: holds {unknown[0]!r}, which is no teacher tensor")
            return {member.filename: archive.read(member) for member in members}
    except ShardError:
        raise
    except Exception as error:  # zipfile raises many kinds on torn data
        raise ShardError(f"{where}: torn or altered ({type(error).__name__}: {error})") from None


def _floats(array: np.ndarray, dtype: str) -> np.ndarray:
    """Beyond the type's range is unknown; one kind of nan and of zero, so that equal tensors are equal bytes."""
    limit = np.finfo(dtype).max
    with np.errstate(invalid="ignore"):
        inside = np.abs(array) <= limit
    return (np.where(inside, array, np.nan) + 0.0).astype(dtype)


def _dynamic(array: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(array), UNKNOWN, array > 0.5).astype(np.uint8)


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _read(data: bytes, dtype: str, shape: tuple[int | str, ...], sizes: dict[str, int], where: str) -> np.ndarray:
    """Only headers as `_npy` writes them: numpy's own reader parses them as Python, and fails in many ways."""
    header = HEADER.match(data)
    if not header or header.end() != 10 + int.from_bytes(data[8:10], "little"):
        raise ShardError(f"{where}: not npy of version 1.0, row by row; torn or altered")
    kind, found = header[1].decode(), tuple(map(int, header[2].split(b", ")))
    if kind != dtype:
        raise ShardError(f"{where}: of type {kind}, expected {dtype}")
    _check_shape(found, shape, sizes, where)
    if len(data) - header.end() != math.prod(found) * np.dtype(dtype).itemsize:
        raise ShardError(f"{where}: {len(data) - header.end()} bytes for an array of {found}; torn or altered")
    return np.frombuffer(data, dtype, offset=header.end()).reshape(found)


def _check_shape(found: tuple[int, ...], shape: tuple[int | str, ...], sizes: dict[str, int], where: str) -> None:
    names = ", ".join(map(str, shape))
    if len(found) != len(shape):
        raise ShardError(f"{where}: shape {found}, expected [{names}]")
    for size, name in zip(found, shape):
        if size != (sizes.setdefault(name, size) if isinstance(name, str) else name):
            raise ShardError(f"{where}: shape {found}, expected [{names}] with {sizes}")
