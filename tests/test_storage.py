"""Storage without a server: addresses, secrets, folders as stores, the lease, and sets that are replaced while read."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import shards
from curate.recipe import RecipeError, recipe_from_dict
from curate.shards import ShardError
from curate.shards.publish import publish
from curate.shards.remote import publish_set
from curate.storage import Conflict, StorageError, UrlError, check_url, is_url, location, open_store, redact
from curate.storage.publication import NAME, Held, Publication, State, peek
from tests import shard_samples

SECRETS = {
    "s3://me:hunter2secret@bucket/x": "hunter2secret",
    "https://host/a.tar?X-Amz-Signature=5f1a2b3c&X-Amz-Credential=AKIA0": "5f1a2b3c",
    "see https://host/a?sig=topsecret, then": "topsecret",
    "s3:/bucket/x?token=topsecret": "topsecret",
    "gs://bucket/x#access_token=topsecret": "topsecret",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG": "wJalrXUtnFEMI/K7MDENG",
    '{"secret_key": "abc def", "n": 1}': "abc def",
    "endpoint_key='k-123456'": "k-123456",
    "password: opensesame": "opensesame",
    "Authorization: AWS4-HMAC-SHA256 Credential=AK/x, Signature=feed": "feed",
    "key AKIAIOSFODNN7EXAMPLE was refused": "AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----": "MIIB",
}


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_taken_out_and_the_rest_is_told(text):
    told = redact(text)
    assert SECRETS[text] not in told and "***" in told
    assert redact(told) == told


def test_what_is_no_secret_stays():
    for text in ("s3://bucket/prefix/train-000000.tar: 3 bytes, the manifest says 4", "clips/left?.mp4 matches nothing",
                 "https://creativecommons.org/licenses/by/4.0/", "key 'abc' after 'abd'", "user@example.org", "a: b"):
        assert redact(text) == text


def test_the_environments_own_secrets_are_taken_out(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an-odd-looking-secret")
    assert redact("server said: an-odd-looking-secret is wrong") == "server said: *** is wrong"


@settings(max_examples=40)
@given(st.from_regex(r"[A-Za-z0-9:_.!-]{6,20}", fullmatch=True))
def test_no_password_of_an_address_passes(password):
    assert f":{password}@" not in redact(f"cannot reach s3://user:{password}@host/bucket (timeout)")


def test_addresses_have_one_form():
    assert check_url("S3://bucket/a/b/") == "s3://bucket/a/b"
    assert check_url("s3:/bucket/a") == "s3://bucket/a"  # as a path type leaves it
    assert check_url("gs://bucket") == "gs://bucket"
    assert check_url("file:///data/sets/") == "file:///data/sets"
    assert is_url("s3://b/x") and not is_url("C:/data") and not is_url("/data/s3://x") and not is_url("out/mine")


@pytest.mark.parametrize("text", ["s3://", "s3://b", "ftp://host/x", "s3://bucket/../x", "s3://bucket//x", "out/mine",
                                  "s3://user:pw-of-mine@bucket/x", "gs://bucket/x?sig=pw-of-mine", "file://host/x"])
def test_other_addresses_are_refused_without_their_secrets(text):
    with pytest.raises(UrlError) as refused:
        check_url(text)
    assert "pw-of-mine" not in str(refused.value)


def test_recipes_refuse_secrets_and_media_behind_addresses():
    source = {"kind": "rendered", "num_scenes": 1}
    recipe = recipe_from_dict({"source": source, "shards": {"publish": "s3://bucket/mine/"}})
    assert recipe.shards.publish == "s3://bucket/mine"
    assert recipe.writing_fingerprint() == recipe_from_dict({"source": source}).writing_fingerprint()
    with pytest.raises(RecipeError, match="do not stay secret") as refused:
        recipe_from_dict({"source": source, "shards": {"publish": "s3://me:pw-of-mine@bucket/x"}})
    assert "pw-of-mine" not in str(refused.value)
    with pytest.raises(RecipeError, match=r"source\.root must be a folder.*mount") as refused:
        recipe_from_dict({"source": {"kind": "side_by_side", "root": "s3://bucket/media?sig=pw-of-mine",
                                     "calibration": {"fx": 500, "baseline_m": 0.1}}})
    assert "pw-of-mine" not in str(refused.value)


def test_shards_and_manifest_hold_no_secrets(tmp_path):
    publish(tmp_path, shard_samples.samples(1), run_info={"from": "https://me:pw-of-mine@host/x?sig=pw-of-mine"})
    assert not any(b"pw-of-mine" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert json.loads((tmp_path / "shards/manifest.json").read_text())["run"] == {"from": "https://***@host/x?***"}


# ---- a folder as a store -------------------------------------------------------------------------------------------

@pytest.fixture
def out(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    publish(tmp_path / "out", shard_samples.samples(4), max_samples=2)
    return tmp_path / "out"


def num_files(out) -> int:
    return sum(p.is_file() for p in (out / "shards").rglob("*"))


def media(path) -> list[bytes]:
    return [clip["media"]["v0.mp4"] for clip in shards.read(path, flatten=False)]


def test_a_set_published_to_a_folder_is_the_same_set(out, tmp_path):
    done = publish_set(out, f"file://{tmp_path}/store")
    assert done.uploaded == num_files(out) and not done.orphans
    assert shards.verify(tmp_path / "store") == [] == shards.verify(f"file://{tmp_path}/store")
    there = tmp_path / "store" / done.folder
    for path in (out / "shards").rglob("*"):
        if path.is_file():
            assert (there / path.relative_to(out / "shards")).read_bytes() == path.read_bytes()
    again = publish_set(out, tmp_path / "store")
    assert (again.uploaded, again.kept) == (0, num_files(out))


def test_readers_of_the_older_set_go_on_until_it_is_pruned(out, tmp_path):
    store = tmp_path / "store"
    first = publish_set(out, store)
    reader = iter(shards.read(store, flatten=False))
    seen = [next(reader)["key"]]
    older = shards.read(store, flatten=False)
    publish(out, shard_samples.samples(5), max_samples=2)
    done = publish_set(out, store)
    assert f"{first.folder}: {len(done.orphans)} objects" in str(done)
    assert done.copied >= 2 and done.orphans  # the shards that both sets share were copied inside the store
    assert len(media(store)) == 5
    assert len([*seen, *(clip["key"] for clip in reader)]) == 4 == len(list(older))
    pruned = publish_set(out, store, prune=True)
    assert pruned.removed == len(done.orphans) and shards.verify(store) == []
    assert {p.name for p in (store / "sets").iterdir()} == {Path(done.folder).name}
    with pytest.raises(ShardError, match="another set was published there"):
        list(older)


def test_a_torn_local_set_is_not_published(out, tmp_path):
    path = out / "shards" / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ShardError, match="not what the manifest says"):
        publish_set(out, tmp_path / "store")
    with pytest.raises(ShardError, match="nothing is published yet"):
        shards.read(tmp_path / "store")


def test_an_upload_with_other_bytes_is_sent_again(out, tmp_path):
    done = publish_set(out, tmp_path / "store")
    path = tmp_path / "store" / done.folder / "train-000000.tar"
    path.write_bytes(bytes(path.stat().st_size))
    again = publish_set(out, tmp_path / "store")
    assert (again.uploaded, again.kept) == (1, num_files(out) - 1)
    assert shards.verify(tmp_path / "store") == []


def test_a_pointer_that_is_none_or_leads_out_is_refused(out, tmp_path):
    publish_set(out, tmp_path / "store")
    pointer = tmp_path / "store" / NAME
    for text in ("{", "[]", pointer.read_text().replace('"sets/', '"../sets/'), pointer.read_text().replace("1", "7")):
        pointer.write_text(text)
        with pytest.raises((StorageError, ShardError)):
            shards.read(tmp_path / "store")


def test_a_local_set_replaced_while_it_is_read_is_said_and_never_mixed(out):
    reader = iter(shards.read(out, flatten=False))
    first = next(reader)
    publish(out, (shard_samples.sample(seed, num_bytes=701) for seed in range(4)), max_samples=2)
    assert first["media"]["v0.mp4"]
    assert next(reader)["key"]  # still of the shard that was open
    with pytest.raises(ShardError, match="another set was published"):
        next(reader)
    assert [p.name for p in out.iterdir()] == ["shards"]


def test_a_reader_finds_a_set_at_every_moment_of_a_local_publication(out):
    if not shutil.which("uname") or os.uname().sysname != "Linux":
        pytest.skip("two renames, with a gap between them, where the kernel cannot exchange folders")
    failed, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            try:
                shards.read(out)
            except ShardError as error:
                failed.append(str(error))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for seed in range(15):
            publish(out, [shard_samples.sample(seed, text_only=True)])
    finally:
        stop.set()
        looking.join()
    assert not failed, failed[0]


# ---- conditional puts and the lease --------------------------------------------------------------------------------

def test_conditional_puts(tmp_path):
    store = open_store(tmp_path / "s")
    tag = store.put_if("a.json", b"1", None)
    for condition in (None, store.no_tag):
        with pytest.raises(Conflict):
            store.put_if("a.json", b"2", condition)
    assert store.put_if("a.json", b"2", tag) != tag
    assert store.read("a.json")[0] == b"2"
    assert store.list() == {"a.json": 1}


def test_one_of_many_gets_it(tmp_path):
    store, won = open_store(tmp_path / "s"), []

    def put(number):
        try:
            store.put_if("a.json", str(number).encode(), None)
            won.append(number)
        except Conflict:
            pass

    threads = [threading.Thread(target=put, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and store.read("a.json")[0] == str(won[0]).encode()


def test_a_put_whose_answer_was_lost_is_not_taken_for_a_conflict(tmp_path, monkeypatch):
    store = open_store(tmp_path / "s")
    plain = store._put

    def told_twice(name, data, tag):
        plain(name, data, tag)
        return plain(name, data, tag)  # as a driver does that tries again

    monkeypatch.setattr(store, "_put", told_twice)
    tag = store.put_if("a.json", b"1", None)
    assert store.read("a.json") == (b"1", tag)


def test_a_publisher_whose_answer_was_lost_goes_on(out, tmp_path, monkeypatch):
    store = open_store(tmp_path / "s")
    with Publication(store) as held:
        plain = store._put

        def lost(name, data, tag):
            plain(name, data, tag)
            raise TimeoutError("no answer")

        monkeypatch.setattr(store, "_put", lost)
        with pytest.raises(StorageError, match="no answer"):
            held.publish("sets/a", "a")
        monkeypatch.setattr(store, "_put", plain)
        held.publish("sets/b", "b")
    assert peek(store) == State("sets/b", "b", {})


def test_a_second_publisher_is_refused_and_told_who_holds_it(out, tmp_path):
    refused = pytest.raises(Held, match=rf"process {os.getpid()} on .* is publishing there")
    with Publication(open_store(tmp_path / "s")), refused:
        publish_set(out, tmp_path / "s")
    publish_set(out, tmp_path / "s")
    assert len(media(tmp_path / "s")) == 4


def hold_and_wait(folder, ready) -> None:
    with Publication(open_store(folder)):
        ready.set()
        signal.pause()


def test_a_killed_publisher_is_taken_over_at_once_on_its_own_machine(out, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold_and_wait, args=(tmp_path / "s", ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(Held, match=f"process {holder.pid} "):
        publish_set(out, tmp_path / "s")
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    publish_set(out, tmp_path / "s")
    assert len(media(tmp_path / "s")) == 4


def test_one_that_slept_too_long_is_taken_over_and_cannot_publish(out, tmp_path):
    """What a stopped process or a cut network does: no sign for longer than the lease lasts, then it wakes."""
    store = open_store(tmp_path / "s")
    sleeper = Publication(store, ttl_s=0.05)
    sleeper._beat = lambda: None
    sleeper._thread = threading.Thread(target=sleeper._beat)
    with sleeper:
        while True:
            try:
                done = publish_set(out, tmp_path / "s")
                break
            except Held:
                continue
        with pytest.raises(Held, match="what it uploaded is not published"):
            sleeper.publish("sets/stale", "stale")
        with pytest.raises(Held):
            sleeper.check()
    assert peek(store).folder == done.folder
    assert shards.verify(tmp_path / "s") == []


def test_the_lease_is_renewed_while_work_goes_on(tmp_path):
    store = open_store(tmp_path / "s")
    with Publication(store, ttl_s=0.2):
        first, renewed = peek(store).lease["unix_s"], threading.Event()
        for _ in range(200):
            if peek(store).lease["unix_s"] > first:
                renewed.set()
                break
            renewed.wait(0.05)
        assert renewed.is_set()
    assert peek(store).lease == {}


def test_a_store_that_ignores_conditions_is_not_published_to(out, tmp_path, monkeypatch):
    from curate.storage.local import LocalStore

    def careless(self, name, data, tag):
        self.root.mkdir(exist_ok=True)
        (self.root / name).write_bytes(data)
        return "tag"

    monkeypatch.setattr(LocalStore, "_put", careless)
    with pytest.raises(StorageError, match="does not honour conditional puts"):
        publish_set(out, tmp_path / "s")


def test_paths_into_stores_can_be_carried_to_other_processes():
    place = location("s3://bucket/sets/abc") / "train-000000.tar"
    assert pickle.loads(pickle.dumps(place)) == place
    assert str(place) == "s3://bucket/sets/abc/train-000000.tar" and place.name == "train-000000.tar"
    assert place.parent == location("s3://bucket/sets/abc")
    assert location("file:///data/x") == Path("/data/x") and location("out/x") == Path("out/x")


def test_without_the_driver_the_exact_line_is_said(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules, "curate.storage.s3", raising=False)
    with pytest.raises(StorageError, match=r"pip install 'curate4d\[s3\]'"):
        shards.read("s3://bucket-without-driver/x")


def test_a_run_in_an_object_store_is_refused_with_the_way_to_do_it(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from curate.cli.main import main
    from curate.engine.ledger import Out

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UrlError, match=r"OUT must be a folder.*--publish s3://BUCKET/PREFIX"):
        Out("s3://me:pw-of-mine@bucket/out")
    for arguments in (["run", "r.yaml", "--out", "s3://me:pw-of-mine@bucket/out"], ["preview", "s3://bucket/out"],
                      ["ask", "gs://bucket/out", "--recipe", "r.yaml"]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2 and "curate publish FOLDER" in done.output and "pw-of-mine" not in done.output
    assert list(tmp_path.iterdir()) == []
