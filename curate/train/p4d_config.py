"""Settings of the teacher and of the strategies (sft, concat, pe, coords, p4d). Imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Signal = Literal["depth", "flow", "motion", "camray"]
SIGNALS: tuple[Signal, ...] = ("depth", "flow", "motion", "camray")
StrategyName = Literal["sft", "concat", "pe", "coords", "p4d"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignalWeights(Strict):
    """Weight of each signal inside the explicit term."""

    depth: float = Field(1.0, ge=0)
    flow: float = Field(0.1, ge=0)
    motion: float = Field(0.05, ge=0)
    camray: float = Field(0.05, ge=0)


# What the 4D-RGPT paper states (arXiv 2512.17012), and what the code it released does instead. There the explicit
# weights stand alone, so that their common factor is 1.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "decoder": "mlp", "hidden": 2560, "latent_weight": 0.5, "latent_loss": "smooth-l1", "explicit_weight": 0.1,
        "weights": {"depth": 1.0, "flow": 0.1, "motion": 0.05, "camray": 0.05}, "depth_space": "log",
    },
    "released-code": {
        "decoder": "linear", "hidden": 2560, "latent_weight": 0.01, "latent_loss": "mse", "explicit_weight": 1.0,
        "weights": {"depth": 0.1, "flow": 0.001, "motion": 0.01, "camray": 1e-5}, "depth_space": "log",
    },
}


class P4DConfig(Strict):
    """Perceptual 4D distillation: L = L_SFT + latent_weight L_LD + explicit_weight sum over m of weights[m] L_m.

    A preset fills the fields that are left out; what is written beside it wins. Latent only: `signals: []`; explicit
    only: `latent_weight: 0`.
    """

    preset: Literal["paper", "released-code"] = Field("paper", description="fills the fields that are left out")
    decoder: Literal["mlp", "linear"] = Field("mlp", description="from the student's width to the teacher's: an MLP of "
                                                                 "three layers, or one linear map")
    hidden: int = Field(2560, ge=1, description="width of the MLP's two hidden layers")
    latent_weight: float = Field(0.5, ge=0, description="0: no latent distillation")
    latent_loss: Literal["smooth-l1", "mse"] = "smooth-l1"
    explicit_weight: float = Field(0.1, ge=0, description="common factor of the signals' weights")
    signals: list[Signal] = Field(list(SIGNALS), description="signals distilled through the teacher's frozen heads")
    weights: SignalWeights = SignalWeights()
    depth_space: Literal["log", "inverse", "metres"] = Field(
        "log", description="what depths are compared as: in log a relative error counts the same near and far")
    targets: Literal["shards", "teacher"] = Field(
        "shards", description="targets of the signals: measured ones where known, or what the teacher decodes itself")
    latents: Literal["teacher", "shards"] = Field(
        "teacher", description="the teacher's latents: computed while training, or read from the shards")
    layer: int = Field(-1, description="which of the student's hidden states are distilled; -1 is the last")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = PRESETS.get(given.get("preset", "paper"))
        if preset is None:
            return given  # the field's own error names the choices
        weights = given.get("weights", {})
        if isinstance(weights, dict):
            given = {**given, "weights": {**preset["weights"], **weights}}
        return {**preset, **given}

    @model_validator(mode="after")
    def _distils_something(self) -> P4DConfig:
        explicit = self.explicit_weight > 0 and any(getattr(self.weights, m) > 0 for m in self.signals)
        if not self.latent_weight and not explicit:
            raise ValueError("p4d without a latent and without an explicit term is plain sft: write name: sft, or give "
                             "latent_weight > 0, or signals with weights > 0")
        if len(set(self.signals)) < len(self.signals):
            raise ValueError(f"signals {self.signals} names one twice")
        return self


class CoordsConfig(Strict):
    """Fourier features of each visual token's metric place and time."""

    bands: int = Field(8, ge=1, le=16, description="octaves of frequencies per coordinate")
    extent_m: float = Field(64.0, gt=0, description="longest wavelength of a place, metres")
    extent_s: float = Field(32.0, gt=0, description="longest wavelength of a time, seconds")


class StrategyConfig(Strict):
    """How a student learns from 4D data. At inference sft and p4d need nothing beside the student; concat and pe run
    the teacher on the frames; coords needs depth, intrinsics and poses of the frames."""

    name: StrategyName = "p4d"
    timestamps: bool = Field(True, description="each frame's real time is encoded before the projector; off, the "
                                               "student is a plain one of transformers")
    p4d: P4DConfig = P4DConfig()
    coords: CoordsConfig = CoordsConfig()


class SmallTeacherConfig(Strict):
    """The small 4D perception model: a video encoder and one head per signal."""

    frames: int = Field(8, ge=2, description="frames of a clip; as many as the student is shown")
    height: int = Field(64, ge=16, description="pixels the frames are resized to")
    width: int = Field(64, ge=16)
    patch: int = Field(8, description="pixels of a token's side; a multiple of 4")
    tubelet: int = Field(2, ge=1, description="frames of a token")
    channels: int = Field(128, ge=16, description="width of the latents")
    blocks: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    search: int = Field(2, ge=0, le=8, description="radius in which a frame is matched with the one before, in cells "
                                                   "of 2 pixels; 0: not matched")
    head_channels: int = Field(96, ge=8)

    @model_validator(mode="after")
    def _divides(self) -> SmallTeacherConfig:
        if self.patch % 4 or self.patch < 4:
            raise ValueError(f"patch {self.patch}: must be a multiple of 4")
        for side in ("height", "width"):
            if getattr(self, side) % self.patch:
                raise ValueError(f"{side} {getattr(self, side)} is no multiple of patch {self.patch}")
        if self.frames % self.tubelet:
            raise ValueError(f"frames {self.frames} is no multiple of tubelet {self.tubelet}")
        if self.channels % self.heads or self.channels % 8:
            raise ValueError(f"channels {self.channels} must be a multiple of 8 and of heads {self.heads}")
        return self


class FitConfig(Strict):
    """Fitting the small teacher to the shards' signals."""

    steps: int = Field(2000, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps")
    weight_decay: float = Field(0.05, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    statistics_batches: int = Field(32, ge=1, description="training batches that the mean signals, and afterwards the "
                                    "latents' mean and spread, are taken from")
    weights: SignalWeights = Field(SignalWeights(depth=1, flow=1, motion=1, camray=1),
                                   description="of the signals' losses, each in units of that signal's spread")
    seed: int = 0


class TeacherConfig(Strict):
    """Where latents and heads come from."""

    kind: Literal["small", "l4p"] = Field("small", description="small: fitted by `curate train teacher`; l4p: the "
                                                               "checkpoint of L4P (unverified; latents only)")
    path: str | None = Field(None, description="folder of a fitted teacher, or file of the checkpoint")
    signals: list[Signal] = Field(list(SIGNALS), min_length=1, description="heads of the small teacher")
    small: SmallTeacherConfig = SmallTeacherConfig()
    fit: FitConfig = FitConfig()
