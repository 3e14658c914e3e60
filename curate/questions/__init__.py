"""Quantities to questions whose answers carry their error: gates, options, wording, balance, audit."""

from curate.questions.ask import ask
from curate.questions.config import QuestionsConfig
from curate.questions.forms import rft, sft
from curate.questions.gates import Dropped
from curate.questions.question import Question
from curate.questions.verifier import judge

__all__ = ["Dropped", "Question", "QuestionsConfig", "ask", "judge", "rft", "sft"]
