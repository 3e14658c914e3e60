"""Every strategy on every architecture: its loss is finite, all that it trains learns from it, and it still answers."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.0")

import torch

from curate.train.p4d_config import SmallTeacherConfig, StrategyConfig
from curate.train.strategies import make_strategy
from curate.train.students import Student, StudentConfig
from curate.train.teacher.small import SmallTeacher
from tests.p4d_toys import FRAMES, GRID, PIXELS, toy_batch
from tests.student_zoo import ZOO

SIGNALS = ("depth", "flow", "motion", "camray")


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    config = SmallTeacherConfig(frames=FRAMES, height=PIXELS, width=PIXELS)
    return SmallTeacher(config, SIGNALS, (GRID, GRID)).requires_grad_(False)


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("strategy", ["sft", "concat", "pe", "coords", "p4d"])
def test_a_strategy_teaches_a_student(name, strategy, teacher):
    made = ZOO[name]()
    student = Student(made.model, made.processor, StudentConfig(image_size=made.image_size))
    batch = toy_batch(0, 2)
    frames = [[(255 * f.permute(1, 2, 0)).clamp(0, 255).byte().numpy() for f in clip] for clip in batch.video]
    texts = [student.processor.prompt(q, FRAMES) for q in ("How fast is it?", "Which is nearer, A or B?")]
    batch.inputs = student.processor(texts, frames, ["1.8 m/s", "B"])
    taught = make_strategy(StrategyConfig(name=strategy, timestamps=True), student, teacher)
    terms = taught.loss(batch)
    assert {"loss", "sft"} <= terms.keys() and all(bool(term.isfinite()) for term in terms.values())
    assert ({*SIGNALS, "latent"} <= terms.keys()) == (strategy == "p4d")
    terms["loss"].backward()
    assert not [n for n, p in taught.named_parameters() if p.requires_grad and p.grad is None]
    assert len(taught.generate(batch, 2)) == 2
