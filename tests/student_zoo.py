"""Every architecture that has an adapter, as a tiny random model with its real processor, made in code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf
from transformers import PreTrainedTokenizerFast

from curate.train.students.config import TinyConfig
from curate.train.students.processor import frames_only
from curate.train.students.tokenizer import CHAT_TEMPLATE, END, PAD, tiny_tokenizer

TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 1024, "tie_word_embeddings": False}
VISION = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass(frozen=True)
class Animal:
    """A student-to-be. `size`: height, width of frames it is shown; `patch`: pixels of a side of a visual token."""

    model: Any
    processor: Any
    size: tuple[int, int]
    patch: int
    image_size: tuple[int, int] | None = None


def _tokenizer(image: str, **named: str) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with an architecture's special tokens, each also an attribute of that name."""
    base = tiny_tokenizer(1024)
    template = CHAT_TEMPLATE.replace("<image>", {"<|image_pad|>": "<|vision_start|><|image_pad|><|vision_end|>"}.get(
        image, image))
    return PreTrainedTokenizerFast(
        tokenizer_object=base.backend_tokenizer, pad_token=PAD, eos_token=END, chat_template=template,
        extra_special_tokens={"image_token": image, **named})


def _ends(tokenizer: Any) -> dict[str, Any]:
    return {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}


def _text(kind: type, tokenizer: Any, **more: Any) -> Any:
    return kind(**{**TEXT, "vocab_size": len(tokenizer), **_ends(tokenizer), **more})


def _made(kind: type, config: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(config).eval()


def tiny() -> Animal:
    from curate.train.students.tiny import tiny_model, tiny_processor

    config = TinyConfig(image_size=64, patch_size=16, vision_width=24, vision_layers=2, vision_heads=2, width=32,
                        layers=2)
    return Animal(tiny_model(config), tiny_processor(config), (64, 64), 16)


def llava_clip() -> Animal:
    """LLaVA 1.5's shape: CLIP with a class token, features of the layer before the last."""
    tokenizer = _tokenizer("<image>")
    vision = tf.CLIPVisionConfig(**VISION, image_size=56, patch_size=14)
    config = tf.LlavaConfig(vision_config=vision, text_config=_text(tf.LlamaConfig, tokenizer),
                            image_token_id=tokenizer.image_token_id, vision_feature_layer=-2, **_ends(tokenizer))
    images = tf.CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    return Animal(_made(tf.LlavaForConditionalGeneration, config),
                  tf.LlavaProcessor(images, tokenizer, patch_size=14, vision_feature_select_strategy="default",
                                    num_additional_image_tokens=1, chat_template=tokenizer.chat_template),
                  (56, 56), 14)


def llava_onevision() -> Animal:
    tokenizer = _tokenizer("<image>", video_token="<video>")
    vision = tf.SiglipVisionConfig(**VISION, image_size=56, patch_size=14, vision_use_head=False)
    config = tf.LlavaOnevisionConfig(
        vision_config=vision, text_config=_text(tf.Qwen2Config, tokenizer), image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id, image_grid_pinpoints=[[56, 56], [56, 112], [112, 56], [112, 112]],
        **_ends(tokenizer))
    images = tf.LlavaOnevisionImageProcessorPil(size={"height": 56, "width": 56},
                                                image_grid_pinpoints=config.image_grid_pinpoints)
    processor = frames_only(tf.LlavaOnevisionProcessor)(
        images, tokenizer, num_image_tokens=16, vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template)
    return Animal(_made(tf.LlavaOnevisionForConditionalGeneration, config), processor, (56, 56), 14)


def _qwen(vision: Any, text: Any, model: type, config_kind: type, processor_kind: type, patch: int) -> Animal:
    tokenizer = _tokenizer("<|image_pad|>", video_token="<|video_pad|>", vision_start_token="<|vision_start|>",
                           vision_end_token="<|vision_end|>")
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{word}|>") for name, word in (
        ("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"),
        ("vision_end", "vision_end"))}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    config = config_kind(vision_config=vision, text_config=_text(text, tokenizer, rope_parameters=rope), **ids,
                         tie_word_embeddings=False, **_ends(tokenizer))
    images = tf.Qwen2VLImageProcessorPil(patch_size=patch, merge_size=2, temporal_patch_size=2)
    height, width = 4 * 2 * patch, 6 * 2 * patch
    processor = frames_only(processor_kind)(images, tokenizer, chat_template=tokenizer.chat_template)
    return Animal(_made(model, config), processor, (height, width), 2 * patch, (height, width))


