"""Inputs made with a clip's frames prepared once are the processor's own, to the bit, for every architecture."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from curate.train.answers import Words  # noqa: E402
from curate.train.collate import frame_size, prepare, student_inputs  # noqa: E402
from curate.train.students.config import StudentConfig  # noqa: E402
from curate.train.students.student import Student  # noqa: E402
from tests.student_zoo import ZOO  # noqa: E402

WORDS = [Words("How far does <R1> go?", "1.5 m"), Words("Which way?\nA. left\nB. right", "B"), Words("Why?", "So.")]


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("name", ZOO)
def test_prepared_frames_give_the_processors_own_inputs(name, answers):
    animal = ZOO[name]()
    processor = Student(animal.model, animal.processor, StudentConfig(image_size=animal.image_size)).processor
    frames = np.random.default_rng(0).integers(0, 255, (2, 2, *animal.size, 3), np.uint8)
    clips = [prepare(processor, each) for each in frames]
    shown = [0, 1, 0]  # two questions about one clip
    made = student_inputs(processor, WORDS, [clips[i] for i in shown], ["a", "b", "c"], 1000, answers)
    own = processor([processor.prompt(w.prompt, 2) for w in WORDS], [list(frames[i]) for i in shown],
                    [w.answer for w in WORDS] if answers else None)
    assert made.keys() == own.keys() and ("labels" in made) == answers
    assert all(torch.equal(made[key], own[key]) for key in own)
    assert clips[0].num_bytes >= made["pixel_values"].nbytes / 3


@pytest.mark.parametrize("name", ZOO)
def test_the_size_of_a_students_frames_is_found(name):
    animal = ZOO[name]()
    processor = Student(animal.model, animal.processor, StudentConfig(image_size=animal.image_size)).processor
    assert frame_size(processor) == tuple(animal.size)


def test_a_student_that_takes_any_size_wants_one_said():
    animal = ZOO["qwen2_vl"]()
    with pytest.raises(ValueError, match=r"say which: student.image_size"):
        frame_size(Student(animal.model, animal.processor, StudentConfig()).processor)


def test_the_image_processor_runs_once_a_clip():
    animal = ZOO["tiny"]()
    processor = Student(animal.model, animal.processor).processor
    own, runs = processor.own.image_processor, []

    class Counted:
        def __call__(self, *args, **settings):
            runs.append(1)
            return own(*args, **settings)

        def __getattr__(self, name):
            return getattr(own, name)

    processor.own.image_processor = Counted()
    clip = prepare(processor, np.zeros((2, *animal.size, 3), np.uint8))
    student_inputs(processor, WORDS, [clip] * 3, ["a", "b", "c"], 1000)
    assert len(runs) == 1


def test_what_is_too_long_is_refused_by_name():
    animal = ZOO["tiny"]()
    processor = Student(animal.model, animal.processor).processor
    clip = prepare(processor, np.zeros((2, *animal.size, 3), np.uint8))
    with pytest.raises(ValueError, match=r"^clip-q7: \d+ tokens, data.max_tokens is 30; raise it, show fewer"):
        student_inputs(processor, WORDS[:1], [clip], ["clip-q7"], 30)
