"""Clips on Ray actors: one clip an actor at a time; placement, deadlines and losses are decided here and not by Ray.

Actors write their product to OUT themselves and return a small outcome, so the driver never pulls payloads. Each is
placed on a node by name: where the node goes, its actors are gone at once, and others are started where there is room.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from curate.engine.fit import Need, Node, refusal, spread, table
from curate.engine.outcome import Fatal, Outcome, cannot_start, failure
from curate.engine.ray_cluster import Cluster
from curate.engine.ray_worker import FOLDER, PROBE, WORKER, RayWorker, crash_signal
from curate.engine.stage import sweep
from curate.recipe import Recipe
from curate.recipe.model import differences
from curate.sources.base import ClipSpec

START_S = 600.0  # loading packages and estimators on a slow disk, or waiting for what other work holds
OTHERS_S = 20.0  # at the start, from the first worker that is ready to the last that is waited for
LOOK_S = 2.0  # between looks at which nodes are there
SUSPECT_S = 30.0  # Ray takes up to 20 s to see that a node is gone; until then it would be asked in vain
MAX_DEATHS = 3  # of workers in a row while they start, before a node is left out


@dataclass
class _Worker:
    actor: Any
    node: Node
    name: str
    pid: int = 0
    ref: Any = None  # what it is doing; None: nothing
    since: float = 0.0
    ready: bool = False
    clip: ClipSpec | None = None
    deadline_s: float = inf


class RayPool:
    """
    Args:
        num_workers: actors; they must fit the cluster. None: as many as fit.
        num_clips: more actors than clips are not started.
        say: shows a person a line or a table; None: nothing is shown.
        worker: "module:Class" of what works there, as of `Child`.

    Raises:
        Fatal: where the cluster cannot be joined, is too small, does not share OUT, or its workers do not start.
    """

    name = "ray"
    in_process = False

    def __init__(self, recipe: Recipe, out: str, num_workers: int | None, num_clips: int,
                 say: Callable[[Any], None] | None = None, worker: str = WORKER) -> None:
        engine = recipe.engine
        self._recipe, self._need, self._say = recipe, Need.of(engine), say or (lambda what: None)
        self.wait_for_nodes_s = engine.wait_for_nodes_s
        self._worker_class = worker
        remote = "://" in out
        self._out = out if remote else str(Path(out).resolve())
        self._token = uuid.uuid4().hex
        self._notes = None if remote else Path(self._out) / FOLDER / self._token[:12]
        self._workers: list[_Worker] = []
        self._lost: list[Outcome] = []
        self._avoid: dict[str, float] = {}  # node id -> until when no worker is started there
        self._deaths: Counter = Counter()  # by node: workers that died while starting, in a row
        self._started, self._closed = False, False
        self._cluster = Cluster(engine.address, self._need, num_workers or 1)
        try:
            nodes = self._cluster.nodes()
            self._wanted = num_clips if num_workers is None else min(num_workers, max(num_clips, 1))
            placed = spread(nodes, self._need, self._wanted)
            reason = refusal(nodes, self._need, None if num_workers is None else self._wanted)
            if not self._cluster.local or reason:
                self._say(table(nodes, self._need, placed, num_workers))
            if reason:
                raise Fatal(reason)
            self._perception = json.loads(json.dumps(recipe.perception_parts()))
            if self._notes:
                self._notes.mkdir(parents=True, exist_ok=True)
                (self._notes / PROBE).write_text(self._token)
            self._last_ready = self._looked = time.monotonic()
            self._start(nodes, placed)
            self._await_start()
        except BaseException:
            self.close()
            raise

    @property
    def num_workers(self) -> int:
        """Workers that are ready; those that are starting come later."""
        return sum(worker.ready for worker in self._workers)

    def submit(self, clip: ClipSpec, deadline_s: float) -> None:
        worker = next((w for w in self._workers if w.ready and w.clip is None), None)
        assert worker is not None, "more clips than workers"
        worker.clip, worker.since, worker.deadline_s = clip, time.monotonic(), deadline_s
        worker.ref = worker.actor.perceive.remote(clip)

    def wait(self, timeout_s: float) -> list[Outcome]:
        self._pump(timeout_s)
        outcomes, self._lost = self._lost, []
        return outcomes

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            self._kill(worker)
        with suppress(Exception):
            self._cluster.close()
        if self._notes:
            # OUT is this run's alone: what drivers left that were killed goes too
            shutil.rmtree(self._notes.parent, ignore_errors=True)

    # What comes back from workers

    def _pump(self, timeout_s: float) -> None:
        """Takes what has come, looks at deadlines and nodes. Waits at most `timeout_s` for the first to come."""
        by_ref = {worker.ref: worker for worker in self._workers if worker.ref is not None}
        if by_ref:
            done = self._ready(list(by_ref), timeout_s)
            for ref in done:
                self._take(by_ref[ref])
        else:
            time.sleep(min(timeout_s, LOOK_S))
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.clip is not None and now - worker.since > worker.deadline_s:
                self._end(worker, "timeout", f"no result after {worker.deadline_s:.3g} s")
            elif not worker.ready and now - worker.since > START_S:
                self._drop(worker, avoid_s=60)  # other work on the cluster holds what it waits for
        if now - self._looked >= LOOK_S:
            self._rebalance()
        if self.num_workers:
            self._last_ready = now
        elif now - self._last_ready > self.wait_for_nodes_s:
            raise Fatal(self._nobody())

    def _ready(self, refs: list, timeout_s: float) -> list:
        ray = self._cluster.ray
        done, rest = ray.wait(refs, num_returns=1, timeout=timeout_s)
        if done and rest:
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return done

    def _take(self, worker: _Worker) -> None:
        ray = self._cluster.ray
        try:
            result = ray.get(worker.ref)
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError,
                ray.exceptions.WorkerCrashedError, ray.exceptions.ActorUnschedulableError) as error:
            self._gone(worker, error)
        except Exception as error:
            cause = getattr(error, "cause", None) or error
            if worker.ready:
                self._end(worker, None, cause)
            else:
                self._unfit(worker, cannot_start(cause), f"a worker does not start there: {cause}")
        else:
            worker.ref = None
            if worker.ready:
                worker.clip = None
                self._lost.append(result)
            else:
                self._welcome(worker, result)

    def _end(self, worker: _Worker, kind: str | None, why: Any, meta: dict[str, Any] | None = None) -> None:
        """Ends a worker with the clip it has."""
        assert worker.clip is not None
        self._lost.append(failure(worker.clip.key, why) if kind is None else
                          Outcome(worker.clip.key, "failed", kind, why, meta or {}))
        self._drop(worker)
        if self._notes:
            sweep(Path(self._out), worker.clip.key, worker.pid)
        self._looked = -inf  # look at once where another can be started

    def _gone(self, worker: _Worker, error: Exception) -> None:
        """The worker's process is no more: by itself, by the system, or with its node."""
        ray, node = self._cluster.ray, worker.node
        trace = self._note(worker)
        signal = crash_signal(trace)
        meta: dict[str, Any] = {"traceback": trace[-4000:]} if signal else {}
        if signal:
            why, meta["signal"] = f"the worker vanished: {signal} on {node.name}", signal
        elif isinstance(error, ray.exceptions.OutOfMemoryError):
            why, meta["cause"] = f"the worker vanished: Ray ended it, {node.name} is short of memory", "memory"
        elif self._is_node(worker, error):
            why, meta["cause"] = f"the worker vanished with its node {node.name}", "node"
            self._avoid[node.id] = time.monotonic() + SUSPECT_S
        else:
            why = f"the worker vanished on {node.name} (killed: by hand, or where memory is short)"
        if worker.clip is not None:
            self._end(worker, "lost", why, meta)
        else:
            if meta.get("cause") != "node":
                self._deaths[node.id] += 1
            if self._deaths[node.id] >= MAX_DEATHS or getattr(error, "actor_init_failed", False):
                text = " ".join(str(error).split())
                self._unfit(worker, Fatal(f"the workers do not start: {_why(text, why)}"), _why(text, why))
            else:
                self._drop(worker)
        self._looked = -inf

    def _is_node(self, worker: _Worker, error: Exception) -> bool:
        if isinstance(error, (self._cluster.ray.exceptions.ActorUnavailableError,
                              self._cluster.ray.exceptions.NodeDiedError)) or "node has died" in str(error):
            return True
        return worker.node.id not in {node.id for node in self._cluster.nodes()}

    def _note(self, worker: _Worker) -> str:
        try:
            return (self._notes / worker.name).read_text(errors="replace") if self._notes else ""
        except OSError:
            return ""

    # Starting and placing workers

    def _start(self, nodes: list[Node], placed: dict[str, int]) -> None:
        by_id = {node.id: node for node in nodes}
        for node_id, count in placed.items():
            for _ in range(count):
                name = uuid.uuid4().hex[:12]
                actor = self._cluster.actor(RayWorker, by_id[node_id], self._need, self._recipe, self._out,
                                            str(self._notes) if self._notes else None, name, self._worker_class)
                self._workers.append(_Worker(actor, by_id[node_id], name, since=time.monotonic(),
                                             ref=actor.start.remote(self._token)))

    def _await_start(self) -> None:
        """Until work can begin: one worker is ready, and the others are, or are late."""
        first = None
        while True:
            self._pump(1.0)
            if self.num_workers:
                first = first or time.monotonic()
                late = time.monotonic() - first > OTHERS_S
                if late or all(worker.ready for worker in self._workers):
                    break
        self._started = True

    def _welcome(self, worker: _Worker, facts: dict[str, Any]) -> None:
        """A worker has loaded: is it on a node that gives the same scenes to the same place?"""
        name = worker.node.name
        answer = self._notes / f"{PROBE}-{worker.name}" if self._notes else None
        if not facts["shared"] or (answer and not answer.exists()):
            why = facts.get("why", "what a worker writes there is not seen here")
            self._unfit(worker, Fatal(
                f"{self._out} is not one folder for all nodes: on {name}, {why}. Workers write scenes there "
                f"themselves. Mount one shared folder (NFS, EFS, Filestore, a ReadWriteMany volume) under the same "
                f"path on every node and name it with --out"), f"{self._out} is not shared with it: {why}")
        elif differing := differences(self._perception, json.loads(json.dumps(facts["perception"]))):
            text = "; ".join(differing[:6])
            self._unfit(worker, Fatal(
                f"node {name} would make other scenes than this one (here -> there): {text}; install the same packages "
                f"and weights on all nodes"), f"it would make other scenes: {text}")
        else:
            worker.ready, worker.since, worker.pid = True, time.monotonic(), facts["pid"]
            self._deaths[worker.node.id] = 0

    def _unfit(self, worker: _Worker, fatal: Fatal, why: str) -> None:
        """A node where workers cannot work: before work starts it ends the run, later the node is left out."""
        if not self._started or self._cluster.local:
            raise fatal
        self._say(f"node {worker.node.name} is left out: {' '.join(why.split())[:300]}")
        self._drop(worker, avoid_s=inf)

    def _rebalance(self) -> None:
        """Drops workers whose node is gone, and starts others where there is room, on nodes that came too."""
        now = self._looked = time.monotonic()
        nodes = self._cluster.nodes()
        there = {node.id for node in nodes}
        for worker in list(self._workers):
            if worker.node.id not in there:
                if worker.clip is not None:  # Ray may yet deliver what it ended with; a clip made twice is made once
                    self._end(worker, "lost", f"the worker vanished with its node {worker.node.name}",
                              {"cause": "node"})
                else:
                    self._drop(worker)
            elif worker.node.id in self._avoid and worker.ready and worker.clip is None and (
                    now < self._avoid[worker.node.id]):
                self._drop(worker)
        usable = [node for node in nodes if now >= self._avoid.get(node.id, -inf)]
        self._start(usable, spread(usable, self._need, self._wanted,
                                   Counter(worker.node.id for worker in self._workers)))

    def _drop(self, worker: _Worker, avoid_s: float = 0.0) -> None:
        if avoid_s:
            self._avoid[worker.node.id] = time.monotonic() + avoid_s
        self._workers.remove(worker)
        self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        with suppress(Exception):
            self._cluster.ray.kill(worker.actor)

    def _nobody(self) -> str:
        nodes = self._cluster.nodes()
        text = f"no worker could run for {self.wait_for_nodes_s:g} s (engine.wait_for_nodes_s): "
        if why := refusal(nodes, self._need, None):
            return f"{text}{why}; nothing staged is lost"
        return (f"{text}the {len(nodes)} nodes that are up are held by other work, or workers do not start there; "
                f"nothing staged is lost: run the same command again")


def _why(text: str, otherwise: str) -> str:
    """The last words of Ray's report of an actor that did not even come to be."""
    if "ModuleNotFoundError" in text or "ImportError" in text:
        return f"{text[-300:]}; install the same curate4d[run] on every node (docs/cluster.md)"
    return text[-300:] if "creation task" in text else otherwise
