"""`curate compact`: OUT as a run that was never stopped would have left it."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.console import make_console, mebibytes
from curate.cli.options import Command, out_argument

MAX_NAMED = 10


@click.command(cls=Command, short_help="Make OUT what an uninterrupted run leaves.")
@out_argument
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def command(out: Path, dry_run: bool) -> None:
    """Make OUT what a run that was never stopped, killed or extended leaves, byte for byte.

    The ledger gets one line a clip, in the plan's order and without times; the plan's generations become one; scenes of
    inputs that the source no longer has, and what killed processes left, are deleted; the shards are written anew
    (unless `curate ask` wrote them with another recipe). Clips that are left to do are done first, by `curate run`.

    \b
    Examples:
      curate compact out/mine --dry-run
      curate compact out/mine
    """
    from curate.engine.compact import compact

    found = compact(out, dry_run=dry_run)
    console = make_console()
    for key in found.orphans[:MAX_NAMED]:
        console.print(f"orphan:  {out / 'scenes' / key}", markup=False, soft_wrap=True)
    if len(found.orphans) > MAX_NAMED:
        console.print(f"         and {len(found.orphans) - MAX_NAMED} more")
    console.print(f"{'would keep' if dry_run else 'kept'} {found.planned} clips; ledger: {found.lines} lines to "
                  f"{found.kept}; plan: {found.generations} generation{'s' if found.generations > 1 else ''} to 1; "
                  f"{len(found.orphans)} orphans ({mebibytes(found.orphan_bytes)}) and {len(found.torn)} torn "
                  f"{'to delete' if dry_run else 'deleted'}; shards: {found.shards}", markup=False, soft_wrap=True)
