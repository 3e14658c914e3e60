"""Perception: estimators that fill the fields of a window, and the pipeline that runs them in order.

An estimator is named by its `kind`; a network that serves several slots, by its settings' `estimator`. Built-in ones
are listed in `ESTIMATORS`; installed packages add theirs with an entry point in the group `curate.estimators`
(kind = "module:Class"). Nothing heavy is imported before `make_estimators` is called.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from curate.perception.config import PerceptionConfig
    from curate.perception.estimator import Estimator

GROUP = "curate.estimators"
RIG_VERSION = "4"  # of the rig's self-check, which runs before the estimators

ESTIMATORS = {
    "sgm": "curate.perception.depth.sgm:Sgm",
    "gmflow-stereo": "curate.perception.depth.gmflow:GmflowStereo",
    "dis": "curate.perception.flow.dis:Dis",
    "gmflow-flow": "curate.perception.flow.gmflow:GmflowFlow",
    "stereo-vo": "curate.perception.camera.stereo_vo:StereoVo",
    "rgbd-vo": "curate.perception.camera.rgbd_vo:RgbdVo",
    "rigid-residual": "curate.perception.motion.rigid_residual:RigidResidual",
    "motion-clusters": "curate.perception.regions.motion_clusters:MotionClusters",
    "flow-chain": "curate.perception.tracks.flow_chain:FlowChain",
    "yolox": "curate.perception.regions.yolox:Yolox",
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
    """One estimator for each slot of the configuration, in the configuration's order, not yet set up. One without a
    sigma of its own comes wrapped in the calibrator."""
    from curate.perception.calibrator import Calibrated

    made = [estimator_class(_name(settings))(settings) for settings in config.estimators().values()]
    return [Calibrated(e) if getattr(e, "sigma_by_calibrator", False) else e for e in made]


def _name(settings: BaseModel) -> str:
    return getattr(settings, "estimator", settings.kind)


def estimator_versions(config: PerceptionConfig) -> dict[str, str]:
    """Slot to "kind@version" of every estimator of the configuration; part of the perception fingerprint."""
    from curate.lift.track_error import VERSION as LIFT_VERSION
    from curate.perception.camera.rgbd_vo import RgbdVo
    from curate.perception.ground import VERSION as GROUND_VERSION
    from curate.perception.multiview import VERSION as VIEWS_VERSION

    return {slot: f"{_name(settings)}@{estimator_class(_name(settings)).version}"
            for slot, settings in config.estimators().items()} | {
                "rig": f"{config.rig.kind}@{RIG_VERSION}", "lift": f"lift@{LIFT_VERSION}",
                  "camera of one view": f"{RgbdVo.name}@{RgbdVo.version}",
                "one view without depth": f"ground@{GROUND_VERSION}",
                "several views": f"multiview@{VIEWS_VERSION}"}


def check_estimators(config: PerceptionConfig) -> None:
    """What can be known of the estimators before anything runs.

    Raises:
        ValueError: an unknown kind. BadInput: a file of weights that is missing or of another kind.
        ModuleNotFoundError: a package that is not installed, with the line that installs it.
    """
    for settings in config.estimators().values():
        if check := getattr(estimator_class(_name(settings)), "check", None):
            check(settings)


def weight_digests(config: PerceptionConfig) -> dict[str, str]:
    """Slot to sha256 of its file of weights, of the slots that have one; part of the perception fingerprint."""
    from curate.perception.learned.weights import digest

    return {slot: digest(settings.weights) for slot, settings in config.estimators().items()
            if hasattr(settings, "weights")}


def estimator_packages(config: PerceptionConfig) -> set[str]:
    """Python packages that these estimators need beyond those of every run."""
    return {package for settings in config.estimators().values()
            for package in getattr(estimator_class(_name(settings)), "packages", ())}
