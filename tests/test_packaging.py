"""What is in the wheel, what the extras hold, and what the set-up says when it cannot go on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module, util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~;\[]", r, maxsplit=1)[0].lower() for r in requirements}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from the tracked kind of files, without the network and without touching the checkout."""
    if util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed (pip install 'curate4d[dev]')")
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    there = set(wheel.namelist())
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "curate").rglob("*")
            if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")}
    assert not ours - there
    for name in ("curate/py.typed", "curate/data/calibration.json", "curate/data/scenes.yaml"):
        assert name in there
    assert any(n.startswith("curate/questions/templates/") and n.endswith(".yaml") for n in there)
    assert not [n for n in there if n.startswith(("tests/", "benchmarks/")) or "__pycache__" in n]


def test_a_wheel_finds_its_own_data(wheel, tmp_path):
    """Not the checkout's: unpacked elsewhere, and asked from there."""
    wheel.extractall(tmp_path)
    code = ("import curate.synth.distribution as d, curate.data, curate.questions.wording, curate\n"
            "print(d.packaged_distribution()); d.load_distribution(); print(curate.__file__)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(tmp_path)) for line in done.stdout.split())


def test_the_scene_distribution_is_the_benchmarks(wheel):
    assert wheel.read("curate/data/scenes.yaml") == (ROOT / "benchmarks" / "scenes.yaml").read_bytes()


def test_base_is_light_and_all_is_all():
    extras = PROJECT["optional-dependencies"]
    assert names(PROJECT["dependencies"]) == {"click", "numpy", "pyyaml", "pydantic", "jinja2", "rich", "pyarrow",
                                              "webdataset"}
    assert {"ray", "opencv-python-headless", "decord", "av", "scipy"} <= names(extras["run"])
    assert names(extras["train"]) == {"torch", "transformers", "accelerate", "peft", "tensorboard", "safetensors", "av",
                                      "pillow"}
    assert {"torch", "safetensors", "onnxruntime"} == names(extras["learned"])
    assert {"fsspec", "s3fs"} == names(extras["s3"]) and {"fsspec", "gcsfs"} == names(extras["gs"])
    assert extras["all"] == ["curate4d[run,learned,train,rl,s3,gs,consumers,dev]"]
    everything = set.union(*(names(extras[e]) for e in ("run", "learned", "train", "rl", "s3", "gs", "dev")))
    assert "torchvision" not in everything, "it breaks transformers where it does not fit torch"


def test_one_open3d_on_every_machine():
    """The build without CUDA where there is one, the general one elsewhere, never both: they share a name."""
    markers = pytest.importorskip("packaging.requirements")
    for system, machine, expected in [("linux", "x86_64", "open3d-cpu"), ("linux", "aarch64", "open3d"),
                                      ("darwin", "arm64", "open3d"), ("win32", "AMD64", "open3d")]:
        chosen = []
        for text in PROJECT["optional-dependencies"]["run"]:
            requirement = markers.Requirement(text)
            environment = {"sys_platform": system, "platform_machine": machine}
            if requirement.name.startswith("open3d") and requirement.marker.evaluate(environment):
                chosen.append(requirement.name)
        assert chosen == [expected]


def test_constraints_pin_every_direct_dependency():
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
              if line and not line.startswith("#")}
    extras = PROJECT["optional-dependencies"]
    asked = set.union(names(PROJECT["dependencies"]), *(names(extras[e]) for e in extras if e != "all"))
    assert not asked - pinned
    assert not pinned - asked, "pins of what is no longer asked for"


def test_entry_points_are_there():
    for target in PROJECT["scripts"].values():
        module, name = target.split(":")
        assert callable(getattr(import_module(module), name))


def test_recipes_and_workflow_files_parse():
    for path in [*ROOT.glob("recipes/*.yaml"), ROOT / "ray_cluster.yaml", ROOT / "benchmarks" / "scenes.yaml"]:
        assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict), path


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(checkout: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess:
    environment = {"PATH": path} if path else None
    return subprocess.run(["make", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=60,
                          env=environment, stdin=subprocess.DEVNULL)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Enough of a checkout for the set-up's first steps, without an environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    return tmp_path


@needs_make
def test_make_names_an_interpreter_that_is_missing_or_too_old(checkout):
    done = make(checkout, "setup", "PYTHON=no-such-python")
    assert done.returncode != 0 and "no no-such-python here" in done.stderr and "PYTHON=" in done.stderr
    old = checkout / "old-python"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 9, 1); '
                   'sys.version = \'3.9.1 (old)\'; exec(sys.argv[1])" "$2"\n')
    old.chmod(0o755)
    done = make(checkout, "setup", f"PYTHON={old}")
    assert done.returncode != 0 and "Python 3.9.1" in done.stderr and "3.11" in done.stderr
    assert not (checkout / ".venv").exists()


@needs_make
def test_make_help_speaks_of_every_goal():
    done = make(ROOT, "help")
    for goal in ("demo", "test", "test-fast", "lint", "clean", "SEED", "SCENES"):
        assert goal in done.stdout


