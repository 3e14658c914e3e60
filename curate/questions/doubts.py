"""What about a clip makes its answers few or doubtful: said once, at the end of a run and beside the clip."""

from __future__ import annotations

import numpy as np

from curate.questions.given import GIVEN
from curate.scene import Scene

MOST_BESIDE_PX = 3.0  # of depth beside its colour: more is not registered
LEAST_DEPTH = 0.4  # share of the pixels, of which 0.6 to 0.95 are known where all is well
LEAST_FLOW = 0.3  # a camera that drives ahead loses half of it
LEAST_REGIONS = 2  # of those a clip's motion is asked about; many more are seen for moments only


def doubts(scene: Scene) -> list[str]:
    """Sentences without a full stop, the gravest first; empty for a clip as it should be."""
    if scene.origin.get("conversations") == GIVEN:
        return []  # nothing was to be measured
    rig, stats = scene.rig, scene.stats
    out = [rig.warning] if rig is not None and rig.warning else []
    lost = int((~scene.camera_valid).sum())
    if lost:
        out.append(f"the camera's motion is unknown in {lost} of {scene.num_frames} frames")
    if (share := stats.get("valid_disparity", np.nan)) < LEAST_DEPTH:
        out.append(f"depth is known in {100 * share:.0f} % of the pixels, less than {100 * LEAST_DEPTH:.0f} %"
                   + (": are the views rectified, synchronous and not swapped?" if scene.baseline_m else ""))
    if (error_px := stats.get("registration_error_px", 0.0)) > MOST_BESIDE_PX:
        out.append(f"depth is not registered to colour and may lie {error_px:.0f} px beside its pixel: it is left out "
                   f"near edges and less sure on slants")
    if (share := stats.get("valid_flow", np.nan)) < LEAST_FLOW:
        out.append(f"flow is known in {100 * share:.0f} % of the pixels, less than {100 * LEAST_FLOW:.0f} %: do frames "
                   f"follow each other closely?")
    if len(scene.regions) < LEAST_REGIONS:
        seen = f" of {stats['regions_seen']:.0f} seen" if stats.get("regions_seen") else ""
        out.append(f"{len(scene.regions) or 'no'} region{seen} could be measured: few questions beside the camera's")
    return out
