"""Commands: instant help, exit codes, what is printed, and that the second pass needs no estimator."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from curate.cli import doctor, schema
from curate.cli.main import COMMANDS, main
from curate.engine.outcome import Fatal
from curate.engine.run import Summary
from curate.engine.write import AuditFailed
from tests.stereo_media import write_recipe, write_side_by_side

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "ray", "cv2", "pydantic", "yaml", "rich", "av", "open3d", "scipy", "pyarrow", "webdataset", "jinja2")


def curate(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args])


def modules_after(*args: object) -> tuple[subprocess.CompletedProcess, set[str]]:
    """Runs a command in a fresh process; what it had imported at its end."""
    code = ("import sys\nfrom curate.cli.main import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
            "    print('\\n#' + ' '.join(sys.modules), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, cwd=ROOT)
    return done, set(done.stderr.rpartition("#")[2].split())


def test_help_loads_nothing_heavy():
    done, modules = modules_after("--help")
    assert done.returncode == 0 and all(name in done.stdout for name in COMMANDS)
    assert not [m for m in HEAVY if m in modules]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name):
    done = curate(name, "--help")
    assert done.exit_code == 0 and "Examples:" in done.stdout and f"curate {name}" in done.stdout


def test_a_misspelt_command_is_a_bad_request():
    done = curate("verfy", "x")
    assert done.exit_code == 2 and "verify" in done.stderr
    assert curate("run", "x.yaml").exit_code == 2  # no --out
    assert curate("run", "x.yaml", "--out", "y", "--workers", "0").exit_code == 2


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path / "r.yaml", {"kind": "rendered", "num_scenes": 1, "width": 320, "height": 192})


def summary(out, **counts) -> Summary:
    failures = [{"state": "quarantined", "uri": f"{i}.mp4", "start": 0, "num_frames": 8, "reason": "broken\nin two"}
                for i in range(counts.get("quarantined", 0))]
    return Summary(out, 4, Counter(counts), 5, {"object_displacement": 5}, failures, workers="1 inline")


@pytest.mark.parametrize(("counts", "code"), [
    ({"done": 4}, 0), ({"done": 3, "filtered": 1}, 0), ({"done": 3, "quarantined": 1}, 3), ({"quarantined": 4}, 3),
    ({"done": 3}, 1), ({"done": 2, "quarantined": 1, "missing": 1}, 1)])
def test_the_exit_code_says_how_the_clips_ended(tmp_path, monkeypatch, recipe, counts, code):
    monkeypatch.setattr("curate.engine.run.run", lambda *a, **k: summary(tmp_path / "out", **counts))
    done = curate("run", recipe, "--out", tmp_path / "out", "--no-preview")
    assert done.exit_code == code, done.output
    assert "clips planned" in done.stdout and "object_displacement" in done.stdout and "curate verify" in done.stdout
    assert done.stderr.count("quarantined: ") == counts.get("quarantined", 0)
    if counts.get("quarantined"):
        assert "quarantined: 0.mp4 frames 0..7: broken in two\n" in done.stderr
        assert "--retry" in done.stdout


@pytest.mark.parametrize(("error", "code", "line"), [
    (Fatal("the disk is full"), 1, "error: the disk is full"),
    (AuditFailed("the options give\nanswers away", {}), 1, "error: the options give answers away"),
    (ModuleNotFoundError("No module named 'ray'", name="ray"), 1,
     "error: the Python package ray is not installed; pip install 'curate4d[run]'"),
    (ImportError("libusb-1.0.so.0: cannot open shared object file"), 1,
     "error: libusb-1.0.so.0 is missing on this system; `curate doctor` prints the line that installs it"),
    (KeyError("x"), 1, "error: KeyError: 'x' (--debug shows where)"),
    (KeyboardInterrupt(), 130, "stopped; nothing staged is lost: the same command goes on where it stopped")])
def test_an_error_is_one_line_and_an_exit_code(tmp_path, monkeypatch, recipe, error, code, line):
    def raises(*args, **kwargs):
        raise error

    monkeypatch.setattr("curate.engine.run.run", raises)
    done = curate("run", recipe, "--out", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (code, line + "\n")
    told = curate("run", recipe, "--out", tmp_path / "out", "--debug")
    assert told.exit_code == code and told.stderr.endswith(line + "\n")
    assert type(error).__name__ in told.stderr and len(told.stderr.splitlines()) > 1


def test_options_of_run_reach_the_engine(tmp_path, monkeypatch, recipe):
    seen = {}

    def run(given, out, **options):
        seen.update(recipe=given, out=out, **options)
        return summary(tmp_path / "out", done=4)

    monkeypatch.setattr("curate.engine.run.run", run)
    out = tmp_path / "out"
    assert curate("run", recipe, "--out", out, "--set", "source.seed=9", "--workers", "3", "--retry", "--quiet",
                  "--no-preview").stdout == ""
    assert (seen["recipe"].source.seed, seen["recipe"].engine.workers) == (9, 3)
    assert seen["retry"] and seen["quiet"]
    curate("run", recipe, "--out", out, "--inline", "--no-preview")
    assert (seen["recipe"].engine.kind, seen["recipe"].engine.workers, seen["retry"]) == ("inline", 1, False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small real run: one rendered scene with a moving object."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder / "r.yaml", {"kind": "rendered", "num_scenes": 1, "width": 320, "height": 192},
                          clip={"num_frames": 32})
    done = curate("run", recipe, "--out", folder / "out", "--inline")
    assert done.exit_code == 0, done.output
    assert "preview:" in done.stdout and (folder / "out" / "shards" / "manifest.json").is_file()
    return folder


def test_the_second_pass_imports_no_estimator(finished):
    before = json.loads((finished / "out" / "shards" / "manifest.json").read_text())
    done, modules = modules_after("ask", finished / "out", "--recipe", finished / "r.yaml", "--set",
                                  "questions.forms=[numeric]", "--no-preview")
    assert done.returncode == 0, done.stderr
    estimators = [m for m in modules if m.startswith("curate.perception.") and m.rsplit(".", 1)[-1] in (
        "sgm", "dis", "stereo_vo", "rigid_residual", "motion_clusters", "flow_chain", "pipeline", "estimator")]
    assert not estimators
    assert not [m for m in ("ray", "av", "decord", "open3d", "scipy", "torch", "curate.video.decode") if m in modules]
    after = json.loads((finished / "out" / "shards" / "manifest.json").read_text())
    assert 0 < after["totals"]["questions"] < before["totals"]["questions"]
    assert after["fingerprints"]["perception"] == before["fingerprints"]["perception"]
    assert after["fingerprints"]["writing"] != before["fingerprints"]["writing"]
    assert curate("verify", finished / "out").exit_code == 0


def test_ask_may_be_quiet(finished):
    done = curate("ask", finished / "out", "--recipe", finished / "r.yaml", "--no-preview", "--quiet")
    assert done.exit_code == 0 and done.stdout == ""


def test_ask_wants_a_run(tmp_path, recipe):
    done = curate("ask", tmp_path / "none", "--recipe", recipe)
    assert done.exit_code == 2 and "no such folder" in done.stderr
    (tmp_path / "empty").mkdir()
    done = curate("ask", tmp_path / "empty", "--recipe", recipe)
    assert done.exit_code == 2 and "not a run's folder" in done.stderr
    assert not [p for p in (tmp_path / "empty").iterdir() if not p.name.startswith(".")]


def test_verify_tells_what_is_torn(finished, tmp_path):
    whole = curate("verify", finished / "out" / "shards")
    assert whole.exit_code == 0 and "whole" in whole.stdout
    copy = Path(shutil.copytree(finished / "out" / "shards", tmp_path / "shards"))
    shard = next(copy.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-2000])
    torn = curate("verify", copy)
    assert torn.exit_code == 1 and shard.name in torn.stderr and "bytes, the manifest says" in torn.stderr
    assert curate("verify", tmp_path / "none").exit_code == 2


def test_preview_prints_the_page(finished):
    done = curate("preview", finished / "out")
    assert done.exit_code == 0 and Path(done.stdout.strip()).is_file()
    assert curate("preview", finished / "none").exit_code == 2


def test_plan_shows_clips_stages_workers_and_bytes(tmp_path):
    write_side_by_side(tmp_path / "in" / "good.mp4", num_frames=20)
    (tmp_path / "in" / "bad.mp4").write_bytes(b"")
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "side_by_side", "root": tmp_path / "in"},
                          clip={"num_frames": 10})
    done = curate("plan", recipe, "--workers", "1")
    assert done.exit_code == 0, done.output
    row = [cell.strip() for cell in next(
        line for line in done.stdout.splitlines() if "│" in line).strip("│").split("│")]
    assert row == ["1", "2", "20", "10", "10", "1"]
    assert "bad: bad.mp4: " in done.stdout and "sgm" in done.stdout and "estimate" in done.stdout
    assert "does not fit" not in done.stdout
    much = curate("plan", recipe, "--set", "engine.cpus_per_worker=100000", "--workers", "1")
    assert much.exit_code == 1 and "does not fit" in much.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "r.yaml"]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "size", "frames"), [("stereo_kitti06_gray", "1226x370", 38),
                                                      ("stereo_kitti02_color", "1241x376", 20)])
def test_the_driving_recipe_fits_both_real_sequences(name, size, frames):
    root = ROOT.parent / "shared" / "data" / name
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    done = curate("plan", ROOT / "recipes" / "kitti_odometry.yaml", "--set", f"source.root={root}", "--workers", "1")
    assert done.exit_code == 0, done.output
    assert f"{frames} frames of 2 x {size}" in done.stdout


def test_validate_checks_without_looking_at_videos(tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", {"kind": "side_by_side", "root": tmp_path / "nowhere"})
    assert curate("validate", recipe).exit_code == 0
    done = curate("validate", recipe, "--set", "clip.num_frame=3", "--set", "questions.seeds=1")
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 2


def test_validate_looks_at_every_recipe_it_is_given(tmp_path):
    good = write_recipe(tmp_path / "good.yaml", {"kind": "side_by_side", "root": tmp_path})
    done = curate("validate", tmp_path / "none.yaml", good)
    assert done.exit_code == 2 and "none.yaml" in done.stderr and "good.yaml: sound" in done.stdout


@pytest.mark.parametrize("name", schema.NAMES)
def test_the_schemas_in_the_repository_are_those_of_the_code(name):
    path = ROOT / "schemas" / f"{name}.schema.json"
    assert path.read_text(encoding="utf-8") == schema.text(name), "run `curate schema --write schemas`"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.name)
def test_recipes_fit_their_schema(path):
    import jsonschema
    import yaml

    content = yaml.safe_load(path.read_text())
    name = "train_recipe" if "data" in content else "mixture" if "sets" in content else "recipe"
    assert f"schemas/{name}.schema.json" in path.read_text(), "its first line names its schema"
    jsonschema.Draft202012Validator(json.loads(schema.text(name))).validate(content)


def test_schema_writes_and_prints(tmp_path):
    assert curate("schema", "--write", tmp_path / "s").exit_code == 0
    assert {p.name for p in (tmp_path / "s").iterdir()} == {f"{n}.schema.json" for n in schema.NAMES}
    assert json.loads(curate("schema", "recipe").stdout)["title"] == "curate4d recipe"
    assert curate("schema").exit_code == 2


def test_doctor_finds_this_environment_sound():
    done = curate("doctor")
    assert done.exit_code == 0, done.output
    assert "import open3d" in done.stdout and "h264" in done.stdout


def test_doctor_prints_the_line_for_a_missing_library(monkeypatch):
    monkeypatch.setattr(doctor, "_import_error", lambda name: "ImportError: libusb-1.0.so.0: cannot open shared object "
                                                              "file" if name == "open3d" else "")
    monkeypatch.setattr(doctor, "_loads", lambda library: library not in ("libusb-1.0.so.0", "libEGL.so.1"))
    done = curate("doctor")
    assert done.exit_code == 1
    assert "apt-get update && apt-get install -y --no-install-recommends libegl1 libusb-1.0-0" in done.stdout


def test_doctor_prints_the_line_for_a_missing_package(monkeypatch):
    version = doctor.metadata.version

    def without_ray(name):
        if name == "ray":
            raise doctor.metadata.PackageNotFoundError(name)
        return "1.20" if name == "numpy" else version(name)

    monkeypatch.setattr(doctor.metadata, "version", without_ray)
    monkeypatch.setattr(doctor, "_import_error", lambda name: "")
    done = curate("doctor")
    assert done.exit_code == 1
    assert "pip install 'curate4d[run]'" in done.stdout and "pip install --upgrade 'numpy>=2.0'" in done.stdout


def test_the_demo_refuses_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    done = curate("demo", "--out", tmp_path / "mine", "--scenes", "1")
    assert done.exit_code == 2 and "is no demo's folder; nothing was deleted" in done.stderr
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    done = curate("demo", "--out", tmp_path / "file" / "x")
    assert done.exit_code == 2 and "cannot be written" in done.stderr


def test_the_summary_says_why_no_more_was_asked_and_which_clips_are_doubtful(tmp_path, monkeypatch, recipe):
    made = summary(tmp_path / "out", done=4)
    made.dropped = [{"family": "object_displacement", "reason": "not clear of zero", "count": 58},
                    {"family": "object_displacement", "reason": "a", "count": 7},
                    {"family": "object_displacement", "reason": "rare", "count": 1},
                    {"family": "camera_rotation", "reason": "not clear of zero", "count": 2}]
    made.doubts = [{"key": str(i), "uri": f"{i}.mp4", "doubt": f"depth is known in {i} % of the pixels"}
                   for i in range(9, 12)] + [{"key": "9", "uri": "9.mp4", "doubt": "no region was found"}]
    monkeypatch.setattr("curate.engine.run.run", lambda *a, **k: made)
    done = curate("run", recipe, "--out", tmp_path / "out", "--no-preview")
    lines = done.stdout.splitlines()
    assert lines[0] == str(tmp_path / "out")  # in one piece, however long
    row = next(line for line in lines if line.startswith("object_displacement"))
    assert row.split()[1:3] == ["5", "66"] and "not clear of zero (58), a (7)" in row and "rare" not in row
    assert next(line for line in lines if line.startswith("camera_rotation")).split()[1:3] == ["0", "2"]
    assert [line for line in lines if line.startswith("warning:")] == [
        "warning: 9.mp4: depth is known in 9 % of the pixels (and 2 more clips alike)",
        "warning: 9.mp4: no region was found"]
    assert curate("run", recipe, "--out", tmp_path / "out", "--no-preview", "--quiet").stdout == ""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A finished run of one rendered video whose truth is known."""
    from curate.synth.dataset import write_dataset

    folder = tmp_path_factory.mktemp("rendered")
    dataset = write_dataset(folder / "data", 1, 0, width=320, height=192)
    assert curate("run", dataset.recipe, "--out", folder / "run", "--inline", "--no-preview").exit_code == 0
    return folder


