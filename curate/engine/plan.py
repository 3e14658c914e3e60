"""The plan: every clip of a recipe's source, in a stable order, with what is known to be bad before any work."""

from __future__ import annotations

from dataclasses import dataclass, field

from curate.recipe import Recipe
from curate.sources.base import BadInput, ClipSpec


@dataclass
class Plan:
    """`clips` to perceive, and `bad`: clips known to be unusable, each with its reason."""

    clips: list[ClipSpec] = field(default_factory=list)
    bad: list[tuple[ClipSpec, str]] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [c.key for c in self.clips] + [c.key for c, _ in self.bad]


def make_plan(recipe: Recipe) -> Plan:
    """
    Raises:
        BadInput: where the source has nothing to plan, or where two clips are the same file under one name.
    """
    from curate.sources import make_source

    plan = Plan()
    try:
        source = make_source(recipe.source, recipe.clip)
    except ValueError as error:  # settings that only the source itself can judge
        raise BadInput(f"source {recipe.source.kind}: {error}") from error
    for item in source.plan():
        if isinstance(item, tuple):
            plan.bad.append(item)
        else:
            plan.clips.append(item)
    if not plan.clips and not plan.bad:
        raise BadInput(f"source {recipe.source.kind}: nothing to do; no clip was found")
    if len(set(plan.keys)) != len(plan.keys):
        doubles = sorted({k for k in plan.keys if plan.keys.count(k) > 1})
        raise BadInput(f"source {recipe.source.kind}: the clip {doubles[0]} is planned twice; name each input once")
    return plan
