"""How much depth a student's visual tokens hold: a linear probe, fitted on training clips, tried on others.

The student is frozen. From the hidden states that its language model has of each visual token, ridge regression tells
the log depth of every cell of the teacher's grid that the token covers. Question and answer come after the visual
tokens, so they have no part in it. The probe is told where in the picture a token is (an offset for each place): what
counts is what the student saw, not where.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.p4d_arms import HELD_OUT

PENALTIES = tuple(10.0**k for k in range(-2, 6))  # of standardised features, in units of a row
KEPT_BACK = 0.2  # share of the training clips that chooses the penalty


@dataclass(frozen=True)
class Rows:
    """Tokens of clips. x: [R, D] hidden states; depth: [R, K] metres in the cells of a token, nan where unknown; place:
    [R] which token of its frame; clip: [R] number of the clip; names: of the clips' recordings."""

    x: np.ndarray
    depth: np.ndarray
    place: np.ndarray
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


def ridge(x: np.ndarray, place: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Least squares with a penalty on the weights of x; each column of y [R, K] from the rows where it is known.

    Args:
        x: [R, D], standardised. place: [R] which offset a row has.

    Returns:
        [P, D + places, K]: for each penalty the weights, then the offsets.
    """
    design = with_places(x, place)
    places = design.shape[1] - x.shape[1]
    out = np.zeros((len(penalties), design.shape[1], y.shape[1]))
    for k in range(y.shape[1]):
        known = np.isfinite(y[:, k])
        a = design[known]
        square, product = a.T @ a + 1e-9 * np.eye(design.shape[1]), a.T @ y[known, k]
        for i, penalty in enumerate(penalties):
            out[i, :, k] = np.linalg.solve(square + np.diag([penalty] * x.shape[1] + [0.0] * places), product)
    return out


def with_places(x: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.eye(place.max() + 1)[place]], 1)


def absrel(predicted: np.ndarray, true: np.ndarray, clip: np.ndarray, num_clips: int) -> np.ndarray:
    """[num_clips] mean of |predicted - true| / true over the known cells of each clip; nan where none is known."""
    error = np.abs(predicted - true) / true
    known = np.isfinite(error)
    total = np.bincount(clip, np.where(known, error, 0).sum(1), num_clips)
    count = np.bincount(clip, known.sum(1), num_clips)
    return np.divide(total, count, out=np.full(num_clips, np.nan), where=count > 0)


def probe(train: Rows, test: Rows) -> tuple[dict[str, float], dict[str, float]]:
    """Name of each test recording -> AbsRel of the probe; and that of the offsets alone, no token read. The penalty is
    chosen on training clips kept back."""
    middle, spread = train.x.mean(0), train.x.std(0) + 1e-6
    x, y, usual = (train.x - middle) / spread, np.log(train.depth), np.nanmean(np.log(train.depth))
    back = train.clip >= (1 - KEPT_BACK) * len(train.names)

    def told(rows: Rows, seen: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return absrel(np.exp(usual + with_places(seen, rows.place) @ weights), rows.depth, rows.clip, len(rows.names))

    kept = replace(train, depth=train.depth[back], place=train.place[back], clip=train.clip[back])
    tried = [np.nanmean(told(kept, x[back], weights))
             for weights in ridge(x[~back], train.place[~back], y[~back] - usual, PENALTIES)]
    (weights,) = ridge(x, train.place, y - usual, [PENALTIES[int(np.argmin(tried))]])
    (offsets,) = ridge(x[:, :0], train.place, y - usual, [0.0])
    return (by_recording(told(test, (test.x - middle) / spread, weights), test.names),
            by_recording(told(test, test.x[:, :0], offsets), test.names))


def by_recording(values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Mean of the known values of each name's clips."""
    found: dict[str, list[float]] = {}
    for name, value in zip(names, values):
        if np.isfinite(value):
            found.setdefault(name, []).append(float(value))
    return {name: float(np.mean(of_name)) for name, of_name in found.items()}


def rows_of(student: Any, batches: Iterable[Any]) -> Rows:
    """Tokens and depths of clips, one question each.

    Args:
        student: frozen. batches: with inputs, times and signals.
    """
    import torch

    from curate.train.timestamps import timestamps_of

    timed, names = timestamps_of(student.model) is not None, []
    xs, depths, places, clips = [], [], [], []
    student.model.eval()
    with torch.no_grad():
        for batch in batches:
            output = student.forward(batch.inputs, times_s=batch.times_s if timed else None)
            tokens = student.visual_tokens(batch.inputs, output.hidden_states[-1])  # [B, N, gh, gw, D]
            cells = depth_cells(batch.signals["depth"][..., 0].numpy(), tokens.shape[2:4])
            for token, cell, record in zip(tokens.numpy(), cells, batch.records):
                xs.append(token.reshape(-1, token.shape[-1]))
                depths.append(cell.reshape(-1, cell.shape[-1]))
                places.append(np.tile(np.arange(cell.shape[1] * cell.shape[2]), len(cell)))
                clips.append(np.full(len(xs[-1]), len(names)))
                names.append(record["recording"])
    return Rows(np.concatenate(xs).astype(np.float64), np.concatenate(depths).astype(np.float64),
                np.concatenate(places), np.concatenate(clips), names)


def probed(folder: str, data: dict[str, Any], max_train: int = 300) -> tuple[dict[str, float], dict[str, float]]:
    """See `probe`, for the student that lies in `folder`.

    Args:
        data: the section of the recipe.
    """
    from curate.train.data import Examples
    from curate.train.data_config import DataConfig
    from curate.train.students import StudentConfig, load_student

    student = load_student(StudentConfig(name_or_path=folder))
    config = DataConfig.model_validate(data | {"teacher": True, "max_per_clip": 1, "batch_size": 16})
    train = Examples(config.model_copy(update={"max_questions": max_train}), student.processor, epochs=1, shuffle=False)
    test = Examples(config, student.processor, split=HELD_OUT, epochs=1, shuffle=False)
    return probe(rows_of(student, train), rows_of(student, test))
