"""The preview: self-contained, escaped, bounded, and true to what lies in OUT."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from curate.report import build_report
from curate.report.birdseye import birdseye, ground_axes, region_track
from curate.report.collect import interval
from curate.shards import ShardError
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
            scene = replace(scene, clip=scene.clip | {"uri": EVIL, "recording": EVIL})
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
    assert "my run" in text and "b.mp4: zero bytes" in text and "7 × not clear of zero" in text
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


def test_bounded(tmp_path):
    out = stage(tmp_path)
    assert "and 2 more clips" in build_report(out, max_clips=1).read_text()
    assert len(list((out / "preview").glob("*.jpg"))) == 1
    assert "and 3 more clips" in build_report(out, max_clips=0).read_text()
    with pytest.raises(ValueError, match="max_clips"):
        build_report(out, max_clips=-1)


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
    assert text.count("its scene cannot be read") == 1 and text.count("<svg") == 2


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


@pytest.mark.parametrize("value, low, high", [(1.8, 1.7, 1.9), (-0.5, -0.9, 0.1), (0.0, -1.0, 1.0), (0.0, 0.0, 0.0)])
def test_intervals_lie_on_the_bar(value, low, high):
    bar = interval({"value": value, "low": low, "high": high})
    assert 0 <= bar["low"] <= bar["value"] + 0.01 <= 100 and bar["low"] + bar["width"] <= 100.7
    assert interval({"value": float("nan"), "low": low, "high": high}) is None
