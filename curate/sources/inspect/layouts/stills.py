"""A still pair, a few images, a lone photograph: nothing moves in them, so no kind of source reads them."""

from __future__ import annotations

from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate
from curate.sources.inspect.layouts.stereo_folders import calibration, pairs


def sniff(looked: Looked) -> Iterator[Candidate]:
    if looked.videos or not looked.sets or any(s.count > 1 for s in looked.sets):
        return
    single = {s.pattern: s for s in looked.sets}
    found = [(a, b) for a, b in pairs(list(single)) if (single[a].width, single[a].height) ==
             (single[b].width, single[b].height)]
    count = "1 image" if len(single) == 1 else f"{len(single)} images"
    why = [f"{a} and {b}: one image each" for a, b in found] or [f"{count}, not a series"]
    if found and (at := calibration(looked, *found[0], (single[found[0][0]].width, single[found[0][0]].height))):
        why.append(at[1])
    what = "a pair of stills shows" if found else "a still shows" if len(single) == 1 else "stills show"
    yield Candidate("", 0.5, why, {}, [f"a video: {what} no motion, and clips have at least 2 frames"])
