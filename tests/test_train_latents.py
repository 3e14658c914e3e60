"""Latents stored in a set are those that the teacher would give of the batches that are shown."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from curate.shards import verify  # noqa: E402
from curate.train.data import Examples  # noqa: E402
from curate.train.data_config import DataConfig  # noqa: E402
from curate.train.p4d_config import SmallTeacherConfig  # noqa: E402
from curate.train.teacher.base import frozen  # noqa: E402
from curate.train.teacher.latents import store_latents  # noqa: E402
from curate.train.teacher.small import SmallTeacher  # noqa: E402
from tests.train_sets import clip_sample, clip_teacher, write_set  # noqa: E402


def small_teacher() -> SmallTeacher:
    small = SmallTeacherConfig(frames=4, tubelet=2, height=16, width=16, patch=4, channels=16, blocks=1, heads=2,
                               search=0, head_channels=8)
    return frozen(SmallTeacher(small, ("depth",), (12, 16)))


@pytest.mark.parametrize("shown", [{}, {"image_size": (24, 32)}, {"marks": "extra", "frames": 3}])
def test_what_is_stored_is_what_the_teacher_says_of_the_frames_shown(tmp_path, shown):
    path = write_set(tmp_path, [clip_sample(i, num_frames=6 + i, teacher=clip_teacher) for i in (0, 1)])
    config = DataConfig(sets=[path], teacher=True, **{"frames": 4, "batch_size": 4} | shown)
    torch.manual_seed(0)
    teacher = small_teacher()
    content = store_latents(path, teacher, config)
    assert verify(tmp_path) == [] and "latent.npy" in content["teacher"]["parts"]
    for batch in Examples(config, epochs=1, shuffle=False):
        expected = teacher.encode(batch.video, batch.times_s)
        assert batch.latent.shape[1:] == teacher.grid == expected.shape[1:]
        torch.testing.assert_close(batch.latent, expected, rtol=2**-10, atol=1e-3)
        assert expected.std() > 0.1


def test_clips_that_are_too_short_are_named(tmp_path):
    path = write_set(tmp_path, [clip_sample(0, num_frames=6, teacher=clip_teacher)])
    with pytest.raises(ValueError, match="clip0000: 8 frames are asked for, the clip has 6"):
        store_latents(path, SimpleNamespace(model_id="small"), DataConfig(sets=[path], frames=8))


def test_the_command_stores_them_and_says_what_is_missing(tmp_path):
    import yaml
    from click.testing import CliRunner

    from curate.cli.main import main
    from curate.train.teacher.store import model_id, save_teacher

    path = write_set(tmp_path / "set", [clip_sample(i, num_frames=6, teacher=clip_teacher) for i in (0, 1)])
    teacher = small_teacher()
    teacher.model_id = model_id(teacher)
    save_teacher(teacher, tmp_path / "teacher", [])
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"data": {"sets": [str(path)], "frames": 4}}))
    command = ["train", "latents", str(tmp_path / "recipe.yaml")]

    without = CliRunner().invoke(main, command)
    assert without.exit_code == 2 and "curate train teacher RECIPE --out DIR" in without.output
    done = CliRunner().invoke(main, [*command, "--set", f"teacher.path={tmp_path / 'teacher'}"])
    assert done.exit_code == 0, done.output
    assert "latents of 2/2 clips" in done.output
    config = DataConfig(sets=[path], teacher=True, frames=4, batch_size=2)
    assert all(batch.latent.shape[1:] == teacher.grid for batch in Examples(config, epochs=1, shuffle=False))
