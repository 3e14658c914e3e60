"""One stage of a mixture, read by name: exact counts, mixed from the first item to the last, each place found again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.shards import mixture, tar
from curate.shards.chosen import Chosen
from curate.shards.errors import ShardError
from curate.shards.reader import Place
from curate.shards.schedule import Draws, interleaved


@dataclass
class Stage:
    """An iterable over a stage's questions; every `iter()` starts anew at `start`. Made by `read_stage`.

    Attributes:
        name: of the stage. counts: set -> questions that it gives. train: part of a student -> "full" | "lora": what
            is trained in this stage; a part that is not named rests.
    """

    name: str
    counts: dict[str, int]
    train: dict[str, str]
    seed: int
    start: int
    place: tuple[int | None, int | None, int | None, int | None]
    _sources: list[tuple[str, Chosen]] = field(repr=False)

    def __len__(self) -> int:
        """Of the whole stage, over all consumers."""
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        place = Place.find(*self.place)
        counts = list(self.counts.values())
        order = [Draws(len(source), f"{self.seed} {self.name} {name}") if len(source) else None
                 for name, source in self._sources]
        for position, (index, draw) in enumerate(interleaved(counts, self.start), self.start):
            if position % place.count == place.index:
                name, source = self._sources[index]
                yield source[order[index][draw]] | {"set": name, "position": position}


def read_stage(path: Path | str, stage: str, *, start: int = 0, rank: int | None = None, world_size: int | None = None,
               worker: int | None = None, num_workers: int | None = None,
               max_part_bytes: int = tar.MAX_PART_BYTES) -> Stage:
    """The questions of one stage of a mixture, in an order that depends on its seed alone.

    The stage's n-th item is the same whoever reads it: of a set that is drawn n times, each question comes once before
    any comes again, and after any number of items each set has given its share to within one. Consumers take every
    `world_size * num_workers`-th item: together they read the stage exactly once, whatever their number.

    Args:
        path: `mixture.json` of `curate mix`, or its folder.
        stage: its name.
        start: position to go on from: one more than the `position` of the last item that was used, by whichever
            consumer came furthest.
        rank, world_size, worker, num_workers, max_part_bytes: as of `curate.shards.read`.

    Returns:
        An iterable of items as `curate.shards.read` gives them, one a question, and `set`, the name of the set that it
        is of, and `position` in the stage.

    Raises:
        ShardError: on an unknown stage, a set that is not there, has changed since it was mixed or has become torn.
        ValueError: on a place or a start that cannot be.

    >>> for item in read_stage("out/mixture", "4d-instruction"):  # doctest: +SKIP
    ...     item["set"], item["qa"]["question"], item["media"]["v0.mp4"]
    """
    place = (rank, world_size, worker, num_workers)
    Place.find(*place)  # a wrong place is reported here, not in a worker
    file = mixture.file_of(path)
    content = mixture.load(file)
    found = mixture.stage_of(content, stage, str(file))
    if not 0 <= start <= found["samples"]:
        raise ValueError(f"start is {start}; stage {stage!r} has {found['samples']} items")
    sources = []
    for part in found["mix"]:
        entry = content["sets"][part["set"]]
        root = mixture.check_set(part["set"], entry, file.parent)
        if not part["samples"]:
            continue
        chosen = Chosen(root, entry["split"], families=part["families"], forms=part["forms"],
                        max_part_bytes=max_part_bytes)
        if chosen.digest != entry["digest"] or len(chosen) != part["available"]:
            raise ShardError(f"set {part['set']!r} of {file}: {len(chosen)} questions, {part['available']} when it was "
                             "mixed; run `curate mix` again")
        sources.append((part["set"], chosen))
    counts = {part["set"]: part["samples"] for part in found["mix"] if part["samples"]}
    return Stage(stage, counts, dict(found["train"]), content["seed"], start, place, sources)
