"""Colour and depth side by side: TUM, 7-Scenes, or folders named color and depth: kind rgbd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from curate.sources.inspect import ImageSet, Looked
from curate.sources.inspect.candidate import Candidate, few_frames


def sniff(looked: Looked) -> Iterator[Candidate]:
    depths = [s for s in looked.sets if re.search(r"depth", s.pattern, re.IGNORECASE) and s.count > 1
              and s.is_grey and s.bits == 16]
    if not depths or (colour := _colour(looked, depths[0])) is None:
        return
    depth = depths[0]
    layout = "tum" if looked.of("timestamps", "tum") else "7-scenes" if "frame-*." in depth.pattern else "folders"
    why = [f"{depth.pattern}: {depth}, named depth", f"{colour.pattern}: {colour}",
           {"tum": "rgb.txt and depth.txt say which belong together (TUM)",
            "7-scenes": "frame-*.color and .depth beside each other (7-Scenes)", "folders": "two folders"}[layout]]
    missing: list[str] = []
    notes: list[str] = []
    source: dict[str, Any] = {"layout": layout, **_cameras(looked, layout, why, missing, notes)}
    if layout != "tum":
        stated = next((f.data["fps"] for f in looked.facts if f.data.get("fps")), None)
        if stated:
            source["fps"] = stated
        else:
            missing.append("fps: frames a second")
    if poses := looked.of("poses"):
        many = f", {poses[0].count} of them" if poses[0].count > 1 else ""
        notes.append(f"{poses[0].file}: {poses[0].text}{many}; poses: {{}} takes them as given, at their accuracy")
    yield Candidate("rgbd", 0.9, why, source, missing, notes, clip=few_frames(min(depth.count, colour.count)))


def _cameras(looked: Looked, layout: str, why: list[str], missing: list[str], notes: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for file in looked.survey.suffixed(".json"):
        data = looked.survey.json(file)
        if isinstance(data, dict) and "intrinsic_matrix" in data:
            out["color"] = file
            why.append(f"{file}: the colour camera (Open3D)")
    for fact in looked.of("calibration", "rgbd"):
        for key, value in fact.data["json"].items():
            if np.shape(value) != (3, 3):
                continue
            name = "depth" if "depth" in key.lower() else "color"
            k = np.asarray(value, float)
            places = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
            out.setdefault(name, {entry: k[at].item() for entry, at in places.items()})
            why.append(f"{fact.file}: {key}, the {name} camera's matrix")
    if "color" not in out:
        missing.append("color: the colour camera's fx, fy, cx, cy, or an Open3D intrinsic json")
    if "depth" in out:
        missing.append("registration: where depth lies beside colour: {kind: known, rotation, translation_m}, or "
                       "refined, or unknown")
    else:
        out["registration"] = {"kind": "registered"}
        notes.append("one camera for both: depth is taken as registered to colour, as " +
                     ("TUM's sets are" if layout == "tum" else "Open3D's sets are") + "; check it")
    return out


def _colour(looked: Looked, depth: ImageSet) -> ImageSet | None:
    named = [s for s in looked.sets if re.search(r"(colou?r|rgb|image)", s.pattern, re.IGNORECASE) and s is not depth
             and s.bits == 8 and s.count > 1]
    return max(named, key=lambda s: (not s.is_grey, s.count), default=None)
