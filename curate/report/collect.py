"""What the page shows, read from a run's folder: the ledger, the questions' summary, the shards, the scenes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate import shards
from curate.report.scores import NAME, Scores, load_scores
from curate.shards import manifest
from curate.shards.reader import find_root

MAX_FAILURES = 50


def planned(out: Path) -> set[str] | None:
    """Keys of the last plan; None where the folder has none (a set of shards alone)."""
    name = str(_json(out / "plan.json").get("clips", ""))
    path = out / Path(name).name
    if not name or not path.is_file():
        return None
    with path.open(encoding="utf-8") as lines:
        return {json.loads(line)["key"] for line in lines}


def ledger(out: Path) -> dict[str, dict[str, Any]]:
    """The last entry of every key of the last plan; lines that cannot be read are passed over (a crash may tear the
    last)."""
    entries = {}
    keys = planned(out)
    path = out / "ledger.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            if keys is None or entry["key"] in keys:
                entries[entry["key"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return entries


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def published(out: Path) -> tuple[Path, dict[str, Any]] | None:
    """The shard set's folder and manifest; None where nothing is published.

    Raises:
        ShardError: where there is a manifest that cannot be trusted.
    """
    try:
        root = find_root(out)
    except shards.ShardError:
        return None
    return root, manifest.load(root)


def _numeric_rows(root: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    columns = ["family", "form", "value", "low", "high"]
    for batch in pq.ParquetFile(root / "samples.parquet").iter_batches(columns=columns):
        yield from batch.to_pylist()


def families(out: Path, root: Path | None) -> list[dict[str, Any]]:
    """A row per family: questions by form, the median 95 % half-width over the value, {reason: items not asked}."""
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: {"numeric": 0, "choice": 0, "open": 0, "widths": [],
                                                           "dropped": {}})
    for row in _numeric_rows(root) if root else ():
        family = rows[row["family"]]
        family[row["form"]] += 1
        if row["form"] == "numeric" and row["value"] and row["low"] is not None and row["high"] is not None:
            family["widths"].append((row["high"] - row["low"]) / 2 / abs(row["value"]))
    for entry in _json(out / "questions.json").get("dropped", []):
        rows[entry["family"]]["dropped"][entry["reason"]] = entry["count"]
    out_rows = []
    for name, row in sorted(rows.items()):
        widths = sorted(row["widths"])
        out_rows.append({"name": name, "numeric": row["numeric"], "choice": row["choice"], "open": row["open"],
                         "width": widths[len(widths) // 2] if widths else None,
                         "asked": row["numeric"] + row["choice"] + row["open"], "dropped": row["dropped"],
                         "num_dropped": sum(row["dropped"].values())})
    return out_rows


def reasons(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Why items were not asked, over all families: (reason, items), the most frequent first."""
    total = Counter()
    for row in rows:
        total.update(row["dropped"])
    return sorted(total.items(), key=lambda item: (-item[1], item[0]))


def scores(out: Path, found: tuple[Path, dict[str, Any]] | None, given: Path | None) -> Scores:
    """What is known of the answers' truth: of the given file, or of OUT's own where it has one.

    Raises:
        ValueError: where a file was given that does not belong to this set.
    """
    path = given or out / NAME
    if found is None or not (given or path.is_file()):
        if given:
            raise ValueError(f"{given}: {out} has no published questions that it could be about")
        return Scores()
    try:
        read = load_scores(path, found[1]["digest"])
    except ValueError as error:
        if given:
            raise
        return Scores(note=str(error))
    if given and read.note:
        raise ValueError(f"{given}: {read.note}")
    return read


def summary(out: Path) -> dict[str, Any]:
    """Counts of the run, what failed and why, and the families."""
    entries = ledger(out)
    found = published(out)
    states = Counter(entry["state"] for entry in entries.values())
    run = found[1]["run"] if found else {}
    failures = [e for e in entries.values() if e["state"] != "done"]
    audit = _json(out / "questions.json").get("audit", {})
    rows = families(out, found[0] if found else None)
    return {
        "planned": run.get("planned", len(entries)), "done": states["done"], "filtered": states["filtered"],
        "quarantined": states["quarantined"], "failures": failures[:MAX_FAILURES], "num_failures": len(failures),
        "totals": found[1]["totals"] if found else None, "splits": found[1]["splits"] if found else {},
        "fingerprints": found[1]["fingerprints"] if found else {}, "name": run.get("name") or out.resolve().name,
        "option_leak": audit.get("option_leak", run.get("option_leak", "")),
        "families": rows, "reasons": reasons(rows)}


def num_clips(out: Path, run: dict[str, Any]) -> int:
    """Of all `clips`; `run`: the result of `summary`."""
    return run["totals"]["samples"] if run["totals"] else sum(1 for _ in (out / "scenes").glob("[!.]*/scene.npz"))


def clips(out: Path) -> Iterator[dict[str, Any]]:
    """{"key", "json" (None where nothing is published), "mark"} of every clip, in the order of the shards."""
    found = published(out)
    if found is None:
        for path in sorted((out / "scenes").glob("[!.]*/scene.npz")):
            yield {"key": path.parent.name, "json": None, "mark": None}
        return
    root, content = found
    for split in content["splits"]:
        for item in shards.read(root, split, flatten=False, rank=0, world_size=1, worker=0, num_workers=1):
            yield {"key": item["json"]["clip_key"], "json": item["json"], "mark": item["media"].get("mark.jpg")}
