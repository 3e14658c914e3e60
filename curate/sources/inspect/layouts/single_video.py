"""One camera: a video, or one series of images; what gives its scale, if anything does: kind single_video."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate, few_frames
from curate.sources.inspect.layouts.stereo_folders import pairs, times


def sniff(looked: Looked) -> Iterator[Candidate]:
    series = [s for s in looked.sets if s.count > 1 and s.is_numbered and s.bits == 8
              and not re.search(r"(mask|depth|segm|label|disp|flow)", s.pattern, re.IGNORECASE)]
    media = {name: (v.num_frames, v.width, v.height, True, v.fps) for name, v in looked.videos.items()}
    media |= {s.pattern: (s.count, s.width, s.height, True, s.fps) for s in series}
    if not media:
        return
    name, facts = next(iter(media.items()))
    is_pair = bool(list(pairs(list(media))))
    source: dict = {"media": name} if not looked.survey.only else {"media": looked.survey.only}
    missing: list[str] = []
    source |= {} if name in looked.videos else times(looked, name, facts, missing)
    why = [f"{name}: {facts[0] or '?'} frames of {facts[1]}x{facts[2]}" +
           (f", the first of {len(media)}" if len(media) > 1 else "")]
    notes = []
    if ground := looked.of("homography"):
        source["ground"] = {"homography": ground[0].file}
        why.append(f"{ground[0].file}: {ground[0].text}, which gives the scale")
    elif _lidar(looked, facts[0], source, why):
        pass
    else:
        notes.append("nothing here says how large things are: the scale is relative, and nothing metric is asked; "
                     "source.ground, source.depth or source.lidar would")
    masks = [s for s in looked.sets if re.search(r"mask|segm", s.pattern, re.IGNORECASE)]
    notes += [f"{masks[0].pattern}: masks, which no source reads"] if masks else []
    score = 0.7 if {"ground", "lidar"} & set(source) else 0.25 if len(media) > 1 or is_pair else 0.5
    yield Candidate("single_video", score, why, source, missing, notes, clip=few_frames(facts[0]))


def _lidar(looked: Looked, count: int | None, source: dict, why: list[str]) -> bool:
    """Scans as many as frames, and a calibration that places the scanner."""
    scans = [f for f in looked.of("lidar") if f.count == count]
    calib = [f for f in looked.of("calibration", "kitti") if f.data.get("velo")]
    if not scans or not calib:
        return False
    folder = scans[0].file.rsplit("/", 1)[0] if "/" in scans[0].file else "*." + scans[0].file.rsplit(".", 1)[-1]
    source["lidar"] = {"scans": folder, "calibration": calib[0].file}
    why += [f"{scans[0].file}: {scans[0].text}, {count} of them", f"{calib[0].file}: {calib[0].text}"]
    return True
