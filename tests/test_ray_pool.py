"""The Ray pool over several nodes on one machine: placement, ways to die, nodes that come and go."""

from __future__ import annotations

import time

import pytest

from curate.engine.outcome import Fatal
from curate.recipe import recipe_from_dict
from tests.ray_workers import clip, outcomes

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
RENDERED = {"source": {"kind": "rendered", "num_scenes": 1}}
STORE = 80 << 20


@pytest.fixture(scope="module")
def cluster():
    """A head that only drives, and two nodes of one CPU and one GPU that exists on paper."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE,
                                                         "include_dashboard": False})
    made.first, made.second = add_node(made, "first", wait=False), add_node(made, "second", wait=False)
    made.wait_for_nodes(120)
    yield made
    made.shutdown()


def add_node(cluster, name: str, wait: bool = True):
    return cluster.add_node(wait, num_cpus=1, num_gpus=1, object_store_memory=STORE, env_vars={"TEST_NODE": name})


@pytest.fixture
def make(cluster, tmp_path):
    from curate.engine.ray_pool import RayPool

    pools = []

    def build(*settings: str, workers: int | None = None, clips: int = 8, say=None) -> RayPool:
        recipe = recipe_from_dict(RENDERED, [f"engine.address={cluster.address}", "engine.memory_per_worker_gib=0.1",
                                             *settings])
        pools.append(RayPool(recipe, str(tmp_path), workers, clips, say, worker="tests.ray_workers:Obedient"))
        return pools[-1]

    yield build
    for pool in pools:
        pool.close()


def test_workers_take_shares_of_gpus_on_all_nodes_and_tell_how_they_end(make, cluster, tmp_path):
    shown = []
    pool = make("engine.cpus_per_worker=0.5", "engine.gpus_per_worker=0.5", say=shown.append)
    assert pool.num_workers == 4 and shown[0].row_count == 4  # two on each node; head, nodes and the sum
    clips = [clip(i) for i in range(8)] + [clip(8, "segfault"), clip(9, "kill"), clip(10, "raise")]
    ended = outcomes(pool, clips)
    done = [ended[c.key].meta for c in clips[:8]]
    assert {m["node"] for m in done} == {"first", "second"}
    assert {m["gpus"] for m in done} == {"0"} and {m["threads"] for m in done} == {"1"}
    crash, killed, bug = (ended[c.key] for c in clips[8:])
    assert (crash.kind, crash.meta["signal"]) == ("lost", "SIGSEGV") and "perceive" in crash.meta["traceback"]
    assert killed.kind == "lost" and "signal" not in killed.meta
    assert bug.kind == "error" and "a bug" in bug.reason
    assert not {"node", "cause"} & {*crash.meta, *killed.meta}

    hung = outcomes(pool, [clip(11, "hang"), clip(12)], deadline_s=1.5)
    assert hung[clip(11).key].kind == "timeout" and hung[clip(12).key].state == "done"
    pool.close()
    assert not (tmp_path / ".workers").exists()


@pytest.mark.parametrize("settings, workers, says", [
    ((), 3, "3 workers of 1 CPU, 0.1 GiB asked, 2 fit: the cluster has 2 CPU on 3 nodes"),
    (("engine.gpus_per_worker=2",), None, "engine.gpus_per_worker"),
])
def test_what_does_not_fit_is_refused_before_anything_starts(make, settings, workers, says, tmp_path):
    shown = []
    with pytest.raises(Fatal, match=says):
        make(*settings, workers=workers, say=shown.append)
    assert shown and not list(tmp_path.iterdir())


def test_a_folder_that_nodes_do_not_share_is_said_before_work_starts(make, monkeypatch, tmp_path):
    """Workers on nodes that have another folder under the name of OUT, or none."""
    from curate.engine.ray_cluster import Cluster

    actor, elsewhere = Cluster.actor, tmp_path / "elsewhere"
    monkeypatch.setattr(Cluster, "actor", lambda self, cls, node, need, recipe, out, notes, *rest: actor(
        self, cls, node, need, recipe, out, notes.replace(str(tmp_path), str(elsewhere)), *rest))
    with pytest.raises(Fatal, match=rf"{tmp_path} is not one folder for all nodes: on .* cannot be read there .*NFS"):
        make()
    assert not (tmp_path / ".workers").exists()


def test_other_packages_on_a_node_are_said_before_work_starts(make, monkeypatch):
    from curate.recipe import Recipe

    here = Recipe.perception_parts
    monkeypatch.setattr(Recipe, "perception_parts", lambda self: here(self) | {"packages": {"numpy": "0.1"}})
    with pytest.raises(Fatal, match=r'would make other scenes .*packages\.numpy: "0\.1" -> '):
        make(workers=1)


@pytest.mark.slow
def test_nodes_leave_and_come_and_without_any_the_run_stops(make, cluster, tmp_path):
    pool = make()
    assert pool.num_workers == 2
    on_first = clip(0, "hang")
    removed = []

    def remove_when_begun() -> None:
        if not removed and all((tmp_path / f"begun-{c.key}").exists() for c in (on_first, other)):
            removed.append(True)
            cluster.remove_node(cluster.first, allow_graceful=False)
            cluster.remove_node(cluster.second, allow_graceful=False)

    other = clip(1, "hang")
    ended = outcomes(pool, [on_first, other], begun=remove_when_begun)
    assert {o.kind for o in ended.values()} == {"lost"}
    assert {o.meta["cause"] for o in ended.values()} == {"node"}
    assert pool.num_workers == 0

    add_node(cluster, "third")
    begin = time.monotonic()
    while pool.num_workers == 0 and time.monotonic() < begin + 60:
        pool.wait(0.2)
    assert outcomes(pool, [clip(2)])[clip(2).key].meta["node"] == "third"

    pool.wait_for_nodes_s = 2
    (third,) = cluster.worker_nodes
    cluster.remove_node(third, allow_graceful=False)
    begin = time.monotonic()
    with pytest.raises(Fatal, match=r"no worker could run for 2 s .* nothing staged is lost"):
        while time.monotonic() < begin + 90:
            pool.wait(0.5)
