"""Who may import whom, held over the source itself; and what a base install must be able to import."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "curate"

BASE = {"click", "numpy", "yaml", "pydantic", "pydantic_core", "jinja2", "rich", "pyarrow", "webdataset"}
HEAVY = {"ray", "torch", "safetensors", "onnxruntime", "transformers", "accelerate", "peft", "open3d", "cv2", "scipy",
         "av", "decord", "fsspec", "s3fs", "gcsfs"}
MAX_LINES = 450

# Folder (or module) of the package -> the others it may import. "data" is the package's own tables.
FACTS = {"geometry", "scene"}
MAY_SEE = {
    "lazy": set(),
    "geometry": set(),
    "data": set(),
    "scene": {"geometry"},
    "marks": FACTS,
    "augment": {"marks", "shards", "video", *FACTS},
    "measure": FACTS,
    "questions": {"lazy", "measure", *FACTS},
    "video": {"sources", *FACTS},
    "sources": {"video", "synth", "perception", *FACTS},  # of perception the type of a field, which it may bring
    "perception": {"lift", "sources", "data", *FACTS},
    "lift": {"perception", "sources", "data", *FACTS},
    "storage": set(),
    "shards": {"questions", "storage", *FACTS},
    "synth": {"augment", "sources", "video", "shards", "data", *FACTS},
    "recipe": {"augment", "sources", "perception", "questions", "storage"},
    "mixture": {"questions", "shards", "storage"},
    "report": {"augment", "shards", "marks", "video", "recipe", "questions", "measure", *FACTS},
    "engine": {"augment", "recipe", "sources", "perception", "video", "marks", "measure", "questions", "shards",
               "storage", *FACTS},
    "rewards": {"questions"},
    "exporters": {"marks", "questions", "shards", "video", *FACTS},
    "bench": {"questions", "shards", "rewards", *FACTS},
    "train": {"lazy", "bench", "recipe", "shards", "storage", "questions", "rewards", *FACTS},
    "api": {"recipe", "sources", "perception", "measure", "questions", "engine", "shards", "scene"},
}
SEES_EVERYTHING = {"cli", "curate", "__main__"}  # the command line, and the package's own front doors

# What pixels or graphics libraries may appear in. Not above `lift` and `marks`: never in questions or measurement.
PIXELS = {"cv2", "open3d"}
SEES_PIXELS = {"synth", "sources", "video", "perception", "lift", "marks"}


@dataclass(frozen=True)
class Import:
    """`name` is the imported module's full name; `when` is "load", "call" (inside a function) or "types"."""

    path: Path
    line: int
    module: str
    name: str
    when: str

    @property
    def folder(self) -> str:
        return folder_of(self.module)

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.module} imports {self.name}"


def folder_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


