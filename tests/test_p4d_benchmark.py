"""The experiment of the trainer: what its questions may not tell, its arms, the probe, its rows, what is counted."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import curate  # noqa: E402
from benchmarks import p4d, p4d_arms, p4d_probe, p4d_rows  # noqa: E402
from benchmarks.p4d_arms import ARMS, NO_TIMES, QUICK, Job  # noqa: E402
from benchmarks.p4d_data import RECIPE, SCENES, overrides  # noqa: E402
from curate.synth.distribution import load_distribution  # noqa: E402
from curate.synth.sample import sample_scene  # noqa: E402

# ---- the shards ----

def test_time_can_be_read_off_neither_the_frame_count_nor_how_far_things_go():
    distribution = load_distribution(SCENES)
    scenes = [sample_scene(1, i, distribution, 192, 112) for i in range(36)]
    assert {scene.num_frames for scene in scenes} == {8}
    seconds = np.array([scene.time_s[-1] for scene in scenes])
    rates = [1.0, *(variant.playback for variant in curate.load_recipe(RECIPE).augment)]
    assert seconds.min() / max(rates) < 0.26 and seconds.max() / min(rates) > 4.5  # 1.4 to 30 frames a second
    gone = np.array([np.linalg.norm(body.T_world_obj.translation[-1] - body.T_world_obj.translation[0])
                     for scene in scenes for body in scene.objects if body.moves])
    depth = np.array([body.T_world_obj.translation[0, 2] for scene in scenes for body in scene.objects if body.moves])
    ahead = np.array([scene.camera_motion != "driving" for scene in scenes])
    assert abs(np.corrcoef(np.log(gone / depth)[ahead], np.log(seconds)[ahead])[0, 1]) < 0.45


def test_no_question_states_a_time():
    import re

    from curate.questions import ask
    from tests.family_scenes_motion import motion_scene, straight

    recipe = curate.load_recipe(RECIPE, overrides(3))
    scene = motion_scene((straight((0, 0, 5), (1.5, 0, 0)),))
    questions, _ = ask(scene, recipe.questions)
    families = {q.family for q in questions}
    assert {"video_duration", "object_mean_speed", "object_direction"} <= families
    for question in questions:
        stem = question.question.split("\nAnswer with")[0]
        assert not re.search(r"\d\s*s\b|\d+ (?:milli)?second", stem), stem


# ---- the arms ----

def test_arms_of_a_seed_differ_in_their_strategy_alone():
    plain = {arm: p4d_arms.recipe_of(Job(arm, 2, "set", "teacher", "start-2", "runs", QUICK)) for arm in ARMS}
    from curate.train.config import TrainRecipe

    made = {arm: TrainRecipe.model_validate(recipe) for arm, recipe in plain.items()}
    for recipe in made.values():
        assert recipe.student == made["sft"].student and recipe.optim == made["sft"].optim
        assert recipe.data.model_copy(update={"teacher": False}) == made["sft"].data
        assert recipe.seed == recipe.data.seed == 2
    assert {arm for arm, recipe in made.items() if not recipe.strategy.timestamps} == {
        arm for arm in ARMS if arm.endswith(NO_TIMES)}
    for size in (QUICK, replace(QUICK, vision_steps=0)):
        two, three = (p4d_arms.recipe_of(Job("sft", seed, "set", "teacher", f"start-{seed}", "runs", size))["student"]
                      for seed in (2, 3))
        assert two != three
    assert two["tiny"]["seed"] != three["tiny"]["seed"]  # of random students
    assert made["latent"].strategy.p4d.signals == [] and made["explicit"].strategy.p4d.latent_weight == 0
    assert set(p4d.ORDER) == set(ARMS)


def test_students_that_learned_to_see_first_share_their_encoder_and_nothing_else(tmp_path):
    from benchmarks.p4d_start import fitted, make_starts, start_of
    from curate.train.config import TrainRecipe
    from curate.train.students import load_student
    from tests.train_sets import clip_sample, clip_teacher, write_set

    shards = write_set(tmp_path / "set", [clip_sample(i, num_frames=4, teacher=clip_teacher,
                                                       split="val" if i > 3 else "train") for i in range(6)])
    size = replace(QUICK, vision_steps=3, batch=4, student={**p4d_arms.SMALL, "image_size": 32, "patch_size": 16})
    make_starts(tmp_path / "starts", str(shards), size, 2)
    assert set(fitted(tmp_path / "starts")) == {"seen", "place"} and fitted(tmp_path / "none") is None
    recipes = [p4d_arms.recipe_of(Job("sft", seed, "set", "teacher", str(start_of(tmp_path / "starts", seed)), "runs",
                                      size)) for seed in (0, 1)]
    one, two = (load_student(TrainRecipe.model_validate(recipe).student) for recipe in recipes)
    assert one.trained.vision == "frozen" and one.trained.llm == "full"
    for part, same in (("vision", True), ("llm", False)):
        pairs = zip(one.part_parameters(part), two.part_parameters(part))
        assert all(torch.equal(a, b) for (_, a), (_, b) in pairs if a.ndim > 1) is same
    untrained = load_student(TrainRecipe.model_validate(p4d_arms.recipe_of(
        Job("sft", 0, "set", "teacher", "", "runs", replace(size, vision_steps=0)))).student)
    assert any(not torch.equal(a, b) for (_, a), (_, b) in zip(one.part_parameters("vision"),
                                                               untrained.part_parameters("vision")))


def test_results_of_another_size_set_arm_or_teacher_are_not_taken(tmp_path, monkeypatch):
    def manifest(questions: str, tensors: str) -> None:
        (tmp_path / "manifest.json").write_text(json.dumps({
            "shards": [{"name": "train-000000.tar", "sha256": questions}], "teacher": {"sha256": tensors}}))

    manifest("one", "a")
    known = p4d_arms.fingerprint(tmp_path, QUICK)
    assert known == p4d_arms.fingerprint(tmp_path, QUICK)
    assert known != p4d_arms.fingerprint(tmp_path, replace(QUICK, steps=7))
    manifest("one", "b")  # other latents, which only some arms learn from
    assert known == p4d_arms.fingerprint(tmp_path, QUICK)
    monkeypatch.setitem(ARMS, "p4d", replace(ARMS["p4d"], strategy={"name": "p4d"}))
    assert known != p4d_arms.fingerprint(tmp_path, QUICK)
    monkeypatch.undo()
    assert known == p4d_arms.fingerprint(tmp_path, QUICK)
    manifest("two", "a")
    assert known != p4d_arms.fingerprint(tmp_path, QUICK)
    apart = {arm for arm in ARMS if p4d_arms.folder_of(arm, tmp_path, "t1") != p4d_arms.folder_of(arm, tmp_path, "t2")}
    assert {"p4d", "latent", "explicit", "pe", "concat"} <= apart and not {"sft", "sft" + NO_TIMES, "coords"} & apart


def test_jobs_begin_with_the_core_and_give_each_arm_every_seed(tmp_path):
    jobs = p4d.jobs_of(p4d.QUICK_ARMS, 3, *[tmp_path] * 4, "teacher", QUICK)
    assert len({job.start for job in jobs}) == 3, "one start for all arms of a seed"
    assert {job.arm for job in jobs[:9]} == set(p4d.CORE)
    assert len({job.name for job in jobs}) == len(jobs) == 3 * len(p4d.QUICK_ARMS)


def test_a_result_that_is_there_is_not_made_again(tmp_path):
    job = Job("sft", 0, "no set", "no teacher", "no start", str(tmp_path), QUICK)
    job.result.write_text(json.dumps({"arm": "sft"}))
    assert p4d_arms.run(job) == {"arm": "sft"}


# ---- the probe ----

def tokens(rng, num_clips, noise):
    """Features that hold the log depth of two cells, mixed and with noise; it is 2 larger in odd places."""
    place = np.tile(np.arange(4), num_clips * 5)
    log_depth = rng.normal(1, 0.4, (num_clips * 20, 2)) + 2 * (place % 2)[:, None]
    x = np.concatenate([log_depth, np.ones((len(log_depth), 1))], 1) @ np.random.default_rng(5).normal(0, 1, (3, 6))
    clip = np.arange(num_clips).repeat(20)
    return p4d_probe.Rows(x + rng.normal(0, noise, x.shape), np.exp(log_depth), place, clip,
                          [f"clip{i}" for i in range(num_clips)])


def test_the_probe_reads_depth_that_is_there_and_cannot_where_noise_hides_it():
    rng = np.random.default_rng(0)
    clear, place = p4d_probe.probe(tokens(rng, 30, 0.0), tokens(rng, 10, 0.0))
    hidden, _ = p4d_probe.probe(tokens(rng, 30, 300.0), tokens(rng, 10, 300.0))
    assert len(clear) == 10 and max(clear.values()) < 1e-3
    assert 0.2 < np.mean(list(place.values())) < 0.5  # about what the mean of log normal depths errs by
    assert np.mean(list(hidden.values())) == pytest.approx(np.mean(list(place.values())), abs=0.1)


def test_tokens_that_know_their_place_alone_are_worth_no_more_than_their_place():
    rng = np.random.default_rng(2)
    train, test = (replace(rows, x=np.eye(4)[rows.place] + rng.normal(0, 1e-3, (len(rows.x), 4)))
                   for rows in (tokens(rng, 30, 0.0), tokens(rng, 10, 0.0)))
    found, place = p4d_probe.probe(train, test)
    assert np.mean(list(found.values())) == pytest.approx(np.mean(list(place.values())), rel=0.1)


def test_cells_whose_depth_is_unknown_are_left_out_and_clips_of_a_recording_are_one():
    rng = np.random.default_rng(1)
    train, test = tokens(rng, 30, 0.0), tokens(rng, 10, 0.0)
    train.depth[::3, 0] = np.nan
    test.depth[test.clip == 4] = np.nan
    test.depth[test.clip == 5, 1] = np.nan
    found, _ = p4d_probe.probe(train, test)
    assert "clip4" not in found and len(found) == 9 and max(found.values()) < 1e-3
    assert p4d_probe.by_recording(np.array([0.1, 0.3, np.nan, 0.5]), ["a", "a", "a", "b"]) == {
        "a": pytest.approx(0.2), "b": 0.5}


def test_depth_cells_are_those_under_their_token():
    depth = np.arange(16.0).reshape(4, 4)
    cells = p4d_probe.depth_cells(depth, (2, 2))
    assert cells.shape == (2, 2, 4)
    assert cells[0, 1].tolist() == [2, 3, 6, 7] and cells[1, 0].tolist() == [8, 9, 12, 13]
    with pytest.raises(ValueError, match="do not divide"):
        p4d_probe.depth_cells(depth, (3, 3))


# ---- rows ----

def result(arm, seed, right, families=("video_duration", "object_direction")):
    """40 questions of 20 recordings; `right`: share of each family that is right."""
    items = [[f"q{i}", families[i % 2], f"r{i // 2}", "choice", float((i // 2) < 20 * right[i % 2]), ""]
             for i in range(40)]
    return {"arm": arm, "seed": seed, "items": items, "blind": {item[0]: 0.25 for item in items},
            "losses": {"sft": [2.0, 1.0]}, "load_over_step": 5.0, "absrel": {f"r{i}": 0.3 for i in range(20)}}


def by_name(rows):
    return {row["name"].split(" (")[0]: row for row in rows}


def test_rows_say_what_timestamps_bring_and_whether_it_is_enough():
    results = p4d_rows.Results([result("sft", s, (0.9, 0.5)) for s in range(3)]
                               + [result("sft" + NO_TIMES, s, (0.3, 0.5)) for s in range(2)])
    rows = by_name(p4d_rows.time_rows(results))
    found = rows["sft: timestamps less none, duration and speed"]
    assert found["value"] == pytest.approx(60) and found["ok"] is True
    assert rows["sft: timestamps less none, all"]["value"] == pytest.approx(30)
    assert results.seeds("sft", "sft" + NO_TIMES) == [0, 1]  # pairs alone
    assert not any(name.startswith("p4d") for name in rows)


def test_an_arm_is_above_the_guesser_only_where_the_interval_is():
    results = p4d_rows.Results([result("sft", 0, (0.9, 0.9)), result("p4d", 0, (0.3, 0.3))])
    rows = by_name(p4d_rows.accuracy_rows(results))
    assert rows["sft less blind, lower bound"]["ok"] is True
    assert rows["p4d less blind, lower bound"]["ok"] is False
    assert rows["p4d less sft"]["value"] == pytest.approx(-60)
    assert rows["held-out questions of each seed"]["ok"] is False


def test_each_seed_may_draw_other_questions_and_its_arms_share_them():
    def drawn(arm, seed, right):
        one = result(arm, seed, right)
        items = one["items"][:30] if seed == 0 else one["items"][10:]
        return one | {"items": items, "blind": {item[0]: 0.25 for item in items}}

    results = p4d_rows.Results([drawn(arm, s, right) for arm, right in (("sft", (0.0, 0.0)), ("p4d", (1.0, 1.0)))
                                for s in (0, 1)])
    assert (len(results.ids), results.asked) == (40, 30)
    found = results.difference("p4d", "sft")
    assert found.value == 1 and found.of_seeds == (1, 1) and found.low == found.high == 1
    assert results.difference("p4d", None).value == pytest.approx(0.75)
    with pytest.raises(ValueError, match="other questions"):
        p4d_rows.Results([drawn("sft", 0, (1, 1)), result("p4d", 0, (1, 1))])


def test_a_loss_that_rises_in_one_run_is_named():
    worse = result("p4d", 1, (1, 1)) | {"losses": {"sft": [1.0, 0.5], "depth": [1.0, 1.2]}}
    rows = p4d_rows.loss_rows(p4d_rows.Results([result("sft", 0, (1, 1)), worse]))
    assert [row["ok"] for row in rows] == [True, False] and "(p4d, seed 1)" in rows[1]["name"]


def test_what_distillation_has_not_brought_in_one_run_is_named():
    better, worse = ({"train": {"depth": (0.5, 1.0)}, "held out": {"depth": (last, 1.0)}} for last in (0.9, 1.2))
    rows = by_name(p4d_rows.loss_rows(p4d_rows.Results([
        result("sft", 0, (1, 1)), result("p4d", 0, (1, 1)) | {"distilled": better},
        result("p4d", 1, (1, 1)) | {"distilled": worse, "losses": {"sft": [1.0, 0.75]}}])))
    assert {name: row["ok"] for name, row in rows.items()} == {
        "loss sft: last over first, at worst": True,
        "depth on train clips, over the mean video's, at worst": True,
        "depth on held out clips, over the mean video's, at worst": False}
    assert all("(p4d, seed 1)" in row["name"] for row in rows.values() if not row["ok"])


def test_results_of_two_sets_are_not_mixed():
    other = result("p4d", 0, (1, 1))
    other["items"][0][0] = "another"
    with pytest.raises(ValueError, match="p4d, seed 0, was asked other questions"):
        p4d_rows.Results([result("sft", 0, (1, 1)), other])


# ---- operations ----

def test_operations_of_a_product_are_counted_forward_and_backward():
    from benchmarks.p4d_step import operations

    a, b = torch.zeros(3, 5, requires_grad=True), torch.zeros(5, 7, requires_grad=True)
    assert operations(lambda: a @ b) == 2 * 3 * 5 * 7
    assert operations(lambda: (a @ b).sum().backward()) == 3 * 2 * 3 * 5 * 7


def test_what_p4d_adds_to_a_large_student_is_its_decoder():
    """Three layers over the tokens of the teacher's grid, forward, and backward to inputs and weights."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from benchmarks.p4d_step import p4d_operations
    from curate.train.p4d_config import P4DConfig

    grid, width, hidden, channels = (8, 16, 16), 896, 2560, 1408
    decoder = 3 * 2 * 8 * 16 * 16 * (width * hidden + hidden * hidden + hidden * channels)
    with FakeTensorMode():
        found = p4d_operations(width, (*grid, channels), P4DConfig(), torch.nn.ModuleDict())
    assert decoder < found < 1.02 * decoder  # the resampling of tokens comes on top


