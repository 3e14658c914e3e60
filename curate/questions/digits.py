"""Rounding to the digits an error supports.

The number of significant digits follows from the *relative* error alone, and the same number is used for every
option of an item: digits that followed the truth's own size would tell which option it is.
"""

from __future__ import annotations

import math

MIN_DIGITS, MAX_DIGITS = 2, 4


def significant_digits(relative_error: float) -> int:
    """2 from 5 % on, 3 from 0.5 % on, else 4: rounding then moves a value by no more than its 95 % half-width.

    >>> significant_digits(0.12), significant_digits(0.02)
    (2, 3)
    """
    if not relative_error > 0:
        return MAX_DIGITS
    # the small slack keeps 0.05 itself on one side on every machine
    needed = 1 + math.ceil(-math.log10(2 * relative_error) - 1e-9)
    return min(max(needed, MIN_DIGITS), MAX_DIGITS)


def decimals(value: float, num_digits: int) -> int:
    """Decimal places (negative: tens, hundreds) that leave `num_digits` significant digits of `value`."""
    return num_digits - 1 - math.floor(math.log10(abs(value))) if value else num_digits - 1


def round_to(value: float, num_digits: int) -> float:
    """
    >>> round_to(9.96, 2), round_to(0.12345, 3), round_to(1234.0, 2)
    (10.0, 0.123, 1200.0)
    """
    return round(value, decimals(value, num_digits)) + 0.0 if math.isfinite(value) else value


def step(value: float, num_digits: int) -> float:
    """The unit of the last digit kept."""
    return 10.0 ** -decimals(round_to(value, num_digits), num_digits)


def text(value: float, num_digits: int) -> str:
    """
    >>> text(9.96, 2), text(0.5, 2), text(-3.0, 2)
    ('10', '0.50', '-3.0')
    """
    value = round_to(value, num_digits)
    return f"{value:.{max(decimals(value, num_digits), 0)}f}"


def settle(value: float) -> float:
    """6 significant digits: floating-point noise goes before any threshold is compared."""
    return float(f"{value:.6g}")
