"""Clips on Ray actors: one clip an actor at a time, restarts and deadlines decided here and not by Ray.

Actors write their product to OUT themselves and return a small outcome, so the driver never pulls payloads.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from curate.engine.outcome import Fatal, Outcome, cannot_start
from curate.engine.stage import ClipWorker
from curate.recipe import Recipe
from curate.sources.base import ClipSpec

# One thread a worker: results do not depend on the number of cores, and workers do not fight for them.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
               "PYTHONHASHSEED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

START_S = 600  # loading packages and estimators on a slow disk


class RayPool:
    """
    Args:
        num_workers: actors; they must fit the cluster (`check_fit`). None: as many as the cluster has CPUs for.
        num_clips: more actors than clips are not started.

    Raises:
        Fatal: where the cluster cannot be joined, or is too small.
    """

    name = "ray"
    in_process = False

    def __init__(self, recipe: Recipe, out: str, num_workers: int | None, num_clips: int) -> None:
        import ray

        self._ray, engine = ray, recipe.engine
        self._recipe, self._out = recipe, str(Path(out).resolve())
        self._ours = not ray.is_initialized()
        if self._ours:
            for name, value in ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            try:
                ray.init(address=engine.address, include_dashboard=False, logging_level=logging.ERROR,
                         log_to_driver=False, configure_logging=False,
                         **({} if engine.address else {"num_cpus": max(num_workers or 1, os.cpu_count() or 1),
                                                       "object_store_memory": 128 << 20}))
            except Exception as error:
                where = engine.address or "this machine"
                raise Fatal(f"Ray did not start on {where}: {error}; try --workers 1, which needs no Ray") from error
        there = ray.cluster_resources()
        if num_workers is None:
            num_workers = max(1, min(num_clips, int(there.get("CPU", 1) / engine.cpus_per_worker)))
        self.num_workers = num_workers
        try:
            check_fit(there, num_workers, engine.cpus_per_worker, engine.gpus_per_worker)
        except BaseException:
            if self._ours:
                ray.shutdown()
            raise
        self._actor = ray.remote(ClipWorker).options(
            num_cpus=engine.cpus_per_worker, num_gpus=engine.gpus_per_worker, max_restarts=0, max_task_retries=0,
            runtime_env={"env_vars": ENVIRONMENT})
        self._busy: dict = {}  # object ref -> (clip, actor, started, deadline_s)
        self._idle = [self._start() for _ in range(num_workers)]
        try:  # a fault that every clip would meet shows here, and start-up does not count against a clip's deadline
            ray.get([actor.ready.remote() for actor in self._idle], timeout=START_S)
        except Exception as error:
            self.close()
            raise cannot_start(getattr(error, "cause", None) or error) from error

    def _start(self):
        return self._actor.remote(self._recipe, self._out)

    def submit(self, clip: ClipSpec, deadline_s: float) -> None:
        actor = self._idle.pop() if self._idle else self._start()
        self._busy[actor.perceive.remote(clip)] = (clip, actor, time.monotonic(), deadline_s)

    def wait(self, timeout_s: float) -> list[Outcome]:
        if not self._busy:
            return []
        ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=timeout_s)
        outcomes = []
        for ref in ready:
            clip, actor, *_ = self._busy.pop(ref)
            try:
                outcomes.append(self._ray.get(ref))
                self._idle.append(actor)
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.OutOfMemoryError) as error:
                outcomes.append(Outcome(clip.key, "failed", "lost", f"the worker vanished: {_first_line(error)}"))
            except Exception as error:
                self._ray.kill(actor)
                outcomes.append(Outcome(clip.key, "failed", "error", f"{type(error).__name__}: {_first_line(error)}"))
        now = time.monotonic()
        for ref, (clip, actor, started, deadline_s) in list(self._busy.items()):
            if now - started > deadline_s:
                del self._busy[ref]
                self._ray.kill(actor)
                outcomes.append(Outcome(clip.key, "failed", "timeout",
                                        f"no result after {deadline_s:.3g} s"))
        return outcomes

    def close(self) -> None:
        for actor in self._idle + [actor for _, actor, *_ in self._busy.values()]:
            self._ray.kill(actor)
        if self._ours:
            self._ray.shutdown()


def check_fit(available: dict[str, float], num_workers: int, cpus: float, gpus: float) -> None:
    """
    Raises:
        Fatal: where the workers would wait for ever for resources that the cluster does not have.
    """
    for name, each in (("CPU", cpus), ("GPU", gpus)):
        if each * num_workers > available.get(name, 0) + 1e-6:
            raise Fatal(f"{num_workers} workers of {each:g} {name} need {each * num_workers:g}; the cluster has "
                        f"{available.get(name, 0):g}; lower engine.workers or engine.{name.lower()}s_per_worker")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
