"""Wording: Jinja2 templates in a whitelisted subset, checked on the parsed tree when they are loaded.

Allowed: text, the declared fields, `{% if field %}` / `{% if field == "text" %}` with else, and our filters.
No loops, calls, arithmetic, assignments or includes: a template's time and size are bounded by its own length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import yaml
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

FIELDS = frozenset({
    "span", "start", "end", "at",  # times, in the question's dialect
    "counting",  # " (of frames 0 to 47, counting from 0)", right behind a frame that is named; "" where it is seconds
    "region", "region_a", "region_b",  # "the object marked <R1> in the first frame"
    "unit", "unit_name",  # "m", "metres"
    "reference",  # "the centre of the surface that is visible in the first frame"
    "axes",  # "in the fixed world, with the camera's own motion taken out"
    "duration",  # "1.96 s"
})
CHOICE_LEAD = "Answer with the letter of one option."  # what stands before the options
MAX_SOURCE = 1_000
MAX_FILE = 1 << 20
SECTIONS = ("number", "category", "open")
ALLOWED = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.If, nodes.Filter, nodes.Compare,
           nodes.Operand, nodes.Const, nodes.Not)


class TemplateError(ValueError):
    """A template outside the subset. The text names the file, the paraphrase, what was found and what is allowed."""


def cap(text: str) -> str:
    """First letter upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def article(text: str) -> str:
    """With "a" or "an" before it."""
    return f"{'an' if text[:1].lower() in 'aeiou' else 'a'} {text}"


FILTERS = {"cap": cap, "article": article}


def _environment() -> ImmutableSandboxedEnvironment:
    env = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=True)
    env.filters.clear()
    env.filters.update(FILTERS)
    env.globals.clear()
    env.tests.clear()
    return env


ENVIRONMENT = _environment()
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there


@lru_cache(maxsize=8)
def _tree(source: str) -> nodes.Template:
    """A template as Jinja reads it; not to be written to."""
    return ENVIRONMENT.parse(source)


@dataclass(frozen=True)
class Checked:
    """A template inside the subset, compiled when it is first filled: most are filled by their parts."""

    source: str

    @cached_property
    def _compiled(self) -> Template:
        return ENVIRONMENT.from_string(self.source)

    def render(self, *fields: Mapping[str, str], **more: str) -> str:
        return self._compiled.render(*fields, **more)


@dataclass(frozen=True)
class Paraphrase:
    """A template ready to be filled.

    Args:
        id: family, section and number. template: checked.
        parts: the same as text and (field, filters), where it has no if/else; None where it has.
    """

    id: str
    template: Checked
    parts: tuple[str | tuple[str, tuple[str, ...]], ...] | None = None

    def render(self, fields: dict[str, str]) -> str:
        """The sentence. `fields` holds every declared field that it speaks of."""
        if self.parts is None:
            return " ".join(self.template.render(fields).split())
        out = []
        for part in self.parts:
            if type(part) is str:
                out.append(part)
            else:
                text = fields[part[0]]
                for name in part[1]:
                    text = FILTERS[name](text)
                out.append(text)
        return " ".join("".join(out).split())


def parts_of(source: str) -> tuple[str | tuple[str, tuple[str, ...]], ...] | None:
    """A checked template as its pieces, which fill ten times as fast as Jinja does; None where it has if/else."""
    out: list[str | tuple[str, tuple[str, ...]]] = []
    for output in _tree(source).body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                out.append(node.data)
                continue
            filters: list[str] = []
            while isinstance(node, nodes.Filter):
                filters.insert(0, node.name)
                node = node.node
            if not isinstance(node, nodes.Name):
                return None
            out.append((node.name, tuple(filters)))
    return tuple(out)


