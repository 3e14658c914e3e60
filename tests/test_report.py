"""The preview: self-contained, escaped, bounded, and true to what lies in OUT."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.geometry.trajectories import accumulate, steps
from curate.questions.doubts import doubts
from curate.report import build_report
from curate.report.answers import answer, certainty, error_split, interval
from curate.report.birdseye import birdseye, camera_covariance, ground_axes, region_track
from curate.report.build import _family, with_tables
from curate.report.collect import clips
from curate.report.rig import rig_facts
from curate.report.scores import curves_of
from curate.scene import RigState, Scene
from curate.shards import ShardError, manifest
from curate.shards.publish import publish
from curate.shards.sample import make_sample
from tests import shard_samples

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.links += [v for k, v in attrs.items() if k in ("src", "href", "poster", "data", "srcset")]


def stage(out, count=3, evil=False, publish_it=True):
    made = []
    for seed in range(count):
        scene = shard_samples.scene(seed)
        asked = shard_samples.questions(scene)
        if evil:
            scene = replace(scene, clip=scene.clip | {"uri": EVIL, "recording": EVIL},
                            regions=[replace(r, label=EVIL) for r in scene.regions])
            asked = [replace(q, question=EVIL + " <R1>", reasoning=[EVIL]) for q in asked]
        folder = out / "scenes" / scene.key
        folder.mkdir(parents=True)
        (folder / "scene.npz").write_bytes(scene.to_bytes())
        for name in ("v0.mp4", "depth.jpg", "frame.jpg"):
            (folder / name).write_bytes(b"x")
        made.append(make_sample(scene, {"v0.mp4": b"x", "mark.jpg": shard_samples.JPEG}, asked))
    entries = [{"key": s.key, "uri": "a.mp4", "start": 0, "state": "done", "reason": ""} for s in made]
    entries.append({"key": "bad", "uri": EVIL if evil else "b.mp4", "start": 0, "state": "quarantined",
                    "reason": "b.mp4: zero bytes"})
    (out / "ledger.jsonl").write_text("\n".join(map(json.dumps, entries)) + '\n{"key": "torn')
    if publish_it:
        publish(out, made, run_info={"planned": count + 1, "name": "my run"})
        (out / "questions.json").write_text(json.dumps({
            "dropped": [{"family": "camera_rotation", "reason": "not clear of zero", "count": 7}],
            "audit": {"option_leak": "pass"}}))
    return out


def test_page_shows_the_run(tmp_path):
    path = build_report(stage(tmp_path))
    assert path == tmp_path / "preview" / "index.html"
    text = path.read_text()
    page = Page(text)
    assert [t for t, _ in page.tags].count("article") == 3
    assert "my run" in text and "b.mp4: zero bytes" in text and "not clear of zero" in text
    assert re.search(r"<b>4</b><span>planned", text) and re.search(r"<b>1</b><span>quarantined", text)
    assert "1.8 m" in text and "1.700 – 1.900 m" in text
    assert '<li class="right"><b>B</b> right</li>' in text
    assert "5.6 %" in text  # (1.9 - 1.7) / 2 / 1.8


def test_everything_it_names_is_there_and_nothing_is_remote(tmp_path):
    path = build_report(stage(tmp_path))
    page = Page(path.read_text())
    assert page.links
    for link in page.links:
        assert "//" not in link and not link.startswith("/")
        assert (path.parent / link).is_file(), link
    assert not {"script", "link", "iframe", "object"} & {t for t, _ in page.tags}
    assert "url(" not in path.read_text() and "@import" not in path.read_text()


def test_foreign_text_is_escaped(tmp_path):
    text = build_report(stage(tmp_path, evil=True)).read_text()
    page = Page(text)
    assert "script" not in {t for t, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "&lt;script&gt;" in text and 'class="chip"' in text


def test_regions_are_named_where_a_name_is_known(tmp_path, monkeypatch):
    def named(path):
        scene = shard_samples.scene(0)
        scene.regions[0].label, scene.regions[0].motion_p = "person", 1e-6
        scene.regions[1].label, scene.regions[1].motion_p = "", 0.7
        return scene

    monkeypatch.setattr("curate.report.build.Scene.load", named)
    text = build_report(stage(tmp_path, count=1)).read_text()
    first, second = (r.id for r in named(None).regions)
    assert f">R{first} person</text>" in text and f">R{second}</text>" in text
    listed = text[text.index('<p class="regions">'):]
    assert re.match(rf'.*R{first}</b> person <span class="dim">moves</span>.*R{second}</b> <span class="dim">still<',
                    listed, re.DOTALL)


def test_bounded(tmp_path):
    out = stage(tmp_path)
    assert "and 2 more clips" in build_report(out, max_clips=1).read_text()
    assert len(list((out / "preview").glob("*.jpg"))) == 1
    assert "and 3 more clips" in build_report(out, max_clips=0).read_text()
    with pytest.raises(ValueError, match="max_clips"):
        build_report(out, max_clips=-1)


def test_of_many_questions_a_few_are_shown_and_the_wrong_ones_first(tmp_path, monkeypatch):
    made = [{"text": str(i), "verdict": {"ok": i != 30}} for i in range(40)]
    family = _family("f", made)
    assert [q["text"] for q in family["questions"]] == ["30", *map(str, range(11))]
    assert (family["total"], family["wrong"], family["more"]) == (40, 1, 28)
    monkeypatch.setattr("curate.report.build.MAX_QUESTIONS", 0)
    assert build_report(stage(tmp_path)).read_text().count("and 1 more in the shards") == 6


def test_same_page_again(tmp_path):
    out = stage(tmp_path)
    first = build_report(out).read_bytes()
    assert build_report(out).read_bytes() == first
    assert not list(out.glob(".preview*"))


def test_before_publication_scenes_are_shown(tmp_path):
    text = build_report(stage(tmp_path, publish_it=False)).read_text()
    assert "Nothing is published yet" in text and text.count("<article>") == 3 and "<svg" in text


def test_a_torn_scene_is_said_and_the_others_shown(tmp_path):
    out = stage(tmp_path)
    path = sorted(out.glob("scenes/*/scene.npz"))[1]
    path.write_bytes(path.read_bytes()[:100])
    text = build_report(out).read_text()
    assert text.count("its scene cannot be read") == 1 and text.count('<figure class="map">') == 2


def test_torn_shards_are_refused(tmp_path):
    out = stage(tmp_path)
    path = out / "shards" / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:-10240])
    with pytest.raises(ShardError):
        build_report(out)


def test_not_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no scenes/"):
        build_report(tmp_path)


def test_ground_axes_are_right_and_forward():
    scene = shard_samples.scene(0)
    level = replace(scene, up_world=np.array([0.0, -1.0, 0.0]))
    level.T_world_cam.rotation[0][:] = np.eye(3)
    assert np.allclose(ground_axes(level), [[1, 0, 0], [0, 0, 1]])


def test_region_track_is_its_world_path():
    scene = shard_samples.scene(2)
    region = scene.regions[0]
    axes = ground_axes(scene)
    track = region_track(scene, region, axes, "#000")
    seen = np.flatnonzero(region.seen)
    world = [scene.T_world_cam.rotation[t] @ region.point_cam[t] + scene.T_world_cam.translation[t] for t in seen]
    assert np.allclose(track.points, np.array(world) @ axes.T)
    assert all((np.linalg.eigvalsh(cov) >= -1e-12).all() for _, cov in track.ends)
    region.point_cam[:] = np.nan
    assert region_track(scene, region, axes, "#000") is None


def test_birdseye_keeps_proportions_and_stays_inside():
    scene = shard_samples.scene(1)
    drawn = birdseye(scene, {})
    bar = float(drawn["bar"]["text"].split()[0])
    axes = ground_axes(scene)
    a, b = (region_track(scene, r, axes, "").points[0] for r in scene.regions[:2])
    pixels = np.subtract(drawn["tracks"][0]["start"], drawn["tracks"][1]["start"])
    assert np.allclose(pixels * [1, -1], (a - b) * drawn["bar"]["pixels"] / bar, atol=0.5)
    for track in drawn["tracks"]:
        assert 0 <= track["end"][0] <= drawn["width"] and 0 <= track["end"][1] <= drawn["height"]


def test_nothing_to_draw_is_no_map_and_a_relative_scale_has_no_metres():
    of = shard_samples.scene(0)
    poses = of.T_world_cam
    still = replace(of, regions=[], T_world_cam=replace(poses, translation=np.zeros_like(poses.translation)))
    assert birdseye(still, {}) is None
    assert birdseye(of, {})["bar"]["text"].endswith(" m")
    assert "no known unit" in birdseye(replace(of, scale="relative"), {})["bar"]["text"]


def test_a_question_with_a_table_shows_a_table_and_escapes_it():
    shown = with_tables("Before <R1>.\n| | at 0 s |\n|---|---|\n| <R1> | <b>[1, 2]</b> |\n\nAfter | it.")
    assert re.sub(r"<b class=.*?</b>", "R1", shown) == (
        'Before R1.<div class="scroll"><table class="given"><tr><td></td><td>at 0 s</td></tr>'
        "<tr><td>R1</td><td>&lt;b&gt;[1, 2]&lt;/b&gt;</td></tr></table></div>\nAfter | it.")


def test_a_clip_without_pictures_or_rig_says_neither_focal_length_nor_baseline(tmp_path, monkeypatch):
    made = replace(shard_samples.scene(0), baseline_m=0.0, has_pictures=False)
    monkeypatch.setattr(shard_samples, "scene", lambda seed: made)
    page = build_report(stage(tmp_path, 1, publish_it=False)).read_text()
    assert "no pictures" in page
    assert "baseline" not in page.partition("<body>")[2] and "left view" not in page


def test_a_frame_without_regions_is_not_said_to_have_marks(tmp_path):
    folder = stage(tmp_path, 1)
    assert "marks in the first frame" in build_report(folder).read_text()
    path = next((folder / "scenes").glob("*/scene.npz"))
    path.write_bytes(replace(Scene.load(path), regions=[]).to_bytes())
    assert "marks in the first frame" not in build_report(folder).read_text()


@pytest.mark.parametrize("value, low, high", [(1.8, 1.7, 1.9), (-0.5, -0.9, 0.1), (0.0, -1.0, 1.0), (0.0, 0.0, 0.0)])
def test_intervals_lie_on_the_bar(value, low, high):
    bar = interval({"value": value, "low": low, "high": high})
    inner = bar["inner"]
    assert 0 <= inner["at"] <= bar["value"] + 0.01 <= 100 and inner["at"] + inner["width"] <= 100.7
    assert 0 <= bar["zero"] <= 100 and bar["outer"] is None and bar["truth"] is None
    assert interval({"value": float("nan"), "low": low, "high": high}) is None


def test_the_bar_is_to_scale_and_the_quantity_is_brought_to_the_unit_asked():
    qa = {"value": 36.0, "low": 32.4, "high": 39.6, "unit": "km/h"}
    quantity = {"quantiles": [8.0, 9.0, 9.4, 9.7, 10.0, 10.3, 10.6, 11.0, 12.0]}  # m/s
    bar = interval(qa, quantity, {"true": 11.5, "one_sided": False})
    percent = (bar["value"] - bar["zero"]) / 36
    assert bar["inner"]["at"] == pytest.approx(32.4 * percent, abs=0.02)
    assert bar["inner"]["width"] == pytest.approx(7.2 * percent, abs=0.02)
    assert bar["outer"]["at"] == pytest.approx(28.8 * percent, abs=0.02)
    assert bar["truth"] == pytest.approx(41.4 * percent, abs=0.02) and bar["true_value"] == pytest.approx(41.4)
    assert bar["relative"] == pytest.approx(0.1)
    assert interval(qa, quantity, {"true": None, "one_sided": False})["truth"] is None


def test_the_split_of_an_error_is_of_its_variance():
    error = {"own": 0.01, "pose": 0.0, "rig": 0.03, "scale": 1e-6}
    parts = error_split({"error": error, "subjects": [3]})
    assert [(p["name"], p["share"]) for p in parts] == [("region", 25.0), ("rig", 75.0)]
    assert error_split({"error": error, "subjects": []})[0]["name"] == "path noise"
    assert parts[1]["at"] == 25.0
    assert error_split({}) == error_split({"error": {"own": 0.0}}) == error_split({"error": {"own": math.nan}}) == []


def test_of_a_direction_its_certainty_is_said():
    quantiles = list(np.radians([0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 3.0, 4.0, 5.0]))
    text = certainty({"value": [1.0, 0, 0], "quantiles": quantiles,
                      "extra": {"probabilities": {"left": 0.995, "up": 0.005, "down": 0.0}}})
    assert text == "the direction is known within 3.5° (95 %); left 99.5 %, up 0.5 %"
    assert certainty({"value": 1.8, "quantiles": quantiles}) == ""
    assert certainty({"value": [1.0, 0, 0]}) == ""


def test_an_answer_shows_its_verdict():
    qa = {"question": "How far?", "options": [], "unit": "km/h", "value": 36.0, "low": 35.0, "high": 37.0,
          "quantities": []}
    judged = {"right": None, "covered": False, "problem": "", "true": 12.0, "one_sided": False, "truth": "43.2 km/h"}
    assert answer(qa, judged)["verdict"] == {"ok": False, "text": "truth 43.2 km/h"}
    assert answer(qa)["verdict"] is None
    lost = judged | {"problem": "a region lies on no one object", "true": None}
    assert answer(qa, lost)["verdict"]["text"] == "a region lies on no one object"


def test_camera_covariance_is_that_of_perturbed_steps():
    """Against Monte Carlo: every step drawn with its error, the path chained again."""
    scene = shard_samples.scene(3)
    rng, num = np.random.default_rng(0), 4000
    root = rng.normal(size=(scene.num_frames, 6, 6)) * np.r_[np.full(3, 2e-3), np.full(3, 1e-2)][:, None]
    scene = replace(scene, step_cov=root @ np.swapaxes(root, 1, 2))
    parts = steps(scene.T_world_cam)
    ends = np.empty((num, 3))
    for i in range(num):
        error = np.einsum("tij,tj->ti", root[1:], rng.normal(size=(scene.num_frames - 1, 6)))
        moved = Pose("before", "after", exp_so3(error[:, :3]) @ parts.rotation, parts.translation + error[:, 3:])
        ends[i] = scene.T_world_cam.rotation[0] @ accumulate(moved).translation[-1]
    expected = np.cov(ends.T)
    assert np.abs(camera_covariance(scene) - expected).max() < 0.1 * np.trace(expected)


RIG = RigState(theta=np.radians([0.01, -0.04, 0.0]), covariance=np.diag(np.radians([0.002, 0.01, 0.005]) ** 2),
               applied=np.radians([0.0, -0.04, 0.0]), significance=np.array([5.0, 4, 0]), cue="motion",
               warning="the published calibration does not fit this clip")


def with_rig(scene):
    scene.rig, scene.rig_step = RIG, np.ones((scene.num_frames, 6))
    return scene


def test_what_is_left_of_the_rig_is_told_with_its_error():
    assert rig_facts(shard_samples.scene(0)) is None
    facts = rig_facts(with_rig(shard_samples.scene(0)))
    pan = facts["angles"][1]
    assert (pan["name"], pan["degrees"], pan["sigma"]) == ("pan", pytest.approx(-0.04), pytest.approx(0.01))
    assert [a["applied"] for a in facts["angles"]] == [False, True, False] and facts["applied"]
    assert facts["shift_px"] == pytest.approx(-np.radians(0.04) * shard_samples.scene(0).camera.fx)
    for angle in facts["angles"]:
        assert 0 <= angle["low"] <= angle["at"] <= angle["low"] + angle["width"] <= 100
    assert facts["cue"] == "the camera's motion"


def test_the_rigs_error_bends_the_cameras_path_as_one():
    """The same offset in every step adds up like n, not like its root."""
    plain = shard_samples.scene(0)
    plain.T_world_cam.rotation[:] = np.eye(3)
    plain.step_cov[:] = 0
    with_rig(plain).rig_step[:, :3] = 0
    cov = camera_covariance(plain)
    assert np.allclose(cov, (RIG.pan_sigma * (plain.num_frames - 1)) ** 2 * np.ones((3, 3)))


def test_a_wrong_calibration_is_the_first_doubt_and_stands_on_the_card(tmp_path, monkeypatch):
    scene = with_rig(shard_samples.scene(0))
    assert doubts(scene)[0] == RIG.warning
    monkeypatch.setattr("curate.report.build.Scene.load", lambda path: with_rig(shard_samples.scene(0)))
    text = build_report(stage(tmp_path)).read_text()
    assert f'<p class="doubt">{RIG.warning}</p>' in text
    assert "-0.040° ± 0.010°" in text and "told by the camera&#39;s motion" in text


def judged_items(out):
    """What `curate score` would write of a staged set: the first scene's answers hold, the others' do not."""
    items = []
    for number, found in enumerate(clips(out)):
        for qa in found["json"]["qa"]:
            is_number = qa["form"] == "numeric"
            true = (1.75 if number == 0 else 9.0) if is_number else 0.01
            items.append({"id": qa["id"], "scene": str(number), "family": qa["family"], "form": qa["form"],
                          "objects": [1], "right": None if is_number else True,
                          "covered": number == 0 if is_number else None, "answer": qa["answer"],
                          "truth": f"{true} m" if is_number else "right", "problem": "", "true": true,
                          "stated": [1.68, 1.7, 1.75, 1.78, 1.8, 1.82, 1.85, 1.9, 1.93] if is_number else
                          [0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08], "one_sided": not is_number})
    rows = [{"name": "choice answers right", "value": 1.0, "unit": "", "target": ">= 0.95", "ok": True},
            {"name": "families", "value": 2, "unit": "", "target": ">= 8", "ok": False},
            {"name": "object_direction: askable", "value": 41, "unit": "", "target": "", "ok": True},
            {"name": "object_direction: right", "value": 0.977, "unit": "", "target": "", "ok": True},
            {"name": "object_direction: coverage", "value": None, "unit": "", "target": "", "ok": True}]
    return {"set": manifest.load(out / "shards")["digest"], "rows": rows, "ok": False, "judged": items}


def test_the_truth_is_shown_where_it_is_known(tmp_path):
    out = stage(tmp_path)
    assert "Against the truth" not in build_report(out).read_text()
    (out / "score.json").write_text(json.dumps(judged_items(out)))
    text = build_report(out).read_text()
    page = Page(text)
    assert "Against the truth" in text and "at least 95 %" in text and "at least 8" in text
    assert re.search(r"<td>object direction</td><td[^>]*>41</td>", text) and "97.7 %" in text
    diagrams = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("class") == "rel"]
    assert len(diagrams) == 3  # all, and two families
    assert "object displacement, n = 3: of the 50 % intervals 0.0 % hold" in text
    assert "object direction, n = 3: of the 50 % intervals 100.0 % hold" in text
    assert text.count("✓ truth 1.75 m") == 1 and text.count("✗ truth 9 m") == 2
    assert text.count('class="truth"') == 3 and text.count("1 not right") == 2
    assert not {"script", "link", "iframe", "object"} & {t for t, _ in page.tags}


def test_scores_of_another_set_are_not_shown(tmp_path):
    out = stage(tmp_path)
    found = judged_items(out) | {"set": "of yesterday"}
    (out / "score.json").write_text(json.dumps(found))
    text = build_report(out).read_text()
    assert "is about another set of questions" in text and 'class="rel"' not in text
    with pytest.raises(ValueError, match="another set of questions"):
        build_report(out, score=out / "score.json")


@pytest.mark.parametrize("content", [
    "", "[1]", "{}", '{"judged": [{"id": 1}], "rows": []}', '{"judged": 3, "rows": []}'])
def test_a_torn_score_file_is_said_and_never_spoils_the_page(tmp_path, content):
    out = stage(tmp_path)
    (out / "score.json").write_text(content)
    text = build_report(out).read_text()
    assert "not a file of `curate score`" in text and text.count("<article>") == 3
    with pytest.raises(ValueError, match="not a file of `curate score`"):
        build_report(out, score=out / "score.json")
    with pytest.raises(ValueError, match="cannot be read"):
        build_report(out, score=out / "none.json")


def test_an_answer_about_nothing_is_a_miss_and_forms_share_a_quantity():
    item = {"scene": "a", "family": "f", "stated": [-3, -2, -1, -0.5, 0, 0.5, 1, 2, 3], "one_sided": False}
    curve, = curves_of([item | {"id": "k-f-r1-numeric", "true": 0.1}, item | {"id": "k-f-r1-choice", "true": 0.1},
                        item | {"id": "k-f-r2-numeric", "true": None}])
    assert [(p.hits, p.n) for p in curve.points] == [(1, 2)] * 4 and len(curve.z) == 1
    assert curves_of([item | {"id": "x-y", "true": 1.0, "stated": []}]) == []


def test_reasons_are_a_table(tmp_path):
    text = build_report(stage(tmp_path)).read_text()
    table = text[text.index("Not asked, and why"):]
    assert re.search(r"<th[^>]*>not clear of zero</th>", table)
    assert re.search(r"camera rotation</td><td[^>]*>7</td>", table)
    assert "0 of 7" in text and "3 of 3" in text


def test_a_doubtful_clip_is_said_so():
    good = replace(shard_samples.scene(0), stats={"valid_disparity": 0.9, "valid_flow": 0.9, "regions_seen": 2.0})
    good.camera_valid[:] = True
    assert doubts(good) == []
    assert "depth is known in 12 % of the pixels" in doubts(replace(good, stats={"valid_disparity": 0.12}))[0]
    assert "no region of 2 seen could be measured" in doubts(replace(good, regions=[]))[0]
    assert "1 region of 9 seen" in doubts(replace(good, regions=good.regions[:1], stats={"regions_seen": 9.0}))[0]
    assert doubts(replace(good, stats={"regions_seen": 90.0})) == []  # most are seen for a moment only
    lost = replace(good, camera_valid=np.array([True] * 4 + [False] * 2))
    assert "unknown in 2 of 6 frames" in doubts(lost)[0]
