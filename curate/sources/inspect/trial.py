"""Whether a proposal loads: its settings fit the source's model, and its plan has a first clip."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from curate.sources import SOURCES, make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig, SourceConfig
from curate.sources.inspect.candidate import Candidate

MAX_REASON = 300  # characters


def try_out(candidate: Candidate, root: Path) -> None:
    """Sets `loads` and `planned`; what the plan misses is added to `missing`."""
    if not candidate.kind:
        return
    candidate.loads = False
    if candidate.kind not in SOURCES:
        candidate.missing.append(f"source kind {candidate.kind} in this installation (`curate sources` lists what is "
                                 "there)")
        return
    recipe = candidate.recipe(str(root), "tried")
    try:
        config = TypeAdapter(SourceConfig).validate_python(recipe["source"])
        clip = ClipConfig.model_validate({"num_frames": 16, **candidate.clip, "max_clips": 1})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"][1:])
        if not any(one.startswith(f"{place}:") for one in candidate.missing):
            candidate.missing.append(f"source.{place}: {first['msg']}")
        return
    try:
        first = next(iter(make_source(config, clip).plan()), None)
    except (BadInput, ValueError, OSError, ImportError) as error:
        first = (None, str(error))
    if first is None or isinstance(first, tuple):
        reason = "no clip" if first is None else first[1].partition("; nothing else to do in ")[0]
        if "images without times" in reason and any(m.startswith("times: ") for m in candidate.missing):
            return  # the sniffer said so already
        candidate.missing.append(reason if len(reason) <= MAX_REASON else reason[:MAX_REASON] + "...")
        return
    candidate.loads = True
    candidate.planned = f"first clip: {first.num_frames} frames" + (f" of {first.uri}" if first.uri != "." else "")
