"""`curate schema`: JSON Schemas for editors and for readers in other languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from curate.cli.options import Command

NAMES = ("recipe", "shard_sample", "train_recipe", "mixture")


@click.command(cls=Command, short_help="JSON Schemas of recipes and shard samples.")
@click.argument("name", type=click.Choice(NAMES), required=False)
@click.option("--write", "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
              help="Write {name}.schema.json of each into this folder.")
@click.pass_context
def command(ctx: click.Context, name: str | None, folder: Path | None) -> None:
    """Print or write the JSON Schemas of recipes, of one shard sample, of recipes of `curate train` and `curate mix`.

    \b
    Examples:
      curate schema recipe
      curate schema --write schemas
    An editor that knows YAML then checks a recipe whose first line is
      # yaml-language-server: $schema=../schemas/recipe.schema.json
    """
    if folder is None and name is None:
        raise click.UsageError(f"name one of {', '.join(NAMES)}, or give --write DIR", ctx)
    if folder is None:
        click.echo(text(name), nl=False)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in NAMES if name is None else (name,):
            path = folder / f"{each}.schema.json"
            path.write_text(text(each), encoding="utf-8")
            click.echo(path)
    except OSError as error:
        raise click.UsageError(f"{folder}: cannot be written ({error.strerror})", ctx) from None


def text(name: str) -> str:
    """The schema `name` as it stands in schemas/."""
    if name == "recipe":
        from curate.recipe import Recipe

        schema = _of(Recipe, "curate4d recipe")
    elif name == "train_recipe":
        from curate.train.config import TrainRecipe

        schema = _of(TrainRecipe, "curate4d training recipe")
    elif name == "mixture":
        from curate.mixture.config import MixtureRecipe

        schema = _of(MixtureRecipe, "curate4d recipe of a mixture")
    else:
        from curate.shards.schema import json_schema

        schema = json_schema()
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _of(model: Any, title: str) -> dict[str, Any]:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return schema | {"title": title}
