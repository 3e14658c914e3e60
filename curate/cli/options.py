"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from curate.recipe import Recipe


class Command(click.Command):
    """A command with `--debug`, which may stand anywhere on the line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, is_eager=True,
                                        callback=_remember, help="Show the traceback of an error."))


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["debug"] = True  # shared with the parent context


class Folder(click.Path):
    """A folder of a run: on a file system, never an address."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from curate.storage.urls import refuse_out

        refuse_out(value)
        return super().convert(value, param, ctx)


def recipe_argument(function: Callable) -> Callable:
    return click.argument("recipe", metavar="RECIPE", type=click.Path(path_type=Path))(function)


def out_argument(function: Callable) -> Callable:
    return click.argument("out", metavar="OUT", type=Folder())(function)


def publish_option(function: Callable) -> Callable:
    return click.option("--publish", "publish_to", metavar="URL",
                        help="Put the new shards there too: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER "
                             "(`curate publish --help`). Default: as the recipe says.")(function)


def set_option(function: Callable) -> Callable:
    return click.option("--set", "overrides", multiple=True, metavar="A.B=VALUE",
                        help="Override one value of the recipe; may be given again.")(function)


def load(path: Path, overrides: tuple[str, ...] = (), *, estimators: bool = True) -> Recipe:
    """The checked recipe; with `estimators`, also that everything it names can be imported.

    Raises:
        RecipeError.
    """
    from curate.recipe import RecipeError, load_recipe

    recipe = load_recipe(path, overrides)
    if recipe.questions.audit.benchmark_ids:
        from curate.questions.overlap import read_ids

        try:
            read_ids(recipe.questions.audit.benchmark_ids)
        except ValueError as error:
            raise RecipeError(f"{path}: questions.audit.benchmark_ids: {error}") from None
    if estimators:
        from curate.perception import check_estimators
        from curate.sources.base import BadInput

        try:
            check_estimators(recipe.perception)
        except (ValueError, BadInput) as error:
            raise RecipeError(f"{path}: perception: {error}") from None
    return recipe


def with_publish(recipe: Recipe, url: str | None) -> Recipe:
    """The recipe with the address from the command line.

    Raises:
        UrlError.
    """
    if url is None:
        return recipe
    from curate.storage.urls import check_url

    return recipe.model_copy(update={"shards": recipe.shards.model_copy(update={"publish": check_url(url)})})


def with_workers(recipe: Recipe, workers: int | None, inline: bool, address: str | None = None) -> Recipe:
    """The recipe with the place of work from the command line. An address other than "none" means Ray.

    Raises:
        click.UsageError: where both a cluster and this machine are asked for.
    """
    changes: dict[str, Any] = {}
    if address is not None:
        here = address in ("none", "")
        if inline and not here:
            raise click.UsageError(f"--inline works on this machine, --address {address} on a cluster; say one of them")
        changes |= {"address": None} if here else {"address": address, "kind": "ray"}
    if workers is not None:
        changes["workers"] = workers
    if inline:
        changes |= {"kind": "inline", "workers": 1, "address": None}
    return recipe.model_copy(update={"engine": recipe.engine.model_copy(update=changes)})
