"""The two training forms of one question: a conversation, and a prompt with a verifiable answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from curate.questions.question import Question
from curate.questions.units import UNITS

FORMAT = ("First think step by step between <think> and </think>, then give only the final answer between <answer> "
          "and </answer>.")


def _record(question: Question | Mapping[str, Any]) -> Mapping[str, Any]:
    return question if isinstance(question, Mapping) else vars(question)


def final_answer(question: Question | Mapping[str, Any]) -> str:
    """What stands in <answer>: the letter of a choice, "1.8 m" for a number, the text of an open answer."""
    q = _record(question)
    if q["form"] == "choice":
        return q["letter"]
    unit = UNITS.get(q["unit"])
    return unit.text(q["answer"]) if unit else q["answer"]


def sft(question: Question | Mapping[str, Any], reasoning: bool = True, media: str = "<video>\n") -> dict[str, Any]:
    """A conversation.

    Args:
        question: a Question or its `to_json()`.
        reasoning: with the solver's steps in <think>, where the question has any.
        media: what stands before the question for the video.

    Returns:
        {"messages": [{"role": "user", "content"}, {"role": "assistant", "content"}]}
    """
    q = _record(question)
    prompt, answer = media + q["question"], final_answer(q)
    if reasoning and q["reasoning"]:
        prompt = f"{prompt}\n{FORMAT}"
        answer = f"<think>{' '.join(q['reasoning'])}</think><answer>{answer}</answer>"
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def rft(question: Question | Mapping[str, Any], media: str = "<video>\n") -> dict[str, Any]:
    """A prompt and what `verifier.judge` and `curate.rewards` need to judge an answer to it.

    No number is nan: absent ones are None.

    Returns:
        prompt; answer (text); answer_type ("number", "choice", or of an open answer); metric; unit; value; tolerance
        (half-width allowed, in unit); interval [low, high] (95 %); letter; options (texts); target (typed truth of an
        open answer, None else); family; extra.
    """
    q = _record(question)

    def known(x: float) -> float | None:
        return float(x) if x is not None and math.isfinite(x) else None

    low, high = known(q["low"]), known(q["high"])
    kind = {"choice": "choice", "numeric": "number"}.get(q["form"]) or q.get("answer_type", "text")
    metric = q.get("metric") if q.get("answer_type") == kind else ""
    return {"prompt": f"{media}{q['question']}\n{FORMAT}", "answer": q["answer"], "answer_type": kind,
            "metric": metric or {"choice": "accuracy", "number": "mra"}.get(kind, "facts"), "unit": q["unit"],
            "value": known(q["value"]), "tolerance": known(q["tolerance"]),
            "interval": None if low is None or high is None else [low, high], "letter": q["letter"],
            "options": list(q["options"]), "target": q.get("target"), "family": q["family"],
            "extra": dict(q.get("extra") or {})}
