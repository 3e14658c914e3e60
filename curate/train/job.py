"""One training run from its recipe: the parts put together, accuracy before and after, everything written to RUN.

    RUN/recipe.json      what was run            RUN/log.jsonl, tensorboard/, pictures/   while it trains
    RUN/teacher/         the teacher that was fitted, where the recipe names none
    RUN/checkpoints/     to go on from           RUN/eval-before.json, eval-000200.json, eval-after.json
    RUN/student/         the trained student, for transformers      RUN/report.md, report.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from curate.train.checkpoint import CheckpointError, whole
from curate.train.config import StageConfig, TrainRecipe
from curate.train.data import Examples
from curate.train.judge import Judge
from curate.train.loop import Ended, Loop
from curate.train.mixed import from_mixture
from curate.train.report import load_rate, write_report
from curate.train.strategies import make_strategy
from curate.train.students import TrainedParts, load_student
from curate.train.watch import Watch

if TYPE_CHECKING:
    from rich.console import Console

    from curate.train.students import Student


def train(recipe: TrainRecipe, out: Path, *, resume: bool = False, console: Console | None = None) -> Ended:
    """Trains a student.

    Args:
        recipe: checked.
        out: the run's folder, made where it is missing.
        resume: go on from its last checkpoint; where there is none, start.
        console: for progress and tables; None is silent.

    Raises:
        ValueError: where recipe, shards, student, teacher or checkpoint do not fit each other; says what to change.
        LossNotFinite: with the samples.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    recipe = from_mixture(recipe)
    if not resume and (out / "checkpoints").is_dir() and any((out / "checkpoints").iterdir()):
        raise CheckpointError(f"{out}: holds a run; go on with --resume, or name another folder with --out")
    # Parts of a student may have no part in a loss (a head of its vision encoder), so unused parameters are looked for.
    accelerator = Accelerator(mixed_precision="bf16" if recipe.optim.precision == "bf16" else "no",
                              kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    try:
        return _train(recipe, out, accelerator, resume, console if accelerator.is_main_process else None)
    finally:
        AcceleratorState._reset_state()  # the next run in this process may have another precision


def _train(recipe: TrainRecipe, out: Path, accelerator: Any, resume: bool, console: Console | None) -> Ended:
    main, stages = accelerator.is_main_process, recipe.plan(accelerator.num_processes)
    if sharded(accelerator) and len(stages) > 1:
        raise ValueError(f"{len(stages)} stages with sharded parameters; run each as a recipe of its own, the next one "
                         "from RUN/student of the one before (student.name_or_path)")
    if main:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json"), indent=1) + "\n", "utf-8")
    torch.manual_seed(recipe.seed)
    student = load_student(recipe.student)
    strategy = make_strategy(recipe.strategy, student, teacher_of(recipe, out, accelerator, console))
    strategy.to(accelerator.device)
    watch = Watch(out, recipe.watch, sum(stage.steps for stage in stages), main=main, console=console)

    def rest(parts: Iterable[str]) -> None:
        trained = recipe.student.trained.model_dump()
        student.train_parts(TrainedParts(**{part: how if part in parts else "frozen" for part, how in trained.items()}))

    loop = Loop(recipe, strategy, lambda stage: Examples(recipe.data_of(stage), student.processor), out, accelerator,
                watch, rest=rest, after_step=lambda step: judge.after_step(step))
    judge = Judge(recipe, lambda *asked, **how: loop.objective(*asked, **how), student, out, accelerator, watch,
                  share=not sharded(accelerator))
    found = loop.resume() if resume else None
    watch.done = found.total if found else 0
    with watch:
        if found is not None:
            watch.say(f"goes on after step {found.total}, {found.path}")
        elif recipe.eval.before:
            judge.evaluate(0, "before")
        if found is None:
            judge.draw(0)
        torch.manual_seed(recipe.seed + accelerator.process_index)
        ended = loop.fit(found)
        if not ended.stopped:
            _finish(recipe, out, accelerator, student, strategy, judge, ended)
    return ended


def _finish(recipe: TrainRecipe, out: Path, accelerator: Any, student: Student, strategy: Any, judge: Judge,
            ended: Ended) -> None:
    """The student on disk, the last evaluation, the report."""
    state = {name: whole(value) for name, value in student.model.state_dict().items()}
    if accelerator.is_main_process:
        student.save(out / "student", state)
        if not sharded(accelerator):  # of training alone, or of strategies that answer with more than the student
            strategy.save(out / "strategy")
    if recipe.eval.after:
        judge.evaluate(ended.step, "after")
    judge.draw(ended.step)
    if accelerator.is_main_process:
        data = recipe.data_of(recipe.plan()[-1])
        rate = load_rate(Examples(data, student.processor, rank=0, world_size=1))
        judge.watch.say(write_report(out, recipe, judge.evaluations(), rate))
    accelerator.wait_for_everyone()


def sharded(accelerator: Any) -> bool:
    """Whether parameters are spread over the processes (FSDP)."""
    return accelerator.distributed_type.value == "FSDP"


def teacher_of(recipe: TrainRecipe, out: Path, accelerator: Any, console: Console | None) -> Any:
    """The teacher that the strategy needs: the one that the recipe names, else one fitted into RUN/teacher."""
    if not recipe.needs_teacher():
        return None
    from curate.train.teacher.store import CONFIG, load_teacher

    if recipe.teacher.path is not None or recipe.teacher.kind != "small":
        return load_teacher(recipe.teacher)
    folder = out / "teacher"
    if accelerator.is_main_process and not (folder / CONFIG).is_file():
        fit_and_save(recipe, folder, console=console, device=accelerator.device)
    accelerator.wait_for_everyone()
    return load_teacher(recipe.teacher.model_copy(update={"path": str(folder)}))


def fit_and_save(recipe: TrainRecipe, folder: Path, *, console: Console | None = None,
                 device: torch.device | str = "cpu") -> None:
    """Fits the small teacher to the training split's tensors, one example a clip, and writes it.

    Raises:
        ValueError: where the shards have no teacher tensors, or a grid that does not fit.
    """
    from curate.train.teacher.fit import as_rows, fit_teacher
    from curate.train.teacher.store import save_teacher

    data = recipe.data_of(StageConfig(name="teacher")).model_copy(update={
        "teacher": True, "max_per_clip": 1, "max_questions": None, "families": None,
        "forms": ("numeric", "choice", "open")})
    clips = Examples(data, rank=0, world_size=1)
    held_out = Examples(data, split=recipe.eval.split, epochs=1, shuffle=False, rank=0, world_size=1)
    steps = recipe.teacher.fit.steps

    def progress(step: int, losses: dict[str, float]) -> None:
        if console is not None and (step % max(1, steps // 10) == 0 or step == steps):
            said = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
            console.print(f"teacher: step {step}/{steps}  {said}", markup=False, highlight=False)

    teacher, errors = fit_teacher(clips, held_out, recipe.teacher, device, progress)
    save_teacher(teacher, folder, as_rows(errors))
    for line in errors if console is not None else ():
        console.print(f"teacher, held out: {line}", markup=False, highlight=False)


def encode_and_store(recipe: TrainRecipe, *, console: Console | None = None) -> None:
    """Puts the latents of the recipe's teacher into each of its shard sets, which are replaced.

    Raises:
        ValueError: where the recipe names no teacher, or a set cannot take latents.
    """
    from curate.train.teacher.latents import store_latents
    from curate.train.teacher.store import load_teacher

    teacher = load_teacher(recipe.teacher)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(teacher, torch.nn.Module):
        teacher.to(device)
    for one in recipe.data.sets:
        def progress(done: int, total: int, path: str = one.path) -> None:
            if console is not None and (done % max(1, total // 10) == 0 or done == total):
                console.print(f"{path}: latents of {done}/{total} clips", markup=False, highlight=False)

        store_latents(one.path, teacher, recipe.data, device, progress)


__all__ = ["encode_and_store", "fit_and_save", "teacher_of", "train"]
