"""The stages of a mixture (`curate mix`) as the stages of a training run.

A stage's counts become weights of its sets, so that an epoch of the stage is its questions exactly; the order within is
the trainer's own (`order`), which keeps the questions of a clip near each other.
"""

from __future__ import annotations

import difflib
from typing import Any

from curate.shards import mixture
from curate.train.config import TrainRecipe


def from_mixture(recipe: TrainRecipe) -> TrainRecipe:
    """The recipe with the stages of the mixture that it names, and without its name; itself where it names none.

    Where the recipe does not say how parts are trained (`student.trained`), the mixture does.

    Raises:
        ShardError: where the mixture or one of its sets is not there, altered, or changed since.
        ValueError: where recipe and mixture do not fit; says what to change.
    """
    if recipe.mixture is None:
        return recipe
    file = mixture.file_of(recipe.mixture)
    content = mixture.load(file)
    own = {stage.name: stage.model_dump(exclude_unset=True) for stage in recipe.stages}
    names = [stage["name"] for stage in content["stages"]]
    if unknown := [name for name in own if name not in names]:
        close = difflib.get_close_matches(unknown[0], names, 1)
        raise ValueError(f"stages: {unknown[0]!r} is no stage of {file}; "
                         + (f"did you mean {close[0]!r}?" if close else f"there is {', '.join(names)}"))
    sets = {name: str(mixture.check_set(name, entry, file.parent)) for name, entry in content["sets"].items()}
    if off := [name for name, entry in content["sets"].items() if entry["split"] != recipe.data.split]:
        raise ValueError(f"set {off[0]!r} of {file} is split {content['sets'][off[0]]['split']!r}, data.split is "
                         f"{recipe.data.split!r}; make them the same")
    stages = [_stage(stage, sets) for stage in content["stages"]]
    for stage in stages:
        more = own.get(stage["name"], {})
        stage.update(more, data=stage["data"] | more.get("data", {}))
    changed = recipe.model_dump() | {"mixture": None, "stages": stages,
                                     "student": recipe.student.model_dump(exclude_unset=True)
                                     | {"trained": _trained(content, recipe, str(file))}}
    if [each.path for each in recipe.data.sets] == [recipe.mixture]:
        changed["data"]["sets"] = list({path: {"path": path} for path in sets.values()}.values())
    return TrainRecipe.model_validate(changed)


def _stage(stage: dict[str, Any], sets: dict[str, str]) -> dict[str, Any]:
    """A stage of the mixture as one of a recipe."""
    chosen = [{"path": sets[part["set"]], "weight": part["samples"] / part["available"], "families": part["families"],
               "forms": part["forms"]} for part in stage["mix"] if part["samples"]]
    parts = [part for part in mixture.PARTS if part in stage["train"]]
    return {"name": stage["name"], "questions": stage["samples"], "parts": parts, "data": {"sets": chosen}}


def _trained(content: dict[str, Any], recipe: TrainRecipe, file: str) -> dict[str, str]:
    """How each part is trained where it is: a student is wrapped once, so all stages must say the same."""
    hows: dict[str, str] = {}
    for stage in content["stages"]:
        for part, how in stage["train"].items():
            if hows.setdefault(part, how) != how:
                raise ValueError(f"{file}: {part} is trained {hows[part]} in one stage and {how} in another; run these "
                                 "stages as recipes of their own, the next from RUN/student of the one before")
    if "trained" not in recipe.student.model_fields_set:
        return {part: hows.get(part, "frozen") for part in mixture.PARTS}
    said = recipe.student.trained.model_dump()
    for part, how in hows.items():
        if said[part] != how:
            raise ValueError(f"student.trained has {part} {said[part]}, {file} trains it {how}; leave student.trained "
                             "out, or make them the same")
    return said
