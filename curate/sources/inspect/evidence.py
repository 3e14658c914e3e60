"""What single files hold: calibrations, times, poses, annotations, depth. Each file is told by its content, read with
bounds, and never run or unpickled."""

from __future__ import annotations

import csv
import io
import re
import struct
import tomllib
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curate.sources import calibration as calibrations
from curate.sources.base import BadInput
from curate.sources.inspect.survey import Survey, folder_of, name_of, suffix_of

LOOKED_AT = (".json", ".jsonl", ".txt", ".csv", ".yaml", ".yml", ".xml", ".toml", ".npz", ".npy", ".feather", ".bin")
MAX_FACTS = 300
MAX_ROWS = 200_000
ALIKE = 4  # files of one folder whose names differ in numbers alone: more are a series, known by its first
CAMERA_WORDS = {"camera", "cam_id", "cam", "camera_id", "view"}


@dataclass(frozen=True)
class Fact:
    """One thing known of one file, or of a series of `count` files of which `file` is the first."""

    topic: str  # calibration, timestamps, poses, annotations, depth, lidar, homography, conversations, tracks
    what: str  # euroc, kitti, stereo, opencv, camchain, rig, colmap, qualisys, dgp, ...: what kind of it
    file: str
    text: str  # for people
    count: int = 1
    data: dict[str, Any] = field(default_factory=dict)


def facts(survey: Survey) -> list[Fact]:
    """Everything recognised, in the order of files."""
    series: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in survey.suffixed(*LOOKED_AT):
        series[folder_of(file), re.sub(r"\d+", "#", name_of(file))].append(file)
    out = []
    for members in series.values():
        for file in members if len(members) <= ALIKE else members[:1]:
            count = len(members) if len(members) > ALIKE else 1
            if (found := _fact(survey, file)) is not None:
                out.append(Fact(found[0], found[1], file, found[2], count, found[3] if len(found) > 3 else {}))
        if len(out) >= MAX_FACTS:
            break
    return out


def _fact(survey: Survey, file: str) -> tuple | None:
    suffix = suffix_of(file)
    reader = {".json": _json, ".jsonl": _jsonl, ".txt": _text, ".csv": _csv, ".yaml": _yaml, ".yml": _yaml,
              ".xml": _xml, ".toml": _toml, ".npz": _npz, ".npy": _npy, ".feather": _feather, ".bin": _bin}[suffix]
    try:
        return reader(survey, file)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, RecursionError, struct.error,
            zipfile.BadZipFile, EOFError, OverflowError):
        return None  # other people's files: what cannot be told is not told


def _json(survey: Survey, file: str) -> tuple | None:
    data = survey.json(file)
    if isinstance(data, list):
        return _records(data)
    if not isinstance(data, dict):
        return None
    fps = {"fps": float(data["fps"])} if isinstance(data.get("fps"), (int, float)) and data["fps"] > 0 else {}
    for key, value in data.items():
        if "homography" in key.lower() and np.shape(value) == (3, 3):
            return "homography", "ground", f"homography ({key}){_rate(fps)}", fps
    if {"names", "intrinsics", "extrinsics"} <= set(data):
        return "calibration", "dgp", f"intrinsics and extrinsics of {len(data['names'])} sensors (DGP)"
    if {"samples", "data"} <= set(data):
        count = len(data["samples"])
        return "annotations", "dgp", f"a scene of {count} samples (DGP)", {"samples": count}
    matrices = [k for k in data if re.fullmatch("P[0-3]", k)]
    if len(matrices) >= 2:
        velo = {"velo": True} if "Tr_velo_to_cam" in data else {}
        return "calibration", "kitti", f"KITTI projections {', '.join(matrices)}{_rate(fps)}", fps | velo
    if found := _stereo(survey, file):
        return found[0], found[1], found[2] + _rate(fps), found[3] | fps
    if any("depth" in k.lower() for k in data) and any(np.shape(v) == (3, 3) for v in data.values()):
        return "calibration", "rgbd", f"a depth camera's matrix{_rate(fps)}", fps | {"json": data}
    if _is_rig(data):
        return "calibration", "rig", f"cameras {_names(data)}"
    for key in ("data", "conversations", "annotations", "items"):
        if isinstance(data.get(key), list) and (found := _records(data[key])):
            return found
    return None