class _Finder(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[tuple[int, str, str]] = []
        self.when = "load"

    def _inside(self, when: str, nodes: list[ast.stmt]) -> None:
        before, self.when = self.when, when if self.when == "load" else self.when
        for node in nodes:
            self.visit(node)
        self.when = before

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._inside("call", node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node: ast.If) -> None:
        types_only = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        self._inside("types" if types_only else self.when, node.body)
        self._inside(self.when, node.orelse)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(node.lineno, alias.name, self.when) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, f"line {node.lineno}: imports are absolute here"
        assert node.module is not None
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self.found.append((node.lineno, name if is_module(name) else node.module, self.when))


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py"))


@lru_cache(maxsize=1)
def imports() -> tuple[Import, ...]:
    return tuple(_imports())


def _imports() -> Iterator[Import]:
    for path in sources():
        finder = _Finder()
        finder.visit(ast.parse(path.read_text("utf-8"), str(path)))
        for line, name, when in finder.found:
            yield Import(path, line, module_of(path), name, when)


def listing(broken: list[Import]) -> str:
    return "\n" + "\n".join(map(str, broken))


def test_the_finder_sees_what_is_written(tmp_path):
    """The tests below are only as good as this reader: each place an import can stand, and its kind."""
    finder = _Finder()
    finder.visit(ast.parse(textwrap.dedent("""
        import numpy as np
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from curate.scene import Scene
        try:
            import cv2
        except ImportError:
            import av
        class A:
            import yaml
            def run(self):
                import ray
                if True:
                    from curate import marks
        def f():
            def g():
                from curate.geometry.poses import Pose
    """)))
    assert {name: when for _, name, when in finder.found} == {
        "numpy": "load", "typing": "load", "curate.scene": "types", "cv2": "load", "av": "load", "yaml": "load",
        "ray": "call", "curate.marks": "call", "curate.geometry.poses": "call"}


def test_folders_see_only_what_the_map_allows():
    broken = []
    for item in imports():
        seen = folder_of(item.name)
        if item.top != "curate" or item.name == "curate" or seen == item.folder or item.folder in SEES_EVERYTHING:
            continue
        assert item.folder in MAY_SEE, f"{item.path}: folder {item.folder!r} is not on the map in {__file__}"
        if seen not in MAY_SEE[item.folder]:
            broken.append(item)
    assert not broken, listing(broken)


def test_nobody_sees_the_command_line():
    broken = [i for i in imports() if i.name.startswith("curate.cli") and i.folder not in ("cli", "__main__")]
    assert not broken, listing(broken)


def test_ray_stays_with_its_workers():
    def allowed(item: Import) -> bool:
        return item.folder == "train" or (item.folder == "engine" and item.path.name.startswith("ray"))

    broken = [i for i in imports() if i.top == "ray" and not allowed(i)]
    # The command line may ask which version is there, never at load.
    broken = [i for i in broken if not (i.folder == "cli" and i.when == "call")]
    assert not broken, listing(broken)


def test_no_torch_outside_learned_estimators_and_training():
    """In perception only the networks, `learned/*_net.py`, load it; the others import those inside functions."""
    learned = {"torch", "safetensors", "onnxruntime", "transformers", "accelerate", "peft"}

    def is_net(name: str) -> bool:
        return name.startswith("curate.perception.learned.") and name.endswith("_net")

    broken = [i for i in imports() if i.top in learned and i.folder not in ("train", "perception")]
    broken += [i for i in imports() if i.folder == "perception" and i.when == "load" and not is_net(i.module)
               and (i.top in learned or is_net(i.name))]
    assert not broken, listing(broken)


def test_drivers_of_object_stores_stay_in_storage():
    broken = [i for i in imports() if i.top in ("fsspec", "s3fs", "gcsfs") and i.folder != "storage"]
    # Each store in a file of its own, loaded when an address asks for it.
    broken += [i for i in imports() if i.name in ("curate.storage.s3", "curate.storage.gs") and i.when == "load"]
    assert not broken, listing(broken)


def test_pixels_stay_below():
    broken = [i for i in imports() if i.top in PIXELS and i.folder not in SEES_PIXELS]
    # A worker fixes OpenCV's threads before anything runs in it; `doctor` looks at versions.
    broken = [i for i in broken if not (i.folder in ("engine", "cli") and i.when == "call")]
    assert not broken, listing(broken)


def test_questions_and_measurement_need_only_a_base_install():
    light = {"measure", "questions", "geometry", "scene", "shards", "recipe", "data", "rewards"}
    ours = {*BASE, "curate", *sys.stdlib_module_names}
    broken = [i for i in imports() if i.folder in light and i.top not in ours]
    assert not broken, listing(broken)


def test_settings_import_without_extras():
    ours = {*BASE, "curate", *sys.stdlib_module_names}
    broken = [i for i in imports() if i.path.name == "config.py" and i.when == "load" and i.top not in ours]
    assert not broken, listing(broken)


def test_the_command_line_imports_nothing_heavy_at_load():
    slow = HEAVY | {"webdataset", "pyarrow", "numpy"}
    broken = [i for i in imports() if i.folder == "cli" and i.when == "load" and i.top in slow]
    assert not broken, listing(broken)


def test_no_two_modules_wait_for_each_other():
    """Importing any module first works: no cycle among what modules load while loading, packages included."""
    edges: dict[str, set[str]] = {module_of(p): set() for p in sources()}
    for item in imports():
        if item.top == "curate" and item.when == "load":
            parts = item.name.split(".")
            loaded = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
            edges[item.module] |= {m for m in loaded if not f"{item.module}.".startswith(f"{m}.")}
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, "cycle: " + " -> ".join([*way[way.index(module):], module])
        if module in done:
            return
        for other in sorted(edges.get(module, ())):
            walk(other, (*way, module))
        done.add(module)

    for module in sorted(edges):
        walk(module, ())


def test_files_hold_one_idea():
    long = {str(p.relative_to(ROOT)): n for p in sources()
            if (n := len(p.read_text("utf-8").splitlines())) > MAX_LINES}
    assert not long, f"longer than {MAX_LINES} lines: {long}"
    vague = [str(p.relative_to(ROOT)) for p in sources() if p.stem in ("utils", "util", "helpers", "misc", "common")]
    assert not vague, f"named after nothing: {vague}"


def test_nothing_is_unpickled_or_evaluated():
    broken = [i for i in imports() if i.top in ("pickle", "cloudpickle", "dill", "marshal", "shelve")]
    assert not broken, listing(broken)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), f"{path}:{node.lineno}: {node.func.id}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                unsafe = ("yaml.load", "yaml.unsafe_load", "yaml.full_load")
                assert called not in unsafe, f"{path}:{node.lineno}: {called}"
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert ast.unparse(keyword.value) == "False", f"{path}:{node.lineno}: allow_pickle"


BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (not in a base install)", name=name)

sys.meta_path.insert(0, Absent())
"""


def run_blocked(code: str, blocked: set[str]) -> subprocess.CompletedProcess:
    script = BLOCKED.format(blocked=sorted(blocked)) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_base_install_imports_the_reading_and_writing_half():
    configs = sorted(module_of(p) for p in sources() if p.name == "config.py")
    names = ["curate.shards", "curate.shards.reader", "curate.shards.verify", "curate.questions", "curate.measure",
             "curate.scene", "curate.geometry", "curate.recipe", "curate.api", *configs]
    done = run_blocked(f"""
        from importlib import import_module
        for name in {names!r}:
            import_module(name)
        import curate
        curate.shards.read, curate.load_recipe, curate.measure, curate.ask
        assert not {{"webdataset"}} & set(sys.modules), "webdataset takes seconds to import: inside functions only"
    """, HEAVY)
    assert done.returncode == 0, done.stderr


def test_base_install_asks_questions_of_a_scene():
    """Not only the imports: the second pass of a stored scene, without any extra."""
    scene = ROOT / "tests" / "golden" / "scene.npz"
    if not scene.is_file():
        pytest.skip("no golden scene in this checkout")
    done = run_blocked(f"""
        from pathlib import Path
        from curate.scene import Scene
        from curate.measure import measure
        import curate
        scene = Scene.from_bytes(Path({str(scene)!r}).read_bytes())
        quantities = measure(scene)
        questions = curate.ask(scene, quantities)
        print(len(quantities), len(questions))
    """, HEAVY)
    assert done.returncode == 0, done.stderr
    num_quantities, num_questions = map(int, done.stdout.split())
    assert num_quantities > 0 and num_questions > 0


def test_the_front_door_loads_nothing_until_asked():
    done = run_blocked("""
        import curate
        assert curate.__version__
        loaded = {"numpy", "pydantic", "yaml"} & set(sys.modules)
        assert not loaded, loaded
    """, HEAVY)
    assert done.returncode == 0, done.stderr


def test_nothing_that_asks_is_loaded_before_clips_are_done():
    """Half of a second of a start, in the driver and in each worker."""
    done = run_blocked("""
        import curate.recipe, curate.engine.run, curate.engine.stage
        loaded = sorted(name for name in sys.modules if name.startswith(("curate.questions.", "curate.measure")))
        settings = {"curate.questions.config", "curate.questions.region_words", "curate.questions.units"}
        assert set(loaded) <= settings, loaded
    """, HEAVY)
    assert done.returncode == 0, done.stderr
