"""TRI-DGP: scene_*.json with samples, calibration/, rgb/ and boxes: kind dgp."""

from __future__ import annotations

from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate, few_frames
from curate.sources.inspect.survey import folder_of


def sniff(looked: Looked) -> Iterator[Candidate]:
    scenes, calibs = looked.of("annotations", "dgp"), looked.of("calibration", "dgp")
    if not scenes:
        return
    missing = [] if calibs else ["calibration/*.json: intrinsics and extrinsics of the sensors"]
    why = [f"{f.file}: {f.text}" for f in (scenes + calibs)[:2]]
    source: dict = {}
    if folder := folder_of(scenes[0].file):
        source["scenes"] = f"{folder}/scene_*.json" if len(scenes) == 1 else "*/scene_*.json"
    notes = []
    if not any(s.folder.startswith("rgb") or "/rgb" in s.folder for s in looked.sets):
        source["pictures"] = False
        notes.append("no rgb images: records of text alone")
    yield Candidate("dgp", 0.95, why, source, missing, notes, clip=few_frames(scenes[0].data.get("samples")))
