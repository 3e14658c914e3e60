"""What this machine has, as far as this process may use it. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


def cpus() -> float:
    """CPUs this process may use: its affinity, and the control group's quota where there is one."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = _words(_CGROUP / "cpu.max")
    if len(quota) == 2 and quota[0].isdigit():
        count = min(count, int(quota[0]) / int(quota[1]))
    return count


def memory_bytes() -> int | None:
    """Memory still free for this process: available to the machine, and under the control group's limit."""
    available = None
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) << 10
    limit, used = _words(_CGROUP / "memory.max"), _words(_CGROUP / "memory.current")
    if limit and limit[0].isdigit() and used:
        left = max(0, int(limit[0]) - int(used[0]))
        available = left if available is None else min(available, left)
    return available


def disk_bytes(path: Path) -> int:
    """Free bytes where `path` is, or will be."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs the driver shows; empty where there is no driver."""
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True,
                              text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
