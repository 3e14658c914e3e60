"""An npz with camera2world beside a rectified stereo video: kind stereo4d."""

from __future__ import annotations

from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate


def sniff(looked: Looked) -> Iterator[Candidate]:
    for fact in looked.of("poses", "stereo4d")[:1]:
        missing = [] if looked.videos else ["the rectified video beside the npz"]
        yield Candidate("stereo4d", 0.95, [f"{fact.file}: {fact.text}", f"{len(looked.videos)} videos"], {}, missing, [
            "the distance of the eyes is assumed (63 mm): so is the scale"])
