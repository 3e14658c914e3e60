"""A choice may be learned in the words of its options: the judge takes those as it takes a letter."""

from __future__ import annotations

import pytest

from curate.questions.asker import ask
from curate.questions.forms import TEXT_LEAD, final_answer, sft
from curate.questions.verifier import judge
from curate.questions.wording import CHOICE_LEAD
from tests.scenes import make_scene


@pytest.fixture(scope="module")
def choices():
    found = [q for q in ask(make_scene()[0])[0] if q.form == "choice"]
    assert len(found) > 5
    return found


def test_the_words_are_asked_for_and_are_right(choices):
    for question in choices:
        asked, answer = (m["content"] for m in sft(question, reasoning=False, choices="text")["messages"])
        assert TEXT_LEAD in asked and CHOICE_LEAD not in asked
        assert answer == final_answer(question, "text") in question.options
        assert judge(answer, question).correct


def test_the_words_of_another_option_are_wrong(choices):
    for question in choices:
        others = [text for text in question.options if text != final_answer(question, "text")]
        assert others and not any(judge(text, question).correct for text in others)


def test_letters_are_the_default(choices):
    messages = sft(choices[0], reasoning=False)["messages"]
    assert CHOICE_LEAD in messages[0]["content"] and messages[1]["content"] == choices[0].letter


def test_likeliest_letters_cannot_judge_who_was_taught_words(tmp_path):
    pytest.importorskip("torch")
    from curate.train.config import TrainRecipe

    with pytest.raises(ValueError, match=r"eval\.method: generate"):
        TrainRecipe.model_validate({"data": {"sets": [str(tmp_path)], "choices": "text"}})