def _rate(fps: dict[str, float]) -> str:
    return f", {fps['fps']:g} frames a second" if fps else ""


def _stereo(survey: Survey, file: str) -> tuple | None:
    """A file that `stereo_pair` reads by itself."""
    try:
        found = calibrations.load(survey.root / file, None, True)
    except BadInput as error:
        if "calibration_unit" in str(error):
            return "calibration", "stereo", "stereo cameras, T in another unit than metres", {"unit": None}
        return None
    size = "" if found.size is None else f", {found.size[0]}x{found.size[1]}"
    lens = "fisheye" if "fisheye" in (found.lens_left, found.lens_right) else (
        "radial-tangential" if found.distortion_left.size else "no distortion")
    text = f"stereo cameras {found.baseline_m:.4g} m apart, fx {found.K_left[0, 0]:.5g}{size}, {lens}"
    return "calibration", "stereo", text, {"size": found.size}


def _records(data: list[Any]) -> tuple | None:
    """Someone's questions and answers: lists of turns under conversations or messages."""
    first = next((one for one in data[:50] if isinstance(one, dict)), None)
    if first is None:
        return None
    key = next((k for k in ("conversations", "messages", "conversation") if isinstance(first.get(k), list)), None)
    media = sorted({k for one in data[:50] if isinstance(one, dict) for k in one
                    if k.lower() in ("image", "images", "video", "videos")})
    if key:
        held = f", with {' and '.join(media)}" if media else ", text only"
        return "conversations", key, f"{len(data)} conversations ({key}){held}", {"media": media}
    if {"question", "answer"} <= set(first):
        return "conversations", "questions", f"{len(data)} questions with answers (not turns of a conversation)", {
            "media": media}
    return None


def _jsonl(survey: Survey, file: str) -> tuple | None:
    import json

    lines = (survey.text(file) or "").splitlines()
    head = [json.loads(line) for line in lines[:20] if line.strip()]
    found = _records(head)
    return found and (found[0], found[1], re.sub(r"^\d+", str(len(lines)), found[2]), found[3])


def _text(survey: Survey, file: str) -> tuple | None:
    text = survey.text(file)
    if text is None:
        return None
    if text.lstrip().startswith("<") and "<camera" in text[:20000]:
        cameras = text.count("<camera ")
        return "calibration", "qualisys", f"{cameras} cameras (Qualisys)" if "qtm" in text[:2000].lower() else None
    matrices = sorted(set(re.findall(r"^P(?:_rect_0)?([0-3]):", text, re.MULTILINE)))
    if len(matrices) >= 2:
        velo = {"velo": True} if re.search(r"^Tr_velo(_to)?_cam", text, re.MULTILINE) else {}
        return "calibration", "kitti", f"KITTI projections P{', P'.join(matrices)}", velo
    if text.startswith("# Camera list"):
        return "calibration", "colmap", "cameras (COLMAP text)"
    if text.startswith("# Image list"):
        return "poses", "colmap", "poses of images (COLMAP text)"
    lines = [line for line in text.splitlines()[:MAX_ROWS] if line.strip() and not line.lstrip().startswith("#")]
    if lines and all(_is_label(line) for line in lines[:20]):
        names = sorted({line.split()[2] for line in lines} - {"DontCare"})
        frames = len({line.split()[0] for line in lines})
        return "annotations", "kitti_tracking", f"tracked boxes of {frames} frames: {', '.join(names[:8])}"
    if re.fullmatch(r"(rgb|depth|color|colour)", name_of(file).removesuffix(".txt"), re.IGNORECASE):
        words = lines[0].split() if lines else []
        if len(words) == 2 and re.fullmatch(r"[\d.]+", words[0]):
            return "timestamps", "tum", f"{len(lines)} times with files (TUM)", {"rows": len(lines)}
    return _table(lines)


