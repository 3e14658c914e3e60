"""Several cameras with a calibration of them all: kind multiview."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate, few_frames
from curate.sources.inspect.survey import folder_of


def sniff(looked: Looked) -> Iterator[Candidate]:
    rigs = looked.of("calibration", "rig", "qualisys", "colmap")
    media = {name: v.num_frames for name, v in looked.videos.items()}
    media |= {s.pattern: s.count for s in looked.sets if s.count > 1}
    if not rigs or len(media) < 2:
        return
    fact = rigs[0]
    file = folder_of(fact.file) or "." if fact.what == "colmap" else fact.file
    source: dict = {"calibration": file, "media": _media(looked, fact.file, list(media))}
    why = [f"{fact.file}: {fact.text}", f"{len(media)} videos or folders of images beside it"]
    missing = []
    if times := looked.of("timestamps", "cameras"):
        source["timestamps"] = times[0].file
        why.append(f"{times[0].file}: {times[0].text}")
    elif not looked.videos:
        missing.append("times: fps or timestamps")
    if fact.what == "colmap":
        missing.append("unit: COLMAP has none, its scale is relative unless you say what one is")
    yield Candidate("multiview", 0.9, why, source, missing, clip=few_frames(min((n for n in media.values() if n),
                                                                              default=None)))


def _media(looked: Looked, calibration: str, media: list[str]) -> str | dict[str, str]:
    """{name} in place of what differs, where the calibration has those names; else camera by camera, in order."""
    prefix = _common(media)
    prefix = re.sub(r"\d+$", "", prefix)
    tails = [m[len(prefix):] for m in media]
    suffix = _common([t[::-1] for t in tails])[::-1]
    suffix = suffix[re.match(r"\d*", suffix).end():]
    words = [t[: len(t) - len(suffix)] if suffix else t for t in tails]
    names = camera_names(looked, calibration)
    if not names:
        return f"{prefix}{{name}}{suffix}"
    for start in (prefix, re.sub(r"[A-Za-z]+_?$", "", prefix)):  # the name may be the number, or cam and the number
        whole = [m[len(start): len(m) - len(suffix)] if suffix else m[len(start):] for m in media]
        if set(names) <= set(whole):
            return f"{start}{{name}}{suffix}"
    if len(names) == len(media):
        return dict(zip(names, media))
    return {n: m for n in names for m, w in zip(media, words) if w.lstrip("0") == re.sub(r"\D", "", n).lstrip("0")}


def _common(texts: list[str]) -> str:
    """The longest beginning of all."""
    first, last = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
    return first[:same]


def camera_names(looked: Looked, calibration: str) -> list[str]:
    """As the calibration calls them; none where its reader is not there or refuses."""
    from curate.sources.base import BadInput

    try:
        from curate.sources.rigs import load_rig
    except ImportError:
        return []
    path = looked.survey.root / calibration
    try:
        is_colmap = path.name in ("cameras.txt", "cameras.bin")
        return [camera.name for camera in load_rig(path.parent if is_colmap else path)]
    except (BadInput, TypeError, AttributeError):
        return []
