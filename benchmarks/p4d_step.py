"""What distillation costs: operations of a step at a student of half a billion parameters, counted; time and operations
of the tiny student's step and answer, measured.

Counting is torch's (`FlopCounterMode`: matrix products, convolutions, attention, forward and backward), on tensors
without data (`FakeTensorMode`), so that any size fits any machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

FRAMES, TEXT_TOKENS = 16, 128


def operations(work: Callable[[], Any]) -> float:
    """Floating point operations of a call. Attention as two products over all pairs, since fused kernels of CPUs are
    not counted."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


# ---- a student of half a billion parameters, without data ----

def half_billion() -> nn.Module:
    """SigLIP base (224 px, 196 tokens a frame) and Qwen2 of 0.5 B parameters. Called inside of a `FakeTensorMode`."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, Qwen2Config, SiglipVisionConfig
    from transformers.initialization import no_init_weights

    vision = SiglipVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                                image_size=224, patch_size=16, vision_use_head=False)
    text = Qwen2Config(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                       num_key_value_heads=2, vocab_size=151_936, tie_word_embeddings=True)
    with no_init_weights():
        model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text,
                                                          image_token_id=151_646, tie_word_embeddings=True))
    model.lm_head.weight = model.get_input_embeddings().weight  # tying is a part of the initialisation left out
    return model


def sft_operations(model: nn.Module) -> float:
    """One question of 16 frames, forward and backward; the vision encoder frozen, projector and LLM trained, and
    logits of all positions, as SFT has it."""
    config = model.config

    def work() -> None:
        pixels = torch.empty(FRAMES, 3, config.vision_config.image_size, config.vision_config.image_size)
        with torch.no_grad():
            features = model.model.vision_tower(pixels).last_hidden_state
        tokens = model.model.multi_modal_projector(features).flatten(0, 1)
        text = torch.empty(TEXT_TOKENS, tokens.shape[-1])
        hidden = model.model.language_model(inputs_embeds=torch.cat([tokens, text])[None], use_cache=False,
                                            attention_mask={"full_attention": None})  # as made: causal, and no padding
        model.lm_head(hidden.last_hidden_state).sum().backward()

    return operations(work)


def p4d_operations(width: int, grid: tuple[int, int, int, int], settings: Any, heads: nn.ModuleDict) -> float:
    """What P4D with stored tensors adds to a question: rearrangement, perception decoder, the frozen heads' forward and
    their backward to the latent. Losses are elementwise and not counted, as nothing elementwise is.

    Args:
        width: the student's D. grid: (N', h', w', C) of the teacher. heads: of the teacher, frozen.
    """
    from curate.train.p4d import PerceptionDecoder, resampled

    decoder = PerceptionDecoder(width, grid[3], settings.hidden, settings.decoder)

    def work() -> None:
        side = 14  # of SigLIP's tokens
        tokens = torch.empty(1, FRAMES, side, side, width, requires_grad=True)
        latent = decoder(resampled(tokens, grid[:3]))
        total = latent.sum()
        for head in heads.values():
            total = total + head(latent).sum()
        total.backward()

    return operations(work)


def counted() -> dict[str, float]:
    """Operations of a step at half a billion parameters.

    Returns:
        {"parameters", "sft", "p4d": with our teacher's heads and tensors stored, "live": with the teacher's encoder run
        too, "l4p": p4d's decoder at the grid and width of L4P (8 x 16 x 16 x 1,408), without heads}
    """
    from curate.train.p4d_config import P4DConfig, SmallTeacherConfig
    from curate.train.teacher.small import SmallTeacher

    with FakeTensorMode():
        model, settings = half_billion(), P4DConfig()
        own = SmallTeacherConfig(frames=FRAMES, height=224, width=224, patch=16, channels=512, blocks=8, heads=8)
        teacher = SmallTeacher(own, ("depth", "flow", "motion", "camray"), (56, 56)).requires_grad_(False)
        video, times = torch.empty(1, FRAMES, 3, 224, 224), torch.empty(1, FRAMES)

        def encode() -> None:
            with torch.no_grad():
                teacher.encode(video, times)

        width = model.config.text_config.hidden_size
        sft = sft_operations(model)
        p4d = sft + p4d_operations(width, teacher.grid, settings, teacher.heads)
        return {"parameters": sum(p.numel() for p in model.parameters()), "sft": sft, "p4d": p4d,
                "live": p4d + operations(encode),
                "l4p": sft + p4d_operations(width, (8, 16, 16, 1408), settings, nn.ModuleDict())}


# ---- the tiny student, with data ----



def step(strategy: nn.Module, batch: Any) -> None:
    """Forward and backward; gradients are thrown away."""
    strategy.train()
    strategy.loss(batch)["loss"].backward()
    strategy.zero_grad(set_to_none=True)


def ratios(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each, taken in turns, so that what else runs on the machine slows all alike."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            begin = time.process_time()
            work()
            if turn:  # the first warms up
                taken[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in taken.items()}


def tiny_costs(sft: dict[str, Any], p4d: dict[str, Any], rounds: int = 7) -> dict[str, float]:
    """The tiny student's step and answer.

    Args:
        sft, p4d: recipes of two arms, plain; those of one student, with a teacher's folder and stored latents.

    Returns:
        Operations and CPU seconds of a step: "sft", "p4d" (stored tensors) and "live" (the teacher's encoder run too),
        each with "_operations" and "_seconds"; and of an answer with the two saved students' graphs: "answer_sft_..",
        "answer_p4d_..", and "parameters_sft", "parameters_p4d".
    """
    from curate.train.config import TrainRecipe
    from curate.train.data import Examples
    from curate.train.strategies import make_strategy
    from curate.train.students import load_student
    from curate.train.teacher.store import load_teacher

    made = {}
    live = {**p4d, "strategy": {**p4d["strategy"], "p4d": {**p4d["strategy"]["p4d"], "latents": "teacher"}}}
    for name, plain in (("sft", sft), ("p4d", p4d), ("live", live)):
        recipe = TrainRecipe.model_validate(plain)
        teacher = load_teacher(recipe.teacher) if recipe.strategy.name == "p4d" else None
        made[name] = make_strategy(recipe.strategy, load_student(recipe.student), teacher)
    recipe = TrainRecipe.model_validate(p4d)
    batch = next(iter(Examples(recipe.data, made["sft"].learner.processor)))
    found: dict[str, float] = {}
    for name, strategy in made.items():
        found[f"{name}_operations"] = operations(lambda strategy=strategy: step(strategy, batch))
    works = {name: (lambda strategy=strategy: step(strategy, batch)) for name, strategy in made.items()}
    found |= {f"{name}_seconds": value for name, value in ratios(works, rounds).items()}
    answers = {}
    for name in ("sft", "p4d"):
        strategy = made[name].eval()
        answers[f"answer_{name}"] = lambda strategy=strategy: strategy.generate(batch, max_new_tokens=8)
        found[f"answer_{name}_operations"] = operations(lambda strategy=strategy: strategy.run(batch))
        found[f"parameters_{name}"] = float(sum(p.numel() for p in strategy.student.parameters()))
    return found | {f"{name}_seconds": value for name, value in ratios(answers, rounds).items()}
