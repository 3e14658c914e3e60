"""Reading a recipe: YAML with line numbers, `--set`, and errors that say file:line, what, expected, how to fix."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from curate.recipe.model import Recipe
from curate.storage.redact import redact

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
Model = TypeVar("Model", bound=BaseModel)


class RecipeError(ValueError):
    """A recipe that cannot be used; one line a fault, without the secrets that a wrong address may hold."""

    def __init__(self, text: str) -> None:
        super().__init__(redact(text))


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Reads and checks a recipe.

    Args:
        path: YAML file.
        overrides: "a.b=value" strings; the value is YAML.

    Raises:
        RecipeError: where the file is missing, is not YAML, or does not fit; every fault on a line of its own.
    """
    path = Path(path)
    if is_of_training(path):
        raise RecipeError(f"{path}: a recipe of training; `curate train {path}` takes it")
    if is_of_mixture(path):
        raise RecipeError(f"{path}: a recipe of a mixture; `curate mix {path}` takes it")
    return _with_words(load_checked(path, overrides, Recipe), path)


def is_of_training(path: Path) -> bool:
    """Whether a file names a student to train, or a mixture to train on, and no source; no file at all is not."""
    keys = _top_keys(path)
    return bool({"student", "mixture"} & keys) and "source" not in keys


def is_of_dataset(path: Path) -> bool:
    """Whether a file names a source of video and no student."""
    keys = _top_keys(path)
    return "source" in keys and "student" not in keys


def is_of_mixture(path: Path) -> bool:
    """Whether a file names shard sets to mix in stages."""
    keys = _top_keys(path)
    return {"sets", "stages"} <= keys and not keys & {"source", "student", "data"}


def _top_keys(path: Path) -> set[str]:
    try:
        return set(re.findall(r"^([a-z_]+):", path.read_text(encoding="utf-8"), re.M)) if path.is_file() else set()
    except (OSError, UnicodeDecodeError):
        return set()


