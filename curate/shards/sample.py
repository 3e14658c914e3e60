"""Scene and questions to one Sample: the json record and the parts beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.shards import schema
from curate.shards.errors import ShardError
from curate.storage.redact import redact

if TYPE_CHECKING:
    from curate.questions.question import Question
    from curate.scene import Region, Scene


@dataclass(frozen=True)
class Sample:
    """One sample of a shard. `parts`: part name ("v0.mp4", "mark.jpg") to its bytes, without the json.

    `data`: the json in the bytes that are written, where they are known already (`encoded`).
    `teacher`: parts of its teacher tensors (`teacher_parts.to_parts`), for the twin shard; None in sets without.
    """

    key: str
    parts: dict[str, bytes]
    json: dict[str, Any]
    data: bytes | None = None
    teacher: dict[str, bytes] | None = None

    @property
    def split(self) -> str:
        return self.json["source"]["split"]


_PLAIN = frozenset({float, int, str, bool, type(None)})
_MAY_MISS = tuple(name for name, spec in schema.QUESTION.items() if spec == schema.NULLABLE)


def plain(value: Any) -> Any:
    """numpy scalars and arrays to Python's own types, tuples to lists."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {name: item if type(item) in _PLAIN else plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _PLAIN else plain(item) for item in value]
    return value


def _questions_json(questions: Iterable[Question]) -> list[dict[str, Any]]:
    """The questions' records; a quantity that several rest on is written out once."""
    written: dict[int, str] = {}
    keep, out = [], []

    def free(value: Any) -> str:
        if id(value) not in written:
            keep.append(value)  # so that no other gets its id
            written[id(value)] = schema.dump_free(plain(value))
        return written[id(value)]

    for question in questions:
        record = {name: value if type(value) in _PLAIN else plain(value) for name, value in vars(question).items()
                  if name not in schema.QUESTION_FREE}
        for name in _MAY_MISS:
            if isinstance(value := record.get(name), float) and math.isnan(value):
                record[name] = None
        quantities = ",".join(map(free, question.quantities))
        record["coordinates"] = [c | {"vector": _nullable(np.asarray(c["vector"], float))}
                                 for c in record["coordinates"]]
        out.append(record | {"quantities_json": f"[{quantities}]",
                             "target_json": schema.dump_free(plain(question.target)),
                             "extra_json": schema.dump_free(plain(question.extra))})
    return out


def _nullable(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in np.ravel(values)]


def encode_rle(mask: np.ndarray) -> dict[str, list[int]]:
    """[H, W] bool to COCO's uncompressed run lengths: column-major, starting with the zeros."""
    flat = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
    if flat.size and flat[0]:
        counts = np.concatenate([[0], counts])
    return {"size": list(mask.shape), "counts": counts.astype(int).tolist()}


