"""The recipe's models, and the two fingerprints that decide what must be computed again."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from curate.augment.config import AugmentConfig, check_distinct
from curate.perception.config import PerceptionConfig
from curate.questions.config import QuestionsConfig
from curate.sources.config import ClipConfig, SourceConfig
from curate.storage.urls import check_url, refuse_url

# A change of one of these may change pixels or estimates, so scenes made with another are not the same scene.
PERCEPTION_PACKAGES = ("numpy", "opencv-python-headless", "av", "decord", "scipy", "open3d-cpu", "open3d")
# Where things lie does not change what they are: moving a data set must not cost its perception again.
PLACE_KEYS = ("root", "texts", "licence")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MediaConfig(Strict):
    """The video that goes into the shards (perception always sees the full size)."""

    max_height: int = Field(480, ge=64, le=4320, description="Taller video is scaled down to this many lines.")
    crf: int = Field(23, ge=0, le=51, description="libx264 quality; lower is better and larger.")
    views: Literal["all", "first"] = Field("all", description="Which views to write.")


class TeacherConfig(Strict):
    """Teacher tensors: dense signals at a small size, for distillation, in tars beside the samples'."""

    enabled: bool = Field(False, description="Keep depth, backward flow, what moves, K and poses of every frame.")
    height: int = Field(56, ge=4, le=1024, description="Lines of the teacher's grid; never finer than the frames.")
    width: int | None = Field(None, ge=4, le=2048, description="Columns; default: by the aspect of the frames.")


class MarksConfig(Strict):
    """How regions are marked in `mark.jpg`, and whether the video shows it."""

    style: Literal["contour", "mask", "box"] = Field(
        "contour", description="contour: outline and light tint; mask: filled, half translucent; box: a box around it; "
                               "each with a label")
    burn: bool = Field(False, description="The first frame of v0.mp4 shows the marks, for trainers that take a video "
                                          "or an image, never both; mark.jpg stays. The record says so in its origin.")


class ShardsConfig(Strict):
    max_samples: int = Field(512, ge=1, description="Clips in one shard at most.")
    max_bytes: int = Field(1 << 30, ge=1 << 16, description="Bytes in one shard at most.")
    val_share: float = Field(0.0, ge=0, lt=1, description="Share of recordings in the split `val`, by stable hash.")
    test_share: float = Field(0.0, ge=0, lt=1, description="Share of recordings in the split `test`, by the same hash.")
    publish: str | None = Field(None, description="Address that every new shard set is published to as well: "
                                "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER; without credentials.")

    @model_validator(mode="after")
    def _some_are_left(self) -> ShardsConfig:
        if self.val_share + self.test_share >= 1:
            raise ValueError(f"val_share {self.val_share:g} and test_share {self.test_share:g} leave nothing to train "
                             f"on; expected a sum below 1")
        return self

    @field_validator("publish")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return value and check_url(value)


class EngineConfig(Strict):
    """Where the work is done. None of this is in a fingerprint: it cannot change a result."""

    kind: Literal["auto", "inline", "ray"] = Field("auto", description="inline: one worker on this machine, "
                                                           "without Ray. auto: ray for two or more workers.")
    workers: int | Literal["auto"] = Field("auto", description="Worker processes; auto: one for each CPU.")
    address: str | None = Field(None, description="Ray cluster to join: auto (the one of this node), host:6379, "
                                                  "ray://host:10001; none: a Ray of its own on this machine.")
    cpus_per_worker: float = Field(1.0, gt=0, description="CPUs that one worker holds.")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs that one worker holds: a share below 1, or whole.")
    memory_per_worker_gib: float = Field(1.5, ge=0, description="GiB of memory that one worker holds when workers are "
                                                                "fitted to Ray's nodes; 0: memory is not looked at.")
    wait_for_nodes_s: float = Field(600, ge=0, description="A cluster on which no worker can run for so long stops the "
                                                           "run; the same command goes on later.")
    isolate: bool = Field(True, description="The inline worker is a process of its own, which can be killed where "
                                            "native code hangs or crashes. false: work in this very process, for "
                                            "debugging; no deadline holds.")
    timeout_s: float | None = Field(
        None, gt=0, description="Seconds that a clip may take at most; then its worker is killed, the clip is tried "
                                "again alone, then quarantined. Default: by what the clips so far have cost a frame.")
    max_retries: int = Field(2, ge=0, le=10, description="Further tries after a failure that may pass.")
    max_failure_rate: float = Field(
        0.2, gt=0, le=1, description="The run stops where more than this share of the clips fail other than by bad "
                                     "input, counted once failure_rate_after have been tried. 1: never.")
    failure_rate_after: int = Field(50, ge=1, description="Clips before max_failure_rate is looked at.")
    max_failure_streak: int = Field(
        20, ge=0, description="The run stops where this many clips in a row fail other than by bad input. 0: never.")
    max_bad_input_streak: int = Field(
        500, ge=0, description="The run stops where this many clips in a row cannot be read: the data may have gone "
                               "away. 0: never.")
    max_staged_bytes: int = Field(200 << 30, ge=1 << 20, description="The run stops cleanly before staging more.")
    max_window_bytes: int = Field(
        2 << 30, ge=1 << 20, description="Decoded frames of all views that one worker may hold (perception.window of "
                                         "them); a clip with larger frames is bad input.")

    @field_validator("address")
    @classmethod
    def _none_is_this_machine(cls, address: str | None) -> str | None:
        return None if address in ("none", "") else address

    @field_validator("gpus_per_worker")
    @classmethod
    def _a_share_or_whole(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"{gpus:g} is neither a share below 1 nor a whole number; Ray cannot give out parts of "
                             f"several GPUs")
        return gpus


