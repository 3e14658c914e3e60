"""Fits the small teacher to measured signals of the training split, and says what it is worth on the held-out one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from curate.train.losses import CHANNELS, MIN_DEPTH_M, check_targets
from curate.train.p4d_config import FitConfig, TeacherConfig
from curate.train.teacher.base import frozen
from curate.train.teacher.small import Head, SmallTeacher
from curate.train.teacher.store import model_id

MIN_LATENT_SPREAD = 0.05  # of unit variance: a channel that varies less is not magnified
MIN_SPREAD = 0.01  # log metres, pixels, metres, of a unit direction: what varies less is not magnified
BETA = 0.1  # of the spread: what is mostly zero, as flow is, is fitted by its median rather than its mean


class Clips(Protocol):
    """The fields of a batch that a teacher is fitted to."""

    video: Tensor  # [B, N, 3, H, W] 0..1
    times_s: Tensor  # [B, N]
    signals: dict[str, Tensor] | None  # [B, N, ht, wt, C_m], nan = unknown
    keys: list[str]


@dataclass(frozen=True)
class SignalError:
    """One line of the report: the teacher's error on the held-out split beside that of a trivial answer."""

    signal: str
    measure: str
    teacher: float
    baseline: float  # nan where nothing is known on the held-out split, as `teacher`
    baseline_name: str

    def __str__(self) -> str:
        return (f"{self.signal:7} {self.measure:32} {self.teacher:8.4f}   {self.baseline_name} {self.baseline:.4f}")


def fit_teacher(train: Iterable[Clips], held_out: Iterable[Clips], config: TeacherConfig,
                device: torch.device | str = "cpu",
                progress: Callable[[int, dict[str, float]], None] | None = None
                ) -> tuple[SmallTeacher, list[SignalError]]:
    """Fits encoder and heads together, standardises the latents, then freezes both.

    Args:
        train: batches of the training split, gone through again and again; held_out: of other recordings.
        config: of the model and the fit.
        progress: called after each step with its number and the losses, each in units of its signal's spread.

    Raises:
        ValueError: where batches hold no signals, or not those asked for; where the loss is not a number (with the
            clips' keys).
    """
    fit, batches = config.fit, _endless(train)
    teacher = _unfitted(config, batches).to(device)
    decayed = [p for p in teacher.parameters() if p.ndim > 1]
    plain = [p for p in teacher.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": plain, "weight_decay": 0.0}],
                                  lr=fit.learning_rate, betas=(0.9, 0.95), weight_decay=fit.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, fit))
    for step, batch in enumerate(islice(batches, fit.steps), start=1):
        check_targets(batch.signals, teacher.signals, batch.keys)
        latent = teacher.latents(batch.video.to(device), batch.times_s.to(device))
        losses = {m: fit_loss(teacher.heads[m], latent, batch.signals[m].to(device)) for m in teacher.signals}
        loss = sum(getattr(fit.weights, m) * losses[m] for m in teacher.signals)
        if not torch.isfinite(loss):
            raise ValueError(f"the teacher's loss is {loss.item()} at step {step}, on clips {', '.join(batch.keys)}: "
                             "look at their teacher tensors, or lower teacher.fit.learning_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(teacher.parameters(), fit.clip_norm)
        optimizer.step()
        schedule.step()
        if progress:
            progress(step, {m: value.item() for m, value in losses.items()})
    frozen(teacher)
    _standardise(teacher, islice(batches, fit.statistics_batches))
    teacher.model_id = model_id(teacher)
    return teacher, errors(teacher, held_out, device)


def fit_loss(head: Head, latent: Tensor, target: Tensor) -> Tensor:
    """Smooth-L1 in units of the signal's spread (depth in log); motion: cross-entropy. Mean over what is known."""
    fitted = head(latent)
    target = target.float()
    known = torch.isfinite(target)
    target = torch.where(known, target, torch.ones_like(target))
    if head.signal == "motion":
        loss = F.binary_cross_entropy_with_logits(fitted, target, reduction="none")
    else:
        target = target.clamp(min=MIN_DEPTH_M).log() if head.signal == "depth" else target
        loss = F.smooth_l1_loss(fitted / head.spread, target / head.spread, reduction="none", beta=BETA)
    return torch.where(known, loss, torch.zeros_like(loss)).sum() / known.sum().clamp(min=1)


def _endless(examples: Iterable[Clips]) -> Iterator[Clips]:
    while True:
        empty = True
        for batch in examples:
            empty = False
            yield batch
        if empty:
            raise ValueError("no clips to fit a teacher to: the training split is empty, or none of its clips has "
                             "teacher tensors (make the shards with --set teacher.enabled=true)")


def _rate(step: int, fit: FitConfig) -> float:
    """Warm-up, then half a cosine to zero."""
    warm = fit.warmup * fit.steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, fit.steps - warm)))


