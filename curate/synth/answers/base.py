"""What a true answer is given, and what it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.synth.renderer import Renderer
from curate.synth.truth import Subject, Truth


@dataclass(frozen=True)
class Case:
    """One question and the world it is about.

    Args:
        qa: the question's record. record: of its clip (`curate.shards.schema.SAMPLE`, decoded).
        truth: of the clip; frames count from the clip's first.
        subjects: what each of the clip's regions really is, by id; None where it lies on no one object.
        renderer: of the scene (true depth and object ids of a frame: `geometry(truth.start + frame)`).
    """

    qa: Mapping[str, Any]
    record: Mapping[str, Any]
    truth: Truth
    subjects: Mapping[int, Subject | None]
    renderer: Renderer

    @property
    def asked(self) -> list[Subject | None]:
        """What is asked about, in the question's order."""
        return [self.subjects[i] for i in self.qa["regions"]]

    @property
    def span(self) -> tuple[int, int]:
        return self.qa["start_frame"], self.qa["end_frame"]


@dataclass(frozen=True)
class TrueAnswer:
    """
    Args:
        value: of a number, in m, s, rad and their rates (a plain number for counts); nan where there is none.
        category: name of the right option; "" where there is none.
        right: of an open answer: whether it is so, within what it states; None else.
        text: what is true, for a reader.
        problem: why no answer could be right.
    """

    value: float = math.nan
    category: str = ""
    right: bool | None = None
    text: str = ""
    problem: str = ""
