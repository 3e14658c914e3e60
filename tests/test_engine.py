"""The engine: every planned clip ends exactly once, whatever happens to workers, files and the process."""

import json
from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.ledger import Out, OutError, clips_of
from curate.engine.loop import work
from curate.engine.outcome import Fatal, Outcome, failure
from curate.engine.plan import make_plan
from curate.engine.run import run, write_again
from curate.engine.stage import put
from curate.recipe import recipe_from_dict
from curate.sources.base import BadInput, ClipSpec


def clip(index: int) -> ClipSpec:
    return ClipSpec(f"{index:024x}", "fake", f"video{index}.mp4", f"video{index}", 0, 8)


class ScriptedPool:
    """Answers each try of a clip with the next outcome of its script; the last one stays."""

    name = "scripted"
    in_process = False

    def __init__(self, scripts: dict[str, list[str]], num_workers: int = 2) -> None:
        self.scripts, self.num_workers = {k: deque(v) for k, v in scripts.items()}, num_workers
        self.running: list[ClipSpec] = []
        self.tries: Counter = Counter()
        self.beside: dict[str, list[int]] = {}

    def submit(self, item: ClipSpec, deadline_s: float) -> None:
        self.running.append(item)
        assert len(self.running) <= self.num_workers
        self.tries[item.key] += 1

    def wait(self, timeout_s: float) -> list[Outcome]:
        item = self.running[-1]
        self.beside.setdefault(item.key, []).append(len(self.running) - 1)
        self.running.pop()
        script = self.scripts[item.key]
        kind = script.popleft() if len(script) > 1 else script[0]
        if kind in ("done", "filtered"):
            return [Outcome(item.key, kind)]
        return [Outcome(item.key, "failed", kind, kind)]


kinds = st.lists(st.sampled_from(["done", "filtered", "bad_input", "transient", "timeout", "lost", "error"]),
                 min_size=1, max_size=5)


@given(st.lists(kinds, min_size=1, max_size=12), st.integers(1, 4))
@settings(deadline=None, max_examples=200)
def test_every_clip_is_settled_exactly_once(scripts, num_workers):
    clips = [clip(i) for i in range(len(scripts))]
    pool = ScriptedPool({c.key: s for c, s in zip(clips, scripts)}, num_workers)
    settled = []
    work(clips, pool, lambda c, outcome: settled.append(c.key), backoff_s=0)
    assert sorted(settled) == sorted(c.key for c in clips)
    assert max(pool.tries.values()) <= 1 + 2 + 1 + 4  # transient, timeout and lost, each bounded


def end_of(script: list[str]) -> tuple[Outcome, int]:
    pool, settled = ScriptedPool({clip(0).key: script}), []
    work([clip(0)], pool, lambda c, outcome: settled.append(outcome), max_retries=2,
         backoff_s=0)
    return settled[0], pool.tries[clip(0).key]


def test_transient_failures_are_tried_again_and_bad_input_is_not():
    assert end_of(["transient", "transient", "done"])[0].state == "done"
    assert end_of(["transient"])[1] == 3
    assert end_of(["bad_input"])[1] == end_of(["error"])[1] == 1
    assert end_of(["timeout"])[1] == 2
    assert end_of(["lost", "lost", "done"])[0].state == "done"
    assert end_of(["lost"])[1] == 5  # twice beside others, three times alone


def test_a_clip_whose_worker_vanished_twice_works_alone():
    clips = [clip(i) for i in range(6)]
    scripts = {c.key: ["done"] for c in clips} | {clips[1].key: ["lost", "lost", "done"]}
    pool = ScriptedPool(scripts, 3)
    work(clips, pool, lambda c, outcome: None)
    assert pool.beside[clips[1].key][-1] == 0


def test_a_clip_is_not_to_blame_for_nodes_that_go_but_for_ever_more_of_them():
    class Leaving(ScriptedPool):
        def wait(self, timeout_s):
            return [replace(o, meta={"cause": "node"}) if o.kind == "lost" else o for o in super().wait(timeout_s)]

    pool, settled = Leaving({clip(0).key: ["lost"] * 8 + ["done"], clip(1).key: ["lost"]}), {}
    work([clip(0), clip(1)], pool, lambda c, outcome: settled.update({c.key: outcome}))
    assert settled[clip(0).key].state == "done" and settled[clip(1).key].kind == "lost"
    assert settled[clip(1).key].tries == 10


def test_a_missing_package_stops_the_run():
    assert failure("k", ImportError("no cv2")).kind == "fatal"
    with pytest.raises(Fatal, match=r"video0\.mp4"):
        work([clip(0)], ScriptedPool({clip(0).key: ["fatal"]}), lambda c, outcome: None)


