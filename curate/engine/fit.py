"""Which nodes of a cluster have room for how many workers, said before anything starts. Pure: knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from curate.recipe.model import EngineConfig

GIB = 1 << 30
PLAIN_WIDTH = 120
EPSILON = 1e-6  # shares such as 0.1 + 0.2


@dataclass(frozen=True)
class Node:
    """A node and what it offers. `memory` in bytes, as Ray gives it out (a part of what the machine has)."""

    id: str
    name: str
    cpus: float
    gpus: float = 0.0
    memory: float = 0.0


@dataclass(frozen=True)
class Need:
    """What one worker holds. `memory` in bytes; 0: not looked at."""

    cpus: float
    gpus: float = 0.0
    memory: int = 0

    @staticmethod
    def of(engine: EngineConfig) -> Need:
        return Need(engine.cpus_per_worker, engine.gpus_per_worker, int(engine.memory_per_worker_gib * GIB))

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPU"] + [f"{self.gpus:g} GPU"] * bool(self.gpus)
        return ", ".join(parts + [f"{self.memory / GIB:.3g} GiB"] * bool(self.memory))


def room(node: Node, need: Need) -> int:
    """Workers that fit on a node. A share of a GPU lies on one GPU: 0.4 fits five times into two GPUs only on paper."""
    fits = [_times(node.cpus, need.cpus)]
    if need.gpus:
        fits.append(int(node.gpus + EPSILON) * _times(1, need.gpus) if need.gpus <= 1 else _times(node.gpus, need.gpus))
    if need.memory:
        fits.append(_times(node.memory, need.memory))
    return min(fits)


def spread(nodes: Iterable[Node], need: Need, wanted: int | None, have: dict[str, int] | None = None) -> dict[str, int]:
    """Workers to start on each node: one after another on the node with the largest share of its room left.

    Args:
        wanted: in all, those that are there included; None: as many as fit.
        have: workers by node that are there already and stay.

    Returns:
        Node id to additional workers; nodes without any are left out. Fewer than wanted where there is no room.
    """
    counts = dict(have or {})
    rooms = {node.id: room(node, need) for node in sorted(nodes, key=lambda n: (n.name, n.id))}
    more: dict[str, int] = {}
    while wanted is None or sum(counts.values()) < wanted:
        left = {i: (r - counts.get(i, 0)) / r for i, r in rooms.items() if r > counts.get(i, 0)}
        if not left:
            break
        best = max(left, key=left.__getitem__)
        counts[best] = counts.get(best, 0) + 1
        more[best] = more.get(best, 0) + 1
    return more


def refusal(nodes: Sequence[Node], need: Need, wanted: int | None) -> str:
    """Why the workers do not fit and what would help, in one line; empty where they do. `wanted` None: one at least."""
    rooms = {node.name: room(node, need) for node in nodes}
    total = sum(room(node, need) for node in nodes)
    if total >= (wanted or 1):
        return ""
    text = f"{wanted or 1} worker{'s' * ((wanted or 1) > 1)} of {need} asked, {total or 'none'} fit{'s' * (total == 1)}"
    if not nodes:
        return f"{text}: no node of the cluster is up; start nodes, and run the same command again"
    offer = [(n, "CPU", n.cpus, need.cpus) for n in nodes] + [(n, "GPU", n.gpus, need.gpus) for n in nodes] + [
        (n, "GiB memory", n.memory / GIB, need.memory / GIB) for n in nodes]
    lacking = sorted({what for what in ("CPU", "GPU", "GiB memory")
                      if sum(_times(has, wants) for _, w, has, wants in offer if w == what and wants) < (wanted or 1)
                      and any(wants for _, w, _, wants in offer if w == what)})
    sums = {what: sum(has for _, w, has, _ in offer if w == what) for what in lacking}
    short = "; ".join(f"the cluster has {sums[what]:.3g} {what} on {len(rooms)} node{'s' * (len(rooms) > 1)}"
                      for what in lacking) or "no node has all of it together"
    settings = {"CPU": "engine.cpus_per_worker", "GPU": "engine.gpus_per_worker",
                "GiB memory": "engine.memory_per_worker_gib"}
    lower = [settings[what] for what in lacking] or list(settings.values())
    return f"{text}: {short}; ask for fewer workers (--workers), lower {' or '.join(lower)}, or add nodes"


def table(nodes: Sequence[Node], need: Need, placed: dict[str, int], wanted: int | None) -> Table:
    """For a person: what every node has, how many workers fit there, and how many get started there."""
    from rich.table import Table

    result = Table(title=f"workers: {wanted if wanted is not None else 'as many as fit'}, each {need}")
    for name, justify in (("node", "left"), ("CPUs", "right"), ("GPUs", "right"), ("memory", "right"),
                          ("fit", "right"), ("started", "right")):
        result.add_column(name, justify=justify)
    for n in sorted(nodes, key=lambda n: (n.name, n.id)):
        result.add_row(n.name, f"{n.cpus:g}", f"{n.gpus:g}", f"{n.memory / GIB:.1f} GiB", str(room(n, need)),
                       str(placed.get(n.id, 0)))
    result.add_section()
    result.add_row("all", f"{sum(n.cpus for n in nodes):g}", f"{sum(n.gpus for n in nodes):g}",
                   f"{sum(n.memory for n in nodes) / GIB:.1f} GiB", str(sum(room(n, need) for n in nodes)),
                   str(sum(placed.values())))
    return result


def say(what: Table | str) -> None:
    """Prints for a person, beside the progress."""
    import sys

    from rich.console import Console

    Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PLAIN_WIDTH).print(what)


def _times(has: float, wants: float) -> int:
    return int((has + EPSILON) / wants) if wants else 1 << 30
