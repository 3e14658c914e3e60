"""KITTI tracking: label_02 with boxes, a calibration, images or none: kind kitti_tracking."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate, few_frames
from curate.sources.inspect.survey import folder_of, name_of

STILL_M = 0.2  # over two seconds and more: only what is parked before a camera that stands stays so near its place


def sniff(looked: Looked) -> Iterator[Candidate]:
    labels = looked.of("annotations", "kitti_tracking")
    if not labels:
        return
    first = labels[0].file
    stem = name_of(first).removesuffix(".txt")
    same = any(name_of(f) == f"{stem}.txt" and f != first for f in looked.survey.files)  # calib/0016.txt, oxts/0016.txt
    why, missing, notes = [f"{first}: {labels[0].text}"], [], []
    source: dict = {"labels": f"{folder_of(first)}/*.txt".lstrip("/") if same else first}

    def named(file: str) -> str:
        return file.replace(stem, "{name}") if same else file

    calib = looked.of("calibration", "kitti")
    if calib:
        source["calibration"] = named(calib[0].file)
        why.append(f"{calib[0].file}: {calib[0].text}")
    else:
        missing.append("calib.txt: P2, R_rect, Tr_velo_cam of the sequence")
    oxts = [f for f in looked.survey.files if "oxts" in f and f.endswith(".txt")]
    if oxts:
        source["oxts"] = named(oxts[0])
        why.append(f"{oxts[0]}: the vehicle's poses, by its name")
    elif (still := _still(looked.survey.text(first) or ""))[0] >= 2:
        source["static"] = True
        why.append(f"{still[0]} of {still[1]} long tracks stay within {STILL_M} m in the camera's axes: the camera "
                   "stands still")
    else:
        missing.append("oxts: the vehicle's poses; or static: true where the camera stands still")
    pictures = [s for s in looked.sets if "image" in s.pattern] or looked.sets
    count = None
    if pictures:
        images = pictures[0]
        source["images"] = named(images.pattern)
        why.append(f"{images.pattern}: {images}")
        numbers = [int(p.stem) for p in images.paths if p.stem.isdigit()]
        steps = set(np.diff(numbers).tolist()) if len(numbers) > 1 else {1}
        if len(steps) == 1 and (step := steps.pop()) > 1:
            source["frame_step"] = step
            notes.append(f"images are {step} frames apart")
        count = images.count
    else:
        notes.append("no images: records of text alone")
    yield Candidate("kitti_tracking", 0.95, why, source, missing, notes, clip=few_frames(count))


def _still(text: str) -> tuple[int, int]:
    """(tracks that stay where they are, tracks) of those at least 20 frames long, in the camera's axes."""
    tracks: dict[str, list[list[float]]] = {}
    for words in (line.split() for line in text.splitlines()):
        if len(words) >= 17 and words[1] != "-1":
            tracks.setdefault(words[1], []).append([float(w) for w in words[13:16]])
    moved = [np.linalg.norm(np.subtract(rows[-1], rows[0])) for rows in tracks.values() if len(rows) >= 20]
    return sum(m < STILL_M for m in moved), len(moved)
