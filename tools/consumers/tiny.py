"""What a consumer needs beside our export, in its own environment: a tiny processor, made here; no hub is asked."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

PATCH = 14
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def without_compiled_parts() -> None:
    """The registry's torchvision and torchaudio are built for CUDA and do not load beside a CPU torch. Of torchvision
    only the Python parts are needed here (resizing): its operators are declared, not defined. Of torchaudio nothing is.
    """
    from torch import library

    try:
        import torchvision
    except (RuntimeError, OSError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        operators = library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        without_compiled_parts.keeps = operators  # as long as the process lives
        import torchvision  # noqa: F401
    except ImportError:
        pass
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        sys.modules["torchaudio"] = ModuleType("torchaudio")
        sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)


def processor(tokenizer_file: str, folder: Path) -> Any:
    """Qwen2-VL's processor with a tiny tokenizer, saved to a folder with a tiny model's configuration."""
    import transformers as tf

    named = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "vision_bos_token": "<|vision_start|>",
             "vision_eos_token": "<|vision_end|>"}
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_file=tokenizer_file, pad_token="<|pad|>", eos_token="<|im_end|>", chat_template=TEMPLATE,
        additional_special_tokens=["<|im_start|>", *named.values()], model_max_length=1 << 16, padding_side="right")
    for name, token in named.items():
        setattr(tokenizer, name, token)
    images = tf.Qwen2VLImageProcessor(patch_size=PATCH, merge_size=2, temporal_patch_size=2, min_pixels=28 * 28,
                                      max_pixels=56 * 56)
    videos = tf.Qwen2VLVideoProcessor(patch_size=PATCH, merge_size=2, temporal_patch_size=2, min_pixels=28 * 28,
                                      max_pixels=56 * 56)
    made = tf.Qwen2VLProcessor(images, tokenizer, videos, chat_template=TEMPLATE)
    made.save_pretrained(folder)
    tiny = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": len(tokenizer)}
    vision = {"embed_dim": 24, "hidden_size": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2, "patch_size": PATCH}
    tf.Qwen2VLConfig(vision_config=vision, text_config=tiny, architectures=["Qwen2VLForConditionalGeneration"],
                     **{f"{name}_id": tokenizer.convert_tokens_to_ids(named[name])
                        for name in ("image_token", "video_token")}).save_pretrained(folder)
    return made


def report(version: str, found: list[dict[str, Any]]) -> None:
    """The last line of a consumer's script."""
    print(json.dumps({"version": version, "read": found}))
