"""Argoverse 2: annotations.feather and city_SE3_egovehicle.feather: kind argoverse2."""

from __future__ import annotations

from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate


def sniff(looked: Looked) -> Iterator[Candidate]:
    boxes, poses = looked.of("annotations", "argoverse2"), looked.of("poses", "argoverse2")
    if not boxes:
        return
    missing = [] if poses else ["city_SE3_egovehicle.feather: the vehicle's poses"]
    why = [f"{f.file}: {f.text}" for f in (boxes + poses)[:2]]
    yield Candidate("argoverse2", 0.95, why, {}, missing)
