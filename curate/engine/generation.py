"""OUT/plan.json: which clips are planned, and by which generations the plan came to be what it is.

plan.json names the file with the clips (`clips-{digest}.jsonl`, a line a clip) and is put in place after it, so that
plan and clips always fit each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from curate.engine.errors import OutError
from curate.engine.index import ClipIndex, ident
from curate.engine.plan import Spooled, read_clips, read_keys, spool
from curate.sources.base import ClipSpec

NAME = "plan.json"
FORMAT = 2
MAX_NAMED = 20
Write = Callable[[str, str], None]


@dataclass
class Generation:
    """One change of the plan.

    Attributes:
        number: from 0.
        why: "run": the source was planned; "retry": failed clips were put back.
        planned: clips of the plan then. new, lost: against the generation before. again: clips put back, by what had
            become of them.
        named: the first of those lost, for a person.
    """

    number: int
    why: str
    planned: int
    new: int = 0
    lost: int = 0
    again: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)


@dataclass
class PlanInfo:
    """What plan.json says."""

    clips: str
    num_clips: int
    num_bad: int
    generations: list[Generation]

    @property
    def number(self) -> int:
        return self.generations[-1].number


def load(out: Path) -> PlanInfo | None:
    """
    Raises:
        OutError: where it cannot be read; None only where there is none.
    """
    path = out / NAME
    try:
        value = json.loads(path.read_bytes())
        if value["format"] != FORMAT:
            raise ValueError
        info = PlanInfo(str(value["clips"]), int(value["num_clips"]), int(value["num_bad"]),
                        [Generation(**g) for g in value["generations"]])
        if Path(info.clips).name != info.clips or not info.generations or not (out / info.clips).is_file():
            raise ValueError
        return info
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise OutError(f"{path}: torn, or of another version; `curate run` with this folder writes it anew "
                       f"(nothing staged is lost)") from None


def save(out: Path, info: PlanInfo, write: Write) -> None:
    """Puts plan.json in place. Older files of clips go afterwards."""
    write(NAME, json.dumps({"format": FORMAT, **asdict(info)}, indent=1))
    for path in out.glob("clips-*.jsonl"):
        if path.name != info.clips:
            path.unlink(missing_ok=True)


def extend(out: Path, before: PlanInfo | None, items: Iterable[tuple[ClipSpec, str | None]], write: Write,
           claim: Callable[[], None] = lambda: None) -> tuple[PlanInfo, ClipIndex]:
    """Makes the source's clips the plan; a generation is added where keys came or went.

    Args:
        before: the plan so far; None where there is none, or none that can be read.
        write: (name, text) puts a file of OUT in place whole.
        claim: called when all clips are known to be good or bad, before anything is changed.

    Raises:
        BadInput: from the source; the plan stays what it was.
    """
    temp = out / ".clips.jsonl.partial"
    try:
        spooled = spool(items, temp)
        claim()
        name = f"clips-{spooled.digest[:16]}.jsonl"
        if before is not None and before.clips == name:
            return before, spooled.index
        generations = list(before.generations) if before else []
        change = _change(out, before, spooled)
        if change is not None:
            generations.append(change)
        temp.rename(out / name)
    finally:
        temp.unlink(missing_ok=True)
    info = PlanInfo(name, len(spooled.index), spooled.num_bad, generations)
    save(out, info, write)
    return info, spooled.index


def _change(out: Path, before: PlanInfo | None, spooled: Spooled) -> Generation | None:
    planned = len(spooled.index)
    if before is None:
        return Generation(0, "run", planned, new=planned)
    old, lost, named = 0, 0, []
    for clip, _ in read_clips(out / before.clips):
        old += 1
        if spooled.index.find(clip.key) < 0:
            lost += 1
            if len(named) < MAX_NAMED:
                named.append(clip.uri)
    new = planned - (old - lost)
    if not new and not lost:
        return None
    return Generation(before.number + 1, "run", planned, new, lost, {}, named)


def index_of(out: Path, info: PlanInfo) -> ClipIndex:
    """An index of the planned keys; nothing is recorded in it."""
    idents = bytearray()
    for key in read_keys(out / info.clips):
        idents += ident(key)
    index = ClipIndex(idents)
    if len(index) != info.num_clips or index.twice is not None:
        raise OutError(f"{out / info.clips}: holds {len(index)} clips, {NAME} says {info.num_clips}; `curate run` with "
                       f"this folder writes it anew (nothing staged is lost)")
    return index


def put_back(info: PlanInfo, index: ClipIndex, places: np.ndarray) -> PlanInfo:
    """The plan with a generation in which these places are tried once more."""
    again: dict[str, int] = {}
    for at in places.tolist():
        again[index.state(at)] = again.get(index.state(at), 0) + 1
    return PlanInfo(info.clips, info.num_clips, info.num_bad,
                    [*info.generations, Generation(info.number + 1, "retry", info.num_clips, again=again)])
