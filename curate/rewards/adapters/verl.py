"""verl's custom reward function.

    reward.custom_reward_function.path=pkg://curate.rewards.adapters.verl    # or the path of this file
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.reward=mllm4d-paper

Older releases have the same keys without the leading `reward.`. The reward manager `batch` takes `compute_scores`.
The parquet's `reward_model` is {"style": "rule", "ground_truth": json.dumps(rft(question))}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.rewards.adapters.columns import record_from
from curate.rewards.presets import combine
from curate.rewards.presets import score as own_metric
from curate.rewards.table import REWARDS


def compute_score(data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None,
                  *, reward: str | Mapping[str, float] = "score", **kwargs: Any) -> dict[str, float]:
    """
    Args:
        data_source: not looked at: each record says how it is judged.
        solution_str: the decoded response.
        ground_truth: the record, or its JSON text. extra_info, kwargs: whatever else the trainer passes.
        reward: as of `curate.rewards.combine`.

    Returns:
        "score" is the reward; "acc" (the record's own metric), "format" and the parts are logged. The same names for
        every sample of a run, as the trainer collects them in lists.

    Raises:
        ValueError: where the ground truth is no record.
    """
    record = record_from(ground_truth)
    parts = combine(solution_str, record, reward)
    overall = parts.pop("overall")
    parts.pop("score", None)
    return {"score": overall, "acc": own_metric(solution_str, record),
            "format": REWARDS["format"](solution_str, record), **parts}


def compute_scores(data_sources: Sequence[str], solution_strs: Sequence[str], ground_truths: Sequence[Any],
                   extra_infos: Sequence[Any] | None = None, *, reward: str | Mapping[str, float] = "score",
                   **kwargs: Any) -> list[dict[str, float]]:
    """`compute_score` of each sample by itself, as the reward manager `batch` calls it.

    Raises:
        ValueError: where a ground truth is no record.
    """
    return [compute_score(source, text, truth, reward=reward)
            for source, text, truth in zip(data_sources, solution_strs, ground_truths)]
