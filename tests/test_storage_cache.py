"""The cache of fetched shards: each content once, bounded, never torn."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal

import pytest

from curate.storage import StorageError
from curate.storage.cache import Cache


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def refuse(path) -> None:
    raise AssertionError("it is there already")


def test_each_content_is_fetched_once(tmp_path):
    cache = Cache(tmp_path / "cache", 1 << 20)
    for fetch in (lambda path: path.write_bytes(b"one"), refuse, refuse):
        with cache.open(digest(b"one"), fetch) as file:
            assert file.read() == b"one"


def test_other_bytes_than_expected_are_refused_and_not_kept(tmp_path):
    cache = Cache(tmp_path, 1 << 20)
    with pytest.raises(StorageError, match="not what the manifest says"):
        cache.open(digest(b"one"), lambda path: path.write_bytes(b"two"))
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []
    with cache.open(digest(b"one"), lambda path: path.write_bytes(b"one")) as file:
        assert file.read() == b"one"


def test_the_longest_unused_go_first_and_open_ones_stay_readable(tmp_path):
    cache = Cache(tmp_path, 250)
    contents = [bytes([n]) * 100 for n in range(3)]
    files = []
    for age, data in enumerate(contents[:2]):
        files.append(cache.open(digest(data), lambda path, data=data: path.write_bytes(data)))
        os.utime(tmp_path / digest(data), (age + 1, age + 1))
    cache.open(digest(contents[0]), refuse).close()  # used again: no longer the oldest
    files.append(cache.open(digest(contents[2]), lambda path: path.write_bytes(contents[2])))
    left = {p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")}
    assert left == {digest(contents[0]), digest(contents[2])}
    assert [file.read() for file in files] == contents


def die_while_fetching(folder) -> None:
    def fetch(path):
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    Cache(folder, 1 << 20).open(digest(b"half of it"), fetch)


def test_a_fetch_that_is_killed_leaves_nothing_that_is_taken_for_whole(tmp_path):
    child = multiprocessing.get_context("spawn").Process(target=die_while_fetching, args=(tmp_path,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    with Cache(tmp_path, 1 << 20).open(digest(b"half of it"), lambda path: path.write_bytes(b"half of it")) as file:
        assert file.read() == b"half of it"


def test_the_environment_names_it(tmp_path, monkeypatch):
    monkeypatch.delenv("CURATE_CACHE", raising=False)
    assert Cache.of_environment() is None
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))
    monkeypatch.setenv("CURATE_CACHE_GIB", "0.5")
    assert Cache.of_environment().max_bytes == 1 << 29
    for wrong in ("-1", "much", "nan"):
        monkeypatch.setenv("CURATE_CACHE_GIB", wrong)
        with pytest.raises(StorageError, match="expected the size of the cache in GiB"):
            Cache.of_environment()
