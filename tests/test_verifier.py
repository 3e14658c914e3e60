"""Free answers are read by letter, by option text and by number with its unit, and judged."""

import time

import pytest

from curate.questions import judge
from curate.questions.units import convert
from curate.questions.verifier import final_text, read_choice, read_number

CHOICES = ["1.2 m", "2.4 m", "0.30 m", "0.60 m"]
CHOICE = {"answer_type": "choice", "options": CHOICES, "letter": "B", "unit": "m", "answer": "2.4 m"}
NUMBER = {"answer_type": "number", "answer": "1.8", "value": 1.8,
          "unit": "m", "tolerance": 0.1, "interval": [1.72, 1.9]}


@pytest.mark.parametrize("text,letter", [
    ("B", "B"), ("B. 2.4", "B"), ("(b)", "B"), ("2.4 m", "B"), ("2.4", "B"), ("240 cm", "B"), ("answer: B", "B"),
    ("B because it is far", "B"), ("B, as it is 2.4 m away", "B"), ("B since it is 1.2 m away", None), ("B or C", None),
    ("A dog is near", None), ("A, B", None), ("B - 2.4 m", "B"), ("The answer is: $$B", "B"),
    ("A. 2.4 m", None), ("E", None), ("", None), ("1.3 m", None), ("A or B", None)])
def test_reading_a_choice(text, letter):
    assert read_choice(text, CHOICES, "m") == letter


@pytest.mark.parametrize("text,value", [
    ("1.8", 1.8), ("1.8 m", 1.8), ("180 cm", 1.8), ("about 1.8 metres", 1.8), ("-1.8 m", -1.8), ("−1.8", -1.8),
    ("1,800 mm", 1.8), ("0.0018 km", 1.8), ("3 s, so 1.8 m", 1.8), ("no idea", None), ("1.8 kg", None),
    ("5 km/h", None), ("1.8 m after 3 s", 1.8), ("1.8 m, that is 6", 1.8), ("4 m/s²", None), ("1.8e0", 1.8),
    ("5.9055118 ft", 1.8)])
def test_reading_a_number(text, value):
    assert read_number(text, "m") == (None if value is None else pytest.approx(value))


def test_only_the_final_answer_counts():
    assert final_text("<think>5 m</think><answer> 1.8 m </answer>") == "1.8 m"
    assert final_text("<think>5 m</think> 1.8 m") == "1.8 m"
    assert final_text(r"<answer>so it is \boxed{1.8 m}</answer>") == "1.8 m"
    assert not judge("<think>1.8 m</think><answer>7 m</answer>", NUMBER).correct
    assert not judge("", NUMBER).correct and not judge("x" * 10**6, NUMBER).correct


@pytest.mark.parametrize("text", ["1" * 10**5, "1,111," * 10**4, "<answer>" * 10**4, "1 m per " * 10**4, "(" * 10**5])
def test_reading_a_hostile_answer_takes_no_time(text):
    start = time.process_time()
    assert not judge(text, CHOICE).correct
    assert time.process_time() - start < 0.3


def test_converting_different_dimensions_is_an_error():
    with pytest.raises(ValueError, match="do not convert"):
        convert(1, "m", "m/s")
    with pytest.raises(ValueError, match="unknown unit"):
        convert(1, "furlong", "m")


@pytest.mark.parametrize("given,right", [("1.8 m", True), ("1.9", True), ("190 cm", True), ("1.71", True),
                                         ("1.69", False), ("1.91", False), ("1.8 cm", False)])
def test_a_number_is_right_inside_its_interval_or_tolerance(given, right):
    assert judge(given, NUMBER).correct == right
