"""How much depth a student's visual tokens hold: a linear probe, fitted on training clips, tried on others.

The student is frozen. From the hidden states that its language model has of each visual token, ridge regression tells
the log depth of every cell of the teacher's grid that the token covers. Question and answer come after the visual
tokens, so they have no part in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PENALTIES = tuple(10.0**k for k in range(-2, 6))  # of standardised features, in units of a row
KEPT_BACK = 0.2  # share of the training clips that chooses the penalty


@dataclass(frozen=True)
class Rows:
    """Tokens of clips. x: [R, D] hidden states; depth: [R, K] metres in the cells of a token, nan where unknown; clip:
    [R] number of the clip; names: of the clips."""

    x: np.ndarray
    depth: np.ndarray
    clip: np.ndarray
    names: list[str]


def depth_cells(depth: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Depths [.., h, w] as the cells of each token: [.., gh, gw, h/gh * w/gw].

    Raises:
        ValueError: where the grids do not divide.
    """
    (h, w), (gh, gw) = depth.shape[-2:], grid
    if h % gh or w % gw:
        raise ValueError(f"depths on {h}x{w} cells do not divide among {gh}x{gw} tokens; choose a multiple")
    parts = depth.reshape(*depth.shape[:-2], gh, h // gh, gw, w // gw)
    return np.moveaxis(parts, -3, -2).reshape(*depth.shape[:-2], gh, gw, -1)


def ridge(x: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Least squares with a penalty on the weights; each column of y [R, K] from the rows where it is known.

    Args:
        x: [R, D], standardised.

    Returns:
        [P, D + 1, K]: for each penalty the weights, and the offset as the last row.
    """
    design = with_one(x)
    out = np.zeros((len(penalties), design.shape[1], y.shape[1]))
    for k in range(y.shape[1]):
        known = np.isfinite(y[:, k])
        a = design[known]
        square, product = a.T @ a + 1e-9 * np.eye(design.shape[1]), a.T @ y[known, k]
        for i, penalty in enumerate(penalties):
            out[i, :, k] = np.linalg.solve(square + np.diag([penalty] * x.shape[1] + [0.0]), product)
    return out


def with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], 1)


def absrel(predicted: np.ndarray, true: np.ndarray, clip: np.ndarray, num_clips: int) -> np.ndarray:
    """[num_clips] mean of |predicted - true| / true over the known cells of each clip; nan where none is known."""
    error = np.abs(predicted - true) / true
    known = np.isfinite(error)
    total = np.bincount(clip, np.where(known, error, 0).sum(1), num_clips)
    count = np.bincount(clip, known.sum(1), num_clips)
    return np.divide(total, count, out=np.full(num_clips, np.nan), where=count > 0)


def probe(train: Rows, test: Rows) -> dict[str, float]:
    """Name of each test clip -> AbsRel of the probe. The penalty is chosen on training clips kept back."""
    middle, spread = train.x.mean(0), train.x.std(0) + 1e-6
    x, y = (train.x - middle) / spread, np.log(train.depth)
    back = train.clip >= (1 - KEPT_BACK) * len(train.names)
    tried = [np.nanmean(absrel(np.exp(with_one(x[back]) @ weights), train.depth[back], train.clip[back],
                               len(train.names))) for weights in ridge(x[~back], y[~back], PENALTIES)]
    (weights,) = ridge(x, y, [PENALTIES[int(np.argmin(tried))]])
    found = absrel(np.exp(with_one((test.x - middle) / spread) @ weights), test.depth, test.clip, len(test.names))
    return {name: float(value) for name, value in zip(test.names, found) if np.isfinite(value)}


def rows_of(student: Any, batches: Iterable[Any]) -> Rows:
    """Tokens and depths of clips, one question each.

    Args:
        student: frozen. batches: with inputs, times and signals.
    """
    import torch

    from curate.train.timestamps import timestamps_of

    timed, xs, depths, clips, names = timestamps_of(student.model) is not None, [], [], [], []
    student.model.eval()
    with torch.no_grad():
        for batch in batches:
            output = student.forward(batch.inputs, times_s=batch.times_s if timed else None)
            tokens = student.visual_tokens(batch.inputs, output.hidden_states[-1])  # [B, N, gh, gw, D]
            cells = depth_cells(batch.signals["depth"][..., 0].numpy(), tokens.shape[2:4])
            for token, cell, record in zip(tokens.numpy(), cells, batch.records):
                xs.append(token.reshape(-1, token.shape[-1]))
                depths.append(cell.reshape(-1, cell.shape[-1]))
                clips.append(np.full(len(xs[-1]), len(names)))
                names.append(record["recording"])
    return Rows(np.concatenate(xs).astype(np.float64), np.concatenate(depths).astype(np.float64),
                np.concatenate(clips), names)


def probed(folder: str, data: dict[str, Any], max_train: int = 300) -> dict[str, float]:
    """AbsRel by recording for the student that lies in `folder`.

    Args:
        data: the section of the recipe.
    """
    from curate.train.data import Examples
    from curate.train.data_config import DataConfig
    from curate.train.students import StudentConfig, load_student

    student = load_student(StudentConfig(name_or_path=folder))
    config = DataConfig.model_validate(data | {"teacher": True, "max_per_clip": 1, "batch_size": 16})
    train = Examples(config.model_copy(update={"max_questions": max_train}), student.processor, epochs=1, shuffle=False)
    test = Examples(config, student.processor, split=config.held_out, epochs=1, shuffle=False)
    return probe(rows_of(student, train), rows_of(student, test))
