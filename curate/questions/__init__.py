"""Quantities to questions whose answers carry their error: gates, options, wording, balance, audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
