"""`curate train` from end to end on a set of a few clips: what RUN holds, going on to the same bits, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch")
for name in ("transformers", "accelerate", "tensorboard"):
    pytest.importorskip(name)

from curate.cli.main import main  # noqa: E402
from curate.train.config import WITH_TEACHER, TrainRecipe  # noqa: E402
from curate.train.strategies import NEEDS_TEACHER  # noqa: E402
from curate.train.watch import read_log  # noqa: E402
from tests.train_sets import clip_sample, clip_teacher, write_set  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TERMS = {"loss", "sft", "latent", "depth", "flow", "motion", "camray"}


def curate(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    made = [clip_sample(i, num_frames=8, teacher=clip_teacher, split="val" if i > 3 else "train") for i in range(6)]
    return write_set(tmp_path_factory.mktemp("set"), made)


@pytest.fixture(scope="module")
def recipe(shards, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    tiny = {"image_size": 32, "patch_size": 16, "vision_width": 16, "vision_layers": 1, "vision_heads": 2, "width": 32,
            "layers": 1, "heads": 2, "kv_heads": 1}
    path.write_text(yaml.safe_dump({
        "student": {"tiny": tiny, "trained": {"vision": "full"}},
        "data": {"sets": shards, "frames": 4, "image_size": [32, 32], "batch_size": 2, "workers": 1},
        "teacher": {"small": {"frames": 4, "height": 16, "width": 16, "channels": 16, "blocks": 1, "heads": 2,
                              "head_channels": 8}, "fit": {"steps": 2, "statistics_batches": 2}},
        "strategy": {"name": "p4d", "p4d": {"hidden": 16}},
        "optim": {"steps": 6, "lr": 0.002}, "checkpoints": {"every": 2},
        "eval": {"every": 3}, "watch": {"pictures_every": 3, "num_pictures": 1}}))
    return path


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    done = curate("train", recipe, "--out", out)
    assert done.exit_code == 0, done.output
    assert "Held-out questions right" in done.stdout and "report:" in done.stdout
    return out


def course(out: Path) -> list[dict]:
    """A log without what the clock says."""
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in read_log(out / "log.jsonl")]


def test_a_run_holds_what_it_says(whole):
    there = {p.name for p in whole.iterdir()}
    assert {"recipe.json", "log.jsonl", "tensorboard", "pictures", "teacher", "checkpoints", "student", "strategy",
            "report.md", "report.json", "eval-before.json", "eval-000003.json", "eval-after.json"} <= there
    log = read_log(whole / "log.jsonl")
    assert len(log) == 6 and set(log[0]) >= TERMS
    assert {p.name for p in (whole / "pictures").iterdir()} >= {"clip-0-000000.png", "clip-0-000003.png",
                                                                "clip-0-000006.png"}
    assert not list(whole.rglob("*.bin")) and not list(whole.rglob("*.pt")), "nothing pickled"


def test_the_report_tells_losses_accuracy_and_cost(whole):
    text, found = (whole / "report.md").read_text(), json.loads((whole / "report.json").read_text())
    assert set(found["losses"]["all"]) == TERMS and found["step_seconds"] > 0 and found["load_over_step"] > 0
    assert [e["step"] for e in found["accuracy"]] == [0, 3, 6]
    for part in ("| all | latent |", "| object_direction |", "student - blind", "add_timestamps"):
        assert part in text


def test_the_student_loads_in_plain_transformers(whole):
    from transformers import AutoModelForImageTextToText

    from curate.train import add_timestamps

    model = AutoModelForImageTextToText.from_pretrained(whole / "student")
    names = {name for name, _ in model.named_parameters()}
    assert not [n for n in names if "decoder" in n and "language" not in n], "nothing of the distillation stays"
    add_timestamps(model)
    assert {name for name, _ in model.named_parameters()} == names


def test_a_killed_run_goes_on_to_the_same_losses_and_weights(whole, recipe, tmp_path):
    """Killed in step 4, after the checkpoint of step 2, with batches made ahead of it."""
    script = f"""
