"""Quantities to questions whose answers carry their error: gates, options, wording, balance, audit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.questions.asker import ask
    from curate.questions.config import QuestionsConfig
    from curate.questions.forms import rft, sft
    from curate.questions.gates import Dropped
    from curate.questions.question import Question
    from curate.questions.verifier import judge

# Loaded when asked for: a recipe and a worker that perceives need the settings alone, not every family.
_PLACES = {"Dropped": "gates", "Question": "question", "QuestionsConfig": "config", "ask": "asker", "judge": "verifier",
           "rft": "forms", "sft": "forms"}
__all__ = ["Dropped", "Question", "QuestionsConfig", "ask", "judge", "rft", "sft"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
