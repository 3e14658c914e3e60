"""The training loop on a toy: a run cut anywhere goes on to the same bits; what it refuses, and how it stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from curate.train.checkpoint import CheckpointError  # noqa: E402
from curate.train.loop import LossNotFinite  # noqa: E402
from curate.train.schedule import factor, parameter_groups  # noqa: E402
from tests.train_toys import ToyStrategy, losses, recipe, run  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


class Cut(Exception):
    """Stands for whatever ends a process between two steps."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of 12 steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    ended, _ = run(folder)
    assert (ended.step, ended.stopped) == (12, False)
    return folder


def cut_at(step: int):
    def after(now: int) -> None:
        if now == step:
            raise Cut
    return after


@pytest.mark.parametrize("step", [1, 3, 4, 5, 8, 11])
def test_a_run_cut_at_any_step_goes_on_to_the_same_losses(tmp_path, whole, step):
    with pytest.raises(Cut):
        run(tmp_path, after_step=cut_at(step))
    ended, strategy = run(tmp_path, resume=True)
    assert ended.step == 12 and losses(tmp_path) == losses(whole)
    assert strategy.seen == 36, "buffers go on too"


def test_a_run_cut_twice_goes_on_to_the_same_losses(tmp_path, whole):
    for step in (6, 9):
        with pytest.raises(Cut):
            run(tmp_path, after_step=cut_at(step), resume=True)
    run(tmp_path, resume=True)
    assert losses(tmp_path) == losses(whole)


def test_a_killed_process_leaves_what_the_next_goes_on_from(tmp_path, whole):
    """SIGKILL in the middle of writing a checkpoint, the second one of the run."""
    script = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from curate.train import checkpoint
from tests.train_toys import run
write, files = checkpoint.save_file, []
def killing(tensors, path):
    files.append(path)
    if len(files) == 5:  # draws, model, moments of step 4; draws, model of step 8
        Path(path).write_bytes(b"half of it")
        os.kill(os.getpid(), signal.SIGKILL)
    write(tensors, path)
checkpoint.save_file = killing
run(Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.endswith("partial")]
    run(tmp_path, resume=True)
    assert losses(tmp_path) == losses(whole)
    assert not list((tmp_path / "checkpoints").glob(".*")), "what the killed one left is gone"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_writes_a_checkpoint(tmp_path, whole, number):
    def after(step: int) -> None:
        if step == 6:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    ended, _ = run(tmp_path, after_step=after)
    assert (ended.step, ended.stopped) == (6, True) and signal.getsignal(number) is before
    assert (tmp_path / "checkpoints" / "step-00000006").is_dir()
    ended, _ = run(tmp_path, resume=True)
    assert not ended.stopped and losses(tmp_path) == losses(whole)


def test_the_last_checkpoints_are_kept(tmp_path):
    run(tmp_path, recipe(checkpoints={"every": 2, "last": 3}))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000008", "step-00000010", "step-00000012"]


def test_a_checkpoint_of_other_settings_is_refused_with_what_differs(tmp_path, whole):
    run(tmp_path, recipe(optim={"steps": 4}))
    with pytest.raises(CheckpointError) as error:
        run(tmp_path, recipe(optim={"steps": 8, "lr": 0.1}), resume=True)
    assert "optim.lr: 0.05 -> 0.1" in str(error.value) and "optim.steps: 4 -> 8" in str(error.value)
    # What changes no step may change.
    run(tmp_path, recipe(optim={"steps": 4}, checkpoints={"every": 1}, eval={"every": 3}), resume=True)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run(tmp_path, recipe(optim={"steps": 4}))
    other = ToyStrategy()
    other.head = torch.nn.Linear(8, 3)
    with pytest.raises(CheckpointError, match=r"head.*\(1.*model has \(3"):
        run(tmp_path, recipe(optim={"steps": 4}), resume=True, strategy=other)


