"""EasyR1's reward function.

    worker.reward.reward_function=/path/to/curate/rewards/adapters/easyr1.py:compute_score
    worker.reward.reward_function_kwargs={"reward": "mllm4d-paper"}
    data.answer_key=answer        # a column with json.dumps(rft(question))

Older releases ask for worker.reward.reward_type=batch; newer ones read REWARD_TYPE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.rewards.adapters.columns import record_from
from curate.rewards.presets import combine
from curate.rewards.presets import score as own_metric
from curate.rewards.table import REWARDS

REWARD_NAME = "curate"
REWARD_TYPE = "batch"


def compute_score(reward_inputs: list[dict[str, Any]] | dict[str, Any],
                  reward: str | Mapping[str, float] = "score") -> list[dict[str, float]] | dict[str, float]:
    """
    Args:
        reward_inputs: [{"response", "response_length", "ground_truth"}], or one of them (reward_type=sequential).
        reward: as of `curate.rewards.combine`.

    Returns:
        {"overall", "format", "accuracy"} each, and the parts.

    Raises:
        ValueError: where a ground truth is no record.
    """
    if isinstance(reward_inputs, Mapping):
        return _one(reward_inputs, reward)
    return [_one(given, reward) for given in reward_inputs]


def _one(given: Mapping[str, Any], reward: str | Mapping[str, float]) -> dict[str, float]:
    record, response = record_from(given["ground_truth"]), given["response"]
    parts = combine(response, record, reward)
    parts.pop("score", None)
    return {"overall": parts.pop("overall"), "format": REWARDS["format"](response, record),
            "accuracy": own_metric(response, record), **parts}
