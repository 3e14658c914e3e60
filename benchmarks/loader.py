"""Can the loader keep up: batches that it makes while a training step takes one.

    python -m benchmarks.loader SET [--split train] [--size 64] [--patch 16] [--frames 16] [--batch 8] [--out rows.json]

A step is forward, backward and optimiser of the student, in plain SFT: the least that any strategy consumes. Both are
measured alone and in turns, so that a busy machine slows both. The loader starts without any clip kept, and is measured
twice: one question of each clip, so that every frame is decoded for its batch, and the first batches as training gets
them, in which the pool's clips are decoded too. Processor time counts all its threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.table import Row, at_least, report, row

if TYPE_CHECKING:
    from curate.train.data import Batch, Examples
    from curate.train.data_config import DataConfig
    from curate.train.students import Student

MIN_RATIO = 3.0


def loader_rows(config: DataConfig, student: Student, *, step: Callable[[Batch], Any] | None = None,
                num_batches: int = 16, num_steps: int = 5) -> list[Row]:
    """
    Args:
        config: the data, as the recipe has it.
        student: on the device that it trains on.
        step: one training step, all of its work done when it returns; default: SFT of the student with AdamW.
        num_batches: of each measurement. num_steps: whose median is taken.
    """
    import torch

    from curate.train.data import Examples

    step = step or sft_step(student)
    one_each = config.model_copy(update={"max_per_clip": 1, "max_questions": None})  # so that every clip is decoded
    given = {"cold": one_each, "as it comes": config}
    batches = list(islice(iter(Examples(config, student.processor)), num_steps))
    step(batches[0].to(student.device))  # what is made once
    seconds: dict[str, list[float]] = {"cold": [], "step": [], "as it comes": []}
    threads: dict[str, list[float]] = {"cold": [], "as it comes": []}
    for turn in range(num_steps):
        for name in given if turn in (0, num_steps // 2) else ():
            examples = Examples(given[name], student.processor)  # a new one keeps no clips
            num = min(num_batches, max(1, examples.num_questions // config.batch_size))
            wall, cpu = _timed(examples, num)
            seconds[name].append(wall)
            threads[name].append(cpu)
        begin = time.perf_counter()
        step(batches[turn % len(batches)].to(student.device))
        seconds["step"].append(time.perf_counter() - begin)
    a_step, a_cold, a_batch = median(seconds["step"]), min(seconds["cold"]), min(seconds["as it comes"])
    what = f"{config.batch_size} questions of {config.frames or 'all'} frames"
    tokens = batches[0].inputs["input_ids"].shape[1]
    return [
        row(f"step: {what}, {tokens} tokens each, on {torch.device(student.device).type}", 1000 * a_step, "ms"),
        row("loader: a batch, every clip decoded for it", 1000 * a_cold, "ms"),
        row("loader: the same, processor time of all threads", 1000 * min(threads["cold"]), "ms"),
        row("loader: a batch as training gets them", 1000 * a_batch, "ms"),
        row("loader: the same, processor time of all threads", 1000 * min(threads["as it comes"]), "ms"),
        row("batches while a step takes one, every clip decoded", a_step / a_cold, "×"),
        at_least("batches while a step takes one, as training gets them", a_step / a_batch, "×", MIN_RATIO)]


def _timed(examples: Examples, num_batches: int) -> tuple[float, float]:
    """(seconds, processor seconds) a batch, of the first ones from nothing made ahead."""
    begin, cpu = time.perf_counter(), time.process_time()
    for count, _ in enumerate(examples, 1):
        if count == num_batches:
            break
    return (time.perf_counter() - begin) / num_batches, (time.process_time() - cpu) / num_batches


def sft_step(student: Student) -> Callable[[Batch], None]:
    """Forward, backward and AdamW of what the student trains."""
    import torch

    parameters = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)
    student.model.train()

    def step(batch: Batch) -> None:
        with torch.autocast(student.device.type, torch.bfloat16, enabled=student.device.type == "cuda"):
            loss = student.forward(batch.inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()  # waits for the device

    return step


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="a shard set or a run's folder")
    parser.add_argument("--split", default="train")
    parser.add_argument("--teacher", action="store_true", help="with the set's teacher tensors")
    parser.add_argument("--student", help="a checkpoint's folder; default: the tiny student of --size and --patch")
    for name, value in (("size", 64), ("patch", 16), ("frames", 16), ("batch", 8), ("workers", 2), ("batches", 16)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", help="the figures as JSON")
    given = parser.parse_args(arguments)

    import torch

    from curate.train.data_config import DataConfig
    from curate.train.students import StudentConfig, TinyConfig, load_student

    tiny = {"tiny": TinyConfig(image_size=given.size, patch_size=given.patch)}
    student = load_student(StudentConfig(**({"name_or_path": given.student} if given.student else tiny)))
    student.model.to("cuda" if torch.cuda.is_available() else "cpu")
    config = DataConfig(sets=given.set, split=given.split, frames=given.frames, image_size=(given.size, given.size),
                        batch_size=given.batch, teacher=given.teacher, workers=given.workers, short_clips="skip")
    return report("Loader", loader_rows(config, student, num_batches=given.batches), given.out)


if __name__ == "__main__":
    sys.exit(main())
