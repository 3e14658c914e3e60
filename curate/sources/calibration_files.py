"""Calibration files of other people's tools, read into `StereoCalibration`'s fields.

| file | told by | pose between the cameras |
|---|---|---|
| EuRoC `sensor.yaml`, left and right | `T_BS` | `T_B_right⁻¹ T_B_left`: T_BS maps sensor to body |
| Kalibr camchain | `cam0`, `cam1` with `T_cn_cnm1` | `T_cn_cnm1` maps camera n-1 to camera n |
| OpenCV FileStorage, one or two files | `cameraMatrix1` ..., `R`, `T` | `p₂ = R p₁ + T`, unit of the board |
| ROS camera_info, left and right | `projection_matrix` | rectified axes: `R₂ p₂ = R₁ p₁ + (P₂₄ / P₁₁, 0, 0)` |
| rectified json of the OAK-D samples | `baseline_meters`, `cx0`, `cx1` | rectified |

Files are bounded and read as plain data: YAML without tags of its own (but OpenCV's matrix) or objects; XML without a
document type.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from curate.sources.base import BadInput

MAX_FILE_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_OPEN = 50
LONGEST_BASELINE = 5.0  # of a file without a unit: a T of more than 5 is in millimetres, hardly in metres
UNITS_M = {"m": 1.0, "cm": 0.01, "mm": 0.001}
FISHEYE = ("fisheye", "equidistant", "equi", "kannala", "kb4")
RADTAN = ("radtan", "radial", "plumb_bob", "brown", "opencv", "pinhole", "rational_polynomial", "none")
SIDES = (("1", "2"), ("left", "right"), ("l", "r"), ("0", "1"))
# What OpenCV files call things, in lower case without signs.
NAMES = {
    "K": ("cameramatrix", "cameramat", "m", "k", "mtx", "intrinsics", "intrinsic", "intrinsicmatrix"),
    "D": ("distcoeffs", "distcoeff", "distortioncoefficients", "distortion", "dist", "d"),
}
ROTATIONS = ("r", "rotation", "rotationmatrix", "rmat", "rstereo")
TRANSLATIONS = ("t", "translation", "translationvector", "tvec", "tstereo")


class _Loader(yaml.SafeLoader):
    """Plain data, and OpenCV's tag for a matrix. A kilobyte of aliases can stand for terabytes: what a file stands
    for is counted before anything is made of it."""

    def get_single_node(self):
        node = super().get_single_node()
        if node is not None and _expanded(node, {}) > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f"its aliases stand for more than {MAX_NODES} values",
                                              node.start_mark)
        return node


def _expanded(node: yaml.Node, known: dict[int, float]) -> float:
    """Nodes that a node stands for, aliases followed; inf where one holds itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")  # while it is being counted
        parts = node.value if isinstance(node, yaml.SequenceNode) else [one for pair in node.value for one in pair]
        known[id(node)] = 1 + sum(_expanded(part, known) for part in parts)
    return known[id(node)]


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", lambda loader, node: loader.construct_mapping(node, True))


def read_text(path: Path, most: int = MAX_FILE_BYTES, encoding: str = "utf-8") -> str:
    """
    Raises:
        BadInput: missing, longer than `most` bytes, or no text.
    """
    try:
        if path.stat().st_size > most:
            raise BadInput(f"{path}: {path.stat().st_size} bytes, expected a calibration of at most {most}")
        return path.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot read the calibration: {error}") from error


