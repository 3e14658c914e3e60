"""Medians of draws and parts of samples: as numpy has them, and worked out only where somebody looks."""

from __future__ import annotations

import numpy as np
import pytest

from curate.measure.magnitude import Parts, by_part, median


@pytest.mark.parametrize("num", [1, 2, 3, 8, 1023, 1024])
def test_a_median_is_numpys_to_the_last_bit(num: int) -> None:
    draws = np.random.default_rng(num).standard_normal((5, num))
    assert median(draws).tolist() == np.median(draws, -1).tolist()
    assert float(median(draws[0])) == float(np.median(draws[0]))


def test_a_median_of_draws_without_end_or_value() -> None:
    draws = np.array([[np.inf, 1.0, 2.0, np.inf], [np.nan, 1.0, 2.0, 3.0], [4.0, 3.0, np.inf, np.inf],
                      [1.0, 2.0, 3.0, -np.inf]])
    np.testing.assert_array_equal(median(draws), np.median(draws, -1))


def test_parts_are_worked_out_once_and_only_when_looked_at() -> None:
    made = []

    def lengths(vectors: np.ndarray) -> np.ndarray:
        made.append(len(vectors))
        return np.linalg.norm(vectors, axis=-1)

    parts = by_part({"own": np.full((4, 3), 1.0), "pose": np.full((2, 3), 2.0)}, lengths)
    assert isinstance(parts, Parts) and not made
    assert {name: part.tolist() for name, part in parts.items()} == {
        "own": pytest.approx([3**0.5] * 4), "pose": pytest.approx([12**0.5] * 2)}
    assert list(parts) == ["own", "pose"] and len(parts) == 2
    assert made == [6]
