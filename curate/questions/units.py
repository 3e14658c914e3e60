"""Units of wording: conversion from the inside's metres, seconds and radians, names, and how they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """`value_in_unit = value_inside * factor`. Spellings are lower case."""

    symbol: str
    dimension: str
    factor: float
    name: str
    spellings: tuple[str, ...]

    def text(self, number: str) -> str:
        """A number with this unit: "1.2 m", "15°"; a plain one where there is none."""
        return f"{number}°" if self.symbol == "°" else f"{number} {self.symbol}".rstrip()


UNITS: dict[str, Unit] = {u.symbol: u for u in (
    Unit("m", "length", 1.0, "metres", ("m", "metre", "metres", "meter", "meters")),
    Unit("cm", "length", 100.0, "centimetres",
         ("cm", "centimetre", "centimetres", "centimeter", "centimeters")),
    Unit("mm", "length", 1000.0, "millimetres",
         ("mm", "millimetre", "millimetres", "millimeter", "millimeters")),
    Unit("km", "length", 1e-3, "kilometres", ("km", "kilometre", "kilometres", "kilometer", "kilometers")),
    Unit("ft", "length", 1 / 0.3048, "feet", ("ft", "foot", "feet")),
    Unit("m/s", "speed", 1.0, "metres per second",
         ("m/s", "mps", "m s-1", "metres per second", "meters per second", "metre per second", "meter per second")),
    Unit("km/h", "speed", 3.6, "kilometres per hour",
         ("km/h", "kmh", "kph", "kilometres per hour", "kilometers per hour")),
    Unit("mph", "speed", 3600 / 1609.344, "miles per hour", ("mph", "miles per hour")),
    Unit("°", "angle", 180 / math.pi, "degrees", ("°", "deg", "degree", "degrees")),
    Unit("rad", "angle", 1.0, "radians", ("rad", "radian", "radians")),
    Unit("s", "time", 1.0, "seconds", ("s", "sec", "secs", "second", "seconds")),
    Unit("m/s²", "acceleration", 1.0, "metres per second squared",
         ("m/s²", "m/s^2", "m/s2", "metres per second squared", "meters per second squared")),
)}
COUNT = Unit("", "count", 1.0, "", ())  # of a plain number; never written

SPELLINGS: dict[str, Unit] = {spelling: unit for unit in UNITS.values() for spelling in unit.spellings}


def convert(value: float, source: str, target: str) -> float:
    """
    Raises:
        ValueError: on an unknown unit or two units of different dimensions.

    >>> round(convert(36.0, "km/h", "m/s"), 9)
    10.0
    """
    for symbol in (source, target):
        if symbol not in UNITS:
            raise ValueError(f"unknown unit {symbol!r}; known: {', '.join(UNITS)}")
    a, b = UNITS[source], UNITS[target]
    if a.dimension != b.dimension:
        raise ValueError(f"{source!r} is a {a.dimension} and {target!r} a {b.dimension}; they do not convert")
    return value / a.factor * b.factor
