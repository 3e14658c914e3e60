"""The frozen schema of one sample's json: one table from which validation, JSON Schema and Arrow types follow.

Every field is always there and has one type. Floats are finite; a field of type `float64?` may be null, which
means "no number" and is NaN in Python after reading. Free-form records (`*_json`) are JSON text, so that a
consumer that infers types from the first samples sees a string; in them a number that is not finite is written
`{"$float": "nan" | "inf" | "-inf"}`, because JSON has none. `decode` restores all of it.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from typing import Any

from curate.shards.errors import ShardError

VERSION = 2
KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
PART = re.compile(r"(?:v[0-9]+\.mp4|mark\.jpg|json)")

STRING, INT, FLOAT, NULLABLE, BOOL = "string", "int64", "float64", "float64?", "bool"

QUESTION: dict[str, Any] = {
    "id": STRING, "family": STRING, "form": STRING, "question": STRING, "options": [STRING], "answer": STRING,
    "letter": STRING, "value": NULLABLE, "low": NULLABLE, "high": NULLABLE, "unit": STRING, "tolerance": NULLABLE,
    "frame": STRING, "reference": STRING, "start_s": FLOAT, "end_s": FLOAT, "start_frame": INT, "end_frame": INT,
    "regions": [INT], "mark_frame": INT, "reasoning": [STRING], "quantities_json": STRING, "template": STRING,
    "dialect": STRING, "scale": STRING, "answer_type": STRING, "metric": STRING, "task": STRING,
    "target_json": STRING,  # typed truth of an open answer; "null" else
    # characters of an open answer that write a coordinate, and its x, y, z, t
    "coordinates": [{"start": INT, "end": INT, "vector": [NULLABLE]}],
    "extra_json": STRING,
}
SAMPLE: dict[str, Any] = {
    "version": INT,
    "key": STRING,
    "clip_key": STRING,  # equal to `key` in the layout "clip"
    "group": STRING,  # `clip_key` of the clip that it was made of by mirroring and the like; its own as recorded
    "generation": INT,
    "recording": STRING,
    "source": {"uri": STRING, "kind": STRING, "licence": STRING, "sha256": STRING, "split": STRING,
               "start_frame": INT},
    "num_frames": INT,
    "time_s": [FLOAT],  # [T] presentation time of every frame of the media, from the clip's first frame
    "duration_s": FLOAT,
    "sampling": {"times_s": [FLOAT], "frame_indices": [INT], "base": INT},
    # width, height, K: pixels of the calibration, of `mark.jpg`, of boxes and masks; the video may have another size,
    # media_width x media_height (0 where unknown)
    "views": [{"name": STRING, "part": STRING, "media_width": INT, "media_height": INT, "fx": FLOAT, "fy": FLOAT,
               "cx": FLOAT, "cy": FLOAT, "width": INT, "height": INT, "T_rig_view": [[FLOAT]]}],  # [3][4]
    "baseline_m": FLOAT,
    "baseline_sigma_m": FLOAT,
    "scale": STRING,
    "up": STRING,
    "up_world": [FLOAT],  # [3]
    "camera": {"T_world_cam": [[[FLOAT]]], "valid": [BOOL]},  # [T][3][4], [T]
    "regions": [{"id": INT, "mark": STRING, "label": STRING, "first": INT, "last": INT, "seen": [BOOL],
                 "box": [NULLABLE], "mask_rle": {"size": [INT], "counts": [INT]}, "point_cam": [NULLABLE],
                 "extent_m": [NULLABLE], "motion_p": NULLABLE}],
    "qa": [QUESTION],
    "origin_json": STRING,
    "stats_json": STRING,
}
TOP_FREE = ("origin", "stats")
QUESTION_FREE = ("quantities", "target", "extra")
_PYTHON = {STRING: str, INT: int, BOOL: bool}
_JSON_TYPE = {STRING: {"type": "string"}, INT: {"type": "integer"}, FLOAT: {"type": "number"},
              NULLABLE: {"type": ["number", "null"]}, BOOL: {"type": "boolean"}}


def _python_type(spec: Any) -> type | None:
    """The one Python type of a scalar that is neither float nor nullable; None for all else."""
    return _PYTHON.get(spec) if isinstance(spec, str) else None


def _fits(spec: Any) -> Callable[[Any], bool]:
    """A function that says whether a value has no `_type_problems`, without saying which."""
    if isinstance(spec, dict):
        fields = [(name, _fits(inner)) for name, inner in spec.items()]
        return lambda value: (type(value) is dict and len(value) == len(fields)
                              and all(name in value and fits(value[name]) for name, fits in fields))
    if isinstance(spec, list):
        if kind := _python_type(spec[0]):
            return lambda value: type(value) is list and all(type(item) is kind for item in value)
        inner = _fits(spec[0])
        return lambda value: type(value) is list and all(map(inner, value))
    if spec in (FLOAT, NULLABLE):
        def number(value: Any) -> bool:
            if type(value) in (float, int):
                return math.isfinite(value)
            return value is None and spec == NULLABLE
        return number
    kind = _PYTHON[spec]
    return lambda value: type(value) is kind


def _type_problems(value: Any, spec: Any, where: str) -> list[str]:
    if isinstance(spec, dict):
        if type(value) is not dict:
            return [f"{where or 'sample'}: expected an object, got {type(value).__name__}"]
        here = f"{where}." if where else ""
        out = [f"{here}{name}: missing" for name in spec if name not in value]
        out += [f"{here}{name}: not a field of version {VERSION}" for name in value if name not in spec]
        for name, inner in spec.items():
            if name in value:
                out += _type_problems(value[name], inner, here + name)
        return out
    if isinstance(spec, list):
        if type(value) is not list:
            return [f"{where}: expected a list, got {type(value).__name__}"]
        kind = _python_type(spec[0])
        if kind and set(map(type, value)) <= {kind}:
            return []  # long lists are judged at one look
        if spec[0] == FLOAT and set(map(type, value)) <= {float} and all(map(math.isfinite, value)):
            return []
        return [p for i, item in enumerate(value) for p in _type_problems(item, spec[0], f"{where}[{i}]")]
    if spec in (FLOAT, NULLABLE):
        if value is None and spec == NULLABLE:
            return []
        if type(value) not in (float, int):
            return [f"{where}: expected {spec}, got {type(value).__module__}.{type(value).__name__} {value!r}"]
        return [] if math.isfinite(value) else [f"{where}: {value} is not JSON; write null where there is no number"]
    if type(value) is not _PYTHON[spec]:
        return [f"{where}: expected {spec}, got {type(value).__module__}.{type(value).__name__} {value!r}"]
    return []


_SAMPLE_FITS = _fits(SAMPLE)


def _free_problems(text: str, kind: type, where: str) -> list[str]:
    try:
        value = load_free(text)
    except ValueError as error:
        return [f"{where}: not JSON text: {error}"]
    return [] if type(value) is kind else [f"{where}: expected a JSON {kind.__name__}, got {type(value).__name__}"]


def _question_problems(qa: dict[str, Any], sample: dict[str, Any], where: str, free: bool) -> list[str]:
    out = []
    if free:
        out += _free_problems(qa["quantities_json"], list, f"{where}.quantities_json")
        out += _free_problems(qa["extra_json"], dict, f"{where}.extra_json")
    if not qa["answer"]:
        out.append(f"{where}.answer: empty; every answer is text")
    if qa["form"] == "choice":
        index = ord(qa["letter"]) - ord("A") if len(qa["letter"]) == 1 else -1
        if not 0 <= index < len(qa["options"]):
            out.append(f"{where}.letter: {qa['letter']!r} is none of the {len(qa['options'])} options")
        elif qa["options"][index] != qa["answer"]:
            out.append(f"{where}: letter {qa['letter']} is option {qa['options'][index]!r}, "
                       f"but the answer is {qa['answer']!r}")
    elif qa["form"] == "numeric":
        if qa["options"] or qa["letter"]:
            out.append(f"{where}: a numeric question has no options and no letter")
        if qa["value"] is None:
            out.append(f"{where}.value: null in a numeric question")
    elif qa["form"] == "open":
        if qa["options"] or qa["letter"]:
            out.append(f"{where}: an open question has no options and no letter")
        if qa["target_json"] == "null":
            out.append(f"{where}.target_json: null in an open question")
        length = len(qa["answer"])
        if any(not 0 <= c["start"] < c["end"] <= length or len(c["vector"]) != 4 for c in qa["coordinates"]):
            out.append(f"{where}.coordinates: not all within the answer's {length} characters, with 4 numbers each")
    else:
        out.append(f"{where}.form: {qa['form']!r} is neither 'numeric', 'choice' nor 'open'")
    if not 0 <= qa["start_frame"] <= qa["end_frame"] < sample["num_frames"]:
        out.append(f"{where}: frames {qa['start_frame']}..{qa['end_frame']} are not in 0..{sample['num_frames'] - 1}")
    if unknown := set(qa["regions"]) - {r["id"] for r in sample["regions"]}:
        out.append(f"{where}.regions: {sorted(unknown)} are not among the sample's regions")
    return out


def _region_problems(region: dict[str, Any], num_frames: int, where: str) -> list[str]:
    out = []
    size, counts = region["mask_rle"]["size"], region["mask_rle"]["counts"]
    if len(size) != 2 or min([*size, *counts], default=0) < 0 or sum(counts) != math.prod(size):
        out.append(f"{where}.mask_rle: counts sum to {sum(counts)}, expected {size} (rows x columns)")
    if len(region["seen"]) != num_frames:
        out.append(f"{where}.seen: {len(region['seen'])} entries for {num_frames} frames")
    for name, length in (("box", 4), ("point_cam", 3), ("extent_m", 3)):
        if len(region[name]) != length:
            out.append(f"{where}.{name}: {len(region[name])} numbers, expected {length}")
    if not 0 <= region["first"] <= region["last"] < num_frames:
        out.append(f"{where}: first {region['first']} and last {region['last']} are not in 0..{num_frames - 1}")
    return out


def _is_matrix(rows: list[list[float]]) -> bool:
    return len(rows) == 3 and all(len(row) == 4 for row in rows)


def problems(sample: Any, free: bool = True) -> list[str]:
    """Everything wrong with one sample's json, as "field: found, expected"; empty where it is valid.

    Args:
        free: free-form records are read too; not needed where `dump_free` has just made them.
    """
    out: list[str] = []
    if not _SAMPLE_FITS(sample) and (out := _type_problems(sample, SAMPLE, "")):
        return out
    if sample["version"] != VERSION:
        return [f"version: {sample['version']}; this reads version {VERSION}"]
    for name in ("key", "clip_key", "group"):
        if not KEY.fullmatch(sample[name]):
            out.append(f"{name}: {sample[name]!r}; expected lower-case letters, digits, '_' and '-', no dots")
    num_frames, time_s = sample["num_frames"], sample["time_s"]
    if num_frames < 1 or len(time_s) != num_frames or any(b <= a for a, b in itertools.pairwise(time_s)):
        out.append(f"time_s: {len(time_s)} times for {num_frames} frames; expected one each, strictly increasing")
    sampling = sample["sampling"]
    if len(sampling["times_s"]) != len(sampling["frame_indices"]):
        out.append("sampling: times_s and frame_indices differ in length")
    if any(not 0 <= i - sampling["base"] < num_frames for i in sampling["frame_indices"]):
        out.append(f"sampling.frame_indices: not all within the clip's {num_frames} frames")
    poses = sample["camera"]["T_world_cam"]
    if len(poses) != num_frames or not all(_is_matrix(m) for m in poses):
        out.append(f"camera.T_world_cam: expected [{num_frames}][3][4]")
    if len(sample["camera"]["valid"]) != num_frames:
        out.append(f"camera.valid: {len(sample['camera']['valid'])} entries for {num_frames} frames")
    out += [f"views[{i}].T_rig_view: expected [3][4]" for i, view in enumerate(sample["views"])
            if not _is_matrix(view["T_rig_view"])]
    if len(sample["up_world"]) != 3:
        out.append("up_world: expected 3 numbers")
    for i, region in enumerate(sample["regions"]):
        out += _region_problems(region, num_frames, f"regions[{i}]")
    for what, values in (("regions: id", [r["id"] for r in sample["regions"]]),
                         ("qa: id", [q["id"] for q in sample["qa"]])):
        if len(set(values)) < len(values):
            out += [f"{what} {v!r} occurs twice" for v in sorted({v for v in values if values.count(v) > 1})]
    for name in TOP_FREE if free else ():
        out += _free_problems(sample[f"{name}_json"], dict, f"{name}_json")
    for i, qa in enumerate(sample["qa"]):
        out += _question_problems(qa, sample, f"qa[{i}]", free)
    return out


def validate(sample: Any, free: bool = True) -> None:
    """
    Args:
        free: as for `problems`.

    Raises:
        ShardError: names the sample and the first faults, field by field.
    """
    if found := problems(sample, free):
        key = sample.get("key") if isinstance(sample, dict) else None
        more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
        raise ShardError(f"sample {key!r}: " + "; ".join(found[:5]) + more)


_FREE = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def dump_free(value: Any) -> str:
    """Free-form record to JSON text: sorted keys, no NaN.

    Raises:
        ShardError: on anything JSON cannot hold, numpy types among them.
    """
    return _FREE.encode(_to_free(value, ""))


def load_free(text: str) -> Any:
    return json.loads(text, object_hook=_float_hook if '"$float"' in text else None)


def _to_free(value: Any, where: str) -> Any:
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if value is None or kind in (str, int, bool):
        return value
    if kind in (list, tuple):
        return [_to_free(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if kind is dict:
        if bad := [name for name in value if type(name) is not str]:
            raise ShardError(f"{where or 'record'}: key {bad[0]!r} is not text")
        if "$float" in value:
            raise ShardError(f"{where or 'record'}: a field may not be called '$float'")
        return {name: _to_free(item, f"{where}.{name}") for name, item in value.items()}
    raise ShardError(f"{where or 'record'}: {kind.__module__}.{kind.__name__} cannot be written; "
                     "expected text, numbers, lists or objects of plain Python types")


def _float_hook(obj: dict[str, Any]) -> Any:
    return float(obj["$float"]) if set(obj) == {"$float"} and obj["$float"] in ("nan", "inf", "-inf") else obj


def _canonical(spec: Any) -> Callable[[Any], Any] | None:
    """A function that puts fields in the schema's order and writes ints as floats where the type is float; None where
    a value stays as it is."""
    if isinstance(spec, dict):
        fields = [(name, _canonical(inner)) for name, inner in spec.items()]
        return lambda value: {name: value[name] if form is None else form(value[name]) for name, form in fields}
    if isinstance(spec, list):
        inner = _canonical(spec[0])
        return None if inner is None else lambda value: list(map(inner, value))
    if spec == FLOAT:
        return float
    return (lambda value: None if value is None else float(value)) if spec == NULLABLE else None


canonical_sample, canonical_question = _canonical(SAMPLE), _canonical(QUESTION)


def to_bytes(sample: dict[str, Any]) -> bytes:
    """Validated, canonical UTF-8 json: the same sample gives the same bytes.

    Raises:
        ShardError: where the sample is not of the schema.
    """
    validate(sample)
    return json.dumps(canonical_sample(sample), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _nulls_to_nan(value: Any, spec: Any) -> Any:
    if isinstance(spec, dict):
        return {name: _nulls_to_nan(item, spec[name]) if name in spec else item for name, item in value.items()}
    if isinstance(spec, list):
        return value if spec[0] == FLOAT or _python_type(spec[0]) else [_nulls_to_nan(item, spec[0]) for item in value]
    return math.nan if value is None and spec == NULLABLE else value


def encode_question(record: dict[str, Any]) -> dict[str, Any]:
    """`Question.to_json()` as it stands in a shard: NaN becomes null, free-form parts become text."""
    out = {name: value for name, value in record.items() if name not in QUESTION_FREE}
    out |= {f"{name}_json": dump_free(record[name]) for name in QUESTION_FREE}
    for name, spec in QUESTION.items():
        if spec == NULLABLE and isinstance(out.get(name), float) and math.isnan(out[name]):
            out[name] = None
    return out


def decode(sample: dict[str, Any]) -> dict[str, Any]:
    """A stored sample as Python sees it: null is NaN, `quantities`, `extra`, `origin`, `stats` are records again.

    `decode(...)["qa"]` equals `[q.to_json() for q in questions]`, tuples read as lists.
    """
    out = _nulls_to_nan(sample, SAMPLE)
    for name in TOP_FREE:
        out[name] = load_free(out.pop(f"{name}_json"))
    for qa in out["qa"]:
        for name in QUESTION_FREE:
            qa[name] = load_free(qa.pop(f"{name}_json"))
    return out


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `{key}.json`."""
    def convert(spec: Any) -> dict[str, Any]:
        if isinstance(spec, dict):
            return {"type": "object", "additionalProperties": False, "required": list(spec),
                    "properties": {name: convert(inner) for name, inner in spec.items()}}
        if isinstance(spec, list):
            return {"type": "array", "items": convert(spec[0])}
        return dict(_JSON_TYPE[spec])

    schema = convert(SAMPLE)
    schema["properties"]["version"] = {"const": VERSION}
    for name in ("key", "clip_key", "group"):
        schema["properties"][name]["pattern"] = f"^{KEY.pattern}$"
    schema["properties"]["qa"]["items"]["properties"]["form"]["enum"] = ["numeric", "choice", "open"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "curate4d shard sample", **schema}