def _unfitted(config: TeacherConfig, batches: Iterator[Clips]) -> SmallTeacher:
    """The model with seeded weights, whose heads start from the mean signal of the first batches."""
    teacher: SmallTeacher | None = None
    sums: dict[str, Tensor] = {}
    for batch in islice(batches, config.fit.statistics_batches):
        check_targets(batch.signals, config.signals, batch.keys)
        if teacher is None:
            frames, *size = batch.signals[config.signals[0]].shape[1:4]
            if frames != config.small.frames:
                raise ValueError(f"the clips' teacher tensors have {frames} frames, the teacher {config.small.frames}: "
                                 f"set teacher.small.frames={frames}")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.fit.seed)
                teacher = SmallTeacher(config.small, tuple(config.signals), tuple(size))
            sums = {m: torch.zeros(3, *size, CHANNELS[m], dtype=torch.float64) for m in config.signals}
        for m in config.signals:
            if tuple(batch.signals[m].shape[2:4]) != teacher.signal_size:
                raise ValueError(f"clips {', '.join(batch.keys)}: {m} is {list(batch.signals[m].shape[2:4])}, that of "
                                 f"others {list(teacher.signal_size)}: make the shards with one teacher.height, width")
            sums[m] += _sums(m, batch.signals[m].cpu().double())
    assert teacher is not None
    for m in config.signals:
        _start_from_mean(teacher.heads[m], *sums[m])
    return teacher


def _sums(signal: str, values: Tensor) -> Tensor:
    """[B, N, h, w, C] to [3, h, w, C]: how many are known, their sum and that of their squares; depth in log."""
    values = values.clamp(min=MIN_DEPTH_M).log() if signal == "depth" else values
    known = torch.isfinite(values)
    values = torch.where(known, values, torch.zeros_like(values))
    return torch.stack([known.double().sum((0, 1)), values.sum((0, 1)), values.square().sum((0, 1))])


def _start_from_mean(head: Head, count: Tensor, total: Tensor, squares: Tensor) -> None:
    everywhere = total.sum((0, 1)) / count.sum((0, 1)).clamp(min=1)
    mean = (total + everywhere) / (count + 1)  # a pixel that was never known takes the mean of all
    about_mean = squares - 2 * mean * total + mean.square() * count
    variance = about_mean.sum((0, 1)) / count.sum((0, 1)).clamp(min=1)
    if head.signal == "motion":
        head.mean.copy_(mean.clamp(0.001, 0.999).logit())
    else:
        head.mean.copy_(mean)
        head.spread.copy_(variance.clamp(min=MIN_SPREAD**2).sqrt())


def _standardise(teacher: SmallTeacher, batches: Iterable[Clips]) -> None:
    """Sets the latents' centre and spread; what heads decode stays what it was."""
    device, count = teacher.centre.device, 0
    total, squares = (torch.zeros(teacher.grid, dtype=torch.float64, device=device) for _ in range(2))
    for batch in batches:
        latent = teacher.encode(batch.video.to(device), batch.times_s.to(device)).double()
        count += len(latent)
        total += latent.sum(0)
        squares += latent.square().sum(0)
    mean = total / count
    spread = (squares / count - mean.square()).mean((0, 1, 2)).clamp(min=MIN_LATENT_SPREAD**2).sqrt()
    teacher.centre.copy_(mean)
    teacher.spread.copy_(spread)


@torch.no_grad()
def errors(teacher: SmallTeacher, held_out: Iterable[Clips], device: torch.device | str = "cpu") -> list[SignalError]:
    """Each signal's error on `held_out` beside a trivial answer: the training split's mean depth, no flow, all still,
    the training split's mean ray, or its mean at that pixel. nan where the held-out split knows nothing of a signal."""
    sums: dict[tuple[str, str, str], Tensor] = {}
    for batch in held_out:
        check_targets(batch.signals, teacher.signals, batch.keys)
        latent = teacher.encode(batch.video.to(device), batch.times_s.to(device))
        for m in teacher.signals:
            target = batch.signals[m].to(device).float()
            answer, mean = teacher.decode(m, latent), teacher.heads[m].mean.expand_as(target)
            for line, both in _errors(m, answer, target, mean).items():
                known = torch.isfinite(both[0])
                add = torch.stack([*(e[known].double().sum() for e in both), known.double().sum()]).cpu()
                sums[m, *line] = sums.get((m, *line), torch.zeros(3, dtype=torch.float64)) + add
    return [SignalError(m, measure, float(s[0] / s[2]), float(s[1] / s[2]), name)
            for (m, measure, name), s in sums.items()]


def _errors(signal: str, answer: Tensor, target: Tensor, mean: Tensor) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """(measure, name of the baseline) -> errors of the answers and of the baseline [B, N, ht, wt], of [.., C_m]; nan
    where the target is unknown."""
    if signal == "depth":
        def relative(depth: Tensor) -> Tensor:
            return (depth - target).abs() / target
        return {("AbsRel", "mean depth"): (relative(answer), relative(mean.mean().exp().expand_as(target))),
                ("AbsRel", "mean of the pixel"): (relative(answer), relative(mean.exp()))}
    if signal == "flow":
        return {("end-point error, px", "no flow"): ((answer - target).norm(dim=-1), target.norm(dim=-1))}
    if signal == "motion":
        ours = (answer - target).square()
        return {("Brier score", "all still"): (ours, target.square()),
                ("Brier score", "mean of the pixel"): (ours, (mean.sigmoid() - target).square())}
    direction = [torch.rad2deg(torch.acos(F.cosine_similarity(a[..., :3], target[..., :3], dim=-1).clamp(-1, 1)))
                 for a in (answer, mean)]
    moment = [(a[..., 3:] - target[..., 3:]).norm(dim=-1) for a in (answer, mean)]
    return {("direction, degrees", "mean ray"): tuple(direction), ("moment, m", "mean ray"): tuple(moment)}


def as_rows(report: list[SignalError]) -> list[dict]:
    """For JSON."""
    return [asdict(line) for line in report]
