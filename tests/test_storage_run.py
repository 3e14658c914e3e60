"""A run and `ask` that publish to an S3 server on loopback, as a person calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate import shards
from tests import s3_server

SMALL = {"source": {"kind": "rendered", "num_scenes": 1, "seed": 1, "width": 320, "height": 192},
         "clip": {"num_frames": 10, "max_clips": 1}}


@pytest.fixture(scope="module")
def endpoint():
    with s3_server.server() as address, s3_server.exported(address):
        yield address


def curate(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "curate", *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, env=dict(os.environ))


def clips(path: object) -> list[tuple]:
    return [(clip["key"], dict(clip["media"])) for clip in shards.read(path, flatten=False)]


def test_a_run_publishes_where_it_is_told_and_a_store_that_fails_spoils_nothing(endpoint, tmp_path: Path):
    url, recipe, out = f"s3://{s3_server.new_bucket()}/mine", tmp_path / "r.yaml", tmp_path / "out"
    recipe.write_text(json.dumps(SMALL))
    done = curate("run", recipe, "--out", out, "--inline", "--no-preview", "--publish", url)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "published sets/" in done.stdout
    assert clips(url) == clips(out) and shards.verify(url) == []
    failed = curate("ask", out, "--recipe", recipe, "--no-preview", "--publish", "s3://no-such-bucket-x/y",
                    "--set", "questions.seed=6")
    assert failed.returncode == 1 and f"curate publish {out} s3://no-such-bucket-x/y" in failed.stdout, failed.stderr
    assert shards.verify(out) == []
    again = curate("ask", out, "--recipe", recipe, "--no-preview", "--quiet", "--set", "questions.seed=6",
                   "--set", f"shards.publish={url}")
    assert again.returncode == 0 and again.stdout == "", again.stderr
    assert shards.verify(url) == [] and shards.verify(out) == []
    assert (out / "shards/manifest.json").read_bytes() == _manifest(url)


def _manifest(url: str) -> bytes:
    from curate.shards.reader import find_root

    return (find_root(url) / "manifest.json").read_bytes()
