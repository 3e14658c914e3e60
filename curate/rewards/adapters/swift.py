"""ms-swift's outcome rewards (ORM), registered by a plug-in file:

    # plugin.py, for --external_plugins plugin.py --reward_funcs curate_score curate_format --reward_weights 0.9 0.1
    from swift.rewards import orms        # older releases: from swift.plugin import orms
    from curate.rewards.adapters.swift import register
    register(orms)

The dataset keeps a column `solution` with `json.dumps(rft(question))`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from curate.rewards.adapters.columns import records_of
from curate.rewards.plugins import rewards
from curate.rewards.presets import PRESETS, combine


class CurateORM:
    """What the trainer asks of an ORM, without its base class: made with the training arguments, then called."""

    reward: str | Mapping[str, float] = "score"

    def __init__(self, args: Any = None, **kwargs: Any) -> None:
        self.args = args

    def __call__(self, completions: Sequence[Any], **kwargs: Any) -> list[float | None]:
        """
        Args:
            completions: the texts. kwargs: the dataset's columns, one entry a completion, and what the trainer adds.

        Returns:
            One reward a completion; None where a sample has no truth for this reward, which the trainer passes over.

        Raises:
            ValueError: where no column holds records.
        """
        truths = records_of(kwargs, len(completions))
        single = rewards().get(self.reward) if isinstance(self.reward, str) else None
        if single:
            return [single(text, truth) for text, truth in zip(completions, truths)]
        return [combine(text, truth, self.reward)["overall"] for text, truth in zip(completions, truths)]


def orm(reward: str) -> type[CurateORM]:
    """The class of one preset or reward, as the trainer makes instances of it itself."""
    return type("Curate" + "".join(part.title() for part in reward.replace("-", "_").split("_")), (CurateORM,),
                {"reward": reward, "__doc__": f"The reward {reward!r} of curate.rewards."})


def register(orms: MutableMapping[str, Any]) -> None:
    """Puts every preset and reward into ms-swift's table, as `curate_NAME` with "_" for "-"."""
    for name in dict.fromkeys((*PRESETS, *rewards())):
        orms[f"curate_{name.replace('-', '_')}"] = orm(name)
