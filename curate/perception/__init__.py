"""Perception: estimators that fill the fields of a window, and the pipeline that runs them in order.

An estimator is named by its `kind`. Built-in ones are listed in `ESTIMATORS`; installed packages add theirs
with an entry point in the group `curate.estimators` (kind = "module:Class"). Nothing heavy is imported before
`make_estimators` is called.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.perception.config import PerceptionConfig
    from curate.perception.estimator import Estimator

GROUP = "curate.estimators"

ESTIMATORS = {
    "sgm": "curate.perception.depth.sgm:Sgm",
    "dis": "curate.perception.flow.dis:Dis",
    "stereo-vo": "curate.perception.camera.stereo_vo:StereoVo",
    "rigid-residual": "curate.perception.motion.rigid_residual:RigidResidual",
    "motion-clusters": "curate.perception.regions.motion_clusters:MotionClusters",
    "flow-chain": "curate.perception.tracks.flow_chain:FlowChain",
}


def estimator_class(kind: str) -> type:
    """The class of an estimator.

    Raises:
        ValueError: where no estimator of this kind is built in or installed.
    """
    if kind in ESTIMATORS:
        module, name = ESTIMATORS[kind].split(":")
        return getattr(import_module(module), name)
    installed = {e.name: e for e in entry_points(group=GROUP)}
    if kind in installed:
        return installed[kind].load()
    known = sorted({*ESTIMATORS, *installed})
    near = difflib.get_close_matches(kind, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no estimator of kind {kind!r}; there are {', '.join(known)}{hint}")


def make_estimators(config: PerceptionConfig) -> list[Estimator]:
    """One estimator for each slot of the configuration, in the configuration's order, not yet set up."""
    return [estimator_class(settings.kind)(settings) for settings in config.estimators().values()]


def estimator_versions(config: PerceptionConfig) -> dict[str, str]:
    """Slot to "kind@version" of every estimator of the configuration; part of the perception fingerprint."""
    return {slot: f"{settings.kind}@{estimator_class(settings.kind).version}"
            for slot, settings in config.estimators().items()}
