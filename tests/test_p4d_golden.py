"""Twenty steps of P4D on a tiny student, term by term, as they were when last looked at.

After a change that is meant to change them: `python -m tests.test_p4d_golden` writes the curve anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from curate.train.p4d_config import SIGNALS, SmallTeacherConfig, StrategyConfig
from curate.train.strategies import make_strategy
from curate.train.students import tiny_student
from curate.train.teacher.small import SmallTeacher
from tests.p4d_toys import FRAMES, GRID, PIXELS, toy_batch

CURVE = Path(__file__).parent / "golden" / "p4d_curve.json"
STEPS = 20


def curve(preset: str = "paper") -> list[dict[str, float]]:
    """The terms of each step: fixed seeds, one thread, two batches of two clips in turn."""
    torch.manual_seed(0)
    teacher = SmallTeacher(SmallTeacherConfig(frames=FRAMES, height=PIXELS, width=PIXELS, patch=8, channels=32,
                                              blocks=1, head_channels=16), SIGNALS, (GRID, GRID))
    for head in teacher.heads.values():  # as large as those of a fitted one
        head.spell.weight.data.mul_(30)
    student = tiny_student("P+LLM", image_size=32, patch_size=8, vision_width=32, vision_layers=2, width=32, layers=2)
    s = make_strategy(StrategyConfig(p4d={"preset": preset, "hidden": 64}), student, teacher)
    batches = []
    for seed in (0, 1):
        batch = toy_batch(seed, clips=2)
        frames = [[(frame.permute(1, 2, 0) * 255).byte().numpy() for frame in clip] for clip in batch.video]
        text = student.processor.prompt("How far is it?", FRAMES)
        batch.inputs = student.processor([text] * 2, frames, [f"{1.5 + seed} m", "4 m"])
        batches.append(batch)
    optimizer = torch.optim.AdamW(s.trainable(), lr=1e-3)
    out = []
    for step in range(STEPS):
        terms = s.loss(batches[step % 2])
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        out.append({name: round(value.item(), 7) for name, value in terms.items()})
    return out


@pytest.fixture(scope="module")
def now():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield curve()
    torch.set_num_threads(threads)


def test_the_curve_is_the_one_that_was_looked_at(now):
    golden = json.loads(CURVE.read_text("utf-8"))
    assert len(golden) == STEPS
    for step, (terms, expected) in enumerate(zip(now, golden)):
        assert terms == pytest.approx(expected, rel=1e-3, abs=1e-6), f"step {step}"


def test_every_term_that_weighs_falls(now):
    for name, share in {"loss": 0.9, "sft": 0.9, "latent": 0.5, "depth": 0.98}.items():
        assert now[-1][name] + now[-2][name] < share * (now[0][name] + now[1][name]), name


if __name__ == "__main__":
    torch.set_num_threads(1)
    CURVE.write_text(json.dumps(curve(), indent=0) + "\n", "utf-8")