def test_score_holds_a_run_against_its_truth_and_the_preview_shows_it(rendered):
    out, truth = rendered / "run", rendered / "data" / "truth"
    done = curate("score", out, "--truth", truth)
    content = json.loads((out / "score.json").read_text())
    assert done.exit_code == (0 if content["ok"] else 1), done.output
    assert "Stated intervals that hold the truth" in done.stdout and "all families" in done.stdout
    assert "Answers against the known truth" in done.stdout and str(out / "score.json") in done.stdout.replace("\n", "")
    manifest = json.loads((out / "shards" / "manifest.json").read_text())
    assert content["set"] == manifest["digest"] and len(content["judged"]) == manifest["totals"]["questions"]
    page = (out / "preview" / "index.html").read_text()
    assert "Reliability" in page and "truth " in page and 'class="rel"' in page
    assert curate("score", out, "--quiet", "--no-preview").stdout == ""  # the truth beside its videos
    assert json.loads((out / "score.json").read_text()) == content
    elsewhere = rendered / "elsewhere.json"
    (out / "score.json").rename(elsewhere)
    assert curate("preview", out).exit_code == 0 and 'class="rel"' not in (out / "preview" / "index.html").read_text()
    assert curate("preview", out, "--score", elsewhere).exit_code == 0
    assert 'class="rel"' in (out / "preview" / "index.html").read_text()
    elsewhere.write_text("{}")
    torn = curate("preview", out, "--score", elsewhere)
    assert torn.exit_code == 2 and "not a file of `curate score`" in torn.stderr


