"""`curate sources`: what can be read, what it gives, and how it must lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from curate.cli.options import Command

if TYPE_CHECKING:
    from curate.sources.catalogue import Kind


@click.command(cls=Command, short_help="Kinds of sources, and the layout each expects.")
@click.argument("kind", required=False)
@click.option("--markdown", is_flag=True, help="Print the page docs/sources.md.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def command(ctx: click.Context, kind: str | None, markdown: bool, as_json: bool) -> None:
    """List the kinds of sources: what each gives, its scale, where its files must lie. With KIND: its layout in full,
    its settings, and an example of a recipe.

    \b
    Examples:
      curate sources
      curate sources stereo_pair
      curate sources rgbd | less
      curate inspect PATH          # which kind a folder of yours is
    """
    import difflib
    import json

    from curate.sources.catalogue import kinds

    known = {one.name: one for one in kinds()}
    if kind is not None and kind not in known:
        close = difflib.get_close_matches(kind, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        raise click.UsageError(f"no kind of source {kind!r}; {hint}", ctx)
    chosen = list(known.values()) if kind is None else [known[kind]]
    if markdown:
        click.echo(page(chosen), nl=False)
    elif as_json:
        click.echo(json.dumps([_plain(one) for one in chosen], indent=1, ensure_ascii=False))
    elif kind is None:
        _list(chosen)
    else:
        _one(chosen[0])


def _list(kinds: list[Kind]) -> None:
    for one in kinds:
        click.echo(click.style(one.name, bold=True))
        click.echo(f"  {one.gives}.")
        click.echo(f"  scale    {one.about.scale}")
        first = [line.strip() for line in one.layout.splitlines() if line.strip()]
        files = [line for line in first if line.startswith("ROOT")] or first
        click.echo(f"  layout   {files[0]}" + "".join(f"\n           {line}" for line in files[1:3]))
    click.echo("\ncurate sources KIND: its layout in full, settings, an example\n"
               "curate inspect PATH: which kind a folder of yours is")


def _one(kind: Kind) -> None:
    import textwrap

    about = kind.about
    click.echo(f"{kind.name}: {' '.join((kind.model.__doc__ or '').split())}\n\ngives")
    for name in ("views", "depth", "poses", "regions", "scale", "questions", "tried"):
        click.echo(f"  {name:<10}{getattr(about, name)}")
    click.echo(f"\nlayout\n{textwrap.indent(kind.layout, '  ')}\n\nsettings of source:")
    for name, default, text in kind.settings():
        head = f"  {name} ({default})"
        click.echo(textwrap.fill(text, 110, initial_indent=f"{head}: ", subsequent_indent=" " * 6) if text else head)
    click.echo(f"\nexample\n{textwrap.indent(example(kind), '  ')}")
    if about.recipes:
        click.echo("with comments: " + ", ".join(f"recipes/{name}.yaml" for name in about.recipes))


def example(kind: Kind) -> str:
    """The example recipe as YAML."""
    import yaml

    return yaml.safe_dump(kind.example(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _plain(kind: Kind) -> dict:
    from dataclasses import asdict

    return {"kind": kind.name, "gives": kind.gives, **asdict(kind.about), "layout": kind.layout,
            "example": kind.example(),
            "settings": [{"name": n, "default": d, "description": t} for n, d, t in kind.settings()]}


INTRODUCTION = """# Sources

What `curate` reads, what each kind gives, and how its files must lie. This page is `curate sources --markdown`; in the
terminal: `curate sources`, `curate sources KIND` (with all settings), and for a folder of your own
`curate inspect PATH`, which says what it is and proposes the recipe.

Each kind yields the same two types, clips and frames; what it gives is taken as given, with its stated accuracy, and
only the rest is estimated. **Scale** says what stands behind a metre: *calibrated* a measured length (a baseline, a
depth sensor, a ground plane); *assumed* a usual one, which the record says and the intervals hold; *relative* nothing,
and then nothing metric is asked.
"""


def page(kinds: list[Kind]) -> str:
    """docs/sources.md."""
    columns = ("views", "depth", "poses", "regions", "scale", "questions", "tried")
    lines = [INTRODUCTION, f"| kind | {' | '.join(columns)} | recipe |", f"|{'---|' * (len(columns) + 2)}"]
    for one in kinds:
        recipe = ", ".join(f"[{name}](../recipes/{name}.yaml)" for name in one.about.recipes) or "-"
        cells = [getattr(one.about, column).replace("|", "\\|") for column in columns]
        lines.append(f"| [`{one.name}`](#{one.name}) | {' | '.join(cells)} | {recipe} |")
    for one in kinds:
        lines += ["", f"## {one.name}", "", f"{one.gives}.", "", "```text", one.layout, "```", "", "```yaml",
                  example(one).rstrip("\n"), "```"]
    return "\n".join(lines) + "\n"
