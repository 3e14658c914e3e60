"""Spherical metadata, or a name that says VR180: kind vr180."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curate.sources.base import BadInput
from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate, few_frames


def sniff(looked: Looked) -> Iterator[Candidate]:
    from curate.sources.spherical import read_spherical

    for name, video in looked.videos.items():
        try:
            told = read_spherical(looked.survey.root / name)
        except BadInput:
            continue
        stated = [f"{k} {v}" for k, v in vars(told).items() if v] if told.projection else []
        named = re.search(r"vr_?180|_180x180|_180_(lr|3dh|sbs|tb)", name, re.IGNORECASE)
        if not stated and not named:
            continue
        why = [f"{name}: " + ("spherical metadata: " + ", ".join(stated) if stated else "its name says VR180")]
        source = {} if looked.survey.only else {"videos": name}
        yield Candidate("vr180", 0.95 if stated else 0.7, why, source, [], [
            "the distance of the eyes is assumed (63 mm): so is the scale"], looked.survey.only or "",
            few_frames(video.num_frames))
        return
