"""One example of every question family, with its marked picture: `docs/gallery.md`.

    curate run recipes/rendered.yaml --out out/gallery --set source.num_scenes=24 --set questions.seed=1
    python -m tools.gallery out/gallery --doc docs/gallery.md

Clips are chosen so that few pictures serve all families; everything on the page is read from the published shards.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

WIDTH = 420  # pixels of a picture on the page


def examples(samples: list[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Family -> (sample, question): few samples, a choice with the truth's steps before a bare number."""
    by_family: dict[str, list[tuple[dict, dict]]] = defaultdict(list)
    for sample in samples:
        for qa in sample["json"]["qa"]:
            by_family[qa["family"]].append((sample, qa))
    asked = {sample["json"]["key"]: {qa["family"] for qa in sample["json"]["qa"]} for sample in samples}
    left, found = set(by_family), {}
    while left:
        gains = {key: len(left & families) for key, families in asked.items()}
        best = max(samples, key=lambda s: (gains[s["json"]["key"]], s["json"]["key"]))
        for family in sorted(left & {qa["family"] for qa in best["json"]["qa"]}):
            own = [qa for s, qa in by_family[family] if s is best]
            found[family] = best, max(own, key=lambda q: (q["form"] == "choice", len(q["reasoning"]), q["id"]))
        left -= set(found)
    return found


def definition(family: str) -> str:
    """First paragraph of the documentation of the file that declares a family."""
    import importlib
    import pkgutil

    import curate.questions.families as folder

    for module in pkgutil.iter_modules(folder.__path__):
        found = importlib.import_module(f"{folder.__name__}.{module.name}")
        if any(f.name == family for f in getattr(found, "FAMILIES", ())):
            return " ".join((found.__doc__ or "").strip().split("\n\n")[0].split())
    return ""


def page(found: dict[str, tuple[dict[str, Any], dict[str, Any]]], images: dict[str, str]) -> str:
    from curate.questions.columns import OTHER, column

    out = ["# Question families", "", "One example of each, from rendered scenes, as the shards hold them; made by "
           "`python -m tools.gallery`. The picture is the part `mark.jpg` of the clip. **Bold** is the right answer; "
           "a number stands with the interval that holds it with 95 % confidence.", ""]
    out += ["Families: " + ", ".join(f"[{name.replace('_', ' ')}](#{name})" for name in sorted(found)), ""]
    for name in sorted(found):
        sample, qa = found[name]
        stem = qa["question"].split("\n")[0]
        out += [f'<a id="{name}"></a>', f"## {name.replace('_', ' ')}", "", definition(name), ""]
        where = [f"{title}: {place}" for scheme, title in (("mllm4d", "MLLM-4D"), ("r4d", "R4D-Bench"))
                 if (place := column(name, scheme)) != OTHER]
        out += [f"<img src=\"{images[sample['json']['key']]}\" width=\"{WIDTH}\" alt=\"marked frame\">", ""]
        out += [f"> {_safe(stem)}", ""]
        if qa["options"]:
            out += [f"- {'**' if letter == qa['letter'] else ''}{letter}. {_safe(text)}"
                    f"{'**' if letter == qa['letter'] else ''}" for letter, text in zip("ABCDE", qa["options"])]
        elif qa["form"] == "numeric":
            unit = f" {qa['unit']}".replace(" °", "°")
            interval = "" if qa["low"] == qa["high"] else f" ({qa['low']} to {qa['high']})"
            out += [f"**{qa['answer']}{unit}**{interval}"]
        else:
            out += [f"**{_safe(qa['answer'])}**"]
        if qa["reasoning"]:
            out += ["", "<details><summary>steps</summary>", "", _safe(" ".join(qa["reasoning"])), "", "</details>"]
        out += ["", f"<sub>{qa['form']}, metric {qa['metric']}{'; ' if where else ''}{', '.join(where)}</sub>", ""]
    return "\n".join(out)


def _safe(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>").replace("*", "\\*")


def main() -> None:
    from curate.shards import manifest
    from curate.shards.reader import find_root, read

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a run's folder, or a shard set")
    parser.add_argument("--doc", type=Path, default=Path("docs/gallery.md"))
    args = parser.parse_args()
    root = find_root(args.out)
    samples = [{"json": item["json"], "mark.jpg": item["media"]["mark.jpg"]}
               for split in sorted(manifest.load(root)["splits"])
               for item in read(root, split, flatten=False, rank=0, world_size=1, worker=0, num_workers=1)]
    found = examples(samples)
    folder = args.doc.parent / "images" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()
    images = {}
    for number, sample in enumerate({s["json"]["key"]: s for s, _ in found.values()}.values(), 1):
        path = folder / f"clip-{number}.jpg"
        path.write_bytes(sample["mark.jpg"])
        images[sample["json"]["key"]] = path.relative_to(args.doc.parent).as_posix()
    args.doc.write_text(page(found, images), encoding="utf-8")
    print(f"{args.doc}: {len(found)} families, {len(images)} pictures")


if __name__ == "__main__":
    main()
