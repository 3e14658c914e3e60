"""Wording that a recipe brings: folders of templates, read and checked before anything runs, then kept in the recipe.

A folder holds files as this package's own `templates`: NAME.yaml of a family, with sections of templates. What they say
becomes part of the recipe (`questions.wording`), so that workers need no folder, and the fingerprint knows the words.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from curate.questions.families import families
from curate.questions.wording import Paraphrase, TemplateError, parse, parts_of, sections_of

MAX_FILES = 500
Words = Mapping[str, Mapping[str, tuple[str, ...]]]  # family -> section -> templates


def read_folders(folders: Iterable[Path]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Every template of the folders, in their order, each checked.

    Raises:
        TemplateError: one line for each fault, with file and line: no such folder or family, a section that the family
            does not have, a template outside the subset or one that does not state what it must.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    faults: list[str] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            faults.append(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; expected a folder of "
                          f"templates, FAMILY.yaml each")
            continue
        files = sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml"))
        if not files or len(files) > MAX_FILES:
            faults.append(f"{folder}: {len(files)} files of templates; expected 1 to {MAX_FILES}, FAMILY.yaml each")
            continue
        for path in files:
            try:
                for section, sources in _checked(path).items():
                    own = found.setdefault(path.stem, {})
                    own[section] = own.get(section, ()) + sources
            except TemplateError as error:
                faults.append(str(error))
    if faults:
        raise TemplateError("\n".join(faults))
    return found


def _checked(path: Path) -> dict[str, tuple[str, ...]]:
    known = families()
    if path.stem not in known:
        near = difflib.get_close_matches(path.stem, known, 1)
        raise TemplateError(f"{path}: no question family is called {path.stem!r}; "
                            + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"))
    family, out, faults = known[path.stem], {}, []
    for section, sources in sections_of(path).items():
        if section not in family.sections:
            faults.append(f"{path}:{sources[0][1]}: family {family.name!r} has no section {section!r}; "
                          f"it has {', '.join(family.sections)}")
            continue
        for source, line in sources:
            try:
                parse(source, f"{path}:{line}", sorted(family.required(section)), family.fields)
            except TemplateError as error:
                faults.append(str(error))
        out[section] = tuple(source for source, _ in sources)
    if faults:
        raise TemplateError("\n".join(faults))
    return out


def check(words: Words) -> None:
    """
    Raises:
        TemplateError: on a family, section or template that cannot be used; says which.
    """
    known = families()
    for name, sections in words.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise TemplateError(f"no question family is called {name!r}"
                                + (f"; did you mean {near[0]!r}?" if near else ""))
        for section, sources in sections.items():
            if section not in known[name].sections:
                raise TemplateError(f"{name}: no section {section!r}; it has {', '.join(known[name].sections)}")
            paraphrases(name, section, tuple(sources))


@lru_cache(maxsize=1024)
def paraphrases(name: str, section: str, sources: tuple[str, ...]) -> tuple[Paraphrase, ...]:
    """A recipe's own templates of one family's section; their ids come from their words.

    Raises:
        TemplateError: where one cannot be used.
    """
    family = families()[name]
    required = sorted(family.required(section))
    return tuple(Paraphrase(f"{name}/{section}/own-{hashlib.sha256(source.encode()).hexdigest()[:8]}",
                            parse(source, f"{name}: {section} {i}", required, family.fields), parts_of(source))
                 for i, source in enumerate(sources))
