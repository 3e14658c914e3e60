"""A real S3 server on loopback for the tests of storage: moto's, in a process of its own, with one empty bucket."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SECRET = "loopback-secret-0123456789"
_SERVE = "from moto.server import main; import sys; main(sys.argv[1:])"


def environment(endpoint: str) -> dict[str, str]:
    """What a person would export to reach the server."""
    return {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "AKIALOOPBACK00000001", "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def server() -> Iterator[str]:
    """Its address; skips the test where moto or s3fs is not installed."""
    for module, extra in (("s3fs", "s3"), ("moto", "dev"), ("flask_cors", "dev")):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (pip install 'curate4d[{extra}]')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", _SERVE, "-H", "127.0.0.1", "-p", str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "moto's server has ended"
                time.sleep(0.1)
        yield endpoint
    finally:
        process.kill()
        process.wait()


@contextmanager
def exported(endpoint: str) -> Iterator[None]:
    """This process's environment, as `environment` says, until the block ends."""
    before = {name: os.environ.get(name) for name in environment(endpoint)}
    os.environ.update(environment(endpoint))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def new_bucket() -> str:
    """A bucket of the server in the environment that nothing has been put into."""
    from curate.storage import open_store

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    open_store(f"s3://{name}/x").fs.call_s3("create_bucket", Bucket=name)
    return name
