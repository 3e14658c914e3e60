"""Rigs in toml (caliscope, anipose, Pose2Sim) and json (a table of cameras, or a list; CMU Panoptic's keys too).

A camera is a table with a camera matrix, distortion, rotation and translation from world to camera, and a size. Tables
go by many names; those known are in `KEYS`. caliscope's `rotation_count` turns pictures on screen alone: its numbers
are of pictures as stored.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from curate.sources.base import BadInput
from curate.sources.rigs.camera import MAX_CAMERAS, RigCamera, make_camera

KEYS = {
    "K": ("matrix", "K", "camera_matrix", "intrinsic_matrix"),
    "distortion": ("distortions", "distortion", "distCoef", "dist_coeffs", "dist", "D"),
    "rotation": ("rotation", "R", "rvec"),
    "translation": ("translation", "t", "T", "tvec"),
    "size": ("size", "resolution", "image_size"),
}
NOT_CAMERAS = ("metadata",)


def read_toml(path: Path, text: str) -> list[RigCamera]:
    """
    Raises:
        BadInput: not toml, or no cameras in it; names file, camera and entry.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"{path}: not toml: {error}") from None
    return _cameras(data, path)


def read_json(path: Path, text: str) -> list[RigCamera]:
    """
    Raises:
        BadInput: as `read_toml`.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}: not json: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not a calibration: {error}") from None
    return _cameras(data, path)


def _cameras(data: Any, path: Path) -> list[RigCamera]:
    if isinstance(data, dict) and isinstance(data.get("cameras"), (dict, list)):
        data = data["cameras"]
    if isinstance(data, list):
        tables = [(str(table.get("name", number)) if isinstance(table, dict) else str(number), table)
                  for number, table in enumerate(data)]
    elif isinstance(data, dict):
        tables = [(str(table.get("name", key)), table) for key, table in data.items()
                  if isinstance(table, dict) and key not in NOT_CAMERAS]
    else:
        tables = []
    if not tables:
        raise BadInput(f"{path}: no camera in it; expected tables with matrix, distortions, rotation, translation, "
                       "size")
    if len(tables) > MAX_CAMERAS:
        raise BadInput(f"{path}: {len(tables)} cameras, expected at most {MAX_CAMERAS}")
    return [_camera(name, table, path) for name, table in tables if not (isinstance(table, dict) and
                                                                           table.get("ignore") is True)]


def _camera(name: str, table: Any, path: Path) -> RigCamera:
    where = f"{path}: camera {name}"
    if not isinstance(table, dict):
        raise BadInput(f"{where}: found a {type(table).__name__}, expected a table")
    found = {}
    for entry, keys in KEYS.items():
        key = next((k for k in keys if k in table), None)
        if key is None and entry not in ("distortion", "size"):
            raise BadInput(f"{where}: no {keys[0]} (found {', '.join(map(str, table))[:80] or 'nothing'}); is the "
                           "camera calibrated?")
        found[entry] = table.get(key) if key else None
    return make_camera(where, name, found["K"], found["distortion"], found["rotation"], found["translation"],
                       found["size"], "fisheye" if table.get("fisheye") is True else "radtan")
