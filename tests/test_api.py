"""The notebook's way: the same steps as plain functions, without Ray."""

import sys

import pytest

import curate
from tests.scenes import make_scene


def test_measure_is_both_the_folder_and_its_function():
    scene, _ = make_scene(seed=1)
    quantities = curate.measure(scene)
    assert {q.kind for q in quantities} <= set(curate.measure.KINDS)


def test_ask_takes_the_settings_of_a_recipe():
    scene, _ = make_scene(seed=1)
    questions = curate.ask(scene, families=["object_displacement"], forms=["numeric"])
    assert questions and all(q.family == "object_displacement" and q.form == "numeric" for q in questions)


def test_a_clip_becomes_a_scene_in_this_process():
    recipe = curate.recipe.recipe_from_dict({
        "source": {"kind": "rendered", "num_scenes": 1, "width": 320, "height": 192},
        "clip": {"num_frames": 8, "max_clips": 1}})
    clip, = curate.clips(recipe)
    scene = curate.perceive(clip)
    assert scene.key == clip.spec.key and scene.num_frames <= 8
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()
    assert curate.Scene.from_bytes(scene.to_bytes()).to_bytes() == scene.to_bytes()


def test_perceive_says_what_it_takes():
    with pytest.raises(TypeError, match=r"curate\.clips"):
        curate.perceive("video.mp4")