class Recipe(Strict):
    """One dataset: where clips come from, how they are perceived, what is asked, how it is packed."""

    version: Literal[1] = Field(1, description="Version of the recipe format.")
    name: str = Field("curate4d", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="Name of the dataset.")
    source: SourceConfig
    clip: ClipConfig = Field(default_factory=ClipConfig)
    perception: PerceptionConfig = Field(default_factory=PerceptionConfig)
    media: MediaConfig = Field(default_factory=MediaConfig)
    teacher: TeacherConfig = Field(default_factory=TeacherConfig)
    questions: QuestionsConfig = Field(default_factory=QuestionsConfig)
    augment: tuple[AugmentConfig, ...] = Field(
        (AugmentConfig(later=True),), description="Variants of clips, asked about beside them: later, mirror, reverse, "
                                                  "{playback: 2, share: 0.5}; []: none.")
    marks: MarksConfig = Field(default_factory=MarksConfig)
    shards: ShardsConfig = Field(default_factory=ShardsConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)

    @model_validator(mode="after")
    def _conversations_get_what_is_asked_for(self) -> Recipe:
        perceive = getattr(self.source, "perceive", None)
        if perceive is None:
            return self
        if (perceive in ("teacher", "all")) != self.teacher.enabled:
            raise ValueError(f"source.perceive is {perceive!r} and teacher.enabled is {self.teacher.enabled}; teacher "
                             "tensors come with perceive: teacher or all, and only with these")
        if perceive in ("none", "teacher") and any(not one.later for one in self.augment):
            raise ValueError(f"augment makes variants of clips for questions of ours, and source.perceive: {perceive} "
                             "asks none; conversations are about the clip as it is: leave augment out")
        return self

    @field_validator("augment")
    @classmethod
    def _distinct(cls, value: tuple[AugmentConfig, ...]) -> tuple[AugmentConfig, ...]:
        return check_distinct(value)

    @field_validator("source")
    @classmethod
    def _media_are_files(cls, source: Any) -> Any:
        # Planning reads parts of every file and decoders read at random: over a network each is a request.
        refuse_url(getattr(source, "root", ""), "source.root", "copy the media (`aws s3 sync`, `gcloud storage rsync`) "
                   "or mount the bucket (mountpoint-s3, gcsfuse), and name that folder; keys of clips stay the same")
        return source

    def perception_parts(self) -> dict[str, Any]:
        """Everything a staged scene depends on, as plain JSON (for the fingerprint, and to show what differs).

        Raises:
            BadInput, ModuleNotFoundError: where an estimator lacks its weights or a package.
        """
        from curate.perception import check_estimators, estimator_packages, estimator_versions, weight_digests

        check_estimators(self.perception)
        source = {k: v for k, v in self.source.model_dump(mode="json").items() if k not in PLACE_KEYS}
        clip = self.clip.model_dump(mode="json")
        clip.pop("max_clips", None)  # how many are taken does not change any one of them
        packages = {}
        for name in (*PERCEPTION_PACKAGES, *sorted(estimator_packages(self.perception))):
            try:
                packages[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        perception = {k: v for k, v in self.perception.model_dump(mode="json").items() if v is not None}
        for slot, settings in self.perception.estimators().items():
            for key in getattr(settings, "place_keys", ()):
                del perception[slot][key]
        parts = {"source": source, "clip": clip, "perception": perception,
                 "media": self.media.model_dump(mode="json"), "estimators": estimator_versions(self.perception),
                 "packages": packages}
        if self.teacher.enabled:  # scenes of sets without any keep their fingerprint
            parts["teacher"] = self.teacher.model_dump(mode="json")
        digests = weight_digests(self.perception)
        return parts | ({"weights": digests} if digests else {})

    def writing_parts(self) -> dict[str, Any]:
        more = {"augment": [one.model_dump(mode="json") for one in self.augment]} if self.augment else {}
        if self.marks != MarksConfig():
            more["marks"] = self.marks.model_dump(mode="json")
        # what the audit fails changes no question; folders of templates are places, what they say is in `wording`
        return {"name": self.name, "questions": self.questions.model_dump(mode="json", exclude={"audit", "templates"}),
                "shards": self.shards.model_dump(mode="json", exclude={"publish"}), **more}

    def perception_fingerprint(self) -> str:
        return fingerprint(self.perception_parts())

    def writing_fingerprint(self) -> str:
        return fingerprint(self.writing_parts())


def fingerprint(parts: dict[str, Any]) -> str:
    """16 hex digits of canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Lines `path: old -> new` for every leaf that differs between two plain JSON values."""
    if isinstance(a, dict) and isinstance(b, dict):
        lines = []
        for key in sorted(set(a) | set(b)):
            lines += differences(a.get(key), b.get(key), f"{path}.{key}" if path else str(key))
        return lines
    return [] if a == b else [f"{path}: {json.dumps(a)} -> {json.dumps(b)}"]
