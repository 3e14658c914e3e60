"""The second pass: staged scenes to published shards. No estimator, no video decoding.

Each clip is asked once and spooled (`asking`); then the selection and the audit look at what they need of all
candidates, which lies on disk (`questions.tally`); then the clips that were spooled are packed. What is held in memory
at once is a clip for each process, and the keys.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from curate.engine.asking import Asked, ask_all, marks_of, media_of, num_processes
from curate.engine.augmented import folder_of, load, sweep, teacher_of, with_variants
from curate.engine.ledger import RUN
from curate.engine.progress import Progress
from curate.questions.audit import ALPHA, FAIL, complaints, report, with_clips
from curate.questions.balance import NO_LIMIT, Limits, find_limits
from curate.questions.config import MixtureConfig
from curate.questions.given import GIVEN
from curate.questions.items import ITEM
from curate.questions.mixture import mixture_report
from curate.questions.overlap import Overlap, read_ids
from curate.questions.pictures import Pictures
from curate.questions.pool import Pool
from curate.questions.tally import Tally
from curate.recipe import Recipe
from curate.recipe.model import fingerprint
from curate.shards.publish import publish
from curate.shards.sample import Sample

SCRATCH = ".asking.partial"  # in OUT, where there is room for shards; gone when the pass ends
MAX_DOUBTS = 2000  # clips whose doubts are listed one by one


class AuditFailed(RuntimeError):
    """The options give answers away, or clips are of a benchmark; nothing was published. `report` has the findings."""

    def __init__(self, text: str, report: dict[str, Any]) -> None:
        super().__init__(text)
        self.report = report


def write(out: Path, keys: Iterable[str], recipe: Recipe, run_info: dict[str, Any], *, processes: int | None = None,
          quiet: bool = True, confirm: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Asks every staged scene, selects over all of them, audits, marks, packs and publishes OUT/shards.

    Args:
        out: the run's folder.
        keys: staged clips to write, and with them the variants that the recipe asks for.
        run_info: facts for the manifest; must not depend on workers or time.
        processes: how many ask at once; default: by the recipe's engine. The shards are the same for any number.
        quiet: no progress on stderr.
        confirm: called before the new set takes the place of the older one; raises where `out` is not ours any more.

    Returns:
        {"manifest", "questions", "families", "splits", "mixture", "dropped", "doubts", "audit"}; "doubts" of the first
        clips that have any, "mixture" None where the recipe has no target.

    Raises:
        AuditFailed: on an option leak, or what else the recipe says fails. Fatal: where a staged clip is torn. An older
            shard set stays. ValueError: where a list of benchmark videos cannot be read.
    """
    keys = with_variants(keys, recipe.augment)
    run = json.loads((out / RUN).read_text())
    # Of the run, not of a recipe that only asks again: that one may name other media.
    licence = run["recipe"]["source"].get("licence", "")
    has_teacher = run["recipe"].get("teacher", {}).get("enabled", False)
    scratch = out / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # of a pass that was killed
    sweep(out)
    scratch.mkdir()
    try:
        with (scratch / "clips.bin").open("w+b") as spool, _Seen(recipe, scratch) as seen:
            asked = ask_all(out, keys, recipe, licence, processes or num_processes(recipe, len(keys)), scratch)
            doubtful = _spool(asked, spool, seen, len(keys), quiet)
            limits, kept = find_limits(seen.pool.counts, recipe.questions, seen.pool.kth_ranks, seen.dropped)
            audited = seen.audit(limits)
            dropped, target = seen.dropped, recipe.questions.target()
            mixture = target and mixture_report(target, seen.candidates(), kept)
            counts: Counter = Counter()
            manifest = publish(
                out, _samples(out, spool, recipe, limits, counts, len(seen.keys), quiet, has_teacher),
                run_info={**run_info, "name": recipe.name, "option_leak": audited["option_leak"],
                          **({"mixture": mixture} if mixture else {})},
                fingerprints={"perception": fingerprint(run["perception"]), "writing": recipe.writing_fingerprint()},
                max_samples=recipe.shards.max_samples, max_bytes=recipe.shards.max_bytes, confirm=confirm)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    families: Counter = Counter()
    for (_, family), count in counts.items():
        families[family] += count
    selected = {family: count for family, count in families.items() if family != GIVEN}
    assert selected == {family: count for family, count in kept.items() if count}
    result = {"manifest": manifest, "questions": sum(families.values()), "families": dict(sorted(families.items())),
              "splits": _splits(manifest, counts, target), "mixture": mixture,
              "dropped": [{"family": f, "reason": r, "count": n} for (f, r), n in sorted(dropped.items())],
              "doubts": doubtful, "audit": audited}
    temp = out / ".questions.json.partial"
    temp.write_text(json.dumps({k: v for k, v in result.items() if k != "manifest"}, indent=1))
    temp.rename(out / "questions.json")
    return result