def test_a_full_disk_stops_the_run_and_a_flaky_one_is_tried_again():
    import errno

    assert failure("k", OSError(errno.ENOSPC, "full")).kind == "fatal"
    assert failure("k", OSError(errno.EIO, "flaky")).kind == "transient"
    assert failure("k", BadInput("x.mp4: torn")).reason == "x.mp4: torn"


def test_a_staged_folder_is_whole_or_absent_and_the_first_one_stays(tmp_path):
    put(tmp_path, "aa", {"scene.npz": b"first"})
    put(tmp_path, "aa", {"scene.npz": b"second"})
    assert (tmp_path / "scenes/aa/scene.npz").read_bytes() == b"first"
    assert [p.name for p in (tmp_path / "scenes").iterdir()] == ["aa"]


def test_the_ledger_survives_a_torn_last_line(tmp_path):
    with Out(tmp_path) as held:
        held.record(clip(0), Outcome(clip(0).key, "done"))
    with (tmp_path / "ledger.jsonl").open("a") as f:
        f.write('{"key": "00')
    with Out(tmp_path) as held:
        held.record(clip(1), Outcome(clip(1).key, "filtered", reason="dark"))
        assert {e["key"]: e["state"] for e in clips_of(tmp_path)} == {clip(0).key: "done", clip(1).key: "filtered"}


def test_a_second_run_in_the_same_folder_names_the_holder(tmp_path):
    with Out(tmp_path), pytest.raises(OutError, match="in use by process"):
        Out(tmp_path)


SMALL = {"source": {"kind": "rendered", "num_scenes": 2, "seed": 1, "width": 320, "height": 192},
         "clip": {"num_frames": 10, "max_clips": 2},
         "engine": {"kind": "inline", "isolate": False}}  # tests replace parts of the worker


