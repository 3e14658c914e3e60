"""`curate run` on a cluster of several nodes, one of which is taken away in the middle: the bytes of an inline run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from curate.engine.run import run
from curate.recipe import recipe_from_dict

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
NUM_CLIPS = 6
RECIPE = {"source": {"kind": "rendered", "num_scenes": 3, "seed": 3, "width": 256, "height": 160},
          "clip": {"num_frames": 8, "max_clips": NUM_CLIPS}, "perception": {"rig": {"kind": "as-published"}}}
STORE = 80 << 20


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE,
                                                         "include_dashboard": False})
    nodes = [made.add_node(False, num_cpus=1, num_gpus=1, object_store_memory=STORE) for _ in range(2)]
    made.wait_for_nodes(120)
    made.victim = nodes[0]
    yield made
    made.shutdown()


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for folder in ("scenes", "shards")
            for p in sorted((out / folder).rglob("*")) if p.is_file()}


def test_a_node_lost_in_the_middle_changes_no_byte_and_loses_no_clip(cluster, tmp_path):
    recipe, out, inline = tmp_path / "recipe.yaml", tmp_path / "cluster", tmp_path / "inline"
    recipe.write_text(yaml.safe_dump(RECIPE))
    command = [sys.executable, "-m", "curate", "run", str(recipe), "--out", str(out), "--address", "auto",
               "--set", "engine.gpus_per_worker=0.5", "--set", "engine.memory_per_worker_gib=0.5", "--no-preview"]
    with (tmp_path / "err").open("w+") as err:
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True,
                                  env={**os.environ, "RAY_ADDRESS": cluster.address})
        end = time.monotonic() + 120
        while not list((out / "scenes").glob("[0-9a-f]*")) and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        early = len(list((out / "scenes").glob("[0-9a-f]*")))
        cluster.remove_node(cluster.victim, allow_graceful=False)
        stdout, _ = driver.communicate(timeout=240)
        err.seek(0)
        stderr = err.read()
    assert driver.returncode == 0, stderr[-3000:]
    assert 1 <= early < NUM_CLIPS, "the node was not taken away in the middle"
    table = [line.split() for line in stderr.splitlines()]
    assert ["all", "2", "2"] in [[w for w in words if w != "│"][:3] for words in table], stderr
    assert "(raylet)" not in stdout + stderr

    summary = run(recipe_from_dict(RECIPE, ["engine.kind=inline"]), inline)
    assert summary.counts["done"] == NUM_CLIPS
    assert files_of(out) == files_of(inline)
    assert json.loads((out / "shards/manifest.json").read_text())["run"]["done"] == NUM_CLIPS
    assert not (out / ".workers").exists()


@pytest.mark.slow
def test_a_driver_outside_of_the_cluster_works_through_rays_client(tmp_path, monkeypatch):
    import socket

    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "180")  # on a busy machine Ray's 30 are too few
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": STORE,
                                                         "include_dashboard": False, "ray_client_server_port": port})
    try:
        recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
        recipe.write_text(yaml.safe_dump({**RECIPE, "clip": {"num_frames": 8, "max_clips": 2}}))
        done = subprocess.run([sys.executable, "-m", "curate", "run", str(recipe), "--out", str(out), "--address",
                               f"ray://127.0.0.1:{port}", "--no-preview"], capture_output=True, text=True, timeout=300)
    finally:
        made.shutdown()
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 ray" in done.stdout and len(list((out / "scenes").glob("[0-9a-f]*"))) == 2