def _is_label(line: str) -> bool:
    words = line.split()
    return len(words) in (17, 18) and words[0].isdigit() and words[2].isalpha() and not words[1].isalpha()


def _table(lines: list[str]) -> tuple | None:
    """Rows of numbers: times, or poses."""
    rows = [re.split(r"[,\s]+", line.strip().rstrip(",")) for line in lines]
    if rows and rows[0] and not re.match(r"[-+.\d]", rows[0][0]):
        rows = rows[1:]
    if not rows or len({len(r) for r in rows}) != 1:
        return None
    table = np.array(rows, float)
    count, columns = table.shape
    rising = count > 1 and bool((np.diff(table[:, 0]) > 0).all())
    if columns == 1 and rising:
        return "timestamps", "lines", f"{count} times, {_span(table[:, 0])}", {"rows": count}
    if columns == 4 and count == 4 and np.allclose(table[3], [0, 0, 0, 1]) and _is_turn(table[:3, :3]):
        return "poses", "matrix", "a pose, 4x4", {"rows": 1}
    if columns in (12, 16) and _is_turn(table[0, : (12)].reshape(3, 4)[:, :3]):
        return "poses", "rows", f"{count} poses, rows of {columns}", {"rows": count}
    if columns == 8 and rising and abs(np.linalg.norm(table[0, 4:]) - 1) < 0.01:
        return "poses", "tum", f"{count} poses with times (TUM)", {"rows": count}
    return None


def _is_turn(matrix: np.ndarray) -> bool:
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=0.02))


def _span(times: np.ndarray) -> str:
    seconds = (times[-1] - times[0]) * (1e-9 if times[0] > 1e15 else 1)
    return f"over {seconds:.4g} s"


def _csv(survey: Survey, file: str) -> tuple | None:
    text = survey.text(file)
    if text is None:
        return None
    lines = text.splitlines()[:MAX_ROWS]
    header = [name.strip().lower().lstrip("#") for name in next(csv.reader(io.StringIO(lines[0])))]
    if "filename" in header and "timestamp" in header[0]:
        return "timestamps", "euroc", f"{len(lines) - 1} times of images (EuRoC data.csv)", {"rows": len(lines) - 1}
    if CAMERA_WORDS & set(header) and any("time" in name for name in header):
        return "timestamps", "cameras", f"{len(lines) - 1} times of frames of several cameras", {"rows": len(lines) - 1}
    if not any(re.match(r"[-+.\d]", name) for name in header):
        return "table", "csv", f"{len(lines) - 1} rows: {', '.join(header[:8])}", {"header": header}
    return _table([line for line in lines if not line.startswith("#")])


def _yaml(survey: Survey, file: str) -> tuple | None:
    data = survey.plain(file)
    if data is None:
        return None
    if {"T_BS", "intrinsics"} <= set(data):
        return "calibration", "euroc", f"one camera: EuRoC sensor, {data.get('distortion_model', 'no distortion')}", {
            "rate": data.get("rate_hz")}
    if {"camera_matrix", "projection_matrix"} <= set(data):
        return "calibration", "camera_info", "one camera: ROS camera_info"
    cameras = [k for k in data if re.fullmatch(r"cam\d+", str(k))]
    if len(cameras) >= 2 and (found := _stereo(survey, file)):
        return found[0], "stereo", f"Kalibr camchain of {len(cameras)}: {found[2]}", found[3]
    return _stereo(survey, file)


def _xml(survey: Survey, file: str) -> tuple | None:
    text = survey.text(file) or ""
    if "<opencv_storage" in text[:2000]:
        return _stereo(survey, file)
    if "<camera " in text and "qtm" in text[:4000].lower():
        return "calibration", "qualisys", f"{text.count('<camera ')} cameras (Qualisys)"
    return None


