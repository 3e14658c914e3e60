"""The figures of `benchmarks.p4d` put into its page, between two marks; the text around them is a person's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.campaign import put
from benchmarks.table import Row

BEGIN, END = "<!-- figures: benchmarks.p4d -->", "<!-- end of figures -->"


def figures(sections: Mapping[str, Sequence[Row]], families: Sequence[str], notes: Sequence[str]) -> str:
    """Markdown: how many targets are met, a table a section, the scores by family."""
    judged = [row for rows in sections.values() for row in rows if row["ok"] is not None]
    met = sum(row["ok"] for row in judged)
    lines = [*notes, "", f"{met} of {len(judged)} targets are met."]
    for title, rows in sections.items():
        lines += ["", f"### {title}", "", "| figure | value | target | |", "|---|---:|---|---|"]
        for row in rows:
            value = "" if row["value"] is None else f"{row['value']:.4g} {row['unit']}".strip()
            mark = {True: "ok", False: "**missed**", None: ""}[row["ok"]]
            lines.append(f"| {row['name']} | {value} | {row['target'] or ''} | {mark} |")
    return "\n".join([*lines, "", "### Held-out questions right, %, mean over seeds", "", *families])


def put_figures(page: Path, text: str) -> None:
    """Replaces what stands between the marks.

    Raises:
        ValueError: where the page lacks them.
    """
    said = page.read_text("utf-8")
    if said.count(BEGIN) != 1 or said.count(END) != 1 or said.index(BEGIN) > said.index(END):
        raise ValueError(f"{page}: expected one line {BEGIN!r} and, after it, one {END!r}")
    put(page, (said[:said.index(BEGIN)] + f"{BEGIN}\n\n{text}\n\n" + said[said.index(END):]).encode())
