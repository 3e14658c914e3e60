"""Texts and frames to the student's inputs: frames go in as images, one grid of tokens each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import PROCESSOR_NAME, VIDEO_PROCESSOR_NAME, cached_file, is_torchvision_available

from curate.train.students.adapter import Adapter

if TYPE_CHECKING:
    from curate.train.answers import Words

IGNORED = -100


def frames_only(kind: type, video: Mapping[str, Any] | None = None) -> type:
    """A processor class of transformers without its video half, which needs torchvision; frames go in as images.

    Args:
        kind: the class.
        video: settings of the video half, written beside the others when it is saved, so that `AutoProcessor` loads
            the checkpoint where torchvision is.
    """
    class FramesOnly(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != "video_processor"]

        def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
            written = super().save_pretrained(save_directory, *args, **kwargs)
            if video is not None:
                (Path(save_directory) / VIDEO_PROCESSOR_NAME).write_text(json.dumps(video, indent=2) + "\n", "utf-8")
            return written

    FramesOnly.__name__ = FramesOnly.__qualname__ = kind.__name__  # written to the checkpoint
    return FramesOnly


def load_processor(name_or_path: str) -> Any:
    """The processor of a checkpoint; without torchvision, one without a video half."""
    try:
        return AutoProcessor.from_pretrained(name_or_path)
    except (OSError, ImportError, AttributeError, ValueError):
        kind = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(name_or_path)), None)
        if is_torchvision_available() or kind is None or "video_processor" not in kind.get_attributes():
            raise
        return frames_only(kind, _video_settings(name_or_path)).from_pretrained(name_or_path)


def _video_settings(name_or_path: str) -> dict[str, Any] | None:
    for file, within in ((PROCESSOR_NAME, "video_processor"), (VIDEO_PROCESSOR_NAME, None)):
        path = cached_file(name_or_path, file, _raise_exceptions_for_missing_entries=False)
        found = json.loads(Path(path).read_text("utf-8")) if path else {}
        found = found.get(within) if within else found
        if found:
            return found
    return None


class StudentProcessor:
    """A processor of transformers, set up by the adapter.

    Args:
        own: transformers' processor; set up in place.
        adapter: of the student's architecture.
        config: the model's.
        image_size: height, width of a frame; default: the processor's own.

    Raises:
        ValueError: where the vision encoder cannot take that size, or the processor has no chat template.
    """

    def __init__(self, own: Any, adapter: Adapter, config: Any, image_size: tuple[int, int] | None = None) -> None:
        self._resize_to = adapter.prepare(own, config, image_size)
        if not getattr(own, "chat_template", None):
            raise ValueError("the student's processor has no chat template; set processor.chat_template and save it "
                             "with the checkpoint")
        self.own, self.adapter, self.tokenizer = own, adapter, own.tokenizer

    def prompt(self, question: str, num_frames: int, cues: Sequence[str] = (), system: str = "") -> str:
        """The text of a user's turn with its frames, up to where the answer begins.

        Args:
            question: what is asked.
            num_frames: how many frames go before it.
            cues: text before each frame, such as its time; none by default. Some chat templates put all images first.
            system: what stands before all; "" leaves it to the template.

        Raises:
            ValueError: where cues are not one a frame.
        """
        if cues and len(cues) != num_frames:
            raise ValueError(f"{len(cues)} cues for {num_frames} frames; expected one a frame, or none")
        content: list[dict[str, str]] = []
        for i in range(num_frames):
            content += [{"type": "text", "text": cues[i]}] if cues else []
            content.append({"type": "image"})
        content.append({"type": "text", "text": question})
        before = [_message("system", system)] if system else []
        return self._told([*before, {"role": "user", "content": content}])

    def following(self, said: Words, num_frames: int) -> list[tuple[str, str]]:
        """What comes after the first answer of a conversation: the text up to the next answer, and that answer.

        Raises:
            ValueError: where the chat template does not leave a conversation's beginning as it was.
        """
        content = [{"type": "image"}] * num_frames + [{"type": "text", "text": said.prompt}]
        messages = [_message("system", said.system)] if said.system else []
        messages.append({"role": "user", "content": content})
        out, answer = [], said.answer
        for question, next_answer in said.more:
            start = self._told(messages) + answer
            messages += [_message("assistant", answer), _message("user", question)]
            whole = self._told(messages)
            if not whole.startswith(start):
                raise ValueError("the student's chat template changes what was said before; conversations of several "
                                 "turns cannot be learned with it")
            out.append((whole[len(start):], next_answer))
            answer = next_answer
        return out

    def _told(self, messages: list[dict[str, Any]]) -> str:
        return self.tokenizer.apply_chat_template(messages, chat_template=self.own.chat_template,
                                                  add_generation_prompt=True, tokenize=False)

    def __call__(self, texts: Sequence[str], frames: Sequence[Sequence[Any]],
                 answers: Sequence[str] | None = None,
                 more: Sequence[Sequence[tuple[str, str]]] = ()) -> dict[str, Tensor]:
        """Inputs of the model for a batch.

        Args:
            texts: B prompts, as `prompt` makes them.
            frames: B lists of N frames, each [H, W, 3] uint8 or a PIL image.
            answers: B answers, ended here by the end of a turn; `labels` are theirs. Without them, prompts to generate
                from, padded on the left.
            more: of each, what `following` gives.

        Returns:
            input_ids, attention_mask [B, L]; labels [B, L], -100 where not an answer; pixel_values and what else the
            architecture wants, frames sample by sample.

        Raises:
            ValueError: on samples with different numbers of frames, or frames that are not uint8.
        """
        counts = {len(each) for each in frames}
        if len(counts) != 1 or len(frames) != len(texts) or (answers is not None and len(answers) != len(texts)):
            raise ValueError(f"{len(texts)} texts, frames of {[len(f) for f in frames]}, "
                             f"{'no' if answers is None else len(answers)} answers: expected one list of frames and "
                             "one answer for each text, and the same number of frames in each")
        if min(counts) < self.adapter.min_frames:
            raise ValueError(f"{min(counts)} frames a sample; this student wants at least {self.adapter.min_frames}")
        samples = [self._sample(text, list(images), None if answers is None else answers[i], more[i] if more else ())
                   for i, (text, images) in enumerate(zip(texts, frames))]
        return collate(samples, self.tokenizer.pad_token_id or 0, "left" if answers is None else "right")

    def _frame(self, frame: Any) -> Image.Image:
        if not isinstance(frame, Image.Image):
            if str(frame.dtype) != "uint8" or frame.ndim != 3 or frame.shape[-1] != 3:
                raise ValueError(f"a frame is {frame.dtype} {tuple(frame.shape)}; expected uint8 [height, width, 3]")
            frame = Image.fromarray(np.asarray(frame))
        if self._resize_to is None or frame.size[::-1] == self._resize_to:
            return frame
        return frame.resize(self._resize_to[::-1], Image.Resampling.BICUBIC)

    def _sample(self, text: str, frames: list[Any], answer: str | None,
                more: Sequence[tuple[str, str]] = ()) -> dict[str, Tensor]:
        images = [self._frame(frame) for frame in frames]
        made = dict(self.own(text=[text], images=[images] if self.adapter.nested_images else images,
                             return_tensors="pt"))
        if answer is None:
            return made
        # Answer and prompt are tokenized apart, so that training sees the tokens that generation goes on from.
        ids, learned = self._answers(answer, more)
        length = made["input_ids"].shape[1]
        added = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        labels = torch.cat([torch.full((1, length), IGNORED), torch.tensor([learned])], 1)
        for key, value in made.items():
            if value.shape == (1, length):  # of tokens; a kind of token is 0 for text
                more = added.get(key, torch.zeros(1, len(ids), dtype=value.dtype))
                made[key] = torch.cat([value, more.to(value.dtype)], 1)
        return {**made, "labels": labels}

    def _answers(self, answer: str, more: Sequence[tuple[str, str]]) -> tuple[list[int], list[int]]:
        """Tokens from the first answer on, and of them those that are learned: the answers, and what ends each."""
        end = self.tokenizer.eos_token_id
        ids: list[int] = []
        learned: list[int] = []
        for between, text in [("", answer), *more]:
            asked = self.tokenizer(between, add_special_tokens=False)["input_ids"] if between else []
            said = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            ends = asked[:1] == [end]
            ids += asked + said
            learned += [end] * ends + [IGNORED] * (len(asked) - ends) + said
        return [*ids, end], [*learned, end]


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def collate(samples: Sequence[Mapping[str, Tensor]], pad: int, side: str) -> dict[str, Tensor]:
    """Samples of one to a batch: what is of tokens is padded, what is of frames joined.

    Args:
        samples: input_ids [1, L] and others; L may differ.
        pad: id of the padding token. side: "left" or "right".

    Raises:
        ValueError: on frames of different sizes.
    """
    lengths = [s["input_ids"].shape[1] for s in samples]
    fill = {"input_ids": pad, "labels": IGNORED}
    batch = {}
    for key in samples[0]:
        values = [s[key] for s in samples]
        if all(v.shape == (1, n) for v, n in zip(values, lengths)):
            gaps = [(max(lengths) - n, 0) if side == "left" else (0, max(lengths) - n) for n in lengths]
            values = [torch.nn.functional.pad(v, gap, value=fill.get(key, 0)) for v, gap in zip(values, gaps)]
        shapes = {tuple(v.shape[1:]) for v in values}
        if len(shapes) > 1:
            raise ValueError(f"{key} of a batch's samples have shapes {sorted(shapes)}: frames differ in size; set "
                             "student.image_size: [height, width]")
        batch[key] = values[0] if len(values) == 1 else torch.cat(values)  # frames are large
    return batch


def prompts_of(inputs: Mapping[str, Tensor], pad: int) -> dict[str, Tensor]:
    """Inputs without their answers (tokens with a label), padded on the left, to generate from."""
    if "labels" not in inputs:
        return dict(inputs)
    keep = (inputs["labels"] == IGNORED) & (inputs["attention_mask"] == 1)
    rows, shape = range(len(keep)), inputs["input_ids"].shape
    of_tokens = {k for k, v in inputs.items() if v.shape == shape}
    samples = [{k: inputs[k][i:i + 1, keep[i]] for k in of_tokens - {"labels"}} for i in rows]
    return {**{k: v for k, v in inputs.items() if k not in of_tokens}, **collate(samples, pad, "left")}
