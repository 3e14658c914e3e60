"""The second pass: staged scenes to published shards. No estimator, no video decoding."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from curate.engine.ledger import RUN
from curate.engine.stage import FOLDER
from curate.questions import ask
from curate.questions.audit import audit
from curate.questions.balance import row, select
from curate.questions.doubts import doubts
from curate.questions.question import Question
from curate.recipe import Recipe
from curate.recipe.model import fingerprint
from curate.scene import Scene
from curate.shards.publish import publish
from curate.shards.sample import Sample, make_sample
from curate.shards.writer import split_of


class AuditFailed(RuntimeError):
    """The options give answers away; nothing was published. `report` has the findings."""

    def __init__(self, text: str, report: dict[str, Any]) -> None:
        super().__init__(text)
        self.report = report


def write(out: Path, keys: Iterable[str], recipe: Recipe, run_info: dict[str, Any]) -> dict[str, Any]:
    """Asks every staged scene, selects over all of them, audits, marks, packs and publishes OUT/shards.

    Args:
        out: the run's folder.
        keys: staged clips to write.
        run_info: facts for the manifest; must not depend on workers or time.

    Returns:
        {"manifest", "questions", "families", "dropped", "doubts", "audit"}.

    Raises:
        AuditFailed: on an option leak. An older shard set stays.
    """
    keys = sorted(keys)
    run = json.loads((out / RUN).read_text())
    perceived = fingerprint(run["perception"])
    # Of the run, not of a recipe that only asks again: that one may name other media.
    licence = run["recipe"]["source"].get("licence", "")
    dropped: Counter = Counter()
    doubtful: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="curate-ask-") as folder:
        spool = Path(folder) / "candidates.jsonl"
        rows = []
        with spool.open("w") as f:
            for key in keys:
                scene = Scene.load(out / FOLDER / key / "scene.npz")
                questions, left = ask(scene, recipe.questions)
                doubtful += [{"key": key, "uri": str(scene.clip.get("uri", key)), "doubt": d} for d in doubts(scene)]
                dropped.update((d.family, d.reason) for d in left)
                rows += [row(q) for q in questions]
                f.write(json.dumps([q.to_json() for q in questions]) + "\n")
        selection = select(rows, recipe.questions)
        dropped.update(selection.left_out)

        def kept() -> Iterator[list[dict[str, Any]]]:
            with spool.open() as lines:
                for line in lines:
                    yield [q for q in json.loads(line) if q["id"] in selection.ids]

        report = audit(q for questions in kept() for q in questions)
        families = Counter(q["family"] for questions in kept() for q in questions)
        if report["option_leak"] == "fail":
            leaks = [f"{f['family']} ({t['name']}: {t['right']:.0%} right, chance {t['chance']:.0%})"
                     for f in report["families"] for t in f["guessers"] if t.get("leak")]
            raise AuditFailed(f"the options give answers away: {'; '.join(leaks)}; nothing was published", report)
        manifest = publish(
            out, (_sample(out / FOLDER / key, questions, licence, recipe) for key, questions in zip(keys, kept())),
            run_info={**run_info, "name": recipe.name, "option_leak": report["option_leak"]},
            fingerprints={"perception": perceived, "writing": recipe.writing_fingerprint()},
            max_samples=recipe.shards.max_samples, max_bytes=recipe.shards.max_bytes)
    result = {"manifest": manifest, "questions": sum(families.values()), "families": dict(sorted(families.items())),
              "dropped": [{"family": f, "reason": r, "count": n} for (f, r), n in sorted(dropped.items())],
              "doubts": doubtful, "audit": report}
    temp = out / ".questions.json.partial"
    temp.write_text(json.dumps({k: v for k, v in result.items() if k != "manifest"}, indent=1))
    temp.rename(out / "questions.json")
    return result


def _sample(folder: Path, questions: list[dict[str, Any]], licence: str, recipe: Recipe) -> Sample:
    from curate.marks import read_jpeg, scene_marks

    scene = Scene.load(folder / "scene.npz")
    media = {path.name: path.read_bytes() for path in sorted(folder.glob("v*.mp4"))}
    asked = {region for q in questions for region in q["regions"]}
    media["mark.jpg"] = scene_marks(read_jpeg((folder / "frame.jpg").read_bytes()), scene, asked)
    return make_sample(scene, media, [Question(**q) for q in questions], licence=licence,
                       split=split_of(scene.clip["recording"], recipe.shards.val_share))
