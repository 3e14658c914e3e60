"""The two training forms of one question: a conversation, and a prompt with a verifiable answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from curate.questions.config import Choices, ReasoningConfig
from curate.questions.given import is_told, told
from curate.questions.question import Question
from curate.questions.reasoning import ANSWER, COLD_START, REASON, TASKS, prompt, thought
from curate.questions.units import UNITS
from curate.questions.wording import CHOICE_LEAD

TEXT_LEAD = "Answer with the words of one option, without its letter."


def _record(question: Question | Mapping[str, Any]) -> Mapping[str, Any]:
    return question if isinstance(question, Mapping) else vars(question)


def final_answer(question: Question | Mapping[str, Any], choices: Choices = "letter") -> str:
    """What stands in <answer>: the letter of a choice, or its text, "1.8 m" for a number, the text of an open answer.
    """
    q = _record(question)
    if q["form"] == "choice":
        return q["letter"] if choices == "letter" else q["options"]["ABCDE".index(q["letter"])]
    unit = UNITS.get(q["unit"])
    return unit.text(q["answer"]) if unit else q["answer"]


def task_for(question: Question | Mapping[str, Any], task: str | None = None, reasoning: bool = True) -> str:
    """The task that a question is given: `task`, else its own, else "reason"; the nearest that its record has words
    for: no steps, no reasoning; no spatial state, no cold start.

    Args:
        task: "answer", "reason" or "cold_start"; None takes the record's.
        reasoning: False makes "answer" of a question that has no task of its own.

    Raises:
        ValueError: on an unknown task.
    """
    q = _record(question)
    task = task or q.get("task") or (REASON if reasoning else ANSWER)
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")
    if task == COLD_START and "centres" not in (q.get("extra") or {}):
        task = REASON
    return task


def sft(question: Question | Mapping[str, Any], reasoning: bool = True, media: str = "<video>\n", *,
        task: str | None = None, config: ReasoningConfig | None = None, choices: Choices = "letter") -> dict[str, Any]:
    """A conversation that ends in the answer.

    Args:
        question: a Question or its `to_json()`.
        reasoning: with the solver's steps in <think>, where the question has any and no task of its own.
        media: what stands before the question for the video.
        task: "answer", "reason" or "cold_start"; default: the record's.
        config: tags and length of the thinking.
        choices: "text": a choice asks for the words of an option, and they are its answer. Judges accept either.

    Returns:
        {"messages": [{"role": "user", "content"}, {"role": "assistant", "content"}]}; of someone's conversation all
        of its messages (`curate.questions.given.told`).

    Raises:
        ValueError: on an unknown task.
    """
    q, config = _record(question), config or ReasoningConfig()
    if is_told(q):
        return {"messages": told(q, media)}
    task = task_for(q, task, reasoning)
    if task == REASON and not q["reasoning"]:
        task = ANSWER
    answer, extra, asked = final_answer(q, choices), q.get("extra") or {}, q["question"]
    if q["form"] == "choice" and choices == "text":
        asked = asked.replace(CHOICE_LEAD, TEXT_LEAD)
    if task != ANSWER:
        answer = (f"<{config.think}>{thought(q['reasoning'], task, config, extra)}</{config.think}>"
                  f"<{config.answer}>{answer}</{config.answer}>")
    return {"messages": [{"role": "user", "content": prompt(media + asked, task, config, extra)},
                         {"role": "assistant", "content": answer}]}


def rft(question: Question | Mapping[str, Any], media: str = "<video>\n", *, task: str | None = None,
        config: ReasoningConfig | None = None) -> dict[str, Any]:
    """A prompt and what `verifier.judge` and `curate.rewards` need to judge an answer to it.

    No number is nan: absent ones are None.

    Args:
        task, config: as for `sft`.

    Returns:
        prompt; task; answer (text); answer_type ("number", "choice", or of an open answer); metric; unit; value;
        tolerance (half-width allowed, in unit); interval [low, high] (95 %); letter; options (texts); target (typed
        truth of an open answer, None else); family; extra; tags [thinking, answer] that the prompt asks for, None where
        `config` is not given.

    Raises:
        ValueError: on an unknown task.
    """
    q = _record(question)

    def known(x: float) -> float | None:
        return float(x) if x is not None and math.isfinite(x) else None

    low, high = known(q["low"]), known(q["high"])
    kind = {"choice": "choice", "numeric": "number"}.get(q["form"]) or q.get("answer_type", "text")
    metric = q.get("metric") if q.get("answer_type") == kind else ""
    extra, task = dict(q.get("extra") or {}), task_for(q, task)
    asked = prompt(f"{media}{q['question']}", task, config or ReasoningConfig(), extra)
    return {"prompt": asked, "task": task, "answer": q["answer"], "answer_type": kind,
            "metric": metric or {"choice": "accuracy", "number": "mra"}.get(kind, "facts"), "unit": q["unit"],
            "value": known(q["value"]), "tolerance": known(q["tolerance"]),
            "interval": None if low is None or high is None else [low, high], "letter": q["letter"],
            "options": list(q["options"]), "target": q.get("target"), "family": q["family"],
            "extra": extra, "tags": [config.think, config.answer] if config else None}