import os, signal, sys
from curate.train import judge
def killing(self, step):
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
judge.Judge.after_step = killing
from curate.cli.main import main
main(["train", {str(recipe)!r}, "--out", {str(tmp_path / "run")!r}, "--quiet"])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())})
    assert done.returncode == -signal.SIGKILL, done.stderr
    done = curate("train", recipe, "--out", tmp_path / "run", "--resume", "--quiet")
    assert done.exit_code == 0, done.output
    assert course(tmp_path / "run") == course(whole)
    one, other = ((out / "student" / "model.safetensors").read_bytes() for out in (whole, tmp_path / "run"))
    assert one == other


def test_a_signal_saves_and_exits_with_130(recipe, whole, tmp_path, monkeypatch):
    from curate.train.judge import Judge

    before = Judge.after_step
    monkeypatch.setattr(Judge, "after_step", lambda self, step: os.kill(os.getpid(), signal.SIGTERM) if step == 3
                        else before(self, step))
    done = curate("train", recipe, "--out", tmp_path, "--quiet", "--set", "eval.before=false")
    assert done.exit_code == 130 and "stopped after step 3" in done.stderr and "--resume" in done.stderr
    monkeypatch.undo()
    done = curate("train", recipe, "--out", tmp_path, "--quiet", "--resume", "--set", "eval.after=false")
    assert done.exit_code == 0 and course(tmp_path) == course(whole)


def test_a_run_is_not_written_over_nor_mixed(whole, recipe):
    done = curate("train", recipe, "--out", whole)
    assert done.exit_code == 2 and "holds a run" in done.stderr and "--resume" in done.stderr
    done = curate("train", recipe, "--out", whole, "--resume", "--set", "optim.lr=0.5", "--set", "data.seed=3")
    assert done.exit_code == 2 and "optim.lr: 0.002 -> 0.5" in done.stderr and "data.seed: 0 -> 3" in done.stderr


@pytest.mark.parametrize("strategy", ["sft", "concat", "pe", "coords"])
def test_every_strategy_runs(recipe, whole, tmp_path, strategy):
    done = curate("train", recipe, "--out", tmp_path / "run", "--set", f"strategy.name={strategy}", "--set",
                  f"teacher.path={whole / 'teacher'}", "--steps", 1, "--quiet", "--set", "eval.method=generate",
                  "--set", "eval.max_new_tokens=3", "--set", "eval.before=false", "--set", "watch.tensorboard=false")
    assert done.exit_code == 0, done.output
    assert set(read_log(tmp_path / "run" / "log.jsonl")[0]) & TERMS == {"loss", "sft"}
    assert json.loads((tmp_path / "run" / "eval-after.json").read_text())["method"] == "generate"


def test_bf16_checkpointing_accumulation_and_stages(recipe, whole, tmp_path):
    """What a large student needs, all at once; in the same process as runs in float32."""
    done = curate("train", recipe, "--out", tmp_path, "--set", f"teacher.path={whole / 'teacher'}", "--quiet", "--set",
                  "optim.precision=bf16", "--set", "optim.accumulate=2", "--set", "student.gradient_checkpointing=true",
                  "--set", "stages=[{name: a, parts: [projector]}, {name: b, data: {forms: [numeric]}}]", "--steps", 2)
    assert done.exit_code == 0, done.output
    log = read_log(tmp_path / "log.jsonl")
    assert [(r["stage"], r["examples"]) for r in log] == [("a", 4), ("a", 4), ("b", 4), ("b", 4)]
    exact = read_log(whole / "log.jsonl")[0]["loss"]
    assert log[0]["loss"] == pytest.approx(exact, rel=0.1) and log[0]["loss"] != exact


def test_the_teacher_alone(recipe, tmp_path):
    done = curate("train", "teacher", recipe, "--out", tmp_path / "t", "--steps", 1)
    assert done.exit_code == 0 and "teacher, held out:" in done.stdout
    assert {p.name for p in (tmp_path / "t").iterdir()} == {"teacher.safetensors", "config.json"}


def test_shards_without_teacher_tensors_say_how_to_get_them(recipe, tmp_path):
    bare = write_set(tmp_path / "bare", [clip_sample(i, num_frames=8, split=split)
                                         for i, split in enumerate(("train", "val"))])
    done = curate("train", recipe, "--out", tmp_path / "run", "--set", f"data.sets={bare}")
    assert done.exit_code == 2 and "--set teacher.enabled=true" in done.stderr


