"""A fitted teacher on disk: teacher.safetensors, and config.json with its settings, shapes, id and report."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from curate.train.p4d_config import SmallTeacherConfig, TeacherConfig
from curate.train.teacher.base import Teacher, frozen
from curate.train.teacher.small import SmallTeacher

WEIGHTS, CONFIG, FORMAT = "teacher.safetensors", "config.json", 2


def model_id(module: torch.nn.Module) -> str:
    """Name of exactly these weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"small-{digest.hexdigest()[:16]}"


def save_teacher(teacher: SmallTeacher, folder: Path | str, report: list[dict] | None = None) -> None:
    """
    Args:
        report: lines of the held-out errors, as `fit.as_rows` gives them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: t.detach().cpu().contiguous() for n, t in teacher.state_dict().items()}, folder / WEIGHTS)
    frames = teacher.config.frames
    about = {"format": FORMAT, "kind": "small", "model_id": teacher.model_id, "latent_shape": list(teacher.grid),
             "signal_shapes": {m: [frames, *teacher.signal_size, head.channels] for m, head in teacher.heads.items()},
             "encoder": teacher.config.model_dump(), "held_out_errors": report or []}
    (folder / CONFIG).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def load_teacher(config: TeacherConfig) -> Teacher:
    """The frozen teacher that `config.path` holds.

    Raises:
        ValueError: where there is none, or one of other settings, or damaged.
    """
    if config.path is None:
        raise ValueError("teacher.path: no teacher is named; fit one with `curate train teacher RECIPE --out DIR` and "
                         "set teacher.path=DIR")
    if config.kind == "l4p":
        from curate.train.teacher.l4p import load_l4p

        return load_l4p(config.path)
    return load_small(config.path)


def load_small(folder: Path | str) -> SmallTeacher:
    """
    Raises:
        ValueError: see `load_teacher`.
    """
    folder = Path(folder)
    remedy = "fit it anew with `curate train teacher RECIPE --out DIR`, or name another with teacher.path"
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"teacher.path: {folder} has no {name}, so that it holds no fitted teacher; {remedy}")
    try:
        about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if about["kind"] != "small" or about["format"] != FORMAT:
            raise ValueError(f"kind {about['kind']!r}, format {about['format']!r}; expected 'small', {FORMAT}")
        shapes = about["signal_shapes"]
        size = tuple(next(iter(shapes.values()))[1:3])
        teacher = SmallTeacher(SmallTeacherConfig(**about["encoder"]), tuple(shapes), size)
    except (ValueError, KeyError, TypeError, StopIteration, ValidationError) as error:
        raise ValueError(f"{folder / CONFIG}: not the settings of a teacher ({error}); {remedy}") from None
    fill(teacher, folder / WEIGHTS, "the teacher that its config.json describes", remedy)
    teacher.model_id = model_id(teacher)
    if teacher.model_id != about["model_id"]:
        raise ValueError(f"{folder}: {WEIGHTS} is {teacher.model_id}, {CONFIG} is of {about['model_id']}: files of two "
                         f"teachers, or a damaged one; {remedy}")
    return frozen(teacher)


def fill(module: torch.nn.Module, file: Path, who: str, remedy: str) -> None:
    """Fills `module` from a safetensors file: the same names and shapes, none more, none less.

    Raises:
        ValueError: where the file is damaged or of another module than `who`; ends with `remedy`.
    """
    try:
        state = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: cannot be read as safetensors ({error}); {remedy}") from None
    own = module.state_dict()
    wrong = [f"{n} is missing" for n in own if n not in state]
    wrong += [f"{n} is not known" for n in state if n not in own]
    wrong += [f"{n} has shape {list(state[n].shape)} instead of {list(own[n].shape)}" for n in own
              if n in state and state[n].shape != own[n].shape]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{file}: weights of another module than {who}: {'; '.join(wrong[:3])}{more}; {remedy}")
    module.load_state_dict(state, strict=True)
