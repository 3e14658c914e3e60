"""`curate score ANSWERS`: a model's answers against a shard set or a benchmark's published file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from curate.bench import Report
    from curate.bench.intervals import Mean
    from curate.bench.scorer import Row

SUFFIXES = (".json", ".jsonl")
SHOWN = 5  # ids of a list
MOST_FAMILIES = 80


def is_answers(path: Path) -> bool:
    """Whether an argument of `curate score` is meant as a file of answers."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def run(ctx: click.Context, answers: Path, against: str | None, split: str | None, report_path: Path | None,
        quiet: bool) -> None:
    """
    Raises:
        click.UsageError: on files that cannot be read as what they are given for.
    """
    from curate.bench import BadFile
    from curate.cli.console import make_console

    if not answers.is_file():
        found = "is a folder" if answers.is_dir() else "no such file"
        raise click.UsageError(f"{answers}: {found}; expected a file of answers, JSON lines with id and text", ctx)
    try:
        report = _scored(answers, against, split)
    except BadFile as error:
        raise click.UsageError(str(error), ctx) from None
    if report_path:
        report_path.parent.mkdir(parents=True, exist_ok=True)
        temp = report_path.with_name(f".{report_path.name}.partial")
        content = {"answers": str(answers), "against": against, **report.to_json()}
        temp.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        temp.rename(report_path)
    if not quiet:
        console = make_console()
        show(report, console)
        if report_path:
            console.print(f"scores:  {report_path}", markup=False, soft_wrap=True)


def _scored(answers: Path, against: str | None, split: str | None) -> Report:
    from curate.bench import BadFile, published_items, read_predictions, score_items, shard_items
    from curate.bench.truths import has_truth

    if against is None:
        if not has_truth(answers):
            raise BadFile(f"{answers}: answers without questions; say with --against which shard set, run or benchmark "
                          "file they answer")
        report = score_items(published_items(answers))
        if len(report.missing) == len(report.items):
            raise BadFile(f"{answers}: questions without answers (no `response` beside them); score a file of answers "
                          f"with --against {answers}")
        return report
    predictions = read_predictions(answers)
    if is_answers(Path(against)) and "://" not in against:
        if not Path(against).is_file():
            raise BadFile(f"{against}: no such file; expected a shard set, a run's --out, or a benchmark's JSON file")
        items = published_items(Path(against))
    else:
        items = shard_items(against, split)
    report = score_items(items, predictions)
    if not report.items:
        raise BadFile(f"{against}: no questions in it")
    if len(report.missing) == len(report.items):
        raise BadFile(f"{answers}: none of its {len(predictions.texts)} ids is a question of {against}, such as "
                      f"{report.items[0].id!r}; expected the ids of these questions")
    return report


def show(report: Report, console: Any) -> None:
    """The tables, and what the file of answers lacked."""
    from curate.bench.scorer import HEADINGS, SCHEMES

    rows = report.families()
    main = [*(rows if len(rows) <= MOST_FAMILIES else []), *report.of_kind()]
    console.print(table("Answers, % (unread and missing ones count as wrong)", main, report.total()))
    for scheme in SCHEMES:
        if by_column := report.by_column(scheme):
            console.print(table(f"By column of {HEADINGS[scheme]}", by_column))
    total = report.total()
    if total.strict.num:
        tolerant = [item for item in report.items if item.strict == item.strict]
        share = sum(item.score for item in tolerant) / len(tolerant)
        console.print(f"choices: {100 * share:.1f} % right by letter, text or value; "
                      f"{100 * total.strict.value:.1f} % by a letter alone")
    for name, said in (("missing", "questions without an answer (counted as wrong)"),
                       ("unknown", "answers to no question of these"),
                       ("doubled", "ids answered more than once (the first answer counts)"),
                       ("conflicting", "of those with different answers"),
                       ("repeated", "ids that the questions have twice (the first one counts)")):
        if ids := getattr(report, name):
            more = f", and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            console.print(f"warning: {len(ids)} {said}: {', '.join(ids[:SHOWN])}{more}", markup=False, soft_wrap=True)


def table(title: str, rows: list[Row], total: Row | None = None) -> Any:
    """Rows as a rich table; `total` under a line."""
    from rich.table import Table

    out = Table(title=title)
    out.add_column("", no_wrap=True)
    for name in ("n", "recordings", "score", "95 % interval", "strict\nletters", "95 % interval", "missing", "unread"):
        out.add_column(name, justify="right", no_wrap=True)
    for row in (*rows, *((None, total) if total else ())):
        if row is None:
            out.add_section()
            continue
        named = row.name if row.title.lower() == row.name.replace("_", " ") else f"{row.name} {row.title}"
        out.add_row(row.title if row.name in ("all", "mean") or "/" in row.name else named, str(row.score.num),
                    str(row.score.num_clusters), _percent(row.score), _interval(row.score), _percent(row.strict),
                    _interval(row.strict), str(row.num_missing or ""), str(row.num_unread or ""))
    return out


def _percent(mean: Mean) -> str:
    return f"{100 * mean.value:.1f}" if mean.num else "–"


def _interval(mean: Mean) -> str:
    return f"{100 * mean.low:.1f} to {100 * mean.high:.1f}" if mean.num else ""