@pytest.mark.parametrize("change, said", [
    ("eval.split=test", "no split 'test'"),
    ("data.frames=9", "frames"),
    ("optim.learning_rate=1", "unknown key 'optim.learning_rate'"),
    ("student.name_or_path=/nowhere", "/nowhere"),
    ("teacher.path=/nowhere", "teacher.path"),
    ("teacher.small.frames=6", "frames"),
    ("data.families=[object_colour]", "unknown question family 'object_colour'"),
    ("stages=[{name: a, data: {frame: 3}}]", "frame"),
    ("optim.steps=0", "optim.steps"),
])
def test_what_does_not_fit_is_a_bad_request(recipe, tmp_path, change, said):
    if "name_or_path" in change:
        text = yaml.safe_load(recipe.read_text())
        del text["student"]["tiny"]
        recipe = tmp_path / "other.yaml"
        recipe.write_text(yaml.safe_dump(text))
    done = curate("train", recipe, "--out", tmp_path / "run", "--set", change)
    assert done.exit_code == 2 and said in done.stderr, done.output
    assert "Traceback" not in done.stderr


def test_a_loss_that_is_nan_is_a_failure_with_its_samples(recipe, whole, tmp_path, monkeypatch):
    from curate.train.strategies.distill import P4D

    loss = P4D.loss
    monkeypatch.setattr(P4D, "loss", lambda self, batch: {k: v * float("nan") if k in ("loss", "flow") else v
                                                          for k, v in loss(self, batch).items()})
    done = curate("train", recipe, "--out", tmp_path, "--set", f"teacher.path={whole / 'teacher'}", "--quiet",
                  "--set", "eval.before=false")
    assert done.exit_code == 1 and "step 1: flow, loss not finite; samples: clip" in done.stderr, done.output


def test_what_needs_a_teacher_is_known_without_torch():
    assert set(WITH_TEACHER) == set(NEEDS_TEACHER)


@pytest.mark.parametrize("path", ["p4d_tiny.yaml", "p4d_large.yaml", "stages.yaml"])
def test_the_recipes_load(path):
    from curate.recipe import load_checked

    made = load_checked(ROOT / "recipes" / path, (), TrainRecipe)
    assert [stage.steps for stage in made.plan()] and all(made.data_of(stage).sets for stage in made.plan())
    assert made.settings()["optim"]["warmup_share"] == 0.03


LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29513"]


@pytest.mark.slow
def test_two_processes_make_one_run(recipe, whole, tmp_path):
    """Each reads its half of the questions; one log, one checkpoint with both places, and it goes on."""
    command = [*LAUNCH, "-m", "curate", "train", str(recipe), "--out", str(tmp_path), "--quiet", "--set",
               f"teacher.path={whole / 'teacher'}", "--set", "watch.tensorboard=false"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for more in (["--steps", "4"], ["--steps", "4", "--resume"]):
        done = subprocess.run([*command, *more], cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    assert [r["step"] for r in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]
    assert read_log(tmp_path / "log.jsonl")[0]["examples"] == 4
    last = {p.name for p in (tmp_path / "checkpoints" / "step-00000004").iterdir()}
    assert {"rank-0.json", "rank-1.json", "rank-0.safetensors", "rank-1.safetensors"} <= last
    done = curate("train", recipe, "--out", tmp_path, "--resume", "--steps", 4, "--set",
                  f"teacher.path={whole / 'teacher'}")
    assert done.exit_code == 2 and "made by 2 processes" in done.stderr


def test_without_ray_train_the_way_around_is_said(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.train", None)
    done = curate("train", recipe, "--out", tmp_path / "run", "--ray", 2)
    assert done.exit_code == 2 and "pip install 'ray[train]'" in done.stderr and "torchrun" in done.stderr


@pytest.mark.slow
@pytest.mark.ray
def test_ray_train_makes_the_same_run(recipe, whole, tmp_path):
    command = [sys.executable, "-m", "curate", "train", str(recipe), "--out", str(tmp_path / "run"), "--ray", "1",
               "--quiet", "--set", f"teacher.path={whole / 'teacher'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600,
                          env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())})
    assert done.returncode == 0, done.stderr
    assert [r["sft"] for r in course(tmp_path / "run")] == [r["sft"] for r in course(whole)]
