"""The second pass: staged scenes to published shards. No estimator, no video decoding.

Each clip is asked once and spooled (`asking`); then the selection and the audit look at what they need of all
candidates, which lies on disk (`questions.tally`); then the clips that were spooled are packed. What is held in memory
at once is a clip for each process, and the keys.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from curate.engine.asking import Asked, ask_all, marks_of, media_of, num_processes
from curate.engine.ledger import RUN
from curate.engine.progress import Progress
from curate.engine.stage import FOLDER
from curate.questions.audit import report
from curate.questions.balance import answer_limits
from curate.questions.tally import ITEM, Tally
from curate.recipe import Recipe
from curate.recipe.model import fingerprint
from curate.scene import Scene
from curate.shards.publish import publish
from curate.shards.sample import Sample

SCRATCH = ".asking.partial"  # in OUT, where there is room for shards; gone when the pass ends
MAX_DOUBTS = 2000  # clips whose doubts are listed one by one

Limits = Mapping[tuple[str, str], int]


class AuditFailed(RuntimeError):
    """The options give answers away; nothing was published. `report` has the findings."""

    def __init__(self, text: str, report: dict[str, Any]) -> None:
        super().__init__(text)
        self.report = report


def write(out: Path, keys: Iterable[str], recipe: Recipe, run_info: dict[str, Any], *, processes: int | None = None,
          quiet: bool = True, confirm: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Asks every staged scene, selects over all of them, audits, marks, packs and publishes OUT/shards.

    Args:
        out: the run's folder.
        keys: staged clips to write.
        run_info: facts for the manifest; must not depend on workers or time.
        processes: how many ask at once; default: by the recipe's engine. The shards are the same for any number.
        quiet: no progress on stderr.
        confirm: called before the new set takes the place of the older one; raises where `out` is not ours any more.

    Returns:
        {"manifest", "questions", "families", "dropped", "doubts", "audit"}; "doubts" of the first clips that have any.

    Raises:
        AuditFailed: on an option leak. Fatal: where a staged clip is torn. An older shard set stays.
    """
    keys = sorted(keys)
    run = json.loads((out / RUN).read_text())
    # Of the run, not of a recipe that only asks again: that one may name other media.
    licence = run["recipe"]["source"].get("licence", "")
    scratch = out / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # of a pass that was killed
    scratch.mkdir()
    try:
        with (scratch / "clips.bin").open("w+b") as spool, Tally(scratch) as tally:
            asked = ask_all(out, keys, recipe, licence, processes or num_processes(recipe, len(keys)), scratch)
            dropped, doubtful = _spool(asked, spool, tally, len(keys), quiet)
            limits = _limits(tally, recipe, dropped)
            tally.keep(limits)
            audited = report(tally)
            if audited["option_leak"] == "fail":
                leaks = [f"{f['family']} ({t['guesser']}: {t['right']:.0%} right, chance {t['chance']:.0%})"
                         for f in audited["families"] for t in f["guessers"] if t.get("leak")]
                raise AuditFailed(f"the options give answers away: {'; '.join(leaks)}; nothing was published", audited)
            families: Counter = Counter()
            manifest = publish(
                out, _samples(out, spool, limits, families, len(keys), quiet),
                run_info={**run_info, "name": recipe.name, "option_leak": audited["option_leak"]},
                fingerprints={"perception": fingerprint(run["perception"]), "writing": recipe.writing_fingerprint()},
                max_samples=recipe.shards.max_samples, max_bytes=recipe.shards.max_bytes, confirm=confirm)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = {"manifest": manifest, "questions": sum(families.values()), "families": dict(sorted(families.items())),
              "dropped": [{"family": f, "reason": r, "count": n} for (f, r), n in sorted(dropped.items())],
              "doubts": doubtful, "audit": audited}
    temp = out / ".questions.json.partial"
    temp.write_text(json.dumps({k: v for k, v in result.items() if k != "manifest"}, indent=1))
    temp.rename(out / "questions.json")
    return result


def _spool(clips: Iterator[Asked], spool: BinaryIO, tally: Tally, num_clips: int,
           quiet: bool) -> tuple[Counter, list[dict[str, str]]]:
    """Takes every clip as it is asked. Returns what was left out, and the first doubts."""
    dropped: Counter = Counter()
    doubtful: list[dict[str, str]] = []
    progress = Progress(num_clips, quiet=quiet, what="ask")
    try:
        for clip in clips:
            head = clip.head
            dropped.update({(family, reason): count for family, reason, count in head.pop("left_out")})
            if found := head.pop("doubts"):
                doubtful += [{"key": head["key"], "uri": head["uri"], "doubt": d} for d in found
                             if len(doubtful) < MAX_DOUBTS]
            tally.add(np.frombuffer(clip.items, ITEM), head.pop("names"))
            clip.write(spool, with_items=False)
            progress.settled("done")
            progress.tick()
    finally:
        progress.close()
    return dropped, doubtful


def _limits(tally: Tally, recipe: Recipe, dropped: Counter) -> Limits:
    """The largest rank kept of every answer that is over its share."""
    def ranks(caps: Mapping[tuple[str, str, str], int]) -> dict[tuple[str, str, str], int]:
        found = tally.kth_ranks({(family, answer): cap for (family, _, answer), cap in caps.items()})
        return {name: found[name[0], name[2]] for name in caps}

    counts = {(family, "choice", answer): count for (family, answer), count in tally.answers.items()}
    found = answer_limits(counts, recipe.questions, ranks, dropped)
    return {(family, answer): limit for (family, _, answer), limit in found.items()}


def _samples(out: Path, spool: BinaryIO, limits: Limits, families: Counter, num_clips: int,
             quiet: bool) -> Iterator[Sample]:
    """The clips as they are packed; counts the families."""
    spool.seek(0)
    progress = Progress(num_clips, quiet=quiet, what="pack")
    try:
        while (clip := Asked.read(spool)) is not None:
            yield _sample(out / FOLDER / clip.head["key"], clip, limits, families)
            progress.settled("done")
            progress.tick()
    finally:
        progress.close()


def _sample(folder: Path, clip: Asked, limits: Limits, families: Counter) -> Sample:
    wanted, regions, candidates = [], set(), set()
    for family, form, answer, rank, marked in clip.head["asked"]:
        limit = limits.get((family, answer)) if form == "choice" else None
        wanted.append(limit is None or rank <= limit)
        candidates.update(marked)
        if wanted[-1]:
            families[family] += 1
            regions.update(marked)
    data, media = clip.json(wanted), media_of(folder)
    media["mark.jpg"] = clip.marks if regions == candidates else marks_of(folder, Scene.load(folder / "scene.npz"),
                                                                          regions)
    return Sample(clip.head["key"], media, json.loads(data), data)
