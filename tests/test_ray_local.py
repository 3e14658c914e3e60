"""A Ray of our own on this machine: nobody outside can reach it, and payloads do not go through it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from curate.recipe import recipe_from_dict
from tests.ray_workers import clip, outcomes

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
RECIPE = recipe_from_dict({"source": {"kind": "rendered", "num_scenes": 1}})
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, ::1


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are read from Linux's /proc")
def test_a_ray_of_our_own_listens_on_loopback_alone_and_uses_no_store(tmp_path):
    from curate.engine import ray_cluster
    from curate.engine.ray_pool import RayPool

    ours = (*ray_cluster.ENVIRONMENT, ray_cluster.LOOPBACK)
    before = {name: os.environ.get(name) for name in ours}
    pool = RayPool(RECIPE, str(tmp_path), 1, 1, worker="tests.ray_workers:Obedient")
    try:
        outcomes(pool, [clip(0)])
        listening = {address for pid in family(os.getpid()) for address in listens(pid)}
        assert listening, "Ray's servers were not found"
        assert listening <= LOOPBACK
        there = pool._cluster.ray
        assert there.cluster_resources()["object_store_memory"] <= 128 << 20
        assert there.available_resources()["object_store_memory"] == there.cluster_resources()["object_store_memory"]
    finally:
        pool.close()
    assert {name: os.environ.get(name) for name in ours} == before, "what workers need leaked into this process"


def family(pid: int) -> set[int]:
    """The process and its children's children."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, fresh = {pid}, {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def listens(pid: int) -> set[str]:
    """Addresses, as hexadecimal of /proc/net/tcp, at which a process takes connections from a network."""
    sockets = set()
    for fd in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            sockets.add(str(fd.readlink()))
        except OSError:
            continue
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {words[1].split(":")[0] for words in lines if words[3] == "0A" and f"socket:[{words[9]}]" in sockets}
