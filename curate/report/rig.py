"""What a scene says of its own rig, as the page shows it."""

from __future__ import annotations

from typing import Any

from curate.scene import Scene


def rig_facts(scene: Scene) -> dict[str, Any] | None:
    """None where the rig was not estimated."""
    return None