class TestSystemLibraries:
    """`tools/system_libs.py`: looks with the loader, installs where it may, else says the line."""

    @pytest.fixture
    def libs(self, monkeypatch):
        monkeypatch.syspath_prepend(str(ROOT / "tools"))
        module = import_module("system_libs")
        monkeypatch.setattr(module.sys, "platform", "linux")
        return module

    def test_presence_is_asked_of_the_loader(self, libs):
        if not sys.platform.startswith("linux"):
            pytest.skip("Linux's loader")
        assert libs.is_there("libc.so.6")
        assert not libs.is_there("libno-such-thing.so.9")

    def test_without_rights_the_exact_line_is_printed(self, libs, monkeypatch, capsys):
        monkeypatch.setattr(libs, "is_there", lambda library: library not in ("libEGL.so.1", "libusb-1.0.so.0"))
        monkeypatch.setattr(libs.os, "geteuid", lambda: 1000)
        monkeypatch.setattr(libs.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
        monkeypatch.setattr(libs.subprocess, "run", lambda *a, **k: pytest.fail("nothing may be run"))
        assert libs.main() == 1
        said = capsys.readouterr()
        assert "libEGL.so.1" in said.out and "libusb-1.0.so.0" in said.out
        assert "apt-get install -y --no-install-recommends libusb-1.0-0 libegl1" in said.err

    def test_root_installs_what_is_missing_and_looks_again(self, libs, monkeypatch):
        there, ran = {"libEGL.so.1": False}, []
        monkeypatch.setattr(libs, "is_there", lambda library: there.get(library, True))
        monkeypatch.setattr(libs, "import_error", lambda module: "")
        monkeypatch.setattr(libs.os, "geteuid", lambda: 0)
        monkeypatch.setattr(libs.shutil, "which", lambda name: f"/usr/bin/{name}")

        def run(command, **kwargs):
            ran.append(command)
            there["libEGL.so.1"] = "install" in command
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(libs.subprocess, "run", run)
        assert libs.main() == 0
        assert "update" in ran[0] and ran[1][-1] == "libegl1" and "sudo" not in ran[1]

    def test_a_library_in_no_list_is_named_by_the_import(self, libs, monkeypatch, capsys):
        monkeypatch.setattr(libs, "is_there", lambda library: True)
        monkeypatch.setattr(libs, "import_error", lambda module: "ImportError: libodd.so.3: cannot open shared object "
                                                                 "file: No such file or directory")
        assert libs.main() == 1
        assert "import cv2" in (said := capsys.readouterr().err) and "libodd.so.3" in said

    def test_addresses_are_not_printed(self, libs, monkeypatch, capsys):
        monkeypatch.setattr(libs.os, "geteuid", lambda: 0)
        monkeypatch.setattr(libs.shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(libs.subprocess, "run", lambda command, **k: subprocess.CompletedProcess(
            command, 100, "", "E: Failed to fetch http://mirror.example.org/pool/x.deb  404"))
        assert not libs.install(["libegl1"])
        said = capsys.readouterr().err
        assert "mirror.example" not in said and "404" in said and "libegl1" in said


class TestReadme:
    """What a stranger copies must be there and run."""

    text = (ROOT / "README.md").read_text("utf-8")

    @pytest.mark.parametrize("document", ["README.md", "docs/DESIGN.md"])
    def test_links_lead_somewhere(self, document):
        path = ROOT / document
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), target

    def test_named_files_are_there(self):
        for name in set(re.findall(r"(?:recipes|docs|shards|schemas)/[\w./-]+\.\w+", self.text)):
            assert (ROOT / name).exists() or name.startswith("shards/train-"), name

    def test_named_folders_are_there(self):
        block = self.text.split("## Folders")[1].split("```")[1]
        for name in re.findall(r"(?:^|\s{2,})([a-z_]+(?:/|\.py))(?=\s)", block.split("recipes/")[0], re.M):
            assert name == "curate/" or (ROOT / "curate" / name).exists(), name

    def test_python_imports_what_exists(self):
        for block in re.findall(r"```python\n(.*?)```", self.text, re.S):
            compile(block, "README.md", "exec")
            for module, found in re.findall(r"^\s*from (curate[\w.]*) import ([\w, ]+)", block, re.M):
                for name in found.split(","):
                    assert hasattr(import_module(module), name.strip()) or util.find_spec(f"{module}.{name.strip()}")
            for name in re.findall(r"\bcurate\.([a-z_]+)\(", block):
                assert hasattr(import_module("curate"), name), name

    def test_reading_works_as_written(self, tmp_path, monkeypatch):
        """The examples that read shards, run as they stand over a small set at the path they name."""
        from curate.shards.publish import publish
        from tests.shard_samples import samples

        (tmp_path / "out" / "mine").mkdir(parents=True)
        publish(tmp_path / "out" / "mine", samples(2))
        monkeypatch.chdir(tmp_path)
        own, plain = re.findall(r"```python\n(.*?)```", self.text.split("## Reading a shard")[1], re.S)[:2]
        seen: dict = {}
        exec(compile(own, "README.md", "exec"), seen)
        assert seen["chat"][0]["role"] == "user" and seen["task"]["prompt"] and seen["video"] and seen["marks"]
        assert isinstance(seen["verdict"].correct, bool)
        exec(compile(plain, "README.md", "exec"), seen)
        assert len(seen["record"]["qa"]) == 2 and seen["video"]

    def test_commands_exist(self):
        from curate.cli.main import COMMANDS

        for name in re.findall(r"^curate (\w+)", self.text, re.M):
            assert name in COMMANDS, name

    def test_every_family_is_in_the_table(self):
        from curate.questions.families import OWN

        rows = re.findall(r"^\|.*$", self.text.split("## What is asked")[1].split("## ")[0], re.M)
        assert set(OWN) == set(re.findall(r"`([a-z]+_[a-z0-9_]+)`", " ".join(rows)))

    def test_the_own_video_lines_make_a_valid_recipe(self):
        from curate.recipe import load_recipe

        block = self.text.split("## A stereo video, step by step")[1].split("```")[1]
        overrides = re.findall(r"--set (source\.[\w.=/-]+)", block)
        recipe = load_recipe(ROOT / "recipes" / "side_by_side.yaml", overrides)
        assert recipe.source.calibration.baseline_m == 0.12 and recipe.source.root.endswith("my.mp4")
