"""What was made faster gives the bits of the plain way of doing it."""

import io
import zipfile

import cv2
import numpy as np
import pytest

from curate import marks, scene
from curate.geometry.rotations import angle_between
from curate.measure import measure
from curate.measure.draws import SceneDraws
from curate.measure.kinds import KINDS
from curate.measure.magnitude import Sample, quantiles, summarise
from curate.measure.measure import quantity
from curate.measure.quantity import LEVELS
from curate.measure.smoothing import _velocity_maps, velocity_given_positions
from curate.questions import ask, gates
from curate.scene import Scene, SceneError
from curate.shards import schema
from curate.shards.encoded import encode
from curate.shards.sample import sample_json
from tests.scenes import make_scene


@pytest.fixture(scope="module")
def made():
    return make_scene(seed=3, camera="hand-held", num_frames=14, gaps=True)[0]


def test_quantiles_are_those_of_interpolation():
    rng = np.random.default_rng(0)
    draws = np.concatenate([rng.normal(size=(4, 1024)), np.round(rng.normal(size=(2, 1024)), 1), np.zeros((1, 1024))])
    for row, found in zip(draws, quantiles(draws)):
        position = np.clip(np.array(LEVELS) * 1024 - 0.5, 0, 1023)
        assert found.tolist() == np.interp(position, np.arange(1024), np.sort(row)).tolist()


def test_samples_together_are_stated_as_each_alone():
    rng = np.random.default_rng(1)
    samples = [Sample(rng.normal(size=256), {name: rng.normal(size=size) for name, size in parts}, scaled=bool(i % 2))
               for i, parts in enumerate([[("own", 128), ("rig", 128)], [("pose", 256)], [], [("own", 128)]])]
    scale = rng.normal(1, 0.01, 256)
    for sample, stated in zip(samples, summarise(samples, scale)):
        assert stated == summarise([sample], scale)[0]
        assert stated.variance == {name: float(np.var(part)) for name, part in sample.parts.items()}


def test_angles_by_columns_are_those_of_cross_products():
    rng = np.random.default_rng(2)
    for a, b in [(rng.normal(size=(500, 3)), rng.normal(size=3)), (rng.normal(size=3), rng.normal(size=3))]:
        plain = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, -1))
        assert np.array_equal(angle_between(a, b), plain)


def test_velocities_do_not_depend_on_when_they_are_asked_for(made):
    early, late = SceneDraws(made), SceneDraws(made)
    first = early.region(1).velocity
    for kind in KINDS:
        if KINDS[kind].of == "object":
            quantity(late, kind, (1,), (0, 0) if KINDS[kind].instant else (0, made.num_frames - 1))
    assert np.array_equal(first, late.region(1).velocity)
    phase = np.linspace(0, 1, 9)
    for kept, plain in zip(_velocity_maps(phase.tobytes()), velocity_given_positions(phase)):
        assert np.array_equal(kept, plain)


def test_what_nobody_may_ask_about_is_not_worked_out_and_changes_no_question(made):
    made.regions[1].seen[0] = False
    made.regions[2].rigid = False
    whole = measure(made)
    one, two = ask(made, None, whole), ask(made)
    assert [repr(q.to_json()) for q in one[0]] == [repr(q.to_json()) for q in two[0]]  # nan is not nan
    assert {(d.reason, d.subjects, d.span, d.form) for d in one[1]} <= {
        (d.reason, d.subjects, d.span, d.form) for d in two[1]}
    assert {gates.NOT_VISIBLE, gates.NOT_RIGID} <= {d.reason for d in two[1]}
    only = measure(made, wanted=lambda subjects, span: 2 not in subjects)
    assert [(q.kind, q.subjects, q.span) for q in only] == [(q.kind, q.subjects, q.span) for q in whole]
    for a, b in zip(only, whole):
        assert np.isnan(a.value) if 2 in a.subjects else repr(a) == repr(b)


def test_a_scene_is_read_as_numpy_reads_it(made):
    data = made.to_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as npz:
        for name, array in scene._read_npz(data).items():
            plain = npz[name]
            assert array.dtype == plain.dtype and array.strides == plain.strides and array.flags.writeable
            assert np.array_equal(array, plain, equal_nan=array.dtype.kind == "f")
    assert Scene.from_bytes(data).to_bytes() == data


def test_a_scene_with_pickles_or_too_large_is_refused():
    for array, said in ((np.array([{}], object), "objects"), (np.zeros(1 << 27), "unpacked")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("meta.npy", "w") as member:
            np.lib.format.write_array(member, array, allow_pickle=True)
        with pytest.raises(SceneError, match=said):
            Scene.from_bytes(out.getvalue())


def test_marks_in_their_box_are_those_in_the_whole_picture():
    rng = np.random.default_rng(4)
    frame = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    for box in ((0, 0, 9, 7), (100, 60, 160, 120), (30, 20, 31, 90)):
        mask = np.zeros((120, 160), bool)
        mask[box[1]:box[3], box[0]:box[2]] = rng.random((box[3] - box[1], box[2] - box[0])) < 0.8
        plain = frame.copy()
        plain[mask] = ((1 - 0.18) * plain[mask] + 0.18 * np.array(marks.colour_of(1))).round().astype(np.uint8)
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for colour, thickness in (((0, 0, 0), 4), (marks.colour_of(1), 2)):
            cv2.drawContours(plain, lines, -1, colour, thickness, cv2.LINE_AA)
        drawn = marks.draw_marks(frame, [{"id": 1, "mask": mask, "label": " "}])
        label = np.any(drawn != plain, -1)
        ys, xs = np.nonzero(label)
        assert not label.any() or (np.ptp(ys) < 40 and np.ptp(xs) < 60)  # nothing but the label differs


def test_json_with_fewer_questions_is_that_of_fewer_questions(made):
    questions, _ = ask(made)
    record = sample_json(made, questions, media={})
    encoded = encode(record)
    rng = np.random.default_rng(5)
    for share in (1.0, 0.5, 0.1, 0.0):
        wanted = (rng.random(len(questions)) < share).tolist()
        kept = [q for q, keep in zip(questions, wanted) if keep]
        assert encoded.keep(wanted) == schema.to_bytes(sample_json(made, kept, media={}))