def read_plain(path: Path) -> dict[str, Any]:
    """A yaml or xml file as nested dictionaries.

    Raises:
        BadInput: missing, too long, or not what its ending says.
    """
    text = read_text(path)
    try:
        if path.suffix.lower() == ".xml":
            return _xml(text, path)
        if text.count("[") - text.count("]") > MAX_OPEN or text.count("{") - text.count("}") > MAX_OPEN:
            raise ValueError("brackets that do not close")  # the parser's time grows with their square
        loader = _Loader(re.sub(r"\A\ufeff?%YAML[: ].*", "", text))  # OpenCV writes %YAML:1.0
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ElementTree.ParseError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise BadInput(f"{path}{line}: not a calibration: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(data, dict):
        raise BadInput(f"{path}: found a {type(data).__name__}, expected named values")
    return data


def _xml(text: str, path: Path) -> dict[str, Any]:
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise BadInput(f"{path}: has a document type or entities, expected OpenCV's plain xml")
    root = ElementTree.fromstring(text)
    if root.tag != "opencv_storage":
        raise BadInput(f"{path}: its root is <{root.tag[:40]}>, expected OpenCV's <opencv_storage>")
    return {child.tag: {part.tag: (part.text or "").split() if part.tag == "data" else (part.text or "").strip()
                        for part in child} if len(child) else (child.text or "").split() for child in root}


def fields_of(contents: list[dict[str, Any]], where: str, cameras: tuple[int, int] | None = None, *,
              lens: str | None = None, unit: str | None = None) -> dict[str, Any]:
    """
    Args:
        contents: of one file or two (left, right), as `read_plain` gives them.
        cameras: which cameras of a camchain are left and right; default 0 and 1.
        lens: where the files do not say.
        unit: of T in files which do not say: m, cm or mm.

    Returns: fields of `StereoCalibration`.

    Raises:
        BadInput: names what is missing.
    """
    if len(contents) == 2 and all("T_BS" in c for c in contents):
        return _euroc(contents, where, lens)
    if len(contents) == 2 and all("projection_matrix" in c for c in contents):
        return _camera_info(contents, where, lens)
    if len(contents) == 1 and "T_BS" in contents[0]:
        raise BadInput(f"{where}: one camera's sensor.yaml; name both: calibration: [LEFT, RIGHT]")
    if len(contents) == 1 and any(re.fullmatch(r"cam\d+", str(k)) for k in contents[0]):
        return _camchain(contents[0], where, cameras or (0, 1), lens)
    return _opencv({k: v for content in contents for k, v in content.items()}, where, lens, unit)


def is_oakd(data: dict[str, Any]) -> bool:
    return {"baseline_meters", "fx"} <= set(data)


def from_oakd(data: dict[str, Any]) -> dict[str, Any]:
    """A rectified pair whose json names `fx fy cx0 cx1 cy baseline_meters width height`."""
    names = {"fx": "fx", "fy": "fy", "cx0": "cx", "cy": "cy", "baseline_meters": "baseline_m", "width": "width",
             "height": "height"}
    fields = {ours: data[theirs] for theirs, ours in names.items() if theirs in data}
    if "cx0" in data and "cx1" in data:
        fields["doffs_px"] = data["cx1"] - data["cx0"]
    return fields


def _euroc(contents: list[dict[str, Any]], where: str, lens: str | None) -> dict[str, Any]:
    cameras, body = [], []
    for side, content in zip(("left", "right"), contents):
        at = f"{where} ({side})"
        cameras.append(_four(content, "intrinsics", "distortion_coefficients", "distortion_model", at, lens))
        body.append(_matrix(content["T_BS"], (4, 4), f"{at}: T_BS"))
    fields = _joined(*cameras, np.linalg.solve(body[1], body[0]))
    return fields | _resolution(contents[0], contents[1], where)


def _camchain(data: dict[str, Any], where: str, pick: tuple[int, int], lens: str | None) -> dict[str, Any]:
    left, right = pick
    for n in range(min(pick), max(pick) + 1):
        if not isinstance(data.get(f"cam{n}"), dict):
            raise BadInput(f"{where}: no cam{n} (found {', '.join(sorted(map(str, data)))}), expected a camchain with "
                           f"cameras {list(pick)}")
    both = [data[f"cam{n}"] for n in pick]
    cameras = []
    for n, content in zip(pick, both):
        model = content.get("camera_model", "pinhole")
        if model != "pinhole":
            raise BadInput(f"{where}: cam{n}: camera_model {str(model)[:40]!r}, expected pinhole (with radtan or "
                           "equidistant distortion)")
        cameras.append(_four(content, "intrinsics", "distortion_coeffs", "distortion_model", f"{where}: cam{n}", lens))
    step = np.eye(4)
    for n in range(min(pick) + 1, max(pick) + 1):
        if "T_cn_cnm1" not in data[f"cam{n}"]:
            raise BadInput(f"{where}: cam{n} has no T_cn_cnm1 (the pose of cam{n - 1} in it)")
        step = _matrix(data[f"cam{n}"]["T_cn_cnm1"], (4, 4), f"{where}: cam{n}: T_cn_cnm1") @ step
    return _joined(*cameras, step if left < right else np.linalg.inv(step)) | _resolution(*both, where)


def _camera_info(contents: list[dict[str, Any]], where: str, lens: str | None) -> dict[str, Any]:
    cameras, turns, projections = [], [], []
    for side, content in zip(("left", "right"), contents):
        at = f"{where} ({side})"
        if "camera_matrix" not in content:
            raise BadInput(f"{at}: no camera_matrix")
        k = _matrix(content["camera_matrix"], (3, 3), f"{at}: camera_matrix")
        model = _lens(content.get("distortion_model", content.get("camera_model")), lens, at)
        cameras.append(_camera(k, _numbers(content.get("distortion_coefficients", []), f"{at}: distortion"), model))
        turns.append(_matrix(content.get("rectification_matrix", np.eye(3).tolist()), (3, 3), f"{at}: rectification"))
        projections.append(_matrix(content["projection_matrix"], (3, 4), f"{at}: projection_matrix"))
    if not projections[1][0, 0] or not projections[1][0, 3]:
        raise BadInput(f"{where} (right): projection_matrix holds no baseline (its 4th number), expected -fx * metres")
    pose = np.eye(4)
    pose[:3, :3] = turns[1].T @ turns[0]
    pose[:3, 3] = turns[1].T @ [projections[1][0, 3] / projections[1][0, 0], 0, 0]
    size = {k: contents[0][f"image_{k}"] for k in ("width", "height") if f"image_{k}" in contents[0]}
    return _joined(*cameras, pose) | (size if len(size) == 2 else {})


def _opencv(data: dict[str, Any], where: str, lens: str | None, unit: str | None) -> dict[str, Any]:
    plain = {re.sub(r"[^a-z0-9]", "", str(key).lower()): value for key, value in data.items()}
    sides = next((s for s in SIDES if all(_named(plain, "K", one) for one in s)), None)
    if sides is None:
        raise BadInput(f"{where}: no two camera matrices (found {', '.join(map(str, list(data)[:12])) or 'nothing'}), "
                       "expected cameraMatrix1 and cameraMatrix2 (or M1, M2; ... left, right)")
    stated = next((str(plain[k]) for k in ("distortionmodel", "cameramodel", "model", "lens") if k in plain), None)
    if stated is None and "fisheye" in plain:
        flag = plain["fisheye"]
        flag = flag[0] if isinstance(flag, list) and flag else flag
        stated = "fisheye" if str(flag).lower() in ("1", "true", "yes") else "radtan"
    model = _lens(stated, lens, where)
    cameras = []
    for one in sides:
        k = _matrix(plain[_named(plain, "K", one)], (3, 3), f"{where}: camera matrix {one}")
        name = _named(plain, "D", one)
        cameras.append(_camera(k, _numbers(plain[name], f"{where}: distortion {one}") if name else np.zeros(0), model))
    rotation, translation = (next((plain[n] for n in names if n in plain), None) for names in (ROTATIONS, TRANSLATIONS))
    if rotation is None or translation is None:
        raise BadInput(f"{where}: no {'R' if rotation is None else 'T'} between the cameras; name the file that holds "
                       "it too: calibration: [intrinsics.yml, extrinsics.yml]")
    t = _numbers(translation, f"{where}: T")
    r = _numbers(rotation, f"{where}: R")
    if t.size != 3 or r.size not in (3, 9):
        raise BadInput(f"{where}: R has {r.size} and T {t.size} numbers, expected 9 (or 3) and 3")
    if unit is None and np.linalg.norm(t) > LONGEST_BASELINE:
        raise BadInput(f"{where}: T is {np.round(t, 4).tolist()}, cameras {np.linalg.norm(t):.4g} m apart if it is in "
                       "metres; say its unit: calibration_unit: mm (or cm, or m)")
    fields = _of_two(*cameras) | {"rotation_right_left": r.tolist(),
                                  "translation_right_left_m": (t * UNITS_M[unit or "m"]).tolist()}
    size = next((_numbers(plain[n], f"{where}: {n}") for n in ("imagesize", "size", "resolution") if n in plain), None)
    if size is None and {"imagewidth", "imageheight"} <= set(plain):
        size = np.concatenate([_numbers(plain[n], where) for n in ("imagewidth", "imageheight")])
    return fields | ({"width": int(size[0]), "height": int(size[1])} if size is not None and size.size == 2 else {})


def _named(plain: dict[str, Any], what: str, side: str) -> str | None:
    for stem in NAMES[what]:
        for name in (stem + side, side + stem):
            if name in plain:
                return name
    return None


def _four(content: dict[str, Any], intrinsics: str, coefficients: str, model: str, where: str, lens: str | None
          ) -> dict[str, Any]:
    """A camera that names fu fv cu cv and its distortion."""
    if intrinsics not in content:
        raise BadInput(f"{where}: no {intrinsics}, expected [fu, fv, cu, cv]")
    numbers = _numbers(content[intrinsics], f"{where}: {intrinsics}")
    if numbers.size != 4:
        raise BadInput(f"{where}: {intrinsics} has {numbers.size} numbers, expected [fu, fv, cu, cv]")
    fu, fv, cu, cv = numbers
    chosen = _lens(content.get(model), lens, where)
    return _camera(np.array([[fu, 0, cu], [0, fv, cv], [0, 0, 1]]),
                   _numbers(content.get(coefficients) or [], f"{where}: {coefficients}"), chosen)


def _camera(k: np.ndarray, distortion: np.ndarray, lens: str) -> dict[str, Any]:
    return {"fx": float(k[0, 0]), "fy": float(k[1, 1]), "cx": float(k[0, 2]), "cy": float(k[1, 2]),
            "distortion": distortion.tolist(), "lens": lens}


def _of_two(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return left | {"right": right}


def _joined(left: dict[str, Any], right: dict[str, Any], T_right_left: np.ndarray) -> dict[str, Any]:
    """Two cameras and the pose between them, [4, 4] metres."""
    return _of_two(left, right) | {"rotation_right_left": T_right_left[:3, :3].ravel().tolist(),
                                   "translation_right_left_m": T_right_left[:3, 3].tolist()}


def _resolution(left: dict[str, Any], right: dict[str, Any], where: str) -> dict[str, int]:
    if "resolution" not in left:
        return {}
    if left["resolution"] != right.get("resolution"):
        raise BadInput(f"{where}: resolution {left['resolution']} left, {right.get('resolution')} right, expected the "
                       "same")
    size = _numbers(left["resolution"], f"{where}: resolution")
    if size.size != 2:
        raise BadInput(f"{where}: resolution {left['resolution']}, expected [width, height]")
    return {"width": int(size[0]), "height": int(size[1])}


def _lens(stated: Any, given: str | None, where: str) -> str:
    """radtan or fisheye: as the file says, else as the recipe does."""
    if stated is None or not str(stated).strip():
        return given or "radtan"
    text = str(stated).strip().lower().replace("-", "_")
    if any(word in text for word in FISHEYE):
        return "fisheye"
    if any(word in text for word in RADTAN):
        return given or "radtan" if text in ("pinhole", "opencv") else "radtan"
    raise BadInput(f"{where}: distortion model {text[:40]!r}, expected radial-tangential or equidistant (fisheye)")


def _matrix(value: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    numbers = _numbers(value, where)
    if numbers.size != shape[0] * shape[1]:
        raise BadInput(f"{where}: {numbers.size} numbers, expected {shape[0]} x {shape[1]}")
    matrix = numbers.reshape(shape)
    if shape == (4, 4) and abs(np.linalg.det(matrix[:3, :3]) - 1) > 0.01:
        raise BadInput(f"{where}: not a pose (the determinant of its rotation is {np.linalg.det(matrix[:3, :3]):.4g})")
    return matrix


def _numbers(value: Any, where: str) -> np.ndarray:
    """Finite numbers of a list, of lists, or of {rows, cols, data}, flat."""
    if isinstance(value, dict):
        value = value.get("data", [])
    try:
        numbers = np.asarray(value, float).ravel()
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise BadInput(f"{where}: found {str(value)[:60]!r}, expected finite numbers")
    return numbers