def qwen2_vl() -> Animal:
    vision = {"embed_dim": 24, "hidden_size": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    return _qwen(vision, lambda **k: k, tf.Qwen2VLForConditionalGeneration, tf.Qwen2VLConfig,
                 tf.Qwen2VLProcessor, 14)


def qwen2_5_vl() -> Animal:
    """Windows of 2 × 2 groups: they are out of the picture's order until after the merger."""
    vision = {"hidden_size": 24, "out_hidden_size": 32, "depth": 2, "num_heads": 2, "intermediate_size": 32,
              "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    return _qwen(vision, lambda **k: k, tf.Qwen2_5_VLForConditionalGeneration, tf.Qwen2_5_VLConfig,
                 tf.Qwen2_5_VLProcessor, 14)


def qwen3_vl() -> Animal:
    vision = {"hidden_size": 24, "out_hidden_size": 32, "depth": 2, "num_heads": 2, "intermediate_size": 32,
              "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    return _qwen(vision, lambda **k: {**k, "head_dim": 8}, tf.Qwen3VLForConditionalGeneration,
                 tf.Qwen3VLConfig, tf.Qwen3VLProcessor, 16)


def _idefics(config_kind: type, vision_kind: type, model: type, images_kind: type) -> Animal:
    tokenizer = _tokenizer("<image>", fake_image_token="<fake_token_around_image>", global_image_token="<global-img>",
                           end_of_utterance_token="<end_of_utterance>")
    config = config_kind(vision_config=vision_kind(**VISION, image_size=64, patch_size=8).to_dict(),
                         text_config=_text(tf.LlamaConfig, tokenizer), image_token_id=tokenizer.image_token_id,
                         scale_factor=2, tie_word_embeddings=False, **_ends(tokenizer))
    images = images_kind(size={"longest_edge": 128}, max_image_size={"longest_edge": 64})
    # SmolVLM's own processor wants num2words, for videos only; texts and images are read alike by that of Idefics3.
    processor = tf.Idefics3Processor(images, tokenizer, image_seq_len=16, chat_template=tokenizer.chat_template)
    return Animal(_made(model, config), processor, (64, 64), 16)


def idefics3() -> Animal:
    return _idefics(tf.Idefics3Config, tf.Idefics3VisionConfig, tf.Idefics3ForConditionalGeneration,
                    tf.Idefics3ImageProcessorPil)


def smolvlm() -> Animal:
    return _idefics(tf.SmolVLMConfig, tf.SmolVLMVisionConfig, tf.SmolVLMForConditionalGeneration,
                    tf.SmolVLMImageProcessorPil)


def internvl() -> Animal:
    tokenizer = _tokenizer("<image>", start_image_token="<img>", end_image_token="</img>",
                           context_image_token="<IMG_CONTEXT>", video_token="<video>")
    template = tokenizer.chat_template.replace("<image>", "<IMG_CONTEXT>")
    vision = tf.InternVLVisionConfig(**VISION, image_size=[64, 64], patch_size=[8, 8])
    config = tf.InternVLConfig(vision_config=vision, text_config=_text(tf.Qwen2Config, tokenizer), image_seq_length=16,
                               image_token_id=tokenizer.context_image_token_id, **_ends(tokenizer))
    images = tf.GotOcr2ImageProcessorPil(size={"height": 64, "width": 64}, crop_to_patches=True)
    processor = frames_only(tf.InternVLProcessor)(images, tokenizer, image_seq_length=16, chat_template=template)
    return Animal(_made(tf.InternVLForConditionalGeneration, config), processor, (64, 64), 16)


ZOO = {f.__name__: f for f in (tiny, llava_clip, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, idefics3, smolvlm,
                               internvl)}
