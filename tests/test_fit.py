"""How many workers fit where, before anything starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.engine.fit import GIB, Need, Node, refusal, room, spread, table
from curate.recipe import recipe_from_dict

SMALL = Node("a", "small", cpus=2, gpus=0, memory=4 * GIB)
BIG = Node("b", "big", cpus=8, gpus=2, memory=64 * GIB)
HEAD = Node("h", "head", cpus=0, memory=8 * GIB)


def test_the_scarcest_resource_decides():
    assert room(SMALL, Need(1)) == 2 and room(SMALL, Need(1, memory=3 * GIB)) == 1
    assert room(BIG, Need(1, 1)) == 2 and room(SMALL, Need(1, 0.5)) == 0 and room(HEAD, Need(0.5)) == 0


def test_a_share_of_a_gpu_lies_on_one_gpu():
    assert room(BIG, Need(1, 0.4)) == 4  # two on each, not five on both
    assert room(BIG, Need(1, 0.1)) == 8  # CPUs end first; 0.1 ten times is one, whatever floats say
    assert room(BIG, Need(1, 2)) == 1


def test_workers_are_spread_over_nodes_by_the_share_of_room_that_is_left():
    assert spread([SMALL, BIG, HEAD], Need(1), 5) == {"b": 4, "a": 1}
    assert spread([SMALL, BIG, HEAD], Need(1), None) == {"a": 2, "b": 8}
    assert spread([SMALL, BIG], Need(1), 6, have={"b": 4, "gone": 1}) == {"a": 1}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=6), st.integers(0, 30),
       st.sampled_from([0.25, 0.5, 1, 2]), st.sampled_from([0, 0.3, 0.5, 1]))
def test_a_placement_fits_every_node_and_is_as_large_as_it_can_be(nodes, wanted, cpus, gpus):
    nodes = [Node(str(i), str(i), c, g) for i, (c, g) in enumerate(nodes)]
    need = Need(cpus, gpus)
    placed = spread(nodes, need, wanted)
    rooms = {node.id: room(node, need) for node in nodes}
    assert all(count <= rooms[node] for node, count in placed.items())
    assert sum(placed.values()) == min(wanted, sum(rooms.values()))
    assert bool(refusal(nodes, need, wanted or 1)) == (sum(rooms.values()) < (wanted or 1))


def test_a_refusal_says_what_is_short_and_what_to_do():
    assert "the cluster has 10 CPU on 2 nodes" in refusal([SMALL, BIG], Need(1), 11)
    assert "the cluster has 2 GPU" in refusal([SMALL, BIG], Need(1, 0.5), 5)
    assert "engine.gpus_per_worker" in refusal([SMALL], Need(1, 1), None)
    assert "engine.memory_per_worker_gib" in refusal([SMALL], Need(1, memory=3 * GIB), 2)
    assert "no node of the cluster is up" in refusal([], Need(1), 3)
    assert refusal([SMALL, BIG], Need(1), 10) == ""


def test_the_table_shows_nodes_requests_and_where_workers_go():
    from rich.console import Console

    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as text:
        console.print(table([SMALL, BIG], Need(1, 0.5, GIB), {"b": 3}, 3))
    rows = {words[0]: words for line in text.get().splitlines() if (words := line.replace("│", " ").split())}
    assert rows["big"][-2:] == ["4", "3"] and rows["small"][-2:] == ["0", "0"]
    assert "0.5 GPU" in text.get()


def test_what_ray_cannot_give_is_refused_in_the_recipe():
    source = {"source": {"kind": "rendered"}}
    with pytest.raises((ValidationError, ValueError), match=r"1\.5"):
        recipe_from_dict(source, ["engine.gpus_per_worker=1.5"])
    assert recipe_from_dict(source, ["engine.address=none"]).engine.address is None
