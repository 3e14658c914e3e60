"""What can be watched while it trains: a log of every term, TensorBoard, a line of progress."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console

    from curate.train.config import WatchConfig

LOG = "log.jsonl"
NUM_PLAIN_LINES = 20  # of progress where there is no terminal
TIMES = ("seconds", "wait_seconds")


class Watch:
    """Of one run. A context manager; without a console it is silent, with `main` false it does nothing at all.

    Args:
        run: the run's folder.
        num_steps: of all stages.
        done: steps that were made before, when a run goes on; what was logged after them is dropped.
        main: whether this process is the one that writes.
    """

    def __init__(self, run: Path, config: WatchConfig, num_steps: int, done: int = 0, *, main: bool = True,
                 console: Console | None = None) -> None:
        self.run, self.config, self.num_steps, self.done, self.main = run, config, num_steps, done, main
        self.console = console if main else None
        self._log = self._board = self._progress = self._task = None

    def __enter__(self) -> Watch:
        if not self.main:
            return self
        self.run.mkdir(parents=True, exist_ok=True)
        keep_until(self.run / LOG, self.done)
        self._log = (self.run / LOG).open("a", encoding="utf-8")
        if self.config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.run / "tensorboard"), purge_step=self.done + 1 if self.done else None)
        if self.console is not None and self.console.is_terminal:
            self._progress = _progress(self.console)
            self._task = self._progress.add_task("train", total=self.num_steps, completed=self.done, said="")
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        for part in (self._log, self._board):
            if part is not None:
                part.close()
        if self._progress is not None:
            self._progress.stop()

    def step(self, record: Mapping[str, Any], last: bool = False) -> None:
        """Takes a step's record.

        Args:
            record: {"step": 1, 2, .. over all stages, "stage", "lr", "loss", .. every term at its natural scale,
                "grad_norm", and the times of `TIMES`}.
            last: of its stage; logged whatever `log_every` says.
        """
        if not self.main:
            return
        number = record["step"]
        if number % self.config.log_every == 0 or last:
            self._log.write(json.dumps(record) + "\n")
            self._log.flush()
            if self._board is not None:
                for name, value in record.items():
                    if isinstance(value, float):
                        group = "time" if name in TIMES else "optim" if name in ("lr", "grad_norm") else "loss"
                        self._board.add_scalar(f"{group}/{name}", value, number)
        said = f"{record['stage']}: loss {record['loss']:.4g}"
        if self._progress is not None:
            self._progress.update(self._task, completed=number, said=said)
        elif self.console is not None and (number % max(1, self.num_steps // NUM_PLAIN_LINES) == 0 or last):
            self.console.print(f"step {number}/{self.num_steps}  {said}  {record['seconds']:.2f} s a step",
                               markup=False, highlight=False)

    def accuracy(self, step: int, rows: Mapping[str, float]) -> None:
        """Shares right by name ("all", families), to TensorBoard."""
        for name, value in rows.items() if self._board is not None else ():
            self._board.add_scalar(f"accuracy/{name}", value, step)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Writes RUN/pictures/{name}-{step}.png and shows it in TensorBoard. pixels: uint8 [H, W, 3]."""
        if not self.main:
            return
        from PIL import Image

        folder = self.run / "pictures"
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{name}-{step:06d}.png")
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def say(self, text: Any) -> None:
        if self.console is not None:
            self.console.print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))


def _progress(console: Console) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.2f} steps/s" if task.speed else "")

    return Progress(TextColumn("{task.fields[said]}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn(),
                    TextColumn("left:"), TimeRemainingColumn(), console=console)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log, without a last line that was cut."""
    out = []
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            out.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return out


def keep_until(path: Path, step: int) -> None:
    """Drops what a log says of later steps, in one rename: a run that goes on makes them again."""
    if path.is_file():
        temp = path.with_name(f".{path.name}.partial")
        with temp.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(r) + "\n" for r in read_log(path) if r["step"] <= step)
            file.flush()
            os.fsync(file.fileno())
        temp.rename(path)
