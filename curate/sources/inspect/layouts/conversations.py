"""Someone's questions and answers about videos or images: kind conversations."""

from __future__ import annotations

from collections.abc import Iterator

from curate.sources.inspect import Looked
from curate.sources.inspect.candidate import Candidate


def sniff(looked: Looked) -> Iterator[Candidate]:
    for fact in looked.of("conversations"):
        why = [f"{fact.file}: {fact.text}"]
        score = 0.6 if fact.what == "questions" else 0.9
        yield Candidate("conversations", score, why, {"files": fact.file})