def test_a_run_of_scenes_rendered_on_demand_needs_no_truth_named(finished, tmp_path):
    done = curate("score", finished / "out", "--no-preview")
    content = json.loads((finished / "out" / "score.json").read_text())
    assert done.exit_code == (0 if content["ok"] else 1), done.output
    assert content["judged"] and len(list((finished / "out" / "truth").glob("*.truth.npz"))) == 1
    right = [j["right"] for j in content["judged"] if j["right"] is not None]
    assert sum(right) >= 0.9 * len(right)  # so it is the truth of these scenes


def test_score_says_what_is_wrong_with_its_folders(rendered, tmp_path):
    out, truth = rendered / "run", rendered / "data" / "truth"
    for given, said in (((tmp_path / "none", truth), "no such folder"), ((tmp_path, truth), "nothing is published"),
                        ((out, tmp_path / "none"), "no such folder"), ((out, tmp_path), "no *.truth.npz in it"),
                        ((out, rendered / "data"), f"did you mean {truth}?"),
                        ((rendered, truth), f"did you mean {out}?"),
                        ((truth.parent / "recipe.yaml", truth), "is a file")):
        done = curate("score", given[0], "--truth", given[1])
        assert done.exit_code == 2 and said in " ".join(done.stderr.split()), done.stderr
    shutil.copytree(out, tmp_path / "run")
    run = json.loads((out / "run.json").read_text())
    run["recipe"]["source"]["root"] = str(tmp_path / "real" / "videos")
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    done = curate("score", tmp_path / "run")
    assert done.exit_code == 2 and "name its folder with --truth" in " ".join(done.stderr.split())
    (tmp_path / "other").mkdir()
    for path in truth.iterdir():
        (tmp_path / "other" / path.name.replace("scene-0-", "scene-9-")).write_bytes(path.read_bytes())
    done = curate("score", out, "--truth", tmp_path / "other")
    assert done.exit_code == 2 and "truth of its own videos" in done.stderr


