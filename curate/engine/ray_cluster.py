"""Joining a Ray cluster, or starting one of our own that nobody outside this machine can reach."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from curate.engine.fit import Need, Node
from curate.engine.outcome import Fatal, one_line

# One thread a worker: results do not depend on the number of cores, and workers do not fight for them.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
               "PYTHONHASHSEED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# Ray's own switch for "no cluster": all servers of this machine's Ray listen on loopback alone. Named after the
# systems where it is the default; on Linux they would listen on every interface.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
OBJECT_STORE_BYTES = 128 << 20  # outcomes are small and payloads never go through it


class Cluster:
    """Ray, as far as the pool needs it.

    Args:
        address: of a cluster to join; None: a Ray of our own, with CPUs for `num_workers`.

    Raises:
        Fatal: where it cannot be joined or started.
    """

    def __init__(self, address: str | None, need: Need, num_workers: int) -> None:
        with _quiet_loopback(address is None):
            import ray

            self.ray, self.address = ray, address
            self.ours = not ray.is_initialized()
            self.local = address is None and self.ours
            if self.ours:
                try:
                    self._init(need, num_workers)
                except ImportError:
                    raise
                except Exception as error:
                    raise Fatal(_why_not(address, error)) from error

    def _init(self, need: Need, num_workers: int) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        if self.address is None:
            # "local" and not None: None would join whatever cluster RAY_ADDRESS or a file of Ray's names
            with _without_servers(), _in_a_session_of_its_own(), _signals_stay_ours():
                self.ray.init(address="local", num_cpus=max(1, math.ceil(num_workers * need.cpus)),
                              object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, log_to_driver=False,
                              configure_logging=False)
        elif self.address.startswith("ray://"):
            self.ray.init(address=self.address, log_to_driver=False)
        else:
            self.ray.init(address=self.address, log_to_driver=False, configure_logging=False)
        self._ray_prints(False)

    def nodes(self) -> list[Node]:
        """Nodes that are up, also those without a CPU to give.

        Raises:
            Fatal: where the connection to the cluster is lost.
        """
        try:
            found = self.ray.nodes()
        except Exception as error:
            raise Fatal(f"the connection to Ray is lost ({one_line(error)[:200]}); "
                        f"run the same command again to go on") from error
        alive = [node for node in found if node.get("Alive", node.get("alive"))]
        names = [_name(node) for node in alive]
        return [Node(node["NodeID"], name if names.count(name) == 1 else f"{name} {node['NodeID'][:6]}",
                     node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0),
                     node["Resources"].get("memory", 0.0)) for node, name in zip(alive, names)]

    def actor(self, cls: type, node: Node, need: Need, *args: object):
        """An actor on that very node. Where the node is gone, its calls fail instead of waiting for ever."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # A Ray of our own hands its environment down; saying it once more would cost a second at the start.
        environment = {} if self.local else {"runtime_env": {"env_vars": ENVIRONMENT}}
        return self.ray.remote(cls).options(
            num_cpus=need.cpus, num_gpus=need.gpus, memory=need.memory or None, max_restarts=0, max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False), **environment).remote(*args)

    def close(self) -> None:
        if self.ours:
            self.ray.shutdown()
            self._ray_prints(True)

    def _ray_prints(self, on: bool) -> None:
        """Ray prints pages to stdout about each worker and node that dies, which no setting stops; the run says it in
        a line of its ledger."""
        with suppress(ImportError):
            from ray._private import worker

            worker._worker_logs_enabled = on


@contextmanager
def _quiet_loopback(ours: bool) -> Iterator[None]:
    """The environment that Ray's processes start with; put back as it was."""
    wanted = {**ENVIRONMENT, LOOPBACK: "0"} if ours else {}
    wanted["RAY_USAGE_STATS_ENABLED"] = os.environ.get("RAY_USAGE_STATS_ENABLED", "0")
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    constants = None
    try:
        if ours:
            with suppress(ImportError):  # read once, when Ray is first imported, which may have been long ago
                import ray._private.ray_constants as constants

                constants.ENABLE_RAY_CLUSTER = False
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if constants is not None:
            constants.ENABLE_RAY_CLUSTER = constants.env_bool(LOOPBACK, not constants.IS_WINDOWS_OR_OSX)


@contextmanager
def _without_servers() -> Iterator[None]:
    """Without the dashboard's process, which Ray starts though it is told not to (it then serves nothing), and without
    the autoscaler, which has nothing to scale: together a third of the time that Ray takes to start."""
    kept = {}
    try:
        with suppress(ImportError):
            from ray._private.node import Node as RayNode

            for name in ("start_api_server", "start_monitor"):
                if hasattr(RayNode, name):
                    kept[name] = getattr(RayNode, name)
                    setattr(RayNode, name, lambda self, **kwargs: None)
        yield
    finally:
        for name, method in kept.items():
            setattr(RayNode, name, method)


@contextmanager
def _in_a_session_of_its_own() -> Iterator[None]:
    """Ray's processes do not get the signals of our process group. A scheduler or a terminal sends one to all of it:
    without Ray's server the driver would wait a minute for it instead of ending its clips, and then be ended by Ray.
    They still die with the driver: Ray asks the system for that."""
    try:
        from ray._private import services

        popen = services.ConsolePopen
    except (ImportError, AttributeError):  # another Ray; it is then as before
        yield
        return
    services.ConsolePopen = partial(popen, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = popen


@contextmanager
def _signals_stay_ours() -> Iterator[None]:
    """Ray puts handlers of its own on SIGTERM while it starts: one ends the program without a word, another, there
    from when it connects, prints a stack and aborts. The first is not put on; the second lasts for half a second."""
    from ray._private import utils, worker

    put, connect = getattr(utils, "set_sigterm_handler", None), getattr(worker, "connect", None)
    if threading.current_thread() is not threading.main_thread() or put is None or connect is None:
        yield
        return
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def connect_and_put_back(*args, **settings):
        try:
            return connect(*args, **settings)
        finally:
            for number, handler in ours.items():
                if handler is not None:  # None: not Python's to put back
                    signal.signal(number, handler)

    utils.set_sigterm_handler, worker.connect = lambda handler: None, connect_and_put_back
    try:
        yield
    finally:
        utils.set_sigterm_handler, worker.connect = put, connect


def _name(node: dict) -> str:
    host, address = node.get("NodeManagerHostname", ""), node.get("NodeManagerAddress", "")
    return f"{host} ({address})" if host and address and host != address else host or address or node["NodeID"][:6]


def _why_not(address: str | None, error: Exception) -> str:
    text = re.sub(r"//[^/@\s]+@", "//", one_line(error))[:300]
    if address is None:
        return f"Ray did not start on this machine: {text}; try --inline, which needs no Ray"
    if address == "auto":
        return (f"no Ray cluster was found from this machine: {text}; run this on a node of the cluster, or name it "
                f"(--address ray://HOST:10001); --address none works on this machine alone")
    client = " (ray:// needs pip install 'ray[client]' here and a head that listens on that port)"
    return (f"the Ray cluster at {address} cannot be joined: {text}{client if address.startswith('ray://') else ''}; "
            f"is it up, and reachable from here?")
