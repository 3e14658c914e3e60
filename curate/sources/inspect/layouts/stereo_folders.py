"""Two sets of images, or two videos, whose names differ in a side alone; with a calibration: kind stereo_pair."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curate.sources import calibration as calibrations
from curate.sources.base import BadInput
from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate, few_frames
from curate.sources.inspect.evidence import Fact
from curate.sources.inspect.survey import folder_of

# Left and right in names; numbers only where there is no third camera.
SIDES = (("left", "right"), ("l", "r"), ("image_2", "image_3"), ("image_02", "image_03"), ("image_0", "image_1"),
         ("image_00", "image_01"), ("infra1", "infra2"))
FASTEST = 500  # frames a second; names that count faster are in another unit than nanoseconds
NUMBERS = (("0", "1"), ("1", "2"), ("00", "01"), ("01", "02"))


def sniff(looked: Looked) -> Iterator[Candidate]:
    sizes = {s.pattern: (s.count, s.width, s.height, s.is_numbered, s.fps) for s in looked.sets}
    sizes |= {name: (v.num_frames, v.width, v.height, True, v.fps) for name, v in looked.videos.items()}
    for left, right in pairs(list(sizes)):
        a, b = sizes[left], sizes[right]
        if a[1:3] != b[1:3] or a[0] == 1:
            continue
        yield _candidate(looked, left, right, a, b)


def pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    """(left, right) among names, each name once: those that differ in one word of a side alone."""
    taken: set[str] = set()
    for sides in (*SIDES, *NUMBERS):
        for name in names:
            other = _other(name, *sides)
            if name in taken or other not in names or other in taken:
                continue
            third = _other(other, sides[1], str(int(sides[1]) + 1).zfill(len(sides[1]))) if sides in NUMBERS else None
            if third in names:
                continue
            taken |= {name, other}
            yield name, other


def _other(name: str, left: str, right: str) -> str | None:
    """The name with its last `left` as a word of its own made `right`, in the same case."""
    edge = r"(?<![0-9])" + left + r"(?![0-9])" if left[0].isdigit() else r"(?<![a-z])" + left + r"(?![a-z0-9])"
    found = [m for m in re.finditer(edge, name, re.IGNORECASE)]
    if not found:
        # aloeL.jpg: a capital after small letters
        found = [m for m in re.finditer(f"(?<=[a-z0-9]){left.upper()}(?![a-zA-Z])", name)]
    if not found:
        return None
    at = found[-1]
    word = right.upper() if at[0].isupper() else right.capitalize() if at[0][0].isupper() else right
    return name[: at.start()] + word + name[at.end():]


def _candidate(looked: Looked, left: str, right: str, a: tuple, b: tuple) -> Candidate:
    source: dict = {"left": left, "right": right}
    why = [f"{left} and {right}: {a[0] or '?'} frames of {a[1]}x{a[2]} each, named as two sides"]
    missing, notes = [], []
    score = 0.6
    if a[0] != b[0]:
        source["pairing"] = "time"
        why[0] = f"{left} and {right}: {a[0]} and {b[0]} frames of {a[1]}x{a[2]}, paired by time"
    found = calibration(looked, left, right, a[1:3])
    if found is None:
        missing.append("calibration: a file with both cameras (json with fx and baseline_m, KITTI calib.txt, OpenCV "
                       "yaml, Kalibr camchain, two EuRoC sensor.yaml)")
    else:
        settings, reason = found
        source |= settings
        why.append(reason)
        score = 0.85
        if settings.get("calibration_unit", 0) is None:
            source.pop("calibration_unit")
            missing.append("calibration_unit: the unit of T in the calibration (mm, cm or m)")
    if not a[3]:
        missing.append("a video: the names are words, so these look like separate stills, not frames of a recording")
        score = 0.3
    else:
        source |= times(looked, left, a, missing)
    if poses := looked.of("poses", "rows", "tum"):
        notes.append(f"{poses[0].file}: {poses[0].text}; stereo_pair does not read them")
    return Candidate("stereo_pair" if a[3] else "", score, why, source, missing, notes, clip=few_frames(a[0]))


def calibration(looked: Looked, left: str, right: str, size: tuple[int, int]) -> tuple[dict, str] | None:
    """(settings, reason) of a calibration that fits images of this size."""
    for what in ("euroc", "camera_info"):
        singles = [f for f in looked.of("calibration", what) if f.count == 1]
        both = [_nearest(singles, side) for side in (left, right)]
        if all(both) and both[0] != both[1]:
            return {"calibration": [f.file for f in both]}, f"{both[0].file} and {both[1].file}: {both[0].text}"
    for fact in looked.of("calibration", "stereo", "kitti"):
        unit = {"calibration_unit": None} if fact.data.get("unit", 0) is None else {}
        try:
            loaded = calibrations.load(looked.survey.root / fact.file, None, True, unit="mm" if unit else None)
            loaded.at(*size, fact.file)
        except BadInput:
            continue
        cameras = {}
        if fact.what == "kitti" and (number := re.search(r"image_0?([02])\b", left)):
            cameras = {"cameras": [int(number[1]), int(number[1]) + 1]}
        return {"calibration": fact.file, **cameras, **unit}, f"{fact.file}: {fact.text}, and its size fits"
    return None


def _nearest(sensors: list[Fact], media: str) -> Fact | None:
    """The sensor file that shares most of a camera's name: mav0/cam0/sensor.yaml, cam0_sensor.yaml, left.yaml."""
    word = re.findall(r"cam\d+|left|right|infra\d|camera_?\d+", media.lower())
    fit = [f for f in sensors if word and word[-1] in f.file.lower()]
    return min(fit, key=lambda f: len(f.file)) if fit else None


def times(looked: Looked, media: str, facts: tuple, missing: list[str]) -> dict:
    """Settings that say when frames were taken; what is missing is said."""
    count, fps = facts[0], facts[4]
    if fps and fps <= FASTEST:
        return {}
    if fps:
        missing.append(f"times: names read as nanoseconds would be {fps:.4g} frames a second; give fps or timestamps")
        return {}
    fitting = [f for f in looked.of("timestamps") if f.data.get("rows") == count and f.what in ("lines", "euroc")]
    if fitting:
        near = [f for f in fitting if folder_of(f.file) in media] or fitting
        return {"timestamps": near[0].file}
    stated = next((f for f in looked.facts if f.data.get("fps")), None)
    if stated:
        return {"fps": stated.data["fps"]}
    missing.append("times: fps (frames a second) or timestamps (a file, a line per frame); neither names nor files say")
    return {}
