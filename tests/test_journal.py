"""The ledger's lines outlive kills and tears; the index says how each of many clips stands, in a few bytes."""

import json
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.engine.index import DONE, NONE, ClipIndex, ident
from curate.engine.journal import Journal, read_lines

WRITE = ("import sys\nfrom pathlib import Path\nfrom curate.engine.journal import Journal\n"
         "journal, i = Journal(Path(sys.argv[1])), 0\n"
         "while True:\n    journal.append({'key': i})\n    print(i, flush=True)\n    i += 1\n")


def lines(path):
    return [entry for _, entry in read_lines(path)]


@pytest.mark.parametrize("after", [1, 100, 3000])
def test_no_line_that_was_appended_is_lost_to_a_kill(tmp_path, after):
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path / "j")], stdout=subprocess.PIPE, text=True)
    for _ in range(after):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    told = [last, *map(int, process.stdout.read().split("\n")[:-1])]
    process.wait()
    written = [entry["key"] for entry in lines(tmp_path / "j")]
    assert written == list(range(len(written))) and len(written) > told[-1]


@given(st.integers(0, 200), st.binary(max_size=12))
def test_a_torn_end_costs_the_torn_line_alone(tmp_path_factory, cut, garbage):
    path = tmp_path_factory.mktemp("torn") / "j"
    journal = Journal(path)
    for i in range(10):
        journal.append({"key": i})
    journal.close()
    data = path.read_bytes()
    path.write_bytes(data[:cut] + garbage.replace(b"\n", b" "))
    whole = len(data[:cut].splitlines()) - (not data[:cut].endswith(b"\n")) if data[:cut] else 0
    journal = Journal(path)
    journal.append({"key": "after"})
    journal.close()
    keys = [entry.get("key") for entry in lines(path)]
    assert keys[:whole] == list(range(whole)) and keys[-1] == "after"
    assert len(keys) <= whole + 2  # the line that was cut at its very end may still be read


def test_a_line_that_is_being_written_is_not_read_and_offsets_find_lines_again(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b'{"key": "a"}\n[1]\nnull\n{"key": "b"}\n{"key": "c"}')
    found = list(read_lines(path))
    assert [entry["key"] for _, entry in found] == ["a", "b"]
    assert json.loads(path.read_bytes()[found[1][0]:].splitlines()[0]) == {"key": "b"}
    assert list(read_lines(tmp_path / "none")) == []


def test_a_disk_that_cannot_sync_is_told_at_the_next_line(tmp_path, monkeypatch):
    import errno
    import os
    import time

    def fsync(fd):
        raise OSError(errno.EIO, "broken disk")

    journal = Journal(tmp_path / "j")
    monkeypatch.setattr(os, "fsync", fsync)
    journal.append({"key": 0})
    deadline = time.monotonic() + 30
    with pytest.raises(OSError, match="broken disk"):
        while time.monotonic() < deadline:
            time.sleep(0.01)
            journal.append({"key": 1})
    with pytest.raises(OSError, match="broken disk"):
        journal.close()


keys = st.lists(st.one_of(st.integers(0, 2**96 - 1).map(lambda i: f"{i:024x}"), st.text(min_size=1, max_size=30)),
                min_size=1, max_size=40, unique=True)


@given(keys, st.data())
def test_the_index_stands_for_a_dict_of_states(found, data):
    planned = found[: data.draw(st.integers(1, len(found)))]
    index = ClipIndex(bytearray(b"".join(map(ident, planned))))
    assert index.twice is None and len(index) == len(planned)
    states, staged = dict.fromkeys(planned, NONE), set()
    steps = st.lists(st.tuples(st.sampled_from(found), st.sampled_from([NONE, DONE, "filtered", "timeout", "lost"])))
    for key, state in data.draw(steps):
        at = index.find(key)
        assert (at >= 0) == (key in states)
        if at >= 0:
            index.set(at, state)
            states[key] = state
    staged = set(data.draw(st.lists(st.sampled_from(found))))
    assert index.stage_only(sorted(staged)) == len(staged - set(planned))
    for key in planned:
        at = index.find(key)
        assert index.state(at) == states[key] and index.staged(at) == (key in staged)
    to_do = [k for k in planned if k not in staged and states[k] in (NONE, DONE)]
    assert index.num_to_do() == len(to_do) == sum(index.needs_work(index.find(k)) for k in planned)
    counts = index.counts()
    assert counts.total() == len(planned) and counts[DONE] == len(staged & set(planned))
    assert set(index.select(["lost"]).tolist()) == {index.find(k) for k in planned
                                                   if states[k] == "lost" and k not in staged}


def test_a_key_that_is_planned_twice_is_found():
    keys = [f"{i:024x}" for i in (0, 7, 1 << 95, 7)]
    assert ClipIndex(bytearray(b"".join(map(ident, keys)))).twice == ident(keys[1])
