"""The parts of the torture that need Ray: drivers, workers and nodes of a cluster that stand on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.forking import wait_gone
from benchmarks.torture import HANG_S, QUARANTINED, Part, finish
from benchmarks.torture_account import Reference

STORE = 80 << 20
NODES = 2
# A clip is given up after five lost workers: fewer in a round, so that what is asked for is always the same bytes.
IN_ROUND = {"driver": 5, "worker": 4, "node": 2}
GONE_S = 30.0  # within which nothing of a killed driver may be left


class Started:
    """An ordinary `curate run` in a session of its own; the same face as a forked one."""

    def __init__(self, args: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen([sys.executable, "-m", "curate", *args], stdout=out, stderr=out,
                                             stdin=subprocess.DEVNULL, env={**os.environ, **environment},
                                             start_new_session=True)
        self.pid = self._process.pid

    def wait(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(max(timeout_s, 0))
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait(60)

    def text(self) -> str:
        return self.log.read_text(errors="replace")


class Standing:
    """A cluster of a head without CPUs and nodes of one CPU, all processes of this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={
            "num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False})
        self.nodes = [self.add() for _ in range(NODES)]
        self.cluster.wait_for_nodes(120)

    def add(self):
        return self.cluster.add_node(False, num_cpus=1, object_store_memory=STORE)

    def replace(self, index: int) -> None:
        """A node leaves without a word, and another joins."""
        self.cluster.remove_node(self.nodes[index], allow_graceful=False)
        self.nodes[index] = self.add()

    def workers(self) -> list[int]:
        """Processes that hold an actor: children of this cluster's own node processes, and of no other's. Without the
        agents of a node, which it does not outlive."""
        raylets = {info.process.pid for node in self.nodes for info in node.all_processes.get("raylet", [])}
        return [pid for pid, title in _children(raylets) if title.startswith("ray::") and "IDLE" not in title
                and "Agent" not in title]


def _children(parents: set[int]) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) in parents:
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace")


class Rounds:
    def __init__(self, recipe: Path, folder: Path, reference: Reference, standing: Standing, deadline: float) -> None:
        self.recipe, self.folder, self.reference = recipe, folder, reference
        self.standing, self.deadline = standing, deadline

    def start(self, out: Path, own: bool = False) -> Started:
        args = ["run", str(self.recipe), "--out", str(out), "--no-preview", "--quiet",
                "--set", "engine.memory_per_worker_gib=0.25"]
        args += ["--workers", "2"] if own else ["--address", self.standing.cluster.address]
        return Started(args, self.folder / "log", {"RAY_USAGE_STATS_ENABLED": "0"})

    def run(self, kind: str, moments: list[float], part: Part) -> Part:
        began, left = time.monotonic(), list(moments)
        while left and time.monotonic() < self.deadline:
            out = self.folder / f"{kind}-{part.rounds}"
            taken = getattr(self, f"_{kind}")(out, left[:IN_ROUND[kind]], part)
            del left[:taken]
            if left and not taken:  # the run was over before it: drawn nearer until it hits
                left[0] /= 2
            finish(lambda out=out: self.start(out), out, self.reference, part, self.folder)
            part.rounds += 1
            if part.rounds % 5 == 0:
                print(f"  {kind}: {part.hurt} in {part.rounds} rounds, {time.monotonic() - began:.0f} s", flush=True)
        part.seconds = time.monotonic() - began
        return part

    def _driver(self, out: Path, moments: list[float], part: Part) -> int:
        """Half of the kills count from the start, half from the first clip that the run stages."""
        for number, moment in enumerate(moments):
            before = _staged(out)
            child = self.start(out, own=(part.hurt + 1) % 10 == 0)
            part.runs += 1
            if number % 2:
                _until(lambda before=before: _staged(out) > before, child)
                moment /= 8
            code = child.wait(moment)
            if code is not None:  # it was over before
                return number + _checked(code, child, part)
            part.hurt += child.kill() == -signal.SIGKILL
            if left := wait_gone(child.pid, GONE_S):
                print(f"  processes {left} outlived their driver by {GONE_S:g} s", flush=True)
                part.differing += 1
        return len(moments)

    def _worker(self, out: Path, moments: list[float], part: Part) -> int:
        child, used = self.start(out), 0
        part.runs += 1
        for moment in moments:
            if not self._kill_worker(child, moment, used):
                break
            part.hurt += 1
            used += 1
        return used + self._over(child, part)

    def _kill_worker(self, child: Started, moment: float, number: int) -> bool:
        """Kills the number-th of the workers there are after a moment, or after another where there are none then;
        false where the run is over first."""
        while _until(lambda: bool(self.standing.workers()), child):
            child.wait(moment)
            workers = self.standing.workers()
            if child.wait(0) is not None:
                return False
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(workers[number % len(workers)], signal.SIGKILL)
                    return True
        return False

    def _node(self, out: Path, moments: list[float], part: Part) -> int:
        child, used = self.start(out), 0
        part.runs += 1
        for moment in moments:
            if not _until(lambda: bool(self.standing.workers()), child):
                break
            if child.wait(moment) is not None:
                break
            self.standing.replace(used % NODES)
            part.hurt += 1
            used += 1
        return used + self._over(child, part)

    def _over(self, child: Started, part: Part) -> int:
        """Waits for a hurt run to end by itself."""
        code = child.wait(HANG_S)
        if code is None:
            part.hangs += 1
            child.kill()
            print(f"  hang: {child.text()[-800:]}", flush=True)
            return 0
        return _checked(code, child, part)


def _checked(code: int, child: Started, part: Part) -> int:
    if code != QUARANTINED:
        print(f"  exit code {code}: {child.text()[-800:]}", flush=True)
        part.differing += 1
    return 0


def _staged(out: Path) -> int:
    return sum(1 for _ in (out / "scenes").glob("[!.]*")) if out.is_dir() else 0


def _until(condition, child: Started, timeout_s: float = 60.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and child.wait(0.03) is None:
        if condition():
            return True
    return False


def run_ray(recipe: Path, folder: Path, reference: Reference, moments: dict[str, list[float]],
            deadline: float) -> list[Part]:
    """All three; the time that is left is shared by what is still to be done."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    parts, standing = [], Standing()
    try:
        for index, (kind, unit) in enumerate((("driver", "kills"), ("worker", "kills"), ("node", "losses"))):
            if moments[kind]:
                now = time.monotonic()
                share = now + max(deadline - now, 0) / (3 - index)
                name = f"{kind}, Ray" if kind == "driver" else kind
                part = Part(name, unit, len(moments[kind]))
                parts.append(Rounds(recipe, folder, reference, standing, share).run(kind, moments[kind], part))
    finally:
        standing.cluster.shutdown()
    return parts