# ---- the page ----

def test_figures_replace_those_between_the_marks_and_nothing_else(tmp_path):
    from benchmarks.p4d_doc import BEGIN, END, figures, put_figures

    results = p4d_rows.Results([result("sft", 0, (0.9, 0.9))])
    text = figures({"Accuracy": p4d_rows.accuracy_rows(results)}, p4d_rows.family_table(results), ["`command`."])
    assert "1 of 2 targets are met." in text and "**missed**" in text and "| all | 40 | 25.0 | 90.0 |" in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_figures(page, text)
    once = page.read_text()
    assert once.startswith("before\n") and once.endswith("after\n") and "old" not in once
    put_figures(page, text)
    assert page.read_text() == once
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected one line"):
        put_figures(page, text)


def test_the_page_has_its_marks():
    from pathlib import Path

    from benchmarks.p4d_doc import BEGIN, END

    page = (Path(__file__).parents[1] / "docs" / "p4d.md").read_text("utf-8")
    assert page.count(BEGIN) == page.count(END) == 1 and page.index(BEGIN) < page.index(END)


# ---- the start, and what distillation brought ----

def test_an_encoder_is_brought_to_unit_size_and_sees_as_before():
    from benchmarks.p4d_start import to_unit_size
    from curate.train.students import tiny_student

    vision = tiny_student(image_size=32, patch_size=16, vision_width=32, vision_layers=2).model.model.vision_tower
    pixels = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in vision.encoder.layers[-1].mlp.fc2.parameters():
            parameter.mul_(40)  # as a fit may leave it
        before = vision(pixel_values=pixels, output_hidden_states=True)
        to_unit_size(vision, pixels)
        after = vision(pixel_values=pixels, output_hidden_states=True)
    assert before.hidden_states[-1].square().mean() > 4
    assert float(after.hidden_states[-1].square().mean()) == pytest.approx(1, rel=1e-3)
    torch.testing.assert_close(after.last_hidden_state, before.last_hidden_state, rtol=1e-3, atol=1e-3)


def test_terms_of_a_student_stand_beside_those_of_the_mean_video_on_the_same_clips():
    from types import SimpleNamespace

    from benchmarks.p4d_terms import terms

    class Halfway:
        """Says half the latent; the teacher's one head gives the first channel as a depth in log metres."""
        settings = SimpleNamespace(latent_weight=0.5, latent_loss="mse", depth_space="log")
        teacher = SimpleNamespace(decode=lambda signal, latent: latent[..., :1].exp())

        def run(self, batch):
            return None

        def predicted_latent(self, batch, output):
            return batch.latent / 2

        def target_latent(self, batch):
            return batch.latent

        def target_signals(self, batch, latent):
            return {"depth": latent[..., :1].exp()}

    def batch(value, clips):
        return SimpleNamespace(latent=torch.full((clips, 2, 3, 3, 4), value), keys=["a"] * clips)

    found = terms(Halfway(), [batch(1.0, 3), batch(0.4, 1)])
    mean_square = (3 * 1.0 + 0.16) / 4
    assert found["latent"] == pytest.approx((2 * mean_square / 4, 2 * mean_square))  # summed over 2 frames
    assert found["depth"] == pytest.approx((mean_square / 4, mean_square))  # smooth-l1 below 1: half the square
