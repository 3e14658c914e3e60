"""Accuracy of a student beside a guesser that sees no video: what each answers, how they are compared, the report."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")

from curate.train.blind import blind_answers  # noqa: E402
from curate.train.evaluate import Evaluation, answered, judged, letters, paired, rows  # noqa: E402
from curate.train.report import summary  # noqa: E402


def choice(name, family, options, letter, values=None, recording="a"):
    """A record of a choice; values: of the options, categories (their texts) by default."""
    return {"id": name, "family": family, "form": "choice", "answer_type": "choice", "question": "?",
            "options": list(options), "letter": letter, "answer": options["ABCDE".index(letter)], "unit": "",
            "value": math.nan, "low": math.nan, "high": math.nan, "tolerance": math.nan, "metric": "accuracy",
            "recording": recording, "reasoning": [],
            "extra": {"option_values": list(values or options), "recording": recording}}


def number(name, family, value, unit="m", recording="a"):
    return {"id": name, "family": family, "form": "numeric", "answer_type": "number", "question": "?", "options": [],
            "letter": "", "answer": f"{value:g}", "unit": unit, "value": value, "low": value * 0.9, "high": value * 1.1,
            "tolerance": value * 0.1, "metric": "mra", "recording": recording, "reasoning": [],
            "extra": {"option_values": [], "recording": recording}}


def test_the_blind_guesser_says_what_is_commonest_in_training():
    known = [choice(f"k{i}", "way", ["left", "right"], "AAB"[i % 3], recording=f"r{i}") for i in range(30)]
    known += [number(f"n{i}", "size", value, recording=f"r{i}") for i, value in enumerate([1.0, 2.0, 40.0])]
    known += [number("n9", "size", 500.0, "cm")]
    asked = [choice("a", "way", ["right", "left"], "A"), choice("b", "way", ["left", "right"], "B"),
             number("c", "size", 7.0), choice("d", "other", ["x", "y", "z"], "A")]
    said = blind_answers(known, asked)
    assert said["a"] == "B" and said["b"] == "A", "left, wherever it stands, and whatever is true"
    assert said["c"] == "2 m"
    assert said["d"] in "ABC" and blind_answers(known, asked) == said


def test_the_blind_guesser_takes_the_size_that_is_usual():
    known = [choice(f"k{i}", "far", ["2 m", "9 m"], "A", [2.0 + i / 50, 9.0], recording=f"r{i}") for i in range(20)]
    asked = [choice("a", "far", ["50 m", "2.2 m", "0.1 m", "9 m"], "A", [50.0, 2.2, 0.1, 9.0])]
    assert blind_answers(known, asked)["a"] == "B"


def test_nothing_known_is_a_guess_that_does_not_fail():
    asked = [choice("a", "way", ["left", "right"], "A"), number("b", "size", 3.0)]
    said = blind_answers([], asked)
    assert set(said) == {"a", "b"} and said["a"] in "AB" and said["b"] == ""


@dataclass
class Asked:
    ids: list
    records: list
    inputs: dict | None = None


def evaluation(step=0, right=("q0", "q1", "q2")):
    records = [choice(f"q{i}", "way" if i < 4 else "far", ["l", "r"], "A", recording=f"r{i // 2}") for i in range(8)]
    batches = [Asked([r["id"] for r in part], part) for part in (records[:5], records[5:])]
    said = answered(batches, lambda batch: ["A" if name in right else "B" for name in batch.ids])
    return judged(said, {f"q{i}": "A" if i < 2 else "B" for i in range(8)}, step, "rank")


def test_questions_are_scored_by_family_and_against_the_guesser():
    found = evaluation()
    assert found.shares() == {"all": 3 / 8, "far": 0.0, "way": 0.75}
    gaps = found.differences()
    assert gaps["all"].value == pytest.approx(1 / 8) and gaps["way"].value == pytest.approx(1 / 4)
    assert gaps["all"].low < 1 / 8 < gaps["all"].high and gaps["all"].num_clusters == 4
    assert [cells[0] for cells in rows(found, found)] == ["far", "way", "all"]


def test_an_evaluation_is_read_back_as_it_was(tmp_path):
    found = evaluation()
    found.write(tmp_path / "eval-before.json")
    again = Evaluation.read(tmp_path / "eval-before.json")
    assert again.shares() == found.shares() and rows(again) == rows(found)
    assert json.loads((tmp_path / "eval-before.json").read_text())["student_less_blind"]["all"]["n"] == 8


def test_no_question_at_all_is_said():
    with pytest.raises(ValueError, match="no question to evaluate on"):
        judged(answered([], lambda batch: []), {}, 0, "rank")


def test_paired_differences_lie_between_minus_one_and_one():
    mean = paired([("f", f"r{i}", 1.0) for i in range(6)])
    assert mean.value == 1.0 and mean.high == 1.0 and -1 < mean.low < 1
    assert paired([("f", "r", 0.0)]).value == 0.0


class Words:
    """A tokeniser of words; " A" and "A" are different tokens."""

    known = ("A", "B", "C", "D", "E", "\n", " A", " B", " C", " D", " E", "the", "end")

    def __call__(self, text, add_special_tokens=False):
        return {"input_ids": [self.known.index(text)] if text in self.known else [11, 12]}

    def decode(self, ids):
        return "".join(self.known[i] for i in ids)


@pytest.mark.parametrize("answer", [["A", "end"], ["\n", "A", "end"], [" A", "end"]])
def test_the_likeliest_letter_is_read_where_the_answer_begins(answer):
    tokens = Words()
    ids = [tokens.known.index(word) for word in answer]
    labels = torch.full((1, 8), -100)
    labels[0, 4:4 + len(ids)] = torch.tensor(ids)
    place = 4 + answer.index(next(word for word in answer if "A" in word))
    logits = torch.zeros(1, 8, len(tokens.known))
    shift = 6 if " A" in answer else 0
    logits[0, place - 1, shift + 1] = 1.0  # B, among the letters as they are written there
    logits[0, place - 1, [shift + 3, 11]] = 5.0  # D is no option of this one; "the" is no letter
    batch = Asked(["q"], [choice("q", "way", ["l", "r", "x"], "A")], {"labels": labels})
    assert letters(batch, logits, tokens) == ["B"]
    assert letters(batch, logits[:, 3:], tokens) == ["B"], "logits from before the first answer on"


def test_an_answer_that_begins_otherwise_is_said():
    labels = torch.full((1, 4), -100)
    labels[0, 2:] = torch.tensor([11, 12])
    batch = Asked(["q"], [choice("q", "way", ["l", "r"], "A")], {"labels": labels})
    with pytest.raises(ValueError, match=r"not with a letter.*eval.method: generate"):
        letters(batch, torch.zeros(1, 4, 13), Words())


def test_the_report_has_losses_from_first_to_last():
    log = [{"step": s, "stage": "all", "lr": 0.1, "loss": 10.0 / s, "sft": 5.0, "grad_norm": 1.0, "seconds": 0.5,
            "wait_seconds": 0.1, "examples": 8} for s in range(1, 101)]
    found = summary(log, [evaluation()], load_per_s=20.0, accumulate=2)
    first, last = found["losses"]["all"]["loss"]
    assert first == pytest.approx(sum(10 / s for s in range(1, 6)) / 5) and last == pytest.approx(0.102, abs=1e-3)
    assert found["losses"]["all"]["sft"] == [5.0, 5.0] and set(found["losses"]["all"]) == {"loss", "sft"}
    assert found["step_seconds"] == pytest.approx(0.4) and found["waited"] == pytest.approx(0.2)
    assert found["load_over_step"] == pytest.approx(20 * 0.4 / 2)
