"""Publishing to an S3 server on loopback, killed at every step: readers see the older set or the new one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from curate import shards
from curate.shards import ShardError
from curate.shards.publish import publish
from curate.shards.remote import publish_set
from curate.storage import Conflict, Missing, StorageError, open_store
from curate.storage.publication import Held, Publication, peek
from tests import s3_server, shard_samples


@pytest.fixture(scope="module")
def endpoint():
    with s3_server.server() as address, s3_server.exported(address):
        yield address


@pytest.fixture
def url(endpoint) -> str:
    return f"s3://{s3_server.new_bucket()}/sets of mine/one"


@pytest.fixture(scope="module")
def older(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("older")
    publish(out, shard_samples.samples(5), max_samples=2)
    return out


@pytest.fixture(scope="module")
def newer(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("newer")
    publish(out, [*shard_samples.samples(2), *(shard_samples.sample(s, num_bytes=900) for s in range(2, 6))],
            max_samples=2)
    return out


def num_files(out: Path) -> int:
    return sum(p.is_file() for p in (out / "shards").rglob("*"))


def content(path) -> list[tuple]:
    """Everything that a reader gets, in order."""
    return [(clip["key"], json.dumps(clip["json"]["qa"], default=str), dict(clip["media"]))
            for clip in shards.read(path, flatten=False)]


def test_what_is_read_from_the_store_is_what_is_read_from_the_folder(url, older):
    done = publish_set(older, url)
    assert (done.uploaded, done.copied, done.kept) == (num_files(older), 0, 0)
    assert content(url) == content(older)
    assert shards.verify(url) == []
    assert content(f"{url}/{done.folder}") == content(older)  # the set's own folder is a set like any other
    one = [clip["key"] for clip in shards.read(f"{url}/{done.folder}/train-000001.tar", flatten=False)]
    assert one == [clip[0] for clip in content(older)[2:4]]
    store = open_store(url)
    names = sorted(p.relative_to(older / "shards").as_posix() for p in (older / "shards").rglob("*") if p.is_file())
    assert sorted(store.list(done.folder)) == [f"{done.folder}/{name}" for name in names]
    assert all(store.read(f"{done.folder}/{name}")[0] == (older / "shards" / name).read_bytes() for name in names)


def test_the_next_set_copies_what_both_have_and_prune_removes_the_rest(url, older, newer):
    first = publish_set(older, url)
    reader = shards.read(url, flatten=False)
    second = publish_set(newer, url)
    assert second.copied >= 1 and second.uploaded + second.copied == num_files(newer)
    assert set(second.orphans) == set(open_store(url).list(first.folder))
    assert [clip["key"] for clip in reader] == [clip[0] for clip in content(older)]  # opened before: still its own set
    store = open_store(url)
    store.fs.call_s3("create_multipart_upload", Bucket=store.bucket, Key=store._key("sets/torn/train-000000.tar"))
    pruned = publish_set(newer, url, prune=True)
    assert (pruned.kept, pruned.removed) == (num_files(newer), num_files(older) + 1)
    assert store.abort_uploads() == 0
    assert content(url) == content(newer) and shards.verify(url) == []
    with pytest.raises(ShardError, match="another set was published there"):
        list(reader)


def test_altered_and_missing_objects_are_found(url, older):
    done = publish_set(older, url)
    store = open_store(url)
    path, data = f"{store.bucket}/{store._key(done.folder)}", (older / "shards/train-000001.tar").read_bytes()
    store.fs.pipe_file(f"{path}/train-000001.tar", data[:700] + bytes([data[700] ^ 1]) + data[701:])
    with pytest.raises(ShardError, match=r"train-000001\.tar: cannot be opened .*not what the manifest says"):
        content(url)
    assert "train-000001.tar" in {problem.file for problem in shards.verify(url)}
    again = publish_set(older, url)  # same size, but no checksum of ours beside it any more
    assert (again.uploaded, again.kept) == (1, num_files(older) - 1)
    assert shards.verify(url) == []
    store.remove([f"{done.folder}/train-000002.tar"])
    assert "train-000002.tar" in {problem.file for problem in shards.verify(url)}
    with pytest.raises(ShardError, match="not there"):
        content(url)


def test_a_cache_saves_fetching_again(url, older, tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    done = publish_set(older, url)
    assert content(url) == content(older)
    reader = shards.read(url, flatten=False)
    open_store(url).remove(f"{done.folder}/train-00000{n}.tar" for n in range(3))
    assert [clip["key"] for clip in reader] == [clip[0] for clip in content(older)]  # from the cache
    assert shards.verify(url)  # which looks at the store itself


# ---- kills ---------------------------------------------------------------------------------------------------------

STEPS = ("put_if", "upload", "copy", "remove")


def publish_and_die(out: Path, url: str, step: int, after: bool, environment: dict[str, str]) -> None:
    """Publishes, and is killed by SIGKILL right before (or after) its `step`-th change of the store."""
    os.environ.update(environment)
    from curate.storage.store import Store

    done = [0]

    def counted(plain):
        def call(self, *args):
            done[0] += 1
            if done[0] == step and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = plain(self, *args)
            if done[0] == step and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        return call

    for name in STEPS:
        setattr(Store, name, counted(getattr(Store, name)))
    publish_set(out, url, prune=True, streams=1)


def killed_at_every_step(url, older, newer, endpoint, after: bool) -> int:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["curate.storage.s3", "curate.shards.remote", "tests.shard_samples"])
    old, new, deaths = content(older), content(newer), 0
    publish_set(older, url)
    for step in range(1, 100):
        child = context.Process(target=publish_and_die,
                                args=(newer, url, step, after, s3_server.environment(endpoint)))
        child.start()
        child.join(60)
        seen = content(url)
        assert seen in (old, new), f"a mixture after step {step}"
        if child.exitcode == 0:
            assert seen == new
            break
        assert child.exitcode == -signal.SIGKILL
        deaths += 1
        if step % 3 == 0:  # else the next one goes on where this one was killed
            open_store(url).remove(open_store(url).list())
            publish_set(older, url)
    assert content(url) == new and shards.verify(url) == []
    return deaths


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_readers_see_one_set_whole_wherever_the_publisher_is_killed(url, older, newer, endpoint, after):
    assert killed_at_every_step(url, older, newer, endpoint, after) >= 4


def test_a_killed_upload_goes_on_by_checksum(url, older, endpoint):
    context = multiprocessing.get_context("forkserver")
    child = context.Process(target=publish_and_die, args=(older, url, 6, False, s3_server.environment(endpoint)))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    with pytest.raises(ShardError, match="nothing is published yet"):
        shards.read(url)
    done = publish_set(older, url)  # its lease is taken over: the holder is dead
    assert (done.kept, done.uploaded) == (4, num_files(older) - 4)  # step 1 was the lease, 2 to 5 uploads
    assert content(url) == content(older)


# ---- one publisher at a time ---------------------------------------------------------------------------------------

def test_conditional_puts_by_the_server(url):
    store = open_store(url)
    tag = store.put_if("a.json", b"1", None)
    for condition in (None, store.no_tag):
        with pytest.raises(Conflict):
            store.put_if("a.json", b"2", condition)
    assert store.read("a.json") == (b"1", tag)
    assert store.put_if("a.json", b"2", tag) != tag
    with pytest.raises(Conflict):
        store.put_if("a.json", b"3", tag)
    assert store.stat("b.json") is None
    with pytest.raises(Missing):
        store.read("b.json")


def test_a_second_publisher_is_refused_and_a_silent_one_taken_over(url, older, newer):
    store = open_store(url)
    with Publication(store, ttl_s=600), pytest.raises(Held, match=f"process {os.getpid()} on .* is publishing there"):
        publish_set(older, url)
    sleeper = Publication(store, ttl_s=0.1)
    sleeper._beat = lambda: None  # gives no sign, as a stopped process
    sleeper._thread = threading.Thread(target=sleeper._beat)
    with sleeper:
        time.sleep(0.2)
        done = publish_set(newer, url)
        with pytest.raises(Held, match="what it uploaded is not published"):
            sleeper.publish("sets/stale", "stale")
    assert peek(store).folder == done.folder and content(url) == content(newer)


# ---- what a person meets -------------------------------------------------------------------------------------------

def curate(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "curate", *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, env=os.environ | environment)


def test_the_commands(url, older):
    done = curate("publish", older, url)
    assert done.returncode == 0, done.stderr
    assert "uploaded train-000000.tar" in done.stdout and "published sets/" in done.stdout
    assert curate("publish", older, url, "--quiet").stdout == ""
    checked = curate("verify", url)
    assert checked.returncode == 0 and "whole" in checked.stdout
    nowhere = curate("verify", f"{url}/elsewhere")
    assert nowhere.returncode == 2 and "no such folder" in nowhere.stderr


def test_no_secret_is_shown_or_kept(url, older, tmp_path):
    secret = s3_server.SECRET
    publish_set(older, url)
    store = open_store(url)
    assert not any(secret.encode() in store.read(name)[0] for name in store.list())
    asked = curate("publish", older, f"s3://user:{secret}@bucket/x?X-Amz-Signature={secret}", "--debug")
    assert asked.returncode == 2 and secret not in asked.stderr + asked.stdout
    for name in ("no-such-bucket-here", "-"):
        failed = curate("publish", older, f"s3://{name}/x", "--debug")
        assert failed.returncode in (1, 2) and secret not in failed.stderr + failed.stdout
    unreached = curate("publish", older, url, AWS_ENDPOINT_URL=f"http://me:{secret}@127.0.0.1:9/", AWS_MAX_ATTEMPTS="1")
    assert unreached.returncode == 1 and "error" in unreached.stderr
    assert secret not in unreached.stderr + unreached.stdout


def test_a_bucket_that_is_not_there_is_named(older):
    with pytest.raises(StorageError, match="no-such-bucket-here"):
        publish_set(older, "s3://no-such-bucket-here/x")


def test_workers_of_a_data_loader_read_what_they_share(url, older):
    """A reader is carried over a fork and over pickling, though drivers of stores are not."""
    publish_set(older, url)
    torch = pytest.importorskip("torch.utils.data")

    class Clips(torch.IterableDataset):
        def __init__(self, reader):
            self.reader = reader

        def __iter__(self):
            return (clip["key"] for clip in self.reader)

    reader = shards.read(url, flatten=False)
    expected = sorted(clip["key"] for clip in reader)
    assert sorted(torch.DataLoader(Clips(reader), batch_size=None, num_workers=2)) == expected
