"""Builds a whole shard set in a temporary folder, then puts it in place: a set is there whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from curate.shards import manifest, schema
from curate.shards.errors import ShardError
from curate.shards.sample import Sample, by_question
from curate.shards.sidecars import CHECKSUMS, QuestionTable, text_sidecars
from curate.shards.swap import exchange
from curate.shards.writer import MAX_BYTES, MAX_SAMPLES, ShardWriter, index_name
from curate.storage.redact import redact_json
from curate.storage.sync import sync

FOLDER = "shards"
_NEXT, _LAST = ".shards.partial", ".shards.replaced"


def record_of(path: Path) -> dict[str, Any]:
    """What the manifest says of a sidecar, which is synced."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    sync(path)
    return {"bytes": size, "sha256": digest}


def _settle(out: Path) -> None:
    """Finishes or clears what an interrupted publication left."""
    if (out / _LAST).exists() and not (out / FOLDER).exists():
        (out / _LAST).rename(out / FOLDER)
    for name in (_NEXT, _LAST):
        if (out / name).exists():
            shutil.rmtree(out / name)


def write_set(root: Path, samples: Iterable[Sample], *, run_info: dict[str, Any], fingerprints: dict[str, str],
              layout: str = "clip", generation: int = 0, max_samples: int = MAX_SAMPLES,
              max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Shards, sidecars and manifest into the empty folder `root`; returns the manifest. See `publish`."""
    if layout not in ("clip", "question"):
        raise ValueError(f"layout {layout!r}; expected 'clip' or 'question'")
    schema.dump_free(run_info)  # refuses numpy types before any work
    run_info = redact_json(run_info)
    writers: dict[str, ShardWriter] = {}
    parts: list[str] | None = None
    teacher: tuple[str, ...] | None = None
    table, checksums = QuestionTable(root / "samples.parquet"), (root / CHECKSUMS).open("w")
    try:
        for sample in by_question(samples) if layout == "question" else samples:
            writer = writers.get(sample.split)
            if writer is None:
                writer = writers[sample.split] = ShardWriter(root, sample.split, generation, max_samples, max_bytes,
                                                             on_sample=table.add)
                writer.parts, writer.teacher_parts = tuple(parts) if parts else None, teacher
            writer.add(sample)
            checksums.write(writer.checksum)
            parts, teacher = list(writer.parts), writer.teacher_parts
        for writer in writers.values():
            writer.close()
    except BaseException:
        for writer in writers.values():
            writer.abort()
        raise
    finally:
        checksums.close()
        table.close()
    shards = [shard for split in sorted(writers) for shard in writers[split].shards]
    twins = [twin.to_json() for split in sorted(writers) for twin in writers[split].twins]
    splits = {split: manifest.totals(s.to_json() for s in writers[split].shards) for split in sorted(writers)}
    names = ["samples.parquet", CHECKSUMS, *(index_name(shard.name) for shard in shards)]
    for name, text in text_sidecars(parts or ["json"], shards, splits, layout, teacher or ()):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        names.append(name)
    content = manifest.build([s.to_json() for s in shards], parts=parts or ["json"], layout=layout,
                             generation=generation, sidecars={name: record_of(root / name) for name in sorted(names)},
                             fingerprints=dict(fingerprints), run=run_info, teacher_parts=teacher or (), twins=twins)
    write_manifest(root, content)
    return content


def write_manifest(root: Path, content: dict[str, Any]) -> None:
    """The last file of a set."""
    temp = root / f".{manifest.NAME}.partial"
    temp.write_bytes(manifest.to_bytes(content))
    sync(temp)
    temp.rename(root / manifest.NAME)
    sync(root)


def put_in_place(built: Path, final: Path, replaced: Path) -> None:
    """A whole set takes the place of an older one, in one step where the file system can; the older one is removed."""
    if not (final.exists() and exchange(built, final)):
        if final.exists():
            final.rename(replaced)
        built.rename(final)
    sync(final.parent)
    for folder in (built, replaced):  # wherever the older set is now
        shutil.rmtree(folder, ignore_errors=True)


def publish(out_dir: Path | str, samples: Iterable[Sample], *, run_info: dict[str, Any] | None = None,
            fingerprints: dict[str, str] | None = None, layout: str = "clip", generation: int = 0,
            max_samples: int = MAX_SAMPLES, max_bytes: int = MAX_BYTES,
            confirm: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Writes OUT/shards from samples and puts it in the place of an older set.

    The set is built in a temporary folder beside it, so that a reader never sees half of one; an older set stays
    readable until the new one is complete, and the two change places in one step where the file system can. Bytes
    depend only on the samples and on `run_info`: keep times, machines and worker counts out of it where the same
    bytes are promised.

    Args:
        out_dir: OUT; it must exist.
        samples: in rising order of their keys; consumed once.
        run_info: JSON-serialisable facts of the run (planned, done, filtered, ...), stored in the manifest.
        fingerprints: name to digest, stored in the manifest ("perception", "writing").
        layout: "clip", or "question" for one sample per question (media repeated).
        max_samples, max_bytes: bounds of one shard.
        confirm: called when the set is complete, before it takes the older one's place; what it raises keeps that.

    Returns:
        The manifest.

    Raises:
        ShardError: on keys out of order, unequal parts, a sample that is not of the schema. Nothing is published
            then, and an older set stays.
        OSError: where OUT cannot be written.
    """
    out = Path(out_dir)
    if not out.is_dir():
        raise ShardError(f"{out}: no such folder")
    _settle(out)
    root = out / _NEXT
    root.mkdir()
    try:
        content = write_set(root, samples, run_info=run_info or {}, fingerprints=fingerprints or {}, layout=layout,
                            generation=generation, max_samples=max_samples, max_bytes=max_bytes)
        confirm()
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
    put_in_place(root, out / FOLDER, out / _LAST)
    return content
