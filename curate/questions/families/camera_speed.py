"""How fast the camera moves, m/s: mean speed (arc length of its smoothed path over the time, as `camera_path_length`)
and peak speed (at the fastest frame of that path). World frame, optical centre. Asked of a camera that clearly moves,
as a number (MRA) and as a choice of numbers (accuracy).
"""

from __future__ import annotations

from curate.questions.families.speed import speed_families
from curate.questions.phrases import WORLD

FAMILIES = speed_families("camera", 0, WORLD.split(",")[0])