def files_of(out) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for folder in ("scenes", "shards")
            for p in sorted((out / folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def inline_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("inline")
    return out, run(recipe_from_dict(SMALL), out)


def test_a_run_accounts_for_every_clip_and_publishes_questions(inline_run):
    from curate.shards import verify

    out, summary = inline_run
    assert summary.exit_code == 0 and summary.counts["done"] == summary.planned == 2
    assert summary.questions > 0 and sum(summary.families.values()) == summary.questions
    assert verify(out / "shards") == []
    manifest = json.loads((out / "shards/manifest.json").read_text())
    assert manifest["run"]["planned"] == 2


def test_a_second_run_perceives_nothing_and_gives_the_same_bytes(inline_run):
    out, _ = inline_run
    before = files_of(out)
    assert run(recipe_from_dict(SMALL), out).workers == "none needed"
    assert files_of(out) == before


def test_a_lost_scene_is_made_again_to_the_byte(inline_run):
    import shutil

    out, _ = inline_run
    before = files_of(out)
    shutil.rmtree(next((out / "scenes").iterdir()))
    assert run(recipe_from_dict(SMALL), out).exit_code == 0
    assert files_of(out) == before


def test_other_perception_settings_are_refused_with_what_differs(inline_run):
    out, _ = inline_run
    with pytest.raises(OutError, match=r"source\.seed: 1 -> 2"):
        run(recipe_from_dict(SMALL, ["source.seed=2"]), out)


def test_questions_are_written_again_from_the_scenes_alone(inline_run, tmp_path):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(inline_run[0], out)
    summary = write_again(out, recipe_from_dict(SMALL, ["questions.families=[object_camera_distance]"]))
    assert set(summary.families) == {"object_camera_distance"}


def test_asking_again_counts_a_scene_that_is_gone_and_keeps_the_licence_of_the_run(inline_run, tmp_path):
    import shutil

    from curate.shards import read

    out = tmp_path / "copy"
    shutil.copytree(inline_run[0], out)
    shutil.rmtree(next((out / "scenes").iterdir()))
    run_info = json.loads((out / "run.json").read_text())
    run_info["recipe"]["source"]["licence"] = "CC0-1.0"
    (out / "run.json").write_text(json.dumps(run_info))
    other = {**SMALL, "source": {"kind": "side_by_side", "root": "elsewhere", "licence": "mine"}}
    summary = write_again(out, recipe_from_dict(other))
    assert summary.counts == {"done": 1, "missing": 1} and summary.planned == 2 and summary.exit_code == 1
    licences = {item["json"]["source"]["licence"] for item in read(out / "shards", flatten=False)}
    assert licences == {"CC0-1.0"}


def test_a_scene_that_never_reached_the_folder_makes_the_run_fail(tmp_path, monkeypatch):
    from curate.engine.stage import ClipWorker

    def elsewhere(self, spec):  # as a worker on a node that does not share OUT
        return Outcome(spec.key, "done")

    monkeypatch.setattr(ClipWorker, "_perceive", elsewhere)
    summary = run(recipe_from_dict(SMALL), tmp_path)
    assert summary.counts == {"missing": 2} and summary.exit_code == 1


def test_a_folder_that_is_not_ours_keeps_its_hidden_files(tmp_path):
    (tmp_path / "scenes/.cache").mkdir(parents=True)
    with pytest.raises(OutError, match=r"holds other files \(scenes\)"):
        run(recipe_from_dict(SMALL), tmp_path)
    assert (tmp_path / "scenes/.cache").is_dir()


def test_a_torn_scene_is_named(inline_run, tmp_path):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(inline_run[0], out)
    next((out / "scenes").glob("*/scene.npz")).write_bytes(b"torn")
    with pytest.raises(Fatal, match=r"scenes/[0-9a-f]+: torn .*scene\.npz: not a scene file"):
        write_again(out, recipe_from_dict(SMALL))


def test_a_bad_clip_among_good_ones_is_quarantined_and_the_others_land(tmp_path, monkeypatch):
    from curate.engine.stage import ClipWorker

    good = ClipWorker._perceive

    def perceive(self, spec):
        if spec == plan.clips[0]:
            raise BadInput(f"{spec.uri}: torn")
        return good(self, spec)

    plan = make_plan(recipe_from_dict(SMALL))
    monkeypatch.setattr(ClipWorker, "_perceive", perceive)
    summary = run(recipe_from_dict(SMALL), tmp_path)
    assert summary.exit_code == 3 and summary.counts == {"done": 1, "quarantined": 1}
    assert "torn" in (tmp_path / "quarantine.jsonl").read_text()
    monkeypatch.undo()
    assert run(recipe_from_dict(SMALL), tmp_path).exit_code == 3  # kept until asked for
    assert run(recipe_from_dict(SMALL), tmp_path, retry=True).exit_code == 0
    assert (tmp_path / "quarantine.jsonl").read_text() == ""


def test_asking_again_keeps_to_the_last_plan(inline_run, tmp_path):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(inline_run[0], out)
    fewer = recipe_from_dict(SMALL, ["clip.max_clips=1"])
    assert run(fewer, out).planned == 1
    assert write_again(out, fewer).planned == 1
    assert len(list((out / "scenes").iterdir())) == 2  # nothing is deleted


@pytest.mark.ray
def test_inline_and_ray_give_the_same_bytes(inline_run, tmp_path):
    summary = run(recipe_from_dict(SMALL, ["engine.kind=ray", "engine.workers=2"]), tmp_path)
    assert summary.workers == "2 ray" and summary.exit_code == 0
    assert files_of(tmp_path) == files_of(inline_run[0])


def test_a_module_that_is_missing_stops_the_run(tmp_path, monkeypatch):
    from curate import perception

    monkeypatch.setitem(perception.ESTIMATORS, "dis", "curate.perception.flow.no_such_module:Dis")
    monkeypatch.setattr("curate.recipe.model.Recipe.perception_parts", lambda self: {})
    with pytest.raises(Fatal, match="no_such_module"):
        run(recipe_from_dict(SMALL), tmp_path)


def test_weights_that_cannot_be_read_stop_the_run_and_quarantine_nothing(tmp_path, monkeypatch):
    from curate.perception.flow.dis import Dis

    def setup(self):
        raise BadInput("some.onnx: cannot be read; copy it again")

    monkeypatch.setattr(Dis, "setup", setup)
    with pytest.raises(Fatal, match=r"the workers do not start: some\.onnx: cannot be read; copy it again"):
        run(recipe_from_dict(SMALL), tmp_path)
    assert not (tmp_path / "quarantine.jsonl").exists() or not (tmp_path / "quarantine.jsonl").read_text()


@pytest.mark.ray
def test_on_a_cluster_there_are_as_many_workers_as_it_has_cpus_for(tmp_path):
    import ray

    from curate.engine.ray_pool import RayPool

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    try:
        recipe = recipe_from_dict(SMALL, ["engine.address=auto", "engine.cpus_per_worker=1.5"])
        pool = RayPool(recipe, str(tmp_path), None, num_clips=10)
        assert pool.num_workers == 2
        pool.close()
        assert ray.is_initialized()  # a Ray that was there before is left as it was
    finally:
        ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_workers_that_cannot_load_their_estimators_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.recipe.model.Recipe.perception_parts", lambda self: {})
    recipe = recipe_from_dict(SMALL, ["engine.kind=ray"])
    flow = recipe.perception.flow.model_copy(update={"kind": "no-such-flow"})
    recipe = recipe.model_copy(update={"perception": recipe.perception.model_copy(update={"flow": flow})})
    with pytest.raises(Fatal, match="no-such-flow"):
        run(recipe, tmp_path)


@pytest.mark.ray
def test_asking_for_more_than_the_machine_has_is_refused_before_any_work(tmp_path):
    recipe = recipe_from_dict(SMALL, ["engine.kind=ray", "engine.gpus_per_worker=64", "engine.workers=1"])
    with pytest.raises(Fatal, match="GPU"):
        run(recipe, tmp_path)
