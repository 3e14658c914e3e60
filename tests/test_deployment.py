"""Dockerfile, KubeRay job and launcher file: what they copy is there, their commands are ones `curate` takes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text("utf-8")
GIB = 1 << 30


def instructions(name: str) -> list[str]:
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M))
    return [line.split(None, 1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]


def parse(command: str) -> None:
    """Raises where `curate` would refuse the command line, or the recipe an override of it."""
    from curate.cli.main import main
    from curate.recipe import recipe_from_dict

    words = shlex.split(command)
    assert words.pop(0) == "curate"
    with click.Context(main) as parent:
        found = main.get_command(parent, words[0])
        assert found is not None, words[0]
        context = found.make_context(words[0], words[1:], parent=parent)
    recipe_from_dict({"source": {"kind": "rendered"}}, list(context.params.get("overrides", ())))


def commands(text: str) -> list[str]:
    """Command lines of `curate` in a shell text or a page: from the word to the end of the line, or of its quotes."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(r"(?<![\w/.~-])curate (?:run|verify|doctor|status|retry|compact|plan|ask) [^\n`'|;]*", joined)
    return [re.sub(r"\s+#.*|\s*\|\|.*", "", line).strip() for line in found]


@pytest.fixture(scope="module")
def job() -> dict:
    (document,) = yaml.safe_load_all((ROOT / "docs/rayjob.yaml").read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def pods(job) -> list[dict]:
    cluster = job["spec"]["rayClusterSpec"]
    return [g["template"]["spec"] for g in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_a_bad_command_is_not_taken_for_a_good_one():
    parse("curate run r.yaml --out o --address auto")
    with pytest.raises(click.UsageError):
        parse("curate run r.yaml --out o --adress auto")
    with pytest.raises(ValueError, match="engine"):
        parse("curate run r.yaml --out o --set engine.cpus=1")
    assert commands("x 'curate run a --out b' || y\n`curate verify OUT`") == ["curate run a --out b",
                                                                              "curate verify OUT"]


@pytest.mark.parametrize("path", ["docs/cluster.md", "ray_cluster.yaml", "docker/Dockerfile"])
def test_commands_that_are_shown_are_taken(path):
    found = commands((ROOT / path).read_text("utf-8"))
    assert found or path == "docker/Dockerfile"
    for command in found:
        parse(command)


def test_the_job_runs_a_command_on_the_cluster_it_is_part_of(job):
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    (command,) = commands(job["spec"]["entrypoint"])
    parse(command)
    assert "--address auto" in command and job["spec"]["shutdownAfterJobFinishes"] is True


def test_all_pods_have_the_same_image_and_share_the_folder_of_out(job, pods):
    images = {c["image"] for pod in pods for c in pod["containers"]}
    assert len(images) == 1
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M).group(1)
    assert images.pop().rpartition(":")[2] == version
    out = re.search(r"--out (\S+)", job["spec"]["entrypoint"]).group(1)
    for pod in pods:
        (container,) = pod["containers"]
        places = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        claims = {v["name"]: v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]}
        (shared,) = [name for path, name in places.items() if out.startswith(f"{path}/")]
        assert claims[shared] == "curate" and set(places.values()) <= set(claims)


def test_pods_run_without_root_and_their_store_fits_its_memory(job, pods):
    user = re.search(r"--uid (\d+)", DOCKERFILE).group(1)
    groups = [job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    for pod, group in zip(pods, groups):
        assert pod["securityContext"]["runAsNonRoot"] and str(pod["securityContext"]["runAsUser"]) == user
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # as KubeRay wants them
        (shm,) = [v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if "emptyDir" in v]
        assert int(group["rayStartParams"]["object-store-memory"]) < int(shm.removesuffix("Mi")) << 20
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_the_workers_asked_for_fit_the_nodes(job, pods):
    """By the engine's own rule, with what KubeRay tells Ray of a pod: its limits."""
    from curate.engine.fit import Need, Node, room
    from curate.recipe import recipe_from_dict

    settings = re.findall(r"--set (\S+)", job["spec"]["entrypoint"])
    need = Need.of(recipe_from_dict({"source": {"kind": "rendered"}}, settings).engine)
    head, *workers = [Node(str(i), str(i), float(c["limits"]["cpu"]), 0, float(c["limits"]["memory"][:-2]) * GIB * 0.7)
                      for i, c in enumerate(pod["containers"][0]["resources"] for pod in pods)]
    assert job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert all(room(node, need) == node.cpus for node in workers) and head.cpus > 0


def test_versions_are_the_pinned_ones(job):
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M).group(1)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned
    assert "-c constraints.txt" in DOCKERFILE and "FROM python:3.11-slim" in DOCKERFILE


def test_the_image_is_not_roots_and_its_health_is_asked_of_the_doctor():
    (user,) = instructions("USER")
    assert f"useradd --create-home --uid 1000 {user}" in DOCKERFILE
    assert DOCKERFILE.index("USER ") > DOCKERFILE.rindex("\nRUN ")
    (health,) = instructions("HEALTHCHECK")
    parse(shlex.join(json.loads(health[health.index("CMD ") + 4:])))
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["curate"]
    assert "python tools/system_libs.py" in DOCKERFILE


def test_the_package_is_built_from_what_the_image_copies(tmp_path):
    """With the same build back-end, from the copied files alone; what is ignored is not among them."""
    ignored = (ROOT / "docker/Dockerfile.dockerignore").read_text("utf-8").split()
    for line in instructions("COPY"):
        *sources, target = line.split()
        for source in sources:
            assert f"!{source}" in ignored, f"{source} is kept from the build by docker/Dockerfile.dockerignore"
            assert (ROOT / source).exists(), source
            place = tmp_path / target / Path(source).name if target.endswith("/") or target == "./" else (
                tmp_path / target)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "dist").glob("curate4d-*.whl"))
