"""Renders the page."""

from __future__ import annotations

import re
import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from curate.augment import Variant, apply
from curate.marks import colour_of
from curate.questions.doubts import doubts
from curate.report import collect
from curate.report.answers import answer
from curate.report.birdseye import birdseye
from curate.report.reliability import reliability_svg, reliability_table
from curate.report.rig import rig_facts
from curate.report.scores import Scores
from curate.scene import Scene, SceneError

FOLDER = "preview"
MAX_CLIPS = 24
MAX_QUESTIONS = 12  # of a family and clip
MOVES_P = 1e-3
_INDENT = re.compile(r"\n\s+")  # a third of the page otherwise
_MARK = re.compile(r"&lt;R(\d+)&gt;|\[R(\d+)\]|\bregion (\d+)\b")


def _css(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def with_chips(text: str) -> Markup:
    """Escaped text in which `<R3>` is a chip in the colour of region 3."""
    def chip(match: re.Match[str]) -> str:
        number = int(next(g for g in match.groups() if g))
        return f'<b class="chip" style="--c:{_css(colour_of(max(number, 1)))}">R{number}</b>'

    return Markup(_MARK.sub(chip, str(escape(text))))


def with_tables(text: str) -> Markup:
    """As `with_chips`; lines of a table (`| a | b |`, as questions without pictures have them) are one that scrolls."""
    out = []
    for is_table, lines in groupby(text.split("\n"), lambda line: line.startswith("|") and line.endswith("|")):
        if not is_table:
            out.append(with_chips("\n".join(lines)))
            continue
        rows = [[with_chips(cell.strip()) for cell in line[1:-1].split("|")] for line in lines if line.strip("|-")]
        html = Markup().join(Markup("<tr>{}</tr>").format(Markup().join(Markup("<td>{}</td>").format(c) for c in row))
                             for row in rows)
        out.append(Markup('<div class="scroll"><table class="given">{}</table></div>').format(html))
    return Markup().join(out)


def _number(value: float) -> str:
    return f"{value:#.4g}".removesuffix(".")


def _title(item: dict[str, Any]) -> str:
    if not item["json"]:
        return item["key"]
    uri = item["json"]["source"]["uri"]
    return uri if uri.strip("./") else item["json"]["recording"]


def _regions(scene: Scene) -> list[dict[str, Any]]:
    """The regions' names and whether they move."""
    def motion(p: float) -> str:
        return "" if p != p else "moves" if p < MOVES_P else "still"

    return [{"id": r.id, "label": r.label, "colour": _css(colour_of(r.id)), "motion": motion(r.motion_p)}
            for r in scene.regions]


def _family(name: str, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """A family's questions of a clip, those that are not right first; more than MAX_QUESTIONS are only counted."""
    wrong = [q for q in asked if q["verdict"] and not q["verdict"]["ok"]]
    shown = (wrong + [q for q in asked if q not in wrong])[:MAX_QUESTIONS]
    return {"name": name, "questions": shown, "total": len(asked), "wrong": len(wrong), "more": len(asked) - len(shown)}


def _scene(out: Path, key: str, record: dict[str, Any] | None) -> Scene:
    """
    Raises:
        OSError, SceneError: where it cannot be read.
    """
    group = record["group"] if record else key
    scene = Scene.load(out / "scenes" / group / "scene.npz")
    return scene if group == key else apply(scene, Variant.split(key)[1])


def _clip(out: Path, page: Path, item: dict[str, Any], scores: Scores) -> dict[str, Any]:
    """One card; what cannot be read is left out of it with its reason."""
    key = item["key"]
    place = "scenes" if (out / "scenes" / key).exists() or not item["json"] else "augmented"
    folder = out / place / key
    card: dict[str, Any] = {"key": key, "title": _title(item), "json": item["json"], "fault": "", "map": None,
                            "scene": None, "doubts": [], "rig": None}
    card["media"] = {name: f"../{place}/{key}/{name}" for name in ("v0.mp4", "v1.mp4", "depth.jpg", "frame.jpg")
                     if (folder / name).is_file()}
    if item["mark"]:
        (page / f"{key}.jpg").write_bytes(item["mark"])
        card["media"]["mark"] = f"{key}.jpg"
    try:
        scene = _scene(out, key, item["json"])
        card["scene"] = scene
        card["regions"], card["doubts"], card["rig"] = _regions(scene), doubts(scene), rig_facts(scene)
        card["map"] = birdseye(scene, {r.id: _css(colour_of(r.id)) for r in scene.regions})
    except (OSError, SceneError) as error:
        card["fault"] = f"its scene cannot be read: {error}"
    families: dict[str, list[dict[str, Any]]] = {}
    for qa in item["json"]["qa"] if item["json"] else ():
        families.setdefault(qa["family"], []).append(answer(qa, scores.judged.get(qa["id"])))
    card["families"] = [_family(name, asked) for name, asked in families.items()]
    return card


def build_report(out_dir: Path | str, *, max_clips: int = MAX_CLIPS, score: Path | None = None) -> Path:
    """Writes OUT/preview/index.html from what a run left in OUT; reads no source and runs no estimator.

    Args:
        out_dir: OUT of a run, with `scenes/` and, where the run published, `shards/`.
        max_clips: cards shown; the page says how many more there are.
        score: judged answers of `curate score`; default: those in OUT, where they are there.

    Returns:
        Path of the page. It names its videos relative to itself: move it together with OUT.

    Raises:
        ValueError: where `max_clips` is negative, or `score` does not belong to these questions.
        FileNotFoundError: where OUT is no run's folder.
        ShardError: where the published shards cannot be trusted.
    """
    out = Path(out_dir)
    if max_clips < 0:
        raise ValueError(f"max_clips is {max_clips}; expected 0 or more")
    if not (out / "scenes").is_dir():
        raise FileNotFoundError(f"{out}: no scenes/ in it; expected the output folder of `curate run`")
    scores = collect.scores(out, collect.published(out), score)
    page, partial = out / FOLDER, out / f".{FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    summary = collect.summary(out)
    cards = []
    for item in collect.clips(out) if max_clips else ():
        cards.append(_clip(out, partial, item, scores))
        if len(cards) >= max_clips:
            break
    total = collect.num_clips(out, summary)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"chips": with_chips, "number": _number, "prose": with_tables}
    style = Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8"))
    html = environment.get_template("page.html.j2").render(
        summary=summary, cards=cards, more=total - len(cards), style=style, scores=scores,
        diagrams=[Markup(reliability_svg([curve])) for curve in scores.curves],
        reliability=reliability_table(scores.curves))
    (partial / "index.html").write_text(_INDENT.sub("\n", html), encoding="utf-8")
    shutil.rmtree(page, ignore_errors=True)
    partial.rename(page)
    return page / "index.html"