def decode_rle(rle: dict[str, list[int]]) -> np.ndarray:
    """Run lengths to [H, W] bool.

    Raises:
        ShardError: where the counts do not fill the size.
    """
    height, width = rle["size"]
    counts = np.asarray(rle["counts"], int)
    if counts.sum() != height * width or (counts < 0).any():
        raise ShardError(f"run lengths sum to {counts.sum()}, expected {height}x{width}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape((height, width), order="F")


def mark_label(region_id: int) -> str:
    """The text drawn on the marked frame for a region."""
    return f"R{region_id}"


def _region_json(region: Region) -> dict[str, Any]:
    first = region.first
    mask = region.mask_at(first)
    mask = np.zeros_like(region.mask_first) if mask is None else mask  # not known there
    return {"id": int(region.id), "mark": mark_label(region.id), "label": region.label, "first": int(first),
            "last": int(region.last), "seen": [bool(v) for v in region.seen], "box": _nullable(region.box[first]),
            "mask_rle": encode_rle(mask), "point_cam": _nullable(region.point_cam[first]),
            "extent_m": _nullable(region.extent_m), "motion_p": _nullable(np.array(region.motion_p))[0]}


def mp4_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels from an mp4's first track header that has one; (0, 0) where there is none.

    The header (`tkhd`, ISO/IEC 14496-12 8.3.2) ends in width and height as 16.16 fixed point.
    """
    at = data.find(b"tkhd")
    while at >= 4:
        end = at - 4 + int.from_bytes(data[at - 4:at], "big")
        if at + 80 <= end <= min(at + 200, len(data)):
            width, height = (int.from_bytes(data[end - n:end - n + 2], "big") for n in (8, 4))
            if width and height:
                return width, height
        at = data.find(b"tkhd", at + 4)
    return 0, 0


def _views_json(scene: Scene, media: dict[str, bytes]) -> list[dict[str, Any]]:
    if not scene.has_pictures:
        return []
    camera = scene.camera
    parts = sorted(name for name in media if name.endswith(".mp4"))
    if several := scene.clip.get("params", {}).get("views"):  # cameras wherever they stand, by the source
        shown = several[:max(len(parts), 1)]
        return [_view_json(index, _as_shown(view, scene), media) for index, view in enumerate(shown)]
    views = []
    for index in range(max(2 if abs(scene.baseline_m) > 0 else 1, len(parts))):
        name = f"v{index}.mp4"
        T_rig_view = np.eye(4)[:3]
        T_rig_view[0, 3] = index * scene.baseline_m  # rectified: the further view sits along +x of the first
        cx = camera.cx + index * float(scene.stats.get("doffs_px", 0.0))
        width, height = mp4_size(media.get(name, b""))
        views.append({"name": f"v{index}", "part": name if name in media else "", "media_width": width,
                      "media_height": height, "fx": float(camera.fx),
                      "fy": float(camera.fy), "cx": float(cx), "cy": float(camera.cy), "width": int(camera.width),
                      "height": int(camera.height), "T_rig_view": T_rig_view.tolist()})
    return views


def _as_shown(view: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """The camera of a source's view; in a mirrored clip what its mirror image is of."""
    if not scene.clip.get("augmented", {}).get("mirror"):
        return view
    flip = np.diag([-1.0, 1, 1])
    pose = np.asarray(view["T_rig_view"], float)
    pose = np.column_stack([flip @ pose[:, :3] @ flip, flip @ pose[:, 3]])
    return view | {"cx": view["width"] - 1 - view["cx"], "T_rig_view": pose.tolist()}


def _view_json(index: int, view: dict[str, Any], media: dict[str, bytes]) -> dict[str, Any]:
    name = f"v{index}.mp4"
    width, height = mp4_size(media.get(name, b""))
    return {"name": f"v{index}", "part": name if name in media else "", "media_width": width, "media_height": height,
            **{key: float(view[key]) for key in ("fx", "fy", "cx", "cy")}, "width": int(view["width"]),
            "height": int(view["height"]), "T_rig_view": view["T_rig_view"]}


def sample_json(scene: Scene, questions: Iterable[Question], *, media: dict[str, bytes], licence: str = "",
                sha256: str = "", split: str = "train", generation: int = 0) -> dict[str, Any]:
    """The json record of one clip, of schema `curate.shards.schema.SAMPLE`.

    It is not checked against the schema yet: `schema.validate`.
    """
    params = scene.clip.get("params", {})
    licence, sha256 = redact(licence or params.get("licence", "")), sha256 or str(params.get("sha256", ""))
    time_s = np.asarray(scene.time_s, float)
    times = (time_s - time_s[0]).tolist()
    record = {
        "version": schema.VERSION, "key": scene.key, "clip_key": scene.key, "group": scene.group,
        "generation": int(generation),
        "recording": redact(scene.clip["recording"]),
        "source": {"uri": redact(scene.clip["uri"]), "kind": str(scene.clip["kind"]), "licence": licence,
                   "sha256": sha256, "split": split, "start_frame": int(scene.clip["start"])},
        "num_frames": len(times), "time_s": times, "duration_s": times[-1],
        "sampling": {"times_s": times, "frame_indices": list(range(len(times))), "base": 0},
        "views": _views_json(scene, media), "baseline_m": float(scene.baseline_m),
        "baseline_sigma_m": float(scene.baseline_sigma_m), "scale": scene.scale, "up": scene.up,
        "up_world": np.asarray(scene.up_world, float).tolist(),
        "camera": {"T_world_cam": scene.T_world_cam.matrix()[:, :3].tolist(),
                   "valid": [bool(v) for v in scene.camera_valid]},
        "regions": [_region_json(region) for region in scene.regions],
        "qa": _questions_json(questions),
        "origin_json": schema.dump_free(plain(scene.origin)), "stats_json": schema.dump_free(plain(scene.stats))}
    return record


def make_sample(scene: Scene, media: dict[str, bytes], questions: Iterable[Question], *, licence: str = "",
                sha256: str = "", split: str = "train", generation: int = 0) -> Sample:
    """One clip ready for packing.

    Args:
        scene: the staged scene.
        media: part name to bytes: "v0.mp4", "v1.mp4", "mark.jpg"; empty for a text-only set.
        questions: in the order they are to be stored; may be empty.
        licence, sha256: of the source recording; by default what the source put into the clip's `params`.
        split: "train" or "val" (see `curate.shards.writer.split_of`).
        generation: 0, or the number of the retry that wrote it.

    Raises:
        ShardError: where a part's name or any field does not fit the schema.
    """
    check_media(scene.key, media)
    record = sample_json(scene, questions, media=media, licence=licence, sha256=sha256, split=split,
                         generation=generation)
    schema.validate(record)
    return Sample(scene.key, dict(media), record)


def check_media(key: str, media: dict[str, bytes]) -> None:
    """
    Raises:
        ShardError: on a part of an unknown name, or an empty one.
    """
    for name, data in media.items():
        if not schema.PART.fullmatch(name) or name == "json":
            raise ShardError(f"{key}: part {name!r} is not one of v0.mp4.., mark.jpg")
        if not data:
            raise ShardError(f"{key}.{name}: zero bytes")


def by_question(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Layout "question": one sample a question, `{key}-q000`.., the media repeated in each."""
    for sample in samples:
        for index, qa in enumerate(sample.json["qa"]):
            key = f"{sample.key}-q{index:03d}"
            yield Sample(key, sample.parts, sample.json | {"key": key, "qa": [qa]}, teacher=sample.teacher)