def load_checked(path: Path, overrides: Iterable[str], model: type[Model]) -> Model:
    """Reads a file of settings of any kind and checks it, with the errors of `load_recipe`.

    Args:
        model: what it must fit.

    Raises:
        RecipeError.
    """
    if not path.is_file():
        known = {p.stem: p for p in sorted(path.parent.glob("*.y*ml"))} if path.parent.is_dir() else {}
        close = difflib.get_close_matches(path.stem, known, 1, 0.5)
        hint = f"; did you mean {known[close[0]]}?" if close else ""
        raise RecipeError(f"{path}: no such recipe{hint}")
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(f"{path}: {path.stat().st_size} bytes; a recipe has at most {MAX_BYTES}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from None
    return _build(text, str(path), list(overrides), model)


def _with_words(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with what its folders of templates say as part of it.

    Raises:
        RecipeError: with file and line of every template that cannot be used.
    """
    questions = recipe.questions
    if not questions.templates:
        return recipe
    from curate.questions.own_words import read_folders
    from curate.questions.wording import TemplateError

    try:
        found = read_folders(path.parent / folder for folder in questions.templates)
    except TemplateError as error:
        raise RecipeError(f"{path}: questions.templates:\n{error}") from None
    words = {name: dict(sections) for name, sections in questions.wording.items()}
    for name, sections in found.items():
        own = words.setdefault(name, {})
        for section, sources in sections.items():
            own[section] = tuple(own.get(section, ())) + sources
    return recipe.model_copy(update={"questions": questions.model_copy(update={"wording": words})})


def recipe_from_dict(data: dict[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """Checks a recipe given as plain data. Raises RecipeError."""
    try:
        text = yaml.safe_dump(data)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe: not plain data (mappings, lists, text, numbers): {error}") from None
    return _build(text, "recipe", list(overrides), Recipe)


def _build(text: str, name: str, overrides: list[str], model: type[Model]) -> Model:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RecipeError(f"{name}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    except RecursionError:
        raise RecipeError(f"{name}: nested too deeply") from None
    if not isinstance(root, yaml.MappingNode):
        needed = " and ".join(repr(key) for key, field in model.model_fields.items() if field.is_required())
        raise RecipeError(f"{name}:1: expected a mapping with the key {needed}, found "
                          f"{'nothing' if root is None else root.id}")
    lines: dict[tuple, int] = {}
    _index(root, (), lines, name, [0], ())
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{name}: {error}") from None
    places = {}
    for override in overrides:
        places[_apply(data, override)] = override
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_describe(fault, data, lines, places, name, model) for fault in _merged(error.errors(), data, model)]
        raise RecipeError("\n".join(dict.fromkeys(faults))) from None


def _index(node: yaml.Node, path: tuple, lines: dict, name: str, count: list[int], above: tuple) -> None:
    """Line of every path; refuses duplicate keys, cycles and alias bombs (counted as they would expand)."""
    count[0] += 1
    line = node.start_mark.line + 1
    if count[0] > MAX_NODES or id(node) in above:
        raise RecipeError(f"{name}:{line}: aliases expand to more than {MAX_NODES} values or to themselves")
    lines.setdefault(path, line)
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(f"{name}:{key.start_mark.line + 1}: a key is a {key.id}, expected a name")
            if key.value in seen:
                raise RecipeError(f"{name}:{key.start_mark.line + 1}: the key {key.value!r} stands twice")
            seen.add(key.value)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _index(value, (*path, key.value), lines, name, count, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _index(value, (*path, index), lines, name, count, above)


def _apply(data: dict[str, Any], override: str) -> tuple:
    key, separator, value = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"--set {override}: expected key=value, for example --set clip.num_frames=32")
    path = tuple(key.strip().split("."))
    at = data
    for part in path[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise RecipeError(f"--set {override}: {part!r} is not a section of the recipe")
    try:
        at[path[-1]] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):  # ValueError: looks like a date and is none
        at[path[-1]] = value
    return path


def _merged(faults: list[dict[str, Any]], data: Any, model: type[BaseModel]) -> list[dict[str, Any]]:
    """One fault where a value fits no member of a union; the member meant where a deeper fault shows which it is."""
    paths = [_resolve(tuple(fault["loc"]), data, model)[0] for fault in faults]
    out: dict[tuple, dict[str, Any]] = {}
    for number, (fault, path) in enumerate(zip(faults, paths)):
        if not _is_member(fault["loc"][-1] if fault["loc"] else ""):
            out[(*path, number)] = fault
        elif any(len(other) > len(path) and other[: len(path)] == path for other in paths):
            continue
        elif path in out:
            out[path]["msg"] += f", or {fault['msg'].removeprefix('Input should be ')}"
        else:
            out[path] = dict(fault)
    return list(out.values())


def _is_member(part: Any) -> bool:
    """Whether a part of pydantic's location names a member of a union rather than a key."""
    return isinstance(part, str) and bool(re.fullmatch(r"str|int|float|bool|none|.*[\[(].*", part, re.DOTALL))


def _describe(fault: dict[str, Any], data: Any, lines: dict, places: dict, name: str, whole: type[BaseModel]) -> str:
    path, model = _resolve(tuple(fault["loc"]), data, whole)
    at = (*path, "kind") if fault["type"].startswith("union_tag") else path
    set_at = at
    while at not in lines and at:
        at = at[:-1]
    where = next((f"--set {text}" for place, text in places.items() if set_at[: len(place)] == place),
                 f"{name}:{lines.get(at, 1)}")
    dotted = ".".join(map(str, path))
    if fault["type"] == "extra_forbidden":
        names = sorted(model.model_fields) if model else []
        close = difflib.get_close_matches(str(path[-1]), names, 1, 0.5)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(names)}"
        return f"{where}: unknown key {dotted!r}{hint}"
    if fault["type"] == "missing":
        return f"{where}: the key {dotted!r} is missing"
    if fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        context = fault.get("ctx", {})
        expected = context.get("expected_tags", "")
        if fault["type"] == "union_tag_not_found":
            return f"{where}: {dotted}.kind is missing; expected one of {expected or 'the known kinds'}"
        known = [tag.strip(" '") for tag in str(expected).split(",")]
        close = difflib.get_close_matches(str(context.get("tag")), known, 1, 0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{where}: {dotted}.kind is {context.get('tag')!r}; expected one of {expected}{hint}"
    message = fault["msg"].removeprefix("Value error, ")
    message = message.replace("Input should", "should", 1)
    found = fault.get("input")
    shown = f" (found {found!r})" if isinstance(found, (str, int, float, bool, type(None))) else ""
    return f"{where}: {dotted or 'recipe'}: {message}{shown}"


def _resolve(loc: tuple, data: Any, model: Any) -> tuple[tuple, type[BaseModel] | None]:
    """pydantic's location, without its union tags, as a path in the data; and the model that holds the last key."""
    path: list = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        models = _models(model)
        tagged = [m for m in models if part in _tags(m)]
        is_key = isinstance(data, dict) and part in data
        if not is_key and (tagged or _is_member(part)):
            named = [m for m in models if m.__name__ in str(part)]
            model = (tagged or named or [model])[0]
            continue
        if isinstance(data, (dict, list)) or last:
            path.append(part)
        holder = models[0] if models else None
        if last:
            return tuple(path), holder
        model = holder.model_fields[part].annotation if holder and part in holder.model_fields else model
        data = data.get(part) if isinstance(data, dict) else (
            data[part] if isinstance(data, list) and isinstance(part, int) and part < len(data) else None)
    return tuple(path), None


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [m for a in typing.get_args(annotation) for m in _models(a)]
    return []


def _tags(model: type[BaseModel]) -> tuple:
    kind = model.model_fields.get("kind")
    return (typing.get_args(kind.annotation) if kind else ()) + (model.__name__,)
