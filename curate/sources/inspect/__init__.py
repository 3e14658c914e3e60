"""What a folder or a file is, and how to read it: bounded looks, sniffers a layout each, candidates that were tried."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from curate.sources.inspect.candidate import Candidate
from curate.sources.inspect.evidence import Fact, facts
from curate.sources.inspect.survey import ImageSet, Survey, within
from curate.sources.inspect.survey import survey as look_over
from curate.video.probe import VideoFacts

UNREAD = 0.3  # taken off the score of what does not load yet, in the ranking
SURE = 0.6
MAX_PARTS = 40  # sub-folders that are looked at where the folder itself is no recording

__all__ = ["Candidate", "Fact", "ImageSet", "Looked", "Report", "Survey", "VideoFacts", "inspect", "sniffers"]


@dataclass
class Looked:
    """What sniffers are given: a survey, and what its files were found to hold."""

    survey: Survey
    facts: list[Fact]

    def of(self, topic: str, *what: str) -> list[Fact]:
        """Facts on a topic, of any kind or of the kinds named."""
        return [f for f in self.facts if f.topic == topic and (not what or f.what in what)]

    @property
    def sets(self) -> list[ImageSet]:
        return self.survey.image_sets

    @property
    def videos(self) -> dict[str, VideoFacts]:
        return self.survey.videos


@dataclass
class Report:
    """
    Attributes:
        root: the folder that was looked at, or that holds the file: what candidates are relative to.
        candidates: best first, by score; what does not load yet counts less.
        parts: of a folder of recordings: sub-folder -> its best candidate, where the folder itself is none.
    """

    path: Path
    saw: list[tuple[str, str]]  # (topic, text)
    candidates: list[Candidate]
    parts: dict[str, Candidate] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.path.parent if self.path.is_file() else self.path

    @property
    def best(self) -> Candidate | None:
        return next((c for c in self.candidates if c.kind), None)


def sniffers() -> dict[str, Callable[[Looked], Iterator[Candidate]]]:
    """Name of a layout -> what recognises it: every file in `layouts`."""
    from curate.sources.inspect import layouts

    names = sorted(module.name for module in pkgutil.iter_modules(layouts.__path__) if not module.name.startswith("_"))
    return {name: import_module(f"{layouts.__name__}.{name}").sniff for name in names}


def inspect(path: Path, is_tried: bool = True) -> Report:
    """
    Args:
        path: a folder, or one file.
        is_tried: plan a clip with each proposal, to know that it loads.

    Raises:
        BadInput: nothing there, or not readable.
    """
    found = look_over(path)
    looked = Looked(found, facts(found))
    report = Report(path, list(_saw(looked)), [])
    report.parts = _parts(looked, is_tried)
    if report.parts:
        together = _of_all(report.parts)
        report.candidates = [together] if together else []
    else:
        report.candidates = _candidates(looked, is_tried)
    return report


def _parts(folder: Looked, is_tried: bool) -> dict[str, Candidate]:
    """Sub-folders that are recordings by themselves, where there are two or more; else none."""
    whole = folder.survey
    names = sorted({f.partition("/")[0] for f in whole.files if "/" in f})[:MAX_PARTS]
    looked = {name: Looked(part, facts(part)) for name in names if (part := within(whole, name)).files}
    alone = {name: found[0] for name, one in looked.items() if (found := _candidates(one, False))}
    if sum(bool(c.kind) and c.score >= SURE for c in alone.values()) < 2:
        return {}
    if any(set(alone) <= c.together for c in _candidates(folder, False)):
        return {}
    out = {}
    for name in alone:
        best = _candidates(looked[name], is_tried)[0]
        best.root = f"{name}/{best.root}" if best.root else name
        out[name] = best
    return out


def _candidates(looked: Looked, is_tried: bool) -> list[Candidate]:
    found = [candidate for sniff in sniffers().values() for candidate in sniff(looked)]
    if is_tried:
        from curate.sources.inspect.trial import try_out

        for candidate in found:
            try_out(candidate, looked.survey.root)
    return sorted(found, key=lambda c: -c.score + UNREAD * (c.loads is False))


def _of_all(parts: dict[str, Candidate]) -> Candidate | None:
    """One recipe for all sub-folders, where they are recordings of one kind and layout."""
    first = next(iter(parts.values()))
    alike = all(p.kind == first.kind and p.source == first.source for p in parts.values())
    if not alike or first.kind not in ("stereo_pair", "multiview", "single_video", "rgbd"):
        return None
    return Candidate(first.kind, 0.9, [f"{len(parts)} sub-folders of one layout", *first.why],
                     {"recordings": "*", **first.source}, first.missing, first.notes, "", first.clip, first.loads,
                     first.planned)


def _saw(looked: Looked) -> Iterator[tuple[str, str]]:
    for one in looked.sets[:40]:
        yield "images", f"{one.pattern}: {one}"
    for name, facts_ in looked.videos.items():
        yield "video", f"{name}: {facts_}"
    for fact in looked.facts:
        many = f" (and {fact.count - 1} like it)" if fact.count > 1 else ""
        yield fact.topic, f"{fact.file}: {fact.text}{many}"
    for line in looked.survey.unread[:10]:
        yield "unreadable", line
    if looked.survey.is_cut:
        yield "note", f"looked at the first {len(looked.survey.files)} files only"