def _toml(survey: Survey, file: str) -> tuple | None:
    data = tomllib.loads(survey.text(file) or "")
    tables = data.get("cameras", data)
    return ("calibration", "rig", f"cameras {_names(tables)}") if _is_rig(tables) else None


def _is_rig(data: dict[str, Any]) -> bool:
    """Two or more tables with a matrix and a pose."""
    tables = data.get("cameras", data)
    tables = list(tables.values()) if isinstance(tables, dict) else tables
    held = [t for t in tables if isinstance(t, dict) and {"matrix", "K", "intrinsics", "camera_matrix"} & set(t)
            and {"rotation", "R", "extrinsics", "rvec", "T", "T_world_cam", "qvec"} & set(t)]
    return len(held) >= 2


def _names(data: dict[str, Any]) -> str:
    tables = data.get("cameras", data)
    names = [str(t.get("name", n)) if isinstance(t, dict) else str(n)
             for n, t in (tables.items() if isinstance(tables, dict) else enumerate(tables))
             if (isinstance(t, dict) and "matrix" in t) or isinstance(tables, list)]
    return ", ".join(names[:12])


def _npz(survey: Survey, file: str) -> tuple | None:
    shapes = {}
    with zipfile.ZipFile(survey.root / file) as archive:
        for name in archive.namelist()[:64]:
            with archive.open(name) as member:
                shapes[name.removesuffix(".npy")] = _npy_head(member)
    if any(dtype.hasobject for _, dtype in shapes.values()):
        return "table", "objects", "arrays of Python objects, which are never read"
    if "camera2world" in shapes:
        return "poses", "stereo4d", f"camera2world of {shapes['camera2world'][0][0]} frames (Stereo4D): " \
               f"{', '.join(shapes)}"
    first = next(iter(shapes.values()))
    if len(first[0]) == 2 and 3 <= first[0][1] <= 6 < first[0][0]:
        return "lidar", "points", f"a scan of {first[0][0]} points ({next(iter(shapes))})"
    if len(shapes) == 1 and len(first[0]) == 2:
        return "depth", "array", f"an array of {first[0][1]}x{first[0][0]}"
    return "table", "npz", ", ".join(f"{n} {list(s)}" for n, (s, _) in list(shapes.items())[:8])


def _npy(survey: Survey, file: str) -> tuple | None:
    with (survey.root / file).open("rb") as f:
        shape, dtype = _npy_head(f)
    if dtype.hasobject or len(shape) != 2:
        return None
    if 3 <= shape[1] <= 6 < shape[0]:
        return "lidar", "points", f"a scan of {shape[0]} points"
    return "depth", "array", f"an array of {shape[1]}x{shape[0]}"


def _npy_head(stream) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream, max_header_size=10_000)
    return shape, dtype


def _feather(survey: Survey, file: str) -> tuple | None:
    import pyarrow as pa

    with pa.memory_map(str(survey.root / file)) as source:
        names = pa.ipc.open_file(source).schema.names
    if {"track_uuid", "timestamp_ns", "length_m"} <= set(names):
        return "annotations", "argoverse2", "tracked cuboids (Argoverse 2)"
    if {"timestamp_ns", "qw", "tx_m"} <= set(names):
        return "poses", "argoverse2", "poses of the vehicle (Argoverse 2)"
    return "table", "feather", ", ".join(names[:8])


def _bin(survey: Survey, file: str) -> tuple | None:
    name = name_of(file)
    if name in ("cameras.bin", "images.bin"):
        return ("calibration" if name == "cameras.bin" else "poses"), "colmap", f"{name} (COLMAP binary)"
    size = (survey.root / file).stat().st_size
    if size == 0 or size % 16:
        return None
    points = np.frombuffer(survey.head(file, 1 << 16), "<f4").reshape(-1, 4)
    if np.isfinite(points).all() and 1 < np.abs(points[:, :3]).max() < 500:
        return "lidar", "kitti", f"a scan of {size // 16} points (float32 x y z intensity)"
    return None
