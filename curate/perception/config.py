"""Settings of perception as a whole: one estimator for each slot, and how the clip is cut into windows."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from curate.lift.config import LiftConfig
from curate.perception.camera.config import StereoVoConfig
from curate.perception.depth.config import SgmConfig
from curate.perception.flow.config import DisConfig
from curate.perception.ground.config import GroundConfig
from curate.perception.learned.config import GmflowFlowConfig, GmflowStereoConfig, YoloxConfig
from curate.perception.motion.config import RigidResidualConfig
from curate.perception.multiview.config import ViewsConfig
from curate.perception.regions.config import MotionClustersConfig
from curate.perception.rig.config import RigConfig
from curate.perception.tracks.config import FlowChainConfig


class PluginConfig(BaseModel):
    """Settings of an estimator from another package: its kind, and whatever it wants to be told."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)


def _slot(*models: type[BaseModel]):
    """The model whose kind it is (the first where none is named), else a plug-in; so that a misspelt key is reported
    once."""
    own = [model.model_fields["kind"].default for model in models]

    def tag(value: Any) -> str:
        kind = value.get("kind", own[0]) if isinstance(value, dict) else getattr(value, "kind", own[0])
        return kind if kind in own else "plug-in"

    members = [Annotated[model, Tag(kind)] for model, kind in zip(models, own)]
    return Annotated[reduce(or_, [*members, Annotated[PluginConfig, Tag("plug-in")]]), Discriminator(tag)]


class PerceptionConfig(BaseModel):
    """Which estimators fill the fields. A slot whose fields the source gives is not run."""

    model_config = ConfigDict(extra="forbid")

    depth: _slot(SgmConfig, GmflowStereoConfig) = Field(default_factory=SgmConfig)
    flow: _slot(DisConfig, GmflowFlowConfig) = Field(default_factory=DisConfig)
    camera: _slot(StereoVoConfig) = Field(default_factory=StereoVoConfig)
    motion: _slot(RigidResidualConfig) = Field(default_factory=RigidResidualConfig)
    regions: _slot(MotionClustersConfig) = Field(default_factory=MotionClustersConfig)
    tracks: _slot(FlowChainConfig) = Field(default_factory=FlowChainConfig)
    detector: _slot(YoloxConfig) | None = Field(None, description="names the regions; none: they have marks alone")
    ground: GroundConfig | None = Field(None, description="one camera without depth; none: as its settings default")
    multiview: ViewsConfig | None = Field(None, description="several calibrated views, no rectified pair; none: as its "
                                                            "settings default")
    rig: RigConfig = Field(default_factory=RigConfig)
    lift: LiftConfig = Field(default_factory=LiftConfig)
    window: int = Field(8, ge=2, le=256, description="frames whose dense fields are held at once")

    def estimators(self) -> dict[str, BaseModel]:
        """Slot name to settings, in the order they are listed; without empty slots."""
        slots = {name: getattr(self, name) for name in ("depth", "flow", "camera", "motion", "regions", "tracks",
                                                        "detector")}
        return {name: settings for name, settings in slots.items() if settings is not None}
