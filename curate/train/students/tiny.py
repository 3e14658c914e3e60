"""The tiny student: a LLaVA composition, SigLIP and Qwen2, small enough to learn on a CPU."""

from __future__ import annotations

import torch
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
)

from curate.train.students.config import TinyConfig
from curate.train.students.tokenizer import CHAT_TEMPLATE, IMAGE, tiny_tokenizer


def tiny_processor(config: TinyConfig) -> LlavaProcessor:
    """Transformers' own processor for the tiny student; a frame becomes (image_size / patch_size)² image tokens."""
    side = {"height": config.image_size, "width": config.image_size}
    return LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size=side), tokenizer=tiny_tokenizer(config.max_tokens),
        patch_size=config.patch_size, vision_feature_select_strategy="full", num_additional_image_tokens=0,
        image_token=IMAGE, chat_template=CHAT_TEMPLATE)


def tiny_model(config: TinyConfig) -> LlavaForConditionalGeneration:
    """Random weights, the same for the same settings; the global random state stays as it was."""
    tokenizer = tiny_tokenizer(config.max_tokens)
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    vision = SiglipVisionConfig(
        hidden_size=config.vision_width, intermediate_size=3 * config.vision_width,
        num_hidden_layers=config.vision_layers, num_attention_heads=config.vision_heads,
        image_size=config.image_size, patch_size=config.patch_size, vision_use_head=False)
    text = Qwen2Config(
        hidden_size=config.width, intermediate_size=3 * config.width, num_hidden_layers=config.layers,
        num_attention_heads=config.heads, num_key_value_heads=config.kv_heads, vocab_size=len(tokenizer),
        max_position_embeddings=config.max_tokens, tie_word_embeddings=True, **ends)
    whole = LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1, vision_feature_select_strategy="full", tie_word_embeddings=True,
        image_seq_length=(config.image_size // config.patch_size) ** 2, **ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return LlavaForConditionalGeneration(whole).eval()