def test_an_altered_checkpoint_is_named(tmp_path):
    run(tmp_path, recipe(optim={"steps": 8}))
    last = tmp_path / "checkpoints" / "step-00000008"
    (last / "optimizer.safetensors").write_bytes(b"\x10")
    with pytest.raises(CheckpointError, match=r"step-00000008.*cannot be read.*remove it"):
        run(tmp_path, recipe(optim={"steps": 8}), resume=True)
    (last / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        run(tmp_path, recipe(optim={"steps": 8}), resume=True)


def test_a_loss_that_is_nan_stops_with_the_samples(tmp_path):
    with pytest.raises(LossNotFinite, match=r"step 6: latent, loss, sft not finite; samples: q5.0, q5.1, q5.2"):
        run(tmp_path, broken=5)
    assert len(losses(tmp_path)) == 5
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"], "nothing spoilt was saved"


def test_a_gradient_that_is_nan_stops_with_the_samples(tmp_path):
    class Root(ToyStrategy):
        def loss(self, batch):
            terms = super().loss(batch)
            terms["loss"] = terms["loss"] + (self.head.weight.sum() * 0).sqrt()  # value 0, slope infinite
            return terms

    with pytest.raises(LossNotFinite, match=r"step 1: the gradient .* q0.0"):
        run(tmp_path, strategy=Root())


def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path):
    class InOrder(ToyStrategy):
        def __init__(self) -> None:
            super().__init__(dropout=0.0)

    torch.manual_seed(0)
    start = InOrder().state_dict()
    ends = []
    for accumulate, clip in ((2, 1e9), (1, 1e9)):
        strategy = InOrder()
        strategy.load_state_dict(start)
        if accumulate == 1:  # both batches at once
            from tests import train_toys

            batches = iter(train_toys.ToyExamples())
            a, b = next(batches), next(batches)
            both = train_toys.ToyBatch(torch.cat([a.x, b.x]), torch.cat([a.y, b.y]))
            optimizer = torch.optim.AdamW(parameter_groups(strategy.named_parameters(), recipe().optim, 0.05))
            strategy.loss(both)["loss"].backward()
            optimizer.step()
        else:
            run(tmp_path, recipe(optim={"steps": 1, "accumulate": 2, "clip_norm": clip}), strategy=strategy)
        ends.append(strategy.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], rtol=1e-5, atol=1e-6)


def test_stages_train_their_parts_and_no_others(tmp_path):
    made = recipe(stages=[{"name": "align", "steps": 3, "parts": ["projector"]},
                          {"name": "tune", "steps": 5, "parts": ["llm"], "lr": 0.01}])
    values: list[dict] = []

    def after(step: int) -> None:
        values.append({name: p.detach().clone() for name, p in strategy.student.named_parameters()})

    torch.manual_seed(0)
    strategy = ToyStrategy()
    start = {name: p.detach().clone() for name, p in strategy.student.named_parameters()}
    run(tmp_path / "a", made, strategy=strategy, after_step=after)
    moved = [{name.split(".")[0] for name in start if not torch.equal(a[name], b[name])}
             for a, b in zip([start, *values], values)]
    assert moved == [{"projector"}] * 3 + [{"llm"}] * 5
    assert [line[1] for line in losses(tmp_path / "a")] == ["align"] * 3 + ["tune"] * 5
    # Cut in the second stage: what the first one trained comes back, though it rests now.
    with pytest.raises(Cut):
        run(tmp_path / "b", made, after_step=cut_at(7))
    run(tmp_path / "b", made, resume=True)
    assert losses(tmp_path / "b") == losses(tmp_path / "a")


def test_a_stage_that_trains_nothing_is_refused(tmp_path):
    class Bare(ToyStrategy):
        def rest(self, parts) -> None:
            self.requires_grad_(False)

    with pytest.raises(ValueError, match="stage 'all' trains nothing"):
        run(tmp_path, strategy=Bare())


def test_the_learning_rate_rises_and_falls():
    config = recipe(optim={"warmup_share": 0.1, "min_lr_share": 0.2}).optim
    factors = [factor(step, 100, config) for step in range(100)]
    assert factors[:10] == [pytest.approx((i + 1) / 10) for i in range(10)]
    assert factors[10] == 1.0 and factors[55] == pytest.approx(0.6) and factors[99] == pytest.approx(0.2, abs=1e-3)
    assert all(a >= b for a, b in pairwise(factors[10:]))
    assert factor(0, 1, config) == 1.0
    constant = recipe(optim={"schedule": "constant", "warmup_share": 0.0}).optim
    assert {factor(step, 7, constant) for step in range(7)} == {1.0}


def test_vectors_do_not_decay_and_heads_have_a_rate_of_their_own():
    strategy = ToyStrategy()
    strategy.student["llm"].requires_grad_(False)
    config = recipe(optim={"weight_decay": 0.1, "head_lr": 0.5}).optim
    groups = parameter_groups(strategy.named_parameters(), config, 0.25)
    assert [(g["name"], g["lr"], g["weight_decay"], sum(p.numel() for p in g["params"])) for g in groups] == [
        ("student, matrices", 0.25, 0.1, 32), ("student, vectors", 0.25, 0.0, 8),
        ("head, matrices", 0.5, 0.1, 8), ("head, vectors", 0.5, 0.0, 1)]


def test_the_log_has_every_term_and_times(whole):
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert {"loss", "sft", "latent", "lr", "grad_norm", "seconds", "wait_seconds", "examples"} <= set(lines[0])
    assert all(line["loss"] == pytest.approx(line["sft"] + 0.5 * line["latent"], rel=1e-5) for line in lines)


def test_sharded_parameters_are_kept_whole_and_come_back(tmp_path):
    """In a process of its own: threads of a process group outlive what they worked for."""
    done = subprocess.run([sys.executable, "-m", "tests.sharded_toy", str(tmp_path)], capture_output=True, text=True,
                          cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
