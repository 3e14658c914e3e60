"""Verifiable rewards: what a text earns against the record of a question. Per sample, 0 to 1, in a base install.

`score(answer, record)` goes by the record's metric; `combine(answer, record, "mllm4d-paper")` weighs several;
`curate.rewards.adapters` has the signatures of trl, verl, ms-swift and EasyR1.
"""

from curate.rewards.judged import Reward, reward
from curate.rewards.plugins import rewards
from curate.rewards.presets import PRESETS, combine, score, weights_of
from curate.rewards.record import Record, as_record
from curate.rewards.table import METRICS, REWARDS

__all__ = ["METRICS", "PRESETS", "REWARDS", "Record", "Reward", "as_record", "combine", "reward", "rewards", "score",
           "weights_of"]
