"""Rows of a benchmark: a printed table, and the same figures as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def row(name: str, value: float | None, unit: str, target: str | None = None, ok: bool | None = None) -> Row:
    """One figure. `target` in words ("≤ 1"), None where there is none; `ok` None where nothing is to be reached."""
    if value is not None and not math.isfinite(value):
        value, ok = None, False if target else None
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": ok}


def at_most(name: str, value: float, unit: str, limit: float) -> Row:
    """A figure that must not exceed `limit`."""
    return row(name, value, unit, f"≤ {limit:g}", bool(value <= limit))


def at_least(name: str, value: float, unit: str, limit: float) -> Row:
    """A figure that must reach `limit`."""
    return row(name, value, unit, f"≥ {limit:g}", bool(value >= limit))


def skipped(name: str, reason: str) -> Row:
    """A figure that could not be measured here."""
    return row(f"{name}: skipped, {reason}", None, "")


def report(title: str, rows: list[Row], out: str | Path | None = None) -> int:
    """Prints the table, writes `{"rows": [...]}` to `out`, and returns the exit code: 1 where a target is missed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column, justify in (("name", "left"), ("value", "right"), ("unit", "left"), ("target", "right"), ("", "left")):
        table.add_column(column, justify=justify)
    for r in rows:
        mark = {True: "[green]ok[/green]", False: "[red]missed[/red]", None: ""}[r["ok"]]
        table.add_row(r["name"], "" if r["value"] is None else f"{r['value']:.4g}", r["unit"], r["target"] or "", mark)
    Console().print(table)
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(any(r["ok"] is False for r in rows))
