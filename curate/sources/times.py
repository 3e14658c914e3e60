"""Times of frames from text files, and whether two cameras were in step."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from curate.sources.base import BadInput

NANOSECOND_DIGITS = 16  # an integer this long is nanoseconds since 1970, not seconds
MIN_STEP_NS = 20_000  # 50,000 frames a second; containers' clocks tell no less apart
LATEST_NS = 2**62  # 146 years: what differences of 64-bit integers still hold


def read_times(path: Path) -> np.ndarray:
    """[T] int64 nanoseconds: the first column of each line, seconds or (integers of 16 digits up) nanoseconds.

    Blank lines and lines that start with # are skipped; columns end at a comma or a space.

    Raises:
        BadInput: no such file, a line that is no finite number, or times that do not increase.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot read timestamps: {error}") from error
    times = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word = re.split(r"[,\s]+", line.strip())[0]
        try:
            value = Decimal(word)
            is_nanoseconds = word.lstrip("+-").isdigit() and len(word.lstrip("+-")) >= NANOSECOND_DIGITS
            value = value if is_nanoseconds or not value.is_finite() else value * 10**9
            if not value.is_finite() or abs(value) > LATEST_NS:
                raise InvalidOperation
        except InvalidOperation:
            shown = word if len(word) <= 40 else f"{word[:40]}..."
            raise BadInput(f"{path}:{number}: found {shown!r}, expected seconds or nanoseconds") from None
        times.append(int(value.to_integral_value()))
    times = np.asarray(times, np.int64)
    check_increasing(times, str(path))
    return times


def check_increasing(times_ns: np.ndarray, where: str) -> None:
    """
    Raises:
        BadInput: where a time is not later than the one before, or by less than any camera needs.
    """
    steps = np.diff(times_ns)
    if len(steps) and 0 < steps.min() < MIN_STEP_NS:
        i = int(np.argmin(steps))
        raise BadInput(f"{where}: times {i} and {i + 1} are {steps[i]} ns apart, expected at least {MIN_STEP_NS} ns; "
                       "are they in seconds (or whole nanoseconds)?")
    if len(steps) and steps.min() <= 0:
        i = int(np.argmax(steps <= 0))
        raise BadInput(f"{where}: time {i + 1} ({times_ns[i + 1] * 1e-9:.6f} s) is not after time {i} "
                       f"({times_ns[i] * 1e-9:.6f} s), expected increasing times")


def times_of_names(paths: list[Path]) -> np.ndarray | None:
    """[T] nanoseconds where every file is named by its time (EuRoC, TUM-VI), else None."""
    if paths and all(p.stem.isdigit() and len(p.stem) >= NANOSECOND_DIGITS for p in paths):
        return np.asarray([int(p.stem) for p in paths], np.int64)
    return None


def check_in_step(left_ns: np.ndarray, right_ns: np.ndarray, where: str) -> None:
    """Left and right are the same instants to within half a frame (half the median interval).

    Raises:
        BadInput: otherwise; names the first frame that is not, and says whether it is an offset or a drift.
    """
    if len(left_ns) < 2:
        return
    interval = float(np.median(np.diff(left_ns)))
    gap = (right_ns - left_ns).astype(float)
    bad = np.abs(gap) > interval / 2
    if bad.any():
        i = int(np.argmax(bad))
        drift = " growing" if abs(gap[-1] - gap[0]) > interval / 4 else ""
        raise BadInput(f"{where}: left and right are out of step: at frame {i} the right one is "
                       f"{gap[i] * 1e-6:+.2f} ms from the left one{drift}, expected within half a frame "
                       f"({interval / 2 * 1e-6:.2f} ms)")
