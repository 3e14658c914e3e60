"""An export: rows of one split for one consumer, media once a clip, and `export.json` that says what was left out."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.exporters import exporters
from curate.exporters.base import COMMON, TWO_VIEWS, Example, Exporter, Form, conversations_fit
from curate.exporters.media import MediaFolder
from curate.questions.given import is_given
from curate.questions.region_words import in_dialect

INFO = "export.json"
MOST_NAMED = 20  # questions named of each rule


class ExportError(ValueError):
    """An export that cannot be made as asked."""


@dataclass
class Report:
    """What came of it.

    Attributes:
        rows, clips: written. seen, total: clips looked at, and of the split. files: of rows, relative to the folder.
        media_files, media_bytes: written, each once.
        refused: rule -> how many questions it left out; named: rule -> some of their ids, and what was said.
    """

    rows: int = 0
    clips: int = 0
    seen: int = 0
    total: int = 0
    files: list[str] = field(default_factory=list)
    media_files: int = 0
    media_bytes: int = 0
    refused: Counter = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)


def export(source: Path | str, to: str, out: Path | str, *, split: str = "train", form: Form | None = None,
           media: str | None = None, num_frames: int = 8, max_side: int = 0, regions: str = "<R1>",
           families: tuple[str, ...] = (), task: str | None = None, limit: int = 0,
           each: Callable[[Report], None] = lambda report: None) -> Report:
    """
    Args:
        source: a run's folder, a shard set, or the address of a published one.
        to: an exporter's name. out: a folder that is new, empty, or an older export, which this one replaces.
        split: of the set. form: "sft" | "rl"; default: the first that the consumer takes.
        media: "frames" | "video"; default: the first that it takes. num_frames: of a clip, 0 for all.
        max_side: pixels that frames are brought down to; 0 leaves them.
        regions: region dialect of the texts (`curate.questions.region_words`).
        families: only these; none means all. task: as of `curate.questions.forms.sft`. limit: rows at most; 0: all.
        each: called after every clip.

    Raises:
        ExportError: on an unknown name, a form or media that the consumer does not take, a folder that holds
            something else, or where no question could be exported.
        ShardError: on a set that cannot be read.
    """
    from curate.shards import manifest
    from curate.shards.reader import find_root, read

    exporter = _find(to)
    form = _one_of("form", form, exporter.forms, exporter)
    media = _one_of("media", media, exporter.media, exporter)
    out, report = Path(out), Report()
    _check_folder(out)
    place = {"rank": 0, "world_size": 1, "worker": 0, "num_workers": 1}
    root = find_root(source)
    clips = read(root, split, flatten=False, **place)
    report.total = manifest.load(root)["splits"][split]["samples"]
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        store = MediaFolder(partial, media, num_frames, max_side)
        rows = _rows(exporter, form, clips, store, out.resolve(), split, regions, families, task, limit, report, each)
        report.files = [path.name for path in exporter.write(partial, split, form, rows)]
        if not report.rows:
            raise ExportError(f"{source}: no question of split {split!r} could be exported to {to}"
                              + "".join(f"; {n} left out: {report.named[rule][0]}" for rule, n in
                                        report.refused.items()))
        report.media_files, report.media_bytes = store.files, store.bytes
        settings = {"to": to, "form": form, "media": media, "frames": num_frames, "max_side": max_side, "split": split,
                    "regions": regions, "families": list(families)}
        (partial / INFO).write_text(json.dumps({**settings, **_plain(report)}, indent=1) + "\n", encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _find(name: str) -> Exporter:
    known = exporters()
    if name not in known:
        raise ExportError(f"unknown consumer {name!r}; known: {', '.join(sorted(known))}")
    return known[name]


def _one_of(what: str, value: str | None, taken: tuple[str, ...], exporter: Exporter) -> Any:
    if value is not None and value not in taken:
        raise ExportError(f"{exporter.name} takes {what} {' or '.join(taken)}, not {value!r}")
    return value or taken[0]


def _check_folder(out: Path) -> None:
    if not out.exists() or (out.is_dir() and (not any(out.iterdir()) or (out / INFO).is_file())):
        return
    raise ExportError(f"{out} holds something else than an export (no {INFO}); name a new folder")


def _rows(exporter: Exporter, form: Form, clips: Any, store: MediaFolder, root: Path, split: str, regions: str,
          families: tuple[str, ...], task: str | None, limit: int, report: Report,
          each: Callable[[Report], None]) -> Iterator[dict[str, Any]]:
    for item in clips:
        report.seen += 1
        clip = {name: value for name, value in item["json"].items() if name != "qa"}
        wanted = [qa for qa in item["json"]["qa"] if not families or qa["family"] in families]
        if not wanted:
            continue
        two_views = exporter.two_views and any(qa["family"] in TWO_VIEWS for qa in wanted)
        refs, before = store.put(clip, item["media"], two_views), report.rows
        for qa in wanted:
            said = qa if regions == "<R1>" or is_given(qa) else in_dialect(qa, clip["regions"], regions)
            example = Example(said, clip, refs, root, split, task)
            if not (clip["views"] or exporter.text_only):
                _leave_out(example, f"text: the clip has no pictures, and {exporter.name} is about them", report)
                continue
            if said := conversations_fit(example, form):
                _leave_out(example, said, report)
                continue
            row = exporter.row(example, form)
            if _refused(example, row, exporter, report):
                continue
            report.rows += 1
            yield row
            if report.rows == limit:
                break
        report.clips += report.rows > before
        each(report)
        if limit and report.rows >= limit:
            return


def _refused(example: Example, row: dict[str, Any], exporter: Exporter, report: Report) -> bool:
    for rule in (*COMMON, *exporter.rules):
        if said := rule(example, row):
            _leave_out(example, said, report)
            return True
    return False


def _leave_out(example: Example, said: str, report: Report) -> None:
    name = said.split(":")[0]
    report.refused[name] += 1
    named = report.named.setdefault(name, [])
    if len(named) < MOST_NAMED:
        named.append(f"{example.qa['id']}: {said}")


def _plain(report: Report) -> dict[str, Any]:
    return {"rows": report.rows, "clips": report.clips, "files": report.files, "media_files": report.media_files,
            "media_bytes": report.media_bytes, "refused": dict(sorted(report.refused.items())), "named": report.named}
