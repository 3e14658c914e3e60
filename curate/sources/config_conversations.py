"""Settings of `kind: conversations`: someone's questions and answers about images and videos."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from curate.sources.config_base import Decoder, Positive, Strict

Perceive = Literal["none", "regions", "teacher", "all"]


class ConversationsConfig(Strict):
    """Images and videos with someone's conversations: LLaVA and ShareGPT, messages, Qwen-VL, plain questions."""

    kind: Literal["conversations"] = "conversations"
    root: str = Field(description="folder that holds the media; or one file of conversations, its media beside it")
    texts: str | None = Field(None, description="folder that holds the files of conversations; default: root")
    files: str | list[str] = Field("*.json*", description="file name, glob, or a list of them, relative to texts: json "
                                                          "with one list, or jsonl")
    strip: str = Field("", description="what the media's paths begin with that is no part of the path below root, such "
                                       "as the address that they were published at")
    fps: Positive = Field(1.0, description="frames per second of media that are folders of images, and of several "
                                           "images of one conversation")
    layout: Literal["mono", "side_by_side", "top_bottom"] = Field(
        "mono", description="how the videos hold their views; packed stereo wants {stem}.calib.json beside each video")
    perceive: Perceive = Field("none", description="what our perception adds: nothing (no estimator runs); regions, "
                                                   "their marks and questions about them; teacher tensors; or all. "
                                                   "teacher and all go with teacher.enabled: true. Images have no "
                                                   "motion: nothing is added to them")
    decoder: Decoder = "av"
    licence: str = Field("", description="licence of media and texts, written into every record")

    @model_validator(mode="after")
    def _can_be_perceived(self) -> ConversationsConfig:
        if self.perceive != "none" and self.layout == "mono":
            raise ValueError(f"perceive: {self.perceive} wants depth, which layout: mono does not give; say layout: "
                             "side_by_side or top_bottom where the videos are packed stereo, else perceive: none")
        return self
