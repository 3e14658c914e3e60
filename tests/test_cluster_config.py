"""The cluster launcher's file: valid by Ray's own rules, and in step with what this project pins."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def config() -> dict:
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def validate():
    util = pytest.importorskip("ray.autoscaler._private.util")
    return lambda config: util.validate_config(util.prepare_config(copy.deepcopy(config)))


def test_ray_accepts_the_file(config, validate):
    validate(config)


@pytest.mark.parametrize("spoil", [
    lambda c: c.update(head_node_type="nobody"),
    lambda c: c["available_node_types"]["worker"].update(min_workers=c["max_workers"] + 1, max_workers=99),
    lambda c: c.update(setup_command=["misspelt key"]),
    lambda c: c["docker"].pop("container_name"),
    lambda c: c.pop("provider"),
], ids=["head type", "more workers than allowed", "misspelt key", "docker without a name", "no provider"])
def test_rays_validation_is_really_asked(config, validate, spoil):
    """The test above would be worth nothing if any file passed."""
    broken = copy.deepcopy(config)
    spoil(broken)
    with pytest.raises(Exception):  # noqa: B017 - Ray raises whatever its parts raise
        validate(broken)


def test_nodes_run_the_pinned_ray(config):
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    assert pinned and f":{pinned.group(1)}-" in config["docker"]["image"]


def test_what_the_commands_name_is_there(config):
    """Nodes get this checkout; the paths in the set-up commands must exist in it, and the extra must be ours."""
    ((target, source),) = config["file_mounts"].items()
    assert source == "."
    text = " ".join(config["setup_commands"])
    for path in re.findall(rf"{re.escape(target)}/([\w./-]+)", text):
        assert (ROOT / path).exists(), path
    assert "[run]" in text
    assert "run" in re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)


def test_out_is_one_folder_on_every_node(config):
    mounts = [o.split()[1].split(":") for o in config["docker"]["run_options"] if o.startswith("-v")]
    assert mounts and all(host == inside for host, inside in mounts)
    assert any(mounts[0][0] in command and "mount" in command for command in config["initialization_commands"])
    workers = [t for n, t in config["available_node_types"].items() if n != config["head_node_type"]]
    assert sum(t["min_workers"] for t in workers) > 0, "requests are fitted to nodes that are up: none would be"
