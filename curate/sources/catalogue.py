"""What every kind of source gives, the layout it expects, and its settings: for `curate sources` and docs/sources.md.

Kinds come from the registry (`SOURCES`) and the union of settings (`SourceConfig`); what stands in `ABOUT` is said
beside them. A kind that is in no table here is shown with the docstring of its settings and of its module.
Imports nothing heavy.
"""

from __future__ import annotations

import ast
import typing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from curate.sources import SOURCES
from curate.sources.catalogue_layouts import LAYOUTS
from curate.sources.config import SourceConfig

UNSAID = "-"


@dataclass(frozen=True)
class About:
    """A row of the table. `scale` is one of calibrated, assumed, relative, or when which."""

    views: str = UNSAID
    depth: str = UNSAID
    poses: str = UNSAID
    regions: str = UNSAID
    scale: str = UNSAID
    questions: str = UNSAID
    tried: str = UNSAID
    recipes: tuple[str, ...] = ()
    example: dict[str, Any] = field(default_factory=dict)  # settings beside kind and root


ABOUT: dict[str, About] = {
    "stereo_pair": About(
        "2, rectified when opened", "estimated", "estimated", "estimated", "calibrated", "all",
        "EuRoC (5 frames of an almost still camera: rows 12.9 px apart before, 0.13 px after, no motion claimed), "
        "KITTI odometry (38 grey, 20 colour pairs); fisheye, 16 bit, turned and unevenly timed media: closed-form "
        "tests", ("euroc", "kitti_odometry"),
        {"left": "cam0", "right": "cam1", "calibration": ["cam0_sensor.yaml", "cam1_sensor.yaml"]}),
    "side_by_side": About(
        "2, cut out of one video", "estimated", "estimated", "estimated", "calibrated", "all",
        "rendered scenes with known motion (`curate demo`); closed-form tests of both packings", ("side_by_side",),
        {"calibration": {"fx": 700.0, "baseline_m": 0.12}}),
    "top_bottom": About(
        "2, cut out of one video", "estimated", "estimated", "estimated", "calibrated", "all",
        "closed-form tests of full and half packing", ("side_by_side",),
        {"packing": "half", "calibration": {"fx": 700.0, "baseline_m": 0.12}}),
    "rendered": About(
        "2, ray cast", "estimated; truth is known", "estimated; truth is known", "estimated; truth is known",
        "calibrated", "all, scored against the truth", "`curate demo`, benchmarks", ("rendered",), {"num_scenes": 8}),
    "multiview": About(
        "2 or more, calibrated, standing still", "triangulated across views", "given (fixed cameras)", "estimated",
        "calibrated; relative with COLMAP unless `unit` is given", "of what moves before the cameras",
        "four cameras and a hand-held board with millimetre truth; four cameras and a walker",
        ("multiview", "multiview_qualisys"),
        {"media": "cam_{name}.mp4", "calibration": "camera_array.toml"}),
    "rgbd": About(
        "1, with a virtual second one", "given, with a sigma a pixel", "estimated, or given with their accuracy",
        "estimated", "calibrated, as the sensor is (1 to 3 %)", "all",
        "7-Scenes RedKitchen (40 frames, depth not registered to colour)", ("rgbd",),
        {"layout": "7-scenes", "color": {"fx": 525}, "depth": {"fx": 585}, "fps": 30,
         "registration": {"kind": "refined", "translation_m": [-0.025, 0, 0]}}),
    "kitti_tracking": About(
        "1, or none: text alone", "not needed", "given (oxts), or static", "given: size, heading, name, id",
        "calibrated", "all that need no pixels", "sequence 0016 (3 frames half a second apart, static camera)",
        ("annotated_kitti",), {"labels": "label_02/*.txt", "oxts": "oxts/{name}.txt", "images": "image_02/{name}"}),
    "argoverse2": About(
        "none: text alone", "not needed", "given", "given: size, heading, name, id", "calibrated",
        "all that need no pixels", "one log (156 sweeps at 10 Hz, 146 tracks)", ("annotated_av2",), {}),
    "dgp": About(
        "1 of several, or none", "not needed", "given", "given: size, heading, name, id", "calibrated",
        "all that need no pixels", "one scene (3 samples at 1 Hz, 6 cameras, 13 tracks)", ("annotated_dgp",),
        {"scenes": "scene_*.json", "camera": "CAMERA_01"}),
    "stereo4d": About(
        "1 or 2, rectified", "of the given 3D tracks, or estimated", "given", "from the given 3D tracks, or estimated",
        "assumed: eyes 63 mm apart, 3 mm sigma", "all, their intervals holding that assumption",
        "files made to the published layout (no public sample could be had)", ("stereo4d",),
        {"annotations": "npz/*.npz"}),
    "vr180": About(
        "2, perspective pairs cut out of spherical video", "estimated", "estimated", "estimated",
        "assumed: eyes 63 mm apart, 3 mm sigma", "all, their intervals holding that assumption",
        "a room rendered in closed form as VR180 (no public sample could be had)", ("vr180",),
        {"pairs": [{"fov_deg": 60.0}]}),
    "single_video": About(
        "1", "none; or from a ground plane, files or LiDAR", "a still camera's, or none", "estimated where depth is",
        "relative; calibrated with a homography, a camera height, metric depth or LiDAR",
        "relative: of time, and of the picture where the camera stands still; with a scale also metric ones",
        "PETS S2L1 (homography, walkers with metric truth; and without it), KITTI lead car (LiDAR)",
        ("single_ground_plane", "single_lidar", "single_relative"),
        {"media": "frames", "fps": 7.0, "ground": {"homography": "calib.json"}}),
    "conversations": About(
        "0, 1, or 2 where packed stereo", "none, or as the packed stereo source's if asked", "likewise", "likewise",
        "relative; of packed stereo calibrated", "someone's own, untouched; ours beside them if asked",
        "files of each dialect written by the tests", ("conversations",), {"files": "*.json*"}),
}


