"""The benchmark of sources: every part there is takes part, and one that fails hides no other."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from benchmarks import sources
from benchmarks.table import at_most


@pytest.fixture
def made_parts(monkeypatch):
    def broken(data, cache):
        raise OSError("no such disk")

    for name, rows in (("good", lambda data, cache: [at_most("error", 1.0, "m", 2.0)]), ("broken", broken)):
        module = ModuleType(f"benchmarks.sources_{name}")
        module.rows = rows
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sources, "parts", lambda: ["broken", "good"])


def test_a_part_that_fails_is_a_missed_row_beside_the_others(made_parts, tmp_path):
    assert sources.main(["--data", str(tmp_path), "--out", str(tmp_path / "rows.json")]) == 1
    broken, good = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert broken["ok"] is False and "no such disk" in broken["name"]
    assert good["ok"] is True and good["name"] == "good: error"


def test_one_part_alone(made_parts, tmp_path):
    assert sources.main(["--data", str(tmp_path), "--out", str(tmp_path / "rows.json"), "--only", "good"]) == 0


@pytest.mark.parametrize("part", sources.parts())
def test_parts_have_rows(part):
    from importlib import import_module

    assert callable(import_module(f"benchmarks.sources_{part}").rows)
