"""`curate retry`: clips that failed, once more."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.options import Command, out_argument, set_option, with_workers

# As `curate.engine.run.KINDS`, without loading it for --help; a test holds them together.
KINDS = ("bad_input", "timeout", "crash", "lost", "error", "transient", "filtered")


@click.command(cls=Command, short_help="Try failed clips once more, by kind of failure.")
@out_argument
@click.option("--kind", "kinds", multiple=True, required=True, type=click.Choice(KINDS),
              help="Kind of failure as `curate status` names it; may be given again.")
@set_option
@click.option("--workers", type=click.IntRange(1), help="Worker processes; default: as in the last run.")
@click.option("--inline", is_flag=True, help="One worker on this machine, without Ray.")
@click.option("--address", metavar="auto|ray://HOST:10001|none", help="Ray cluster to work on; none: this machine.")
@click.option("--quiet", is_flag=True, help="No progress, no summary; errors only.")
@click.option("--json-logs", is_flag=True, help="One JSON line an event on stderr, instead of progress.")
@click.option("--no-preview", is_flag=True, help="Do not build the HTML preview.")
@click.pass_context
def command(ctx: click.Context, out: Path, kinds: tuple[str, ...], overrides: tuple[str, ...], workers: int | None,
            inline: bool, address: str | None, quiet: bool, json_logs: bool, no_preview: bool) -> None:
    """Try clips that failed once more, and write the shards anew.

    Uses the recipe of the last run, which OUT keeps. The source is planned again, so inputs that were mended or added
    are found. The clips are put back as a new generation of the plan: where this is stopped, `curate run` goes on.

    \b
    Kinds: bad_input (mend the file first), timeout, crash (the worker killed itself), lost (the worker vanished),
    error (a bug), transient (a failure that may pass), filtered (nothing was measured).

    \b
    Examples:
      curate retry out/mine --kind timeout --set engine.timeout_s=7200
      curate retry out/mine --kind lost --kind transient
      curate retry out/mine --kind bad_input --workers 1

    \b
    Exit codes: 0 done, 3 some clips still quarantined, 2 bad request, 1 failure.
    """
    from curate.cli.run import finish, log_stream
    from curate.engine.run import retry

    summary = retry(out, kinds, overrides=overrides,
                    changes=lambda recipe: with_workers(recipe, workers, inline, address),
                    quiet=quiet or json_logs, log=log_stream(json_logs))
    if not summary.again and not json_logs:
        click.echo(f"no clip of {out} ended as {' or '.join(dict.fromkeys(kinds))}; nothing was tried again", err=True)
    ctx.exit(finish(summary, out, quiet=quiet, preview=not no_preview, json_logs=json_logs))
