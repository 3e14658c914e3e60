"""trl's GRPOTrainer: reward functions are called with keyword arguments and return one number a completion.

    from curate.rewards.adapters.trl import reward_function
    trainer = GRPOTrainer(..., reward_funcs=[reward_function("score"), reward_function("format")],
                          args=GRPOConfig(reward_weights=[0.9, 0.1]))

The dataset keeps a column `ground_truth` (or `solution`, `record`) with `json.dumps(rft(question))`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curate.rewards.adapters.columns import records_of
from curate.rewards.plugins import rewards
from curate.rewards.presets import combine, weights_of

Completion = str | Sequence[Mapping[str, Any]]


def reward_function(reward: str | Mapping[str, float] = "score") -> Callable[..., list[float | None]]:
    """
    Args:
        reward: a preset, the name of one reward, or weights by reward (`curate.rewards.weights_of`).

    Returns:
        f(prompts, completions, completion_ids, trainer_state, **columns) -> list[float | None], named after it in the
        trainer's log. Of a single reward None where a sample has no truth for it, which the trainer passes over.

    Raises:
        ValueError: on an unknown name.
    """
    weights_of(reward)
    single = rewards().get(reward) if isinstance(reward, str) else None

    def function(prompts: Sequence[Any] | None = None, completions: Sequence[Completion] = (),
                 completion_ids: Sequence[Sequence[int]] | None = None, trainer_state: Any = None,
                 **columns: Any) -> list[float | None]:
        truths = records_of(columns, len(completions))
        return [single(text, truth) if single else combine(text, truth, reward)["overall"]
                for text, truth in zip(completions, truths)]

    function.__name__ = f"curate_{reward if isinstance(reward, str) else 'mix'}".replace("-", "_")
    return function


score = reward_function("score")
format = reward_function("format")
mllm4d_paper = reward_function("mllm4d-paper")
mllm4d_code = reward_function("mllm4d-code")
