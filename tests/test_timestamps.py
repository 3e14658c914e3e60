"""The timestamp code: against an independent version, over all widths, and the hook's manners."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from hypothesis import given
from hypothesis import strategies as st

import curate.train
from curate.train.students import tiny_student
from curate.train.timestamps import add_timestamps, encode_times, stamps, timestamps_of
from tests.test_students_tiny import SMALL, batch


def twin(t: float, width: int, base: float) -> list[float]:
    """From the formula, a channel at a time: sin(t / T^(2i/D)) at 2i, the cosine of the same at 2i + 1."""
    code = []
    for i in range((width + 1) // 2):
        angle = t / base ** (2 * i / width)
        code += [math.sin(angle), math.cos(angle)]
    return code[:width]


@given(st.lists(st.floats(0, 7200), min_size=1, max_size=4), st.integers(1, 65), st.sampled_from([10_000.0, 100.0]))
def test_the_code_is_that_of_the_formula(times, width, base):
    code = encode_times(torch.tensor(times, dtype=torch.float64), width, base)
    assert code.shape == (len(times), width) and code.dtype == torch.float32
    expected = torch.tensor([twin(t, width, base) for t in times])
    assert torch.allclose(code, expected, atol=1e-5)


def test_a_shift_in_time_turns_each_pair_by_the_same_angle():
    """What makes it a code of time: differences of times can be read off it linearly, wherever they start."""
    width, shift = 16, 0.37
    starts = torch.tensor([0.0, 1.3, 40.0])
    pairs, later = (encode_times(t, width).view(3, -1, 2) for t in (starts, starts + shift))
    dot = (pairs * later).sum(-1)
    frequency = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    assert torch.allclose(dot, (shift * frequency).cos().expand_as(dot), atol=1e-4)


def test_the_hook_adds_no_parameter_and_no_state():
    student = tiny_student(**SMALL)
    before = set(student.model.state_dict())
    handle = add_timestamps(student.model)
    assert set(student.model.state_dict()) == before
    assert not [m for m in student.model.modules() if m is handle]


def test_times_differ_from_sample_to_sample():
    student = tiny_student(**SMALL)
    student.add_timestamps()
    inputs = batch(student)
    with torch.no_grad():
        both = student.forward(inputs, torch.tensor([[0.0, 0.5, 1.0], [0.0, 4.0, 8.0]])).logits
        same = student.forward(inputs, torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]])).logits
    assert torch.equal(both[0], same[0]) and not torch.allclose(both[1], same[1])


def test_a_second_call_changes_nothing_and_removal_takes_it_off():
    student = tiny_student(**SMALL)
    inputs = batch(student)
    times = torch.tensor([[0.0, 0.5, 1.0]] * 2)
    with torch.no_grad():
        plain = student.forward(inputs).logits
        handle = add_timestamps(student.model)
        once = student.forward(inputs, times).logits
        assert add_timestamps(student.model) is handle
        assert torch.equal(student.forward(inputs, times).logits, once) and not torch.allclose(once, plain)
        with pytest.raises(ValueError, match="base 10000"):
            add_timestamps(student.model, base=100.0)
        handle.remove()
        handle.remove()
        assert timestamps_of(student.model) is None
        assert torch.equal(student.forward(inputs).logits, plain)
        assert torch.equal(student.forward(inputs, times).logits, plain), "times without the encoding are no matter"


def test_stamps_end_with_their_block():
    student = tiny_student(**SMALL)
    student.add_timestamps()
    inputs = batch(student)
    with pytest.raises(RuntimeError), stamps([[0.0, 0.5, 1.0]] * 2):
        raise RuntimeError
    with pytest.raises(ValueError, match="none are given"):
        student.model(**inputs)


@pytest.mark.parametrize("wrong", [[[0.0, math.nan]], [[[0.0]]], [[0.0, math.inf]]])
def test_times_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="in seconds"), stamps(wrong):
        pass


def test_half_precision_keeps_its_type_and_the_code_its_precision():
    """An hour in, half precision cannot tell frames apart; the code is made before it is rounded."""
    student = tiny_student(**SMALL)
    student.model.to(torch.bfloat16)
    student.add_timestamps()
    inputs = {k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in batch(student).items()}
    late = torch.tensor([[3600.0, 3600.5, 3601.0]] * 2)
    seen = []
    with torch.no_grad(), student.projector_input(lambda f: seen.append(f) or f):
        student.forward(inputs, late)
        with stamps(late):
            handle = timestamps_of(student.model)
            handle.remove()
            student.forward(inputs)
    assert seen[0].dtype == torch.bfloat16
    added = (seen[0].float() - seen[1].float())[:, :, 0, 0]
    assert torch.allclose(added, encode_times(late, student.vision_width), atol=0.03)


def test_a_checkpoint_says_whether_it_reads_timestamps(tmp_path):
    from curate.train.students import StudentConfig, load_student

    student = tiny_student(**SMALL)
    times = torch.tensor([[0.0, 0.5, 1.0]] * 2)
    student.add_timestamps()
    student.save(tmp_path / "with")
    again = load_student(StudentConfig(name_or_path=str(tmp_path / "with")))
    inputs = batch(student)
    assert torch.equal(again.forward(inputs, times).logits, student.forward(inputs, times).logits)
    with pytest.raises(ValueError, match="none are given"):
        again.forward(inputs)
    timestamps_of(again.model).remove()
    again.save(tmp_path / "without")
    plain = load_student(StudentConfig(name_or_path=str(tmp_path / "without")))
    assert timestamps_of(plain.model) is None and "timestamp" not in (tmp_path / "without/config.json").read_text()


def test_gradients_pass_the_hook_with_checkpointing():
    student = tiny_student(**SMALL)
    student.add_timestamps()
    student.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    student.model.train()
    student.forward(batch(student), torch.tensor([[0.0, 0.5, 1.0]] * 2)).loss.backward()
    assert all(p.grad is not None for p in student.model.parameters() if p.requires_grad)


def test_importing_the_trainer_loads_neither_torch_nor_transformers():
    code = ("import sys, curate.train, curate.train.students, curate.train.students.config\n"
            "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert curate.train.add_timestamps is add_timestamps
    with pytest.raises(AttributeError):
        _ = curate.train.nothing_of_the_kind