@dataclass(frozen=True)
class Kind:
    """One kind of source: its registered name, its settings, and what is said of it."""

    name: str
    model: type[BaseModel]
    about: About

    @property
    def gives(self) -> str:
        """One line: the first sentence of the settings' docstring."""
        text = " ".join((self.model.__doc__ or "").split())
        return text.partition(". ")[0].rstrip(".")

    @property
    def layout(self) -> str:
        """The layout in full, or what the module says of it."""
        return (LAYOUTS.get(self.name) or _module_doc(self.name) or self.gives).strip("\n")

    def settings(self) -> list[tuple[str, str, str]]:
        """(name, default, description) of every setting but `kind`, and of the settings inside settings; "needed"
        where there is no default."""
        return [row for row in _settings(self.model, "") if row[0] != "kind"]

    def example(self) -> dict[str, Any]:
        """A recipe as plain data."""
        source: dict[str, Any] = {"kind": self.name}
        if "root" in self.model.model_fields:
            source["root"] = f"data/{self.name}"
        return {"name": self.name, "source": source | self.about.example}


def kinds() -> list[Kind]:
    """All that are registered, in the registry's order."""
    union = typing.get_args(SourceConfig)[0]
    models = {m.model_fields["kind"].default: m for m in typing.get_args(union)}
    return [Kind(name, models[name], ABOUT.get(name, About())) for name in SOURCES if name in models]


def _module_doc(name: str) -> str:
    """The docstring of the module that holds a source, read without importing it."""
    spec = find_spec(SOURCES[name].split(":")[0])
    if spec is None or spec.origin is None:
        return ""
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""


def _settings(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    out = []
    for name, info in model.model_fields.items():
        default = "needed" if info.is_required() else _shown(info.get_default(call_default_factory=True))
        out.append((prefix + name, default, info.description or ""))
        if not prefix:
            for inner in _models(info.annotation):
                out += _settings(inner, f"{name}.")
    return out


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a field's type: of `X | None`, `list[X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _shown(value: Any) -> str:
    """A default as it would stand in a recipe."""
    if isinstance(value, BaseModel) or (isinstance(value, list) and value and isinstance(value[0], BaseModel)):
        return "as below"
    if value is None or value in ("", [], (), {}):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)
