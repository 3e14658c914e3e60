"""The small teacher: what it learns of clips whose signals are known, how it is kept, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import interpolate

from curate.train.losses import signal_loss
from curate.train.p4d_config import SIGNALS, TeacherConfig
from curate.train.teacher.base import Teacher
from curate.train.teacher.fit import as_rows, errors, fit_teacher
from curate.train.teacher.small import SmallTeacher, matches
from curate.train.teacher.store import load_teacher, save_teacher
from tests.p4d_toys import FRAMES, GRID, PIXELS, toy_batch

SMALL = {"frames": FRAMES, "height": PIXELS, "width": PIXELS, "patch": 4, "channels": 32, "blocks": 1, "heads": 2,
         "search": 0, "head_channels": 24}
TRAIN = [toy_batch(seed, clips=8) for seed in range(12)]
HELD_OUT = [toy_batch(seed) for seed in range(100, 104)]


def settings(steps: int = 100, signals=SIGNALS, small: dict | None = None, **fit) -> TeacherConfig:
    return TeacherConfig(signals=list(signals), small={**SMALL, **(small or {})},
                         fit={"steps": steps, "statistics_batches": 12, "learning_rate": 3e-3, **fit})


@pytest.fixture(scope="module")
def fitted():
    losses: list[dict[str, float]] = []
    teacher, report = fit_teacher(TRAIN, HELD_OUT, settings(), progress=lambda step, terms: losses.append(terms))
    return teacher, report, losses


def test_it_learns_what_the_shards_measured(fitted):
    _, report, losses = fitted
    assert len(losses) == 100 and set(losses[0]) == set(SIGNALS)
    for signal in ("depth", "motion"):
        assert sum(t[signal] for t in losses[-12:]) < 0.8 * sum(t[signal] for t in losses[:12])  # the same clips
    lines = {(line.signal, line.measure, line.baseline_name): line for line in report}
    depth = lines["depth", "AbsRel", "mean depth"]
    assert depth.teacher < 0.7 * depth.baseline
    assert {line.signal for line in report} == set(SIGNALS)
    still = lines["motion", "Brier score", "all still"]
    assert still.teacher < still.baseline


@pytest.mark.slow
def test_with_more_steps_it_sees_flow_by_matching():
    clips = [toy_batch(seed, clips=8) for seed in range(60)]
    _, report = fit_teacher(clips, HELD_OUT, settings(400, signals=["flow"], small={"search": 3}))
    assert report[0].teacher < 0.85 * report[0].baseline


def test_it_is_a_teacher_of_the_contract(fitted):
    teacher, _, _ = fitted
    assert isinstance(teacher, Teacher)
    assert teacher.grid == (2, 8, 8, 32) and teacher.signals == SIGNALS and teacher.blocks == 1
    batch = HELD_OUT[0]
    latent = teacher.encode(batch.video, batch.times_s)
    assert tuple(latent.shape) == (4, *teacher.grid) and not latent.requires_grad
    for m in SIGNALS:
        assert teacher.decode(m, latent).shape == batch.signals[m].shape
    assert (teacher.decode("depth", latent) > 0).all()
    moving = teacher.decode("motion", latent)
    assert (moving >= 0).all() and (moving <= 1).all()


def test_it_is_frozen_and_a_gradient_passes_through_its_heads(fitted):
    teacher, _, _ = fitted
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    latent = torch.randn(1, *teacher.grid, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for m in SIGNALS:
        (gradient,) = torch.autograd.grad(teacher.decode(m, latent).sum(), latent)
        assert gradient.abs().sum() > 0
    assert all(p.grad is None for p in teacher.parameters())


def test_the_same_settings_give_the_same_teacher_whatever_was_drawn_before():
    first, _ = fit_teacher(TRAIN[:2], [], settings(3))
    torch.rand(7)
    state = torch.get_rng_state()
    again, _ = fit_teacher(TRAIN[:2], [], settings(3))
    other, _ = fit_teacher(TRAIN[:2], [], settings(3, seed=1))
    assert first.model_id == again.model_id != other.model_id
    assert torch.equal(torch.get_rng_state(), state)


def test_before_any_step_it_answers_the_mean_of_the_training_split():
    _, report = fit_teacher(TRAIN, HELD_OUT, settings(1, learning_rate=1e-12))
    for line in report:
        if line.baseline_name in ("mean of the pixel", "mean ray") and line.measure != "moment, m":
            assert line.teacher == pytest.approx(line.baseline, rel=0.1, abs=0.02), line


def test_latents_are_standardised_over_the_training_split_and_times_matter(fitted):
    teacher, _, _ = fitted
    latent = torch.cat([teacher.encode(batch.video, batch.times_s) for batch in TRAIN])
    torch.testing.assert_close(latent.mean(0), torch.zeros(teacher.grid), atol=1e-4, rtol=0)
    assert latent.var((0, 1, 2, 3), unbiased=False) == pytest.approx(1, abs=1e-3)
    batch = HELD_OUT[0]
    other = teacher.encode(batch.video, 2 * batch.times_s + 0.1)
    assert not torch.allclose(teacher.encode(batch.video, batch.times_s), other, atol=1e-3)


def test_a_student_that_knows_nothing_is_decoded_as_the_mean_video_and_each_step_towards_the_teacher_is_nearer(fitted):
    """What distillation starts from: latents of zero."""
    teacher, _, _ = fitted
    latent = torch.cat([teacher.encode(batch.video, batch.times_s) for batch in TRAIN])
    target = torch.cat([batch.signals["depth"] for batch in TRAIN])
    off = [float(signal_loss("depth", teacher.decode("depth", share * latent), target)) for share in (0, 0.5, 1)]
    assert off[0] > off[1] > off[2]


def test_matching_finds_how_far_cells_moved():
    g = torch.Generator().manual_seed(0)
    before = interpolate(torch.randn(1, 32, 12, 12, generator=g), scale_factor=1.0)
    now = torch.roll(before, (1, -2), dims=(2, 3))  # down by one, left by two: what was at x + 2, y - 1
    found = matches(now, before, radius=3)
    assert found.shape == (1, 49 + 2, 12, 12)
    inner = (slice(None), slice(4, 8), slice(4, 8))
    best = found[:, :49].argmax(1)[inner]
    assert (best == (3 - 1) * 7 + (3 + 2)).all()
    assert (found[:, 49][inner] * 3 > 1).all() and (found[:, 50][inner] * 3 < -0.5).all()


def test_unknown_signals_teach_nothing_and_are_not_judged():
    blank = replace(TRAIN[0], signals={m: torch.full_like(v, torch.nan) for m, v in TRAIN[0].signals.items()})
    teacher, report = fit_teacher([TRAIN[0], blank], [blank], settings(4))
    assert all(torch.isfinite(p).all() for p in teacher.parameters())
    assert report and all(math.isnan(line.teacher) and math.isnan(line.baseline) for line in report)
    half = replace(TRAIN[0], signals={**TRAIN[0].signals, "camray": TRAIN[0].signals["camray"].clone()})
    half.signals["camray"][..., 3:] = torch.nan  # no metric scale: directions are known, moments are not
    lines = {line.measure: line for line in errors(teacher, [half])}
    assert math.isnan(lines["moment, m"].teacher) and lines["direction, degrees"].teacher >= 0


def test_any_size_of_frames_is_taken(fitted):
    teacher, _, _ = fitted
    batch = HELD_OUT[0]
    large = interpolate(batch.video.flatten(0, 1), scale_factor=2).unflatten(0, batch.video.shape[:2])
    latent, same = teacher.encode(large, batch.times_s), teacher.encode(batch.video, batch.times_s)
    assert latent.shape == same.shape
    assert torch.nn.functional.cosine_similarity(latent, same, dim=-1).mean() > 0.9


def test_signals_of_any_size_are_decoded():
    odd = replace(TRAIN[0], signals={m: v[:, :, :11, :13].contiguous() for m, v in TRAIN[0].signals.items()})
    teacher, _ = fit_teacher([odd], [odd], settings(1))
    latent = teacher.encode(odd.video, odd.times_s)
    assert teacher.decode("flow", latent).shape == (8, FRAMES, 11, 13, 2)


def test_it_comes_back_from_disk_as_it_was(fitted, tmp_path):
    teacher, report, _ = fitted
    save_teacher(teacher, tmp_path / "teacher", as_rows(report))
    about = json.loads((tmp_path / "teacher" / "config.json").read_text())
    assert about["model_id"] == teacher.model_id and about["latent_shape"] == list(teacher.grid)
    assert about["signal_shapes"]["flow"] == [FRAMES, GRID, GRID, 2]
    assert about["held_out_errors"][0]["signal"] == "depth"
    again = load_teacher(TeacherConfig(path=str(tmp_path / "teacher")))
    batch = HELD_OUT[0]
    latent = again.encode(batch.video, batch.times_s)
    assert torch.equal(latent, teacher.encode(batch.video, batch.times_s))
    assert torch.equal(again.decode("depth", latent), teacher.decode("depth", latent))
    assert again.model_id == teacher.model_id and not any(p.requires_grad for p in again.parameters())


def test_a_folder_that_holds_no_teacher_says_so(fitted, tmp_path):
    with pytest.raises(ValueError, match="curate train teacher"):
        load_teacher(TeacherConfig())
    with pytest.raises(ValueError, match=r"has no config\.json"):
        load_teacher(TeacherConfig(path=str(tmp_path)))
    save_teacher(fitted[0], tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "teacher.safetensors"
    good, bytes_ = config.read_text(), weights.read_bytes()
    weights.write_bytes(bytes_[:100])
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_teacher(TeacherConfig(path=str(tmp_path)))
    state = load_file_bytes(bytes_, tmp_path)
    save_file({n: t + 1 if t.is_floating_point() else t for n, t in state.items()}, weights)
    with pytest.raises(ValueError, match="files of two teachers"):
        load_teacher(TeacherConfig(path=str(tmp_path)))
    weights.write_bytes(bytes_)
    other = json.loads(good)
    other["encoder"]["channels"] = 64
    config.write_text(json.dumps(other))
    with pytest.raises(ValueError, match="has shape"):
        load_teacher(TeacherConfig(path=str(tmp_path)))
    config.write_text(good.replace('"small"', '"vast"', 1))
    with pytest.raises(ValueError, match="kind 'vast'"):
        load_teacher(TeacherConfig(path=str(tmp_path)))


def load_file_bytes(content: bytes, folder) -> dict[str, torch.Tensor]:
    path = folder / "whole.safetensors"
    path.write_bytes(content)
    return load_file(path)


@pytest.mark.parametrize("change, says", [
    (lambda b: replace(b, signals=None), "no teacher tensors"),
    (lambda b: replace(b, signals={"depth": b.signals["depth"]}), "no 'flow'"),
    (lambda b: replace(b, signals={m: v[:, :2] for m, v in b.signals.items()}), r"teacher\.small\.frames=2"),
    (lambda b: replace(b, signals={**b.signals, "depth": -b.signals["depth"]}), "not positive"),
    (lambda b: replace(b, video=b.video[:, :2]), r"data\.frames to 4"),
    (lambda b: replace(b, video=b.video * torch.nan), "toy0-0.*learning_rate"),
])
def test_clips_that_it_cannot_be_fitted_to_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        fit_teacher([change(TRAIN[0])], [], settings(2))


def test_no_clips_and_clips_of_two_grids_are_refused():
    with pytest.raises(ValueError, match="no clips"):
        fit_teacher([], [], settings(2))
    small = replace(TRAIN[1], signals={m: v[:, :, ::2, ::2] for m, v in TRAIN[1].signals.items()})
    with pytest.raises(ValueError, match=r"teacher\.height"):
        fit_teacher([TRAIN[0], small], [], settings(2))


@pytest.mark.parametrize("small, says", [
    ({"patch": 6}, "multiple of 4"), ({"height": 30}, "height 30"), ({"tubelet": 3}, "tubelet 3"),
    ({"channels": 36, "heads": 5}, "channels 36"),
])
def test_settings_that_do_not_divide_are_refused(small, says):
    with pytest.raises(ValueError, match=says):
        settings(small=small)


def test_its_size_is_that_of_a_small_model():
    teacher = SmallTeacher(TeacherConfig().small, SIGNALS, (56, 56))
    assert 0.5e6 < sum(p.numel() for p in teacher.parameters()) < 4e6