class _Seen:
    """What selection and audit need of all clips, most of it on disk."""

    def __init__(self, recipe: Recipe, scratch: Path) -> None:
        self._settings = recipe.questions.audit
        self.pool, self.tally, self.pictures = Pool(scratch), Tally(scratch), Pictures()
        self.overlap = Overlap(read_ids(self._settings.benchmark_ids))
        self.dropped: Counter = Counter()  # by (family, reason)
        self.keys: list[str] = []  # of all clips, those that were cut of others too

    def __enter__(self) -> _Seen:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.__exit__()
        self.tally.__exit__()

    def add(self, clip: Asked) -> None:
        head = clip.head
        self.keys.append(head["key"])
        self.dropped.update({(family, reason): count for family, reason, count in head.pop("left_out")})
        self.pool.add([(family, form, answer, rank) for family, form, answer, rank, _ in head["asked"]])
        self.tally.add(np.frombuffer(clip.items, ITEM), head.pop("names"))
        self.pictures.add(bytes.fromhex(head.pop("picture")), head["recording"], head["split"])
        self.overlap.add(head["key"], head["uri"], head.pop("recording"))

    def candidates(self) -> Counter:
        """Family -> what clips kept of it."""
        counts: Counter = Counter()
        for (family, _, _), count in self.pool.counts.items():
            counts[family] += count
        return counts

    def audit(self, limits: Limits) -> dict[str, Any]:
        """The report on what is kept. Raises AuditFailed."""
        self.tally.keep({(family, answer): limit for family, form, answer in self.pool.counts if form == "choice"
                         and (limit := limits.of(family, form, answer)) < NO_LIMIT})
        found = with_clips(report(self.tally, self._settings.purpose), self.pictures.report(self.keys),
                           self.overlap.report(), self._settings.overlap == "fail")
        if found["verdict"] == FAIL:
            chance = (f"; fair options are stopped so about once in {1 / ALPHA:.0f} times: another questions.seed "
                      "draws them anew, and what fails again leaks" if found["option_leak"] == FAIL else "")
            raise AuditFailed(f"{'; and '.join(complaints(found))}; nothing was published{chance}", found)
        return found


def _splits(manifest: dict[str, Any], counts: Counter, target: MixtureConfig | None) -> dict[str, Any]:
    """Split -> {"clips", "questions", "mixture"}; `counts`: (split, family) -> questions."""
    out = {}
    for split, total in manifest["splits"].items():
        own = {family: count for (name, family), count in counts.items() if name == split and family != GIVEN}
        out[split] = {"clips": total["samples"], "questions": total["questions"],
                      "mixture": target and mixture_report(target, own, own)}
    return out


def _spool(clips: Iterator[Asked], spool: BinaryIO, seen: _Seen, num_clips: int, quiet: bool) -> list[dict[str, str]]:
    """Takes every clip as it is asked. Returns the first doubts."""
    doubtful: list[dict[str, str]] = []
    progress = Progress(num_clips, quiet=quiet, what="ask")
    try:
        for clip in clips:
            head = clip.head
            if found := head.pop("doubts"):
                doubtful += [{"key": head["key"], "uri": head["uri"], "doubt": d} for d in found
                             if len(doubtful) < MAX_DOUBTS]
            seen.add(clip)
            clip.write(spool, with_items=False)
            if not head["more"]:  # the clip, and what was cut of it
                progress.settled("done")
            progress.tick()
    finally:
        progress.close()
    return doubtful


def _samples(out: Path, spool: BinaryIO, recipe: Recipe, limits: Limits, counts: Counter, num_clips: int,
             quiet: bool, teacher: bool) -> Iterator[Sample]:
    """The clips as they are packed, with teacher tensors or without; counts questions by (split, family)."""
    spool.seek(0)
    progress = Progress(num_clips, quiet=quiet, what="pack")
    try:
        while (clip := Asked.read(spool)) is not None:
            yield _sample(out, clip, recipe, limits, counts, teacher)
            progress.settled("done")
            progress.tick()
    finally:
        progress.close()


def _sample(out: Path, clip: Asked, recipe: Recipe, limits: Limits, counts: Counter, teacher: bool) -> Sample:
    wanted, regions, candidates = [], set(), set()
    for family, form, answer, rank, marked in clip.head["asked"]:
        wanted.append(rank <= limits.of(family, form, answer))
        candidates.update(marked)
        if wanted[-1]:
            counts[clip.head["split"], family] += 1
            regions.update(marked)
    if num_given := clip.head["given"]:
        wanted += [True] * num_given
        counts[clip.head["split"], GIVEN] += num_given
    key = clip.head["key"]
    folder = folder_of(out, key)
    data, media = clip.json(wanted), media_of(folder)
    if clip.video:  # with the marks of all candidates, as in mark.jpg
        media["v0.mp4"], media["mark.jpg"] = clip.video, clip.marks
    elif clip.marks:
        own = regions == candidates
        media["mark.jpg"] = clip.marks if own else marks_of(folder, load(out, key).scene, regions, recipe)
    return Sample(key, media, json.loads(data), data, teacher_of(out, key) if teacher else None)
