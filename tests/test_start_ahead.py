"""The inline worker's process may be started before there is anything to do."""

import subprocess
import sys
import time
from pathlib import Path

from curate.engine import child

IDLE = """
import os, time
from curate.engine import child
child.start_ahead()
print(child._spare[0][0].pid, flush=True)
time.sleep(60)
"""


def test_a_process_started_ahead_is_used_once_and_a_second_is_not_started():
    child.start_ahead()
    child.start_ahead()
    process, channel, trace = child._spare.pop()
    assert not child._spare and process.poll() is None
    process.kill()
    process.wait()
    channel.close()
    trace.close()


def test_one_that_was_never_used_ends_with_its_parent():
    parent = subprocess.Popen([sys.executable, "-c", IDLE], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 60
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