def parse(source: str, where: str, required: Iterable[str] = (), fields: Iterable[str] = ()) -> Checked:
    """
    Args:
        source: template text. where: its place, for messages. required: fields it must speak of.
        fields: declared ones beside FIELDS.

    Raises:
        TemplateError: on syntax, anything outside the subset, an undeclared field, or a required one that is missing.
    """
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"{where}: {len(source)} characters; a template has at most {MAX_SOURCE}")
    try:
        tree = _tree(source)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{where}: {error.message} (line {error.lineno})") from error
    used = set()
    for node in [tree, *tree.find_all(nodes.Node)]:
        if not isinstance(node, ALLOWED):
            raise TemplateError(f"{where}: {type(node).__name__} is not allowed (line {node.lineno}); a template holds "
                                "text, declared fields, if/else and the filters " + ", ".join(FILTERS))
        if isinstance(node, nodes.Name):
            if node.name not in (declared := FIELDS.union(fields)):
                raise TemplateError(f"{where}: unknown field {node.name!r}; declared: {', '.join(sorted(declared))}")
            used.add(node.name)
        elif isinstance(node, nodes.Filter) and (node.name not in FILTERS or node.args or node.kwargs or
                                                 node.dyn_args or node.dyn_kwargs or node.node is None):
            raise TemplateError(f"{where}: filter {node.name!r} with these arguments is not allowed; "
                                f"known, without arguments: {', '.join(FILTERS)}")
        elif isinstance(node, nodes.Operand) and node.op not in ("eq", "ne"):
            raise TemplateError(f"{where}: comparison {node.op!r} is not allowed; use == or !=")
        elif isinstance(node, nodes.Const) and not isinstance(node.value, str):
            raise TemplateError(f"{where}: constant {node.value!r} is not allowed; only text is")
    if {"start", "end", "counting"} <= used:
        used.add("span")
    if missing := sorted(set(required) - used):
        raise TemplateError(f"{where}: does not state {', '.join(missing)}")
    return Checked(source)


def sections_of(path: Path) -> dict[str, list[tuple[str, int]]]:
    """The sections of a file of templates: name -> (template, its line) each.

    Raises:
        TemplateError: where it cannot be read, is too large, or holds something else; names file and line.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE:
            raise TemplateError(f"{path}: {path.stat().st_size} bytes; a file of templates has at most {MAX_FILE}")
        text = path.read_text(encoding="utf-8")
        try:
            root = yaml.compose(text, Loader=LOADER)
        except yaml.YAMLError:
            root = yaml.compose(text, Loader=yaml.SafeLoader)  # says better what is wrong
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise TemplateError(f"{path}{line}: cannot be read: {getattr(error, 'problem', error)}") from error
    if not isinstance(root, yaml.MappingNode):
        raise TemplateError(f"{path}:1: expected sections (number, category, open), found "
                            f"{'nothing' if root is None else root.id}")
    out: dict[str, list[tuple[str, int]]] = {}
    for key, value in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.value not in SECTIONS:
            raise TemplateError(f"{path}:{line}: section {getattr(key, 'value', key.id)!r}; "
                                f"known: {', '.join(SECTIONS)}")
        if not isinstance(value, yaml.SequenceNode) or not value.value or any(
                not isinstance(item, yaml.ScalarNode) or item.tag != "tag:yaml.org,2002:str" for item in value.value):
            raise TemplateError(f"{path}:{line}: section {key.value!r} must be a list of templates")
        if key.value in out:
            raise TemplateError(f"{path}:{line}: the section {key.value!r} stands twice")
        out[key.value] = [(item.value, item.start_mark.line + 1) for item in value.value]
    return out


def load(path: Path, family: str, required: dict[str, Iterable[str]],
         fields: Iterable[str] = ()) -> dict[str, tuple[Paraphrase, ...]]:
    """The paraphrases of one family.

    Args:
        path: YAML, section ("number", "category" or "open") -> list of templates.
        required: section -> fields that each of its templates must speak of. Every section must be there.
        fields: declared ones beside FIELDS.

    Raises:
        TemplateError: on a missing or unknown section, an empty one, or a template outside the subset.
    """
    sections = sections_of(path)
    if set(sections) != set(required):
        raise TemplateError(f"{path}: sections {sorted(sections)}; family {family!r} needs {sorted(required)}")
    return {section: tuple(
        Paraphrase(f"{family}/{section}/{i}", parse(source, f"{path}:{line}", required[section], fields),
                   parts_of(source))
        for i, (source, line) in enumerate(sources)) for section, sources in sections.items()}


def listed(texts: list[str]) -> str:
    """Options as lines "A. 1.2 m"."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip("ABCDE", texts))
