"""Times of frames from text files, and whether two cameras were in step."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from itertools import pairwise
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


def check_numbers(paths: list[Path]) -> None:
    """Frames that only a rate gives times to must be all there: a missing number would shift all later times.

    Raises:
        BadInput: where names are numbered evenly but for a gap; names it.
    """
    last = [re.findall(r"\d+", p.stem)[-1:] for p in paths]
    numbers = [int(found[0]) for found in last if found]
    if len(numbers) < max(len(paths), 3):
        return
    steps = [b - a for a, b in pairwise(numbers)]
    usual = min(steps)
    if usual <= 0 or 2 * steps.count(usual) < len(steps) or any(s % usual for s in steps):
        return  # the numbers count something else
    i = next((i for i, step in enumerate(steps) if step != usual), None)
    if i is not None:
        raise BadInput(f"{paths[i + 1]}: follows {paths[i].name}, {steps[i] // usual - 1} frames are missing between "
                       "them; with fps alone all later times would be wrong: give timestamps (a file)")


def pair_by_time(left_ns: np.ndarray, right_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames that are each other's nearest in time, within half a frame (half the median interval).

    Args:
        left_ns: [T] increasing. right_ns: [U] increasing.

    Returns: indices [n] of the left and of the right camera, increasing.
    """
    def nearest(of: np.ndarray, among: np.ndarray) -> np.ndarray:
        after = np.clip(np.searchsorted(among, of), 1, len(among) - 1) if len(among) > 1 else np.zeros(len(of), int)
        before = np.maximum(after - 1, 0)
        return np.where(of - among[before] <= among[after] - of, before, after)

    to_right, to_left = nearest(left_ns, right_ns), nearest(right_ns, left_ns)
    mutual = to_left[to_right] == np.arange(len(left_ns))
    interval = min(float(np.median(np.diff(t))) if len(t) > 1 else np.inf for t in (left_ns, right_ns))
    left = np.flatnonzero(mutual & (np.abs(right_ns[to_right] - left_ns) <= interval / 2))
    return left, to_right[left]


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
                       f"({interval / 2 * 1e-6:.2f} ms); where one camera lost frames, say pairing: time")