@pytest.mark.slow
def test_the_demo_scores_every_answer(tmp_path):
    out = tmp_path / "demo"
    for _ in range(2):  # the second time over the first
        done = curate("demo", "--out", out, "--scenes", "2", "--workers", "1")
        content = json.loads((out / "score.json").read_text())
        assert done.exit_code == (0 if content["ok"] else 1), done.output
        rows = {row["name"]: row["value"] for row in content["rows"]}
        assert rows["questions"] > 0 and "Answers against the known truth" in done.stdout
        assert "time:" in done.stdout and (out / "run" / "preview" / "index.html").is_file()
        assert (out / "train" / "shards" / "manifest.json").is_file(), "shards to train on"


def test_a_recording_that_is_the_root_itself_is_not_called_a_dot(capsys):
    from types import SimpleNamespace

    from curate.cli.summary import doubt_lines, list_failures

    failed = {"state": "quarantined", "uri": ".", "start": 0, "num_frames": 8, "reason": "no\nscans"}
    summary = SimpleNamespace(doubts=[{"uri": ".", "doubt": "depth is known in 35 %"}, {"uri": "a.mp4", "doubt": "b"}],
                              failures=[failed], counts={"quarantined": 1, "filtered": 0})
    assert doubt_lines(summary) == ["the recording: depth is known in 35 %", "a.mp4: b"]
    list_failures(summary)
    assert "quarantined: the recording frames 0..7: no scans" in capsys.readouterr().err
