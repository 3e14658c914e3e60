"""Audits a shard set as it is published: of ours or of a copy of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curate.engine.augmented import folder_of
from curate.questions.audit import report, with_clips
from curate.questions.given import is_given
from curate.questions.overlap import Overlap
from curate.questions.pictures import Pictures, picture_hash
from curate.questions.tally import Tally
from curate.shards import schema


def audit_set(out: Path, *, purpose: str = "training", ids: dict[str, str] | None = None,
              overlap_fails: bool = True) -> dict[str, Any]:
    """
    Args:
        out: a run's folder, or a shard set.
        purpose: what an answer prior means (`questions.audit.report`).
        ids: of benchmark videos, as of `overlap.read_ids`.
        overlap_fails: whether a clip of such a video makes the verdict "fail".

    Returns:
        as `questions.audit.with_clips`, and "splits": split -> {"clips", "questions"}. Clips whose first frame is not
        staged in OUT have no part in the search for duplicates.

    Raises:
        ShardError: where nothing is published, or a shard is torn.
    """
    from curate.shards import manifest, read
    from curate.shards.reader import find_root

    content = manifest.load(find_root(out))
    pictures, overlap, keys = Pictures(), Overlap(ids or {}), []
    with Tally() as tally:
        for split in content["splits"]:
            for item in read(out, split, flatten=False):
                record = item["json"]
                known = {"recording": record["recording"]}
                tally.ask({**qa, "extra": known | qa["extra"]} for qa in record["qa"] if not is_given(qa))
                keys.append(record["key"])
                pictures.add(_picture(out, record["clip_key"]), record["recording"], split)
                overlap.add(record["key"], record["source"]["uri"], record["recording"])
        found = with_clips(report(tally, purpose), pictures.report(keys), overlap.report(), overlap_fails)
    return found | {"splits": {name: {"clips": total["samples"], "questions": total["questions"]}
                               for name, total in content["splits"].items()}}


def _picture(out: Path, key: str) -> bytes:
    if not schema.KEY.fullmatch(key):  # a set may come from anywhere: no path out of OUT
        return b""
    try:
        data = (folder_of(out, key) / "frame.jpg").read_bytes()
        from curate.marks import read_jpeg

        return picture_hash(read_jpeg(data))
    except (OSError, ValueError, ImportError):  # not staged here, torn, or an install that only reads shards
        return b""


def judged(found: dict[str, Any], part: str) -> Iterable[dict[str, Any]]:
    """Every guesser of a report by its excess over chance, the largest first.

    Args:
        part: "option_leak" or "answer_prior".
    """
    tests = []
    for row in found["families"]:
        own = row if part == "option_leak" else row["answer_prior"]
        tests += [{"family": row["family"], **test} for test in (own["guessers"] if own else ())]
    return sorted(tests, key=lambda t: (t["chance"] - t["right"], t["family"], t["guesser"]))
