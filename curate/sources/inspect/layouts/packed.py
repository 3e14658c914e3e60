"""A video whose halves show the same from two eyes: side_by_side or top_bottom. Told by pixels, not by names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np

from curate.sources.base import BadInput
from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate, few_frames
from curate.video.probe import first_frame

ALIKE = 0.6  # correlation of the halves at the best shift; halves of one picture have far less
MAX_SHIFT = 0.15  # of the width, of the nearest things
WORDS = {"side_by_side": r"(sbs|side.?by.?side|_lr\b|_3dh)",
         "top_bottom": r"(top.?bottom|over.?under|_tb\b|_ou\b|_3dv)"}
MAX_LOOKED = 3


def sniff(looked: Looked) -> Iterator[Candidate]:
    for kind in WORDS:
        found = []
        for name, video in list(looked.videos.items())[:MAX_LOOKED]:
            try:
                likeness = _likeness(first_frame(looked.survey.root / name), kind)
            except BadInput:
                continue
            named = re.search(WORDS[kind], name, re.IGNORECASE) is not None
            if likeness > ALIKE and (named or _wide(video.width, video.height, kind)):
                found.append((name, video, likeness))
        if not found:
            continue
        name, video, likeness = found[0]
        halves = "left and right half" if kind == "side_by_side" else "upper and lower half"
        why = [f"{name}: {halves} show the same, shifted (correlation {likeness:.2f})"]
        source, missing = {}, []
        calib = re.sub(r"\.\w+$", ".calib.json", name)
        at = looked.of("calibration", "stereo")
        if calib in looked.survey.files:
            why.append(f"{calib} beside it")
        elif at:
            source["calibration"] = at[0].file
            why.append(f"{at[0].file}: {at[0].text}")
        else:
            missing.append(f"calibration: {calib}, or calibration: {{fx: ..., baseline_m: ...}} of one eye's image")
        if looked.survey.only:
            root = looked.survey.only
        else:
            root, source["videos"] = "", name if len(looked.videos) == 1 else f"**/*.{name.rsplit('.', 1)[-1]}"
        if (kind == "side_by_side" and video.width < 2 * video.height) or (
                kind == "top_bottom" and video.height < 0.8 * video.width):
            source["packing"] = "half"
            why.append("each eye is squeezed to half (packing: half), by the shape of the frame")
        yield Candidate(kind, 0.8 if not missing else 0.65, why, source, missing, [
            "which eye is first is not told by pixels: left, unless the recipe says first: right"], root,
            few_frames(video.num_frames))


def _wide(width: int, height: int, kind: str) -> bool:
    """A shape that no single camera's picture has; half-packed ones need a name that says so."""
    return width >= 2.2 * height if kind == "side_by_side" else height >= 1.05 * width


def _likeness(frame: np.ndarray, kind: str) -> float:
    """Largest correlation of the halves over horizontal shifts."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    halves = (grey[:, : width // 2], grey[:, width // 2 : width // 2 * 2]) if kind == "side_by_side" else (
        grey[: height // 2], grey[height // 2 : height // 2 * 2])
    a, b = (cv2.resize(h, (160, 90), interpolation=cv2.INTER_AREA).astype(float) for h in halves)
    best = -1.0
    for shift in range(-int(MAX_SHIFT * 160), int(MAX_SHIFT * 160) + 1):
        x, y = (a[:, shift:], b[:, : 160 - shift]) if shift >= 0 else (a[:, :shift], b[:, -shift:])
        # against the slow change of light across any picture: differences, not values
        x, y = (np.diff(v, axis=1) for v in (x, y))
        x, y = x - x.mean(), y - y.mean()
        best = max(best, float((x * y).sum() / max(np.sqrt((x**2).sum() * (y**2).sum()), 1e-9)))
    return best
