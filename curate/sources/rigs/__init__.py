"""Calibrations of several cameras as they are published, brought to one form (`RigCamera`)."""

from __future__ import annotations

from pathlib import Path

from curate.sources.base import BadInput
from curate.sources.calibration_files import read_text
from curate.sources.rigs.camera import RigCamera

MAX_FILE_BYTES = 1 << 22
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
FORMATS = "toml (caliscope, anipose, Pose2Sim), json, Qualisys (.qca.txt, .xml), a folder of COLMAP's"


def format_of(path: Path) -> str:
    """"toml", "json", "qualisys" or "colmap", by the file's name.

    Raises:
        BadInput: where it is none of them.
    """
    name = path.name.lower()
    if path.is_dir():
        return "colmap"
    if name.endswith(".toml"):
        return "toml"
    if name.endswith(".json"):
        return "json"
    if name.endswith((".qca.txt", ".qca", ".xml")):
        return "qualisys"
    if name in ("cameras.txt", "cameras.bin", "images.txt", "images.bin"):
        raise BadInput(f"{path}: one of COLMAP's files, expected the folder of cameras and images: {path.parent}")
    raise BadInput(f"{path}: a calibration of unknown kind, expected {FORMATS}")


def load_rig(path: Path) -> list[RigCamera]:
    """Every camera of a calibration, places in its own unit; names are distinct.

    Raises:
        BadInput: missing, unreadable or unusable; names file, camera and entry.
    """
    kind = format_of(path)
    if kind == "colmap":
        from curate.sources.rigs.colmap import read_colmap

        return read_colmap(path)
    text = read_text(path, MAX_FILE_BYTES, "utf-8-sig")
    if kind == "qualisys":
        from curate.sources.rigs.qualisys import read_qualisys

        cameras = read_qualisys(path, text)
    else:
        from curate.sources.rigs import tables

        cameras = (tables.read_toml if kind == "toml" else tables.read_json)(path, text)
    names = [camera.name for camera in cameras]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"{path}: two cameras are named {twice}, expected distinct names")
    return cameras
