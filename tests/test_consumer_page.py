"""`make consumers`: every exporter has a line, what was not shown says why, and the page that is here is of now."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from curate.exporters import exporters

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("consumers_run", ROOT / "tools/consumers/run.py")
    module = sys.modules["consumers_run"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_exporter_is_run_or_held_to_rules(tool):
    shown = {one.export: "run" for one in tool.OWN} | {one.export: "rules" for one in tool.RULED} | {"trl": "run"}
    assert shown == {name: one.proof for name, one in exporters().items()}
    for one in (*tool.TESTED, *tool.RULED):
        assert all((ROOT / word.split("::")[0]).is_file() for word in one.tests.split() if word.startswith("tests/"))
    assert all((tool.HERE / one.script).is_file() for one in tool.OWN)


def test_the_page_here_has_a_line_for_each(tool):
    text = (ROOT / "docs" / "consumers.md").read_text("utf-8")
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    for one in (*tool.TESTED, *tool.OWN, *tool.RULED):
        shown = "rules" if one in tool.RULED else "run"
        assert f"| {shown} |" in lines[one.title] or "| not shown |" in lines[one.title]


def test_pages_say_what_was_read_and_why_not(tool):
    read = tool.words("sft", "video", 3, 1, 3, ["id"])
    rows = [tool.Row("a", "1.2", "run", [read, "x|y"]), tool.Row("b", "", "not shown", ["could not be installed here"])]
    text = tool.page(rows, ["trl"])
    assert "| a | 1.2 | run | sft, video: 3 rows with 1 images and 3 videos; columns id<br>x\\|y |" in text
    assert "| b | – | not shown | could not be installed here |" in text and "`trl`" in text


def test_a_consumer_that_fails_or_hangs_says_so(tool, tmp_path, monkeypatch):
    _, why = tool.run([sys.executable, "-c", "raise SystemExit('no such template')"], 30)
    assert why == "no such template"
    assert tool.run([sys.executable, "-c", "import time; time.sleep(30)"], 0.2)[1] == "not done after 0.2 s"
    out, why = tool.run([sys.executable, "-c", "print(1)"], 30)
    assert (out, why) == ("1\n", "")


def test_an_environment_goes_when_its_consumer_is_done(tool, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(tool.venv, "create", lambda folder, with_pip: (folder.mkdir(), made.append(folder)))
    answers = iter([("", "no matching distribution")])
    monkeypatch.setattr(tool, "run", lambda command, limit_s: next(answers))
    row = tool.own(tool.Own("x", "x", ("torch==1", "x==3"), "for_x.py"), tmp_path, None)
    assert (row.shown, row.version) == ("not shown", "3") and "no matching distribution" in row.reads[0]
    assert made and not made[0].exists()
