"""Results of slow work, begun ahead of their use and kept within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Results of a slow function by its argument, those used last, as far as there is room.

    Args:
        load: the function; it runs in `pool`.
        size: bytes of a result.
        room: bytes that are kept. What is under way or still in use elsewhere comes on top.
    """

    def __init__(self, pool: Executor, load: Callable[..., T], size: Callable[[T], int], room: int) -> None:
        self._pool, self._load, self._size, self.room = pool, load, size, room
        self._found: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def get(self, *key: Hashable) -> Future[T]:
        """What `load(*key)` gives or raises; begun at once where it is not there. A failure is tried again."""
        with self._lock:
            future = self._found.get(key)
            if future is None or (future.done() and future.exception() is not None):
                future = self._found[key] = self._pool.submit(self._load, *key)
                begun = True
            else:
                begun = False
            self._found.move_to_end(key)
        if begun:
            future.add_done_callback(lambda done: self._keep(key, done))
        return future

    @property
    def num_bytes(self) -> int:
        return sum(self._sizes.values())

    def _keep(self, key: Hashable, done: Future[T]) -> None:
        with self._lock:
            if done.cancelled() or done.exception() is not None or self._found.get(key) is not done:
                return
            self._sizes[key] = self._size(done.result())
            held = self.num_bytes
            for old in list(self._found):
                if held <= self.room:
                    return
                if old in self._sizes:
                    held -= self._sizes.pop(old)
                    del self._found[old]
