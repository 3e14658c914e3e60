"""The student: an image-text model of transformers, what of it is trained, and where its visual tokens are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForImageTextToText

from curate.train.students.adapter import PARTS, adapter_for, module_at
from curate.train.students.config import StudentConfig, TinyConfig, TrainedParts
from curate.train.students.lora import add_lora, has_lora, merged, plain_name
from curate.train.students.processor import IGNORED, StudentProcessor, load_processor, prompts_of
from curate.train.students.projector import ProjectorInput
from curate.train.timestamps import Timestamps, add_timestamps, stamps, timestamps_of

MARK = "timestamp_encoding"  # in config.json of a checkpoint that wants `add_timestamps`


class Student:
    """A model with its processor and adapter.

    Args:
        model: of `AutoModelForImageTextToText`.
        processor: of transformers, as `AutoProcessor` gives it.
        config: what is trained, frame size, checkpointing. Its name is not read.

    Attributes:
        model, processor (a `StudentProcessor`), adapter, config.

    Raises:
        ValueError: on an architecture without an adapter, or a frame size that does not fit.
    """

    def __init__(self, model: nn.Module, processor: Any, config: StudentConfig | None = None) -> None:
        self.config = config or StudentConfig()
        self.model, self.adapter = model, adapter_for(model)
        self.processor = StudentProcessor(processor, self.adapter, model.config, self.config.image_size)
        self._batch = 1
        self.train_parts(self.config.trained)
        if self.config.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if getattr(model.config, MARK, None):
            add_timestamps(model, getattr(model.config, MARK)["base"])

    # ---- what it is made of ----

    @property
    def hidden_size(self) -> int:
        """D, the language model's width."""
        return self.model.config.get_text_config().hidden_size

    @property
    def vision_width(self) -> int:
        """Width at the projector's input."""
        return self.adapter.vision_width(self.model.config)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def parts(self) -> dict[str, list[nn.Module]]:
        """Modules of "vision", "projector" and "llm"."""
        modules = {name for name, _ in self.model.named_modules()}
        return {part: [module_at(self.model, n) for n in getattr(self.adapter, part) if n in modules]
                for part in PARTS}

    def part_parameters(self, part: str) -> list[tuple[str, nn.Parameter]]:
        """Names and parameters of "vision", "projector" or "llm"; those of low-rank updates too."""
        return [(name, p) for name, p in self.model.named_parameters()
                if self.adapter.part_of(plain_name(name)) == part]

    def train_parts(self, trained: TrainedParts) -> None:
        """Sets what is trained from here on; a stage of training may change it.

        Low-rank updates are put on the first time a part asks for them. A part trained in full then trains its own
        weights and leaves its updates as they are.
        """
        if trained.lora and not has_lora(self.model):
            add_lora(self.model, self.adapter, trained.lora, self.config.lora)
        for part in PARTS:
            how = getattr(trained, part)
            parameters = self.part_parameters(part)
            low_rank = [p for name, p in parameters if ".lora_" in name]
            if how == "lora" and not low_rank:
                raise ValueError(f"{part} is to be trained by low-rank updates, but other parts were given theirs "
                                 "before: name all of them in the first stage")
            for name, p in parameters:
                reached = not self.adapter.unused(self.model.config, plain_name(name))
                p.requires_grad_(reached and how == ("lora" if ".lora_" in name else "full"))
        self.trained = trained

    # ---- running it ----

    def projector_input(self, change: Callable[[Tensor], Tensor]) -> ProjectorInput:
        """Changes the vision features before the projector, until the handle's `remove()` (or as a context).

        Args:
            change: [B, N, Gh, Gw, vision_width] to the same shape; rows and columns as in the picture. B is that of
                this student's `forward` or `generate`.
        """
        def framed(features: Tensor) -> Tensor:
            return change(features.unflatten(0, (self._batch, -1))).flatten(0, 1)

        return ProjectorInput(self.model, framed, self.adapter)

    def add_timestamps(self) -> Timestamps:
        """Puts the timestamp encoding on; `forward` and `generate` then want times, and `save` notes it."""
        return add_timestamps(self.model)

    def _stamps(self, times_s: Tensor | None) -> Any:
        return nullcontext() if times_s is None else stamps(times_s)

    def forward(self, inputs: Mapping[str, Tensor], times_s: Tensor | None = None, answers_only: bool = False) -> Any:
        """One pass over a batch.

        Args:
            inputs: as the processor makes them, on the model's device.
            times_s: [B, N] seconds, for a student with timestamp encoding.
            answers_only: makes logits [B, K, vocabulary] of the K places alone that predict a token of any answer of
                the batch; the loss is the same. Most places are visual tokens, and over a large vocabulary their
                logits, which nobody reads in training, are the largest tensor of a step.

        Returns:
            Transformers' output with loss (where inputs have labels), logits and hidden_states (last: [B, L, D]).
        """
        self._batch = len(inputs["input_ids"])
        how = {"output_hidden_states": True, "use_cache": False}
        with self._stamps(times_s):
            if not answers_only or "labels" not in inputs:
                return self.model(**inputs, **how)
            labels = inputs["labels"]
            said = (labels[:, 1:] != IGNORED).any(0).nonzero().squeeze(1)  # a place predicts the token after it
            out = self.model(**{k: v for k, v in inputs.items() if k != "labels"}, logits_to_keep=said, **how)
        out.loss = functional.cross_entropy(out.logits.flatten(0, 1).float(), labels[:, said + 1].flatten(),
                                            ignore_index=IGNORED)
        return out

    def visual_tokens(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """Hidden states of the frames' tokens, rows and columns as in the picture.

        Args:
            inputs: of `forward`. hidden: [B, L, D], such as its output's `hidden_states[-1]`.

        Returns:
            [B, N, gh, gw, D]

        Raises:
            ValueError: where the tokens do not fit the frames.
        """
        return self.adapter.visual_tokens(self.model.config, inputs, hidden)

    @torch.no_grad()
    def generate(self, batch: Any, max_new_tokens: int = 32, times_s: Tensor | None = None,
                 **settings: Any) -> list[str]:
        """Answers, greedily unless `settings` (of transformers' `generate`) say otherwise.

        Args:
            batch: inputs as the processor makes them, or a batch that has them as `inputs` and its times as `times_s`.
                Answers that stand in them (tokens with labels) are taken out first.
            times_s: [B, N] seconds; default: the batch's, where the student reads timestamps.
        """
        inputs = prompts_of(getattr(batch, "inputs", batch), self.processor.tokenizer.pad_token_id or 0)
        if times_s is None and timestamps_of(self.model) is not None:
            times_s = getattr(batch, "times_s", None)
        self._batch = len(inputs["input_ids"])
        training = self.model.training
        self.model.eval()
        try:
            with self._stamps(times_s):
                out = self.model.generate(**inputs, max_new_tokens=max_new_tokens,
                                          **{"do_sample": False, "use_cache": True, **settings})
        finally:
            self.model.train(training)
        return self.processor.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)

    def save(self, folder: str | Path, state: Mapping[str, Tensor] | None = None) -> None:
        """A checkpoint that plain transformers loads: safetensors, config, processor. Low-rank updates are merged.

        Args:
            folder: made where it is not there.
            state: the model's whole state dict, where it is sharded; default: the model's own.
        """
        encoding = timestamps_of(self.model)
        if encoding is not None:
            setattr(self.model.config, MARK, {"base": encoding.base, "unit": "s"})
        elif hasattr(self.model.config, MARK):
            delattr(self.model.config, MARK)
        state = self.model.state_dict() if state is None else state
        self.model.save_pretrained(folder, state_dict=merged(state, self.config.lora))
        self.processor.own.save_pretrained(folder)


