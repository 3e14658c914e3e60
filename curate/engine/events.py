"""What happens in a run, as one JSON line an event, for machines that watch it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, TextIO

from curate.storage.redact import redact_json


class Events:
    """Writes {"time", "event", ...} lines; without a stream it does nothing. Safe between threads.

    Events: "lease" (what: taken, taken over, lost, released), "plan" (planned, to_do, new, lost, generation),
    "start" (workers), "failure" (key, kind, reason: of one try, which may be followed by another), "settled" (key, uri,
    state, kind, reason, tries, seconds), "publish" (shards, questions), "report" (counts, clips_per_s, ...). Secrets
    in addresses are blacked out.

    Args:
        stream: text; a line is flushed at once. None: nothing is written.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def __call__(self, event: str, /, **facts: Any) -> None:
        if self._stream is None:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        line = json.dumps({"time": stamp, "event": event, **redact_json(facts)})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()
