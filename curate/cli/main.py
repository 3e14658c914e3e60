"""The command `curate`: its subcommands by name, loaded when asked for, and one line for every error."""

from __future__ import annotations

from importlib import import_module

import click

from curate.cli.errors import explain
from curate.storage.redact import redact

# Name to file; the order of `curate --help`.
COMMANDS = ("demo", "sources", "inspect", "run", "ask", "status", "retry", "compact", "replay", "plan", "validate",
            "verify", "publish", "export", "mix", "train", "preview", "score", "audit", "doctor", "schema")


class Commands(click.Group):
    """Loads a command's file when its name comes up, and turns what it raises into a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return import_module(f"curate.cli.{name}").command if name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]):
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1) if args else []
            hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(COMMANDS)}."
            if "Did you mean" in error.message:
                raise
            raise click.UsageError(error.message.rstrip(".") + "." + hint, ctx) from None

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get("debug"):
                import traceback

                click.echo(redact("".join(traceback.format_exception(error))), err=True, nl=False)
            text, code = explain(error, ctx.invoked_subcommand or "")
            click.echo(text, err=True)
            ctx.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="curate4d", prog_name="curate")
def main() -> None:
    """Turns stereo, multi-view and 4D video into questions about metric space whose answers carry their error.

    \b
    Examples:
      curate demo                                        # see it work on rendered scenes with known motion
      curate run recipes/side_by_side.yaml --out OUT     # your own video: edit the recipe first
      curate ask OUT --recipe recipes/mine.yaml          # new questions from the same scenes, in seconds
      curate verify OUT

    \b
    Exit codes: 0 done, 1 failure, 2 bad request, 3 some clips were quarantined, 130 stopped.
    """
