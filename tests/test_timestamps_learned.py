"""What the encoding is for: a student told when frames were taken learns how long clips last; one not told, cannot."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from curate.train.students import tiny_student

FRAMES, STEPS, BATCH, RATE = 4, 180, 16, 4e-4
BOUNDS = (2.0, 4.0, 6.0)  # seconds; A is shorter than the first


def clips(draw: np.random.Generator, num: int, student) -> tuple[dict, torch.Tensor, list[str]]:
    """Grey frames, always as many, over 0.5 to 8 s: inputs, times, answers."""
    lasts = draw.uniform(0.5, 8.0, num)
    times = torch.as_tensor(np.linspace(0, 1, FRAMES) * lasts[:, None], dtype=torch.float32)
    answers = ["ABCD"[i] for i in np.digitize(lasts, BOUNDS)]
    frames = [np.full((32, 32, 3), 128, np.uint8)] * FRAMES
    text = student.processor.prompt("How long is the video?", FRAMES)
    return student.processor([text] * num, [frames] * num, answers), times, answers


def share_right(stamped: bool) -> float:
    student = tiny_student(image_size=32, patch_size=16, layers=2, vision_layers=2)
    if stamped:
        student.add_timestamps()
    draw = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 20) * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        inputs, times, _ = clips(draw, BATCH, student)
        optimizer.zero_grad()
        student.forward(inputs, times if stamped else None, answers_only=True).loss.backward()
        torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
        optimizer.step()
    inputs, times, answers = clips(draw, 256, student)
    said = student.generate(inputs, 2, times if stamped else None)
    return float(np.mean([a == b for a, b in zip(said, answers)]))


@pytest.mark.slow
def test_durations_are_learned_from_timestamps_alone():
    assert share_right(stamped=True) > 0.7  # of four answers
    assert share_right(stamped=False) < 0.4
