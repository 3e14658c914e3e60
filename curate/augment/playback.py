"""Playback rate: every time is divided by it, nothing else changes. Speeds are multiplied by it, distances kept."""

from __future__ import annotations

from dataclasses import replace

from curate.augment.variant import renamed, variant_of
from curate.scene import Scene


def playback(scene: Scene, rate: float) -> Scene:
    """The scene played `rate` times as fast. Undone by the inverse rate.

    Args:
        rate: 2 is twice as fast.

    Raises:
        ValueError: where the clip's rate would not be one of a `Variant`.
    """
    before = variant_of(scene)
    variant = replace(before, rate=round(before.rate * rate, 9))
    start = scene.time_s[0]
    return renamed(replace(scene, time_s=start + (scene.time_s - start) / rate), variant)