def load_student(config: StudentConfig) -> Student:
    """The student that the settings name, on the CPU, in evaluation mode.

    Raises:
        ValueError: on a folder that is no checkpoint, an architecture without an adapter, settings that do not fit it.
    """
    dtype = getattr(torch, config.dtype)
    if config.name_or_path is None:
        from curate.train.students.tiny import tiny_model, tiny_processor

        return Student(tiny_model(config.tiny).to(dtype), tiny_processor(config.tiny), config)
    extra = {"attn_implementation": config.attention} if config.attention else {}
    try:
        model = AutoModelForImageTextToText.from_pretrained(config.name_or_path, dtype=dtype, **extra)
        processor = load_processor(config.name_or_path)
    except (OSError, KeyError, ValueError, ImportError) as error:
        raise ValueError(f"student.name_or_path {config.name_or_path!r}: {error}. Give a folder with config.json, "
                         "*.safetensors and the processor's files, or a name that transformers can load") from error
    return Student(model, processor, config)


def tiny_student(parts: Sequence[str] | str = "V+P+LLM", **settings: Any) -> Student:
    """The tiny student with random weights, all of them trained.

    Args:
        parts: a variant's name (`config.VARIANTS`).
        settings: of `TinyConfig`, such as image_size=112, patch_size=14.
    """
    return load_student(StudentConfig(tiny=TinyConfig(**settings), trained=parts))
