"""An npz with camera2world, and the video that it names, as Stereo4D's own tools lay them out: kind stereo4d."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate
from curate.sources.inspect.evidence import Fact
from curate.sources.stereo4d import LEFT


def sniff(looked: Looked) -> Iterator[Candidate]:
    facts = looked.of("poses", "stereo4d")
    if not facts:
        return
    fact = facts[0]
    kind, root, video = _video(looked, fact) or ("rectified", "", "")
    why, missing = [f"{fact.file}: {fact.text}"], []
    if video:
        why.append(f"{video}: the {kind.replace('_', ' ')} video of that")
    else:
        why.append(f"{len(looked.videos)} videos")
        missing = [] if looked.videos else ["the rectified video beside the npz"]
    together = frozenset(file.partition("/")[0] for one in facts if (found := _video(looked, one)) and not found[1]
                         for file in (one.file, found[2]))
    yield Candidate("stereo4d", 0.95, why, {} if kind == "rectified" else {"video": kind}, missing, [
        "the distance of the eyes is assumed (63 mm): so is the scale"], root.rstrip("/"),
        together=together)


def _video(looked: Looked, fact: Fact) -> tuple[str, str, str] | None:
    """Kind of video, the folder that both are below ("" or with its "/"), and the video, of an npz."""
    name = fact.file.rpartition("/")[2].removesuffix(".npz")
    for kind, pattern in LEFT.items():
        path = pattern.format(name=name, video_id=name.rpartition("_")[0])
        for file in looked.survey.named(f"(.*/)?{re.escape(path)}"):
            root = file.removesuffix(path)
            if fact.file.startswith(root):
                return kind, root, file
    return None
