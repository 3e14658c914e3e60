"""Teacher tensors as data: stored and read to the bit, changed by variants as their scenes are, chosen by time."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.augment import Variant
from curate.augment.teacher import apply_to_teacher, begun_at, mirrored, played, reversed_in_time
from curate.geometry.cells import Cells
from curate.geometry.rotations import exp_so3
from curate.shards import ShardError
from curate.shards.teacher import NAMES, Stored, TeacherTensors, composed, first_camera_world
from curate.shards.teacher_parts import UNKNOWN, from_parts, pack, to_parts, unpack


def made(seed: int = 0, num: int = 5, height: int = 4, width: int = 6, latent: bool = False) -> TeacherTensors:
    """Random tensors of float16's numbers, a third of them unknown; the first camera is the world."""
    rng = np.random.default_rng(seed)

    def some(*shape: int, low: float = 1, high: float = 20) -> np.ndarray:
        values = rng.uniform(low, high, shape).astype(np.float16).astype(np.float32)
        values[rng.random(shape[:3]) < 1 / 3] = np.nan
        return values

    flow = some(num, height, width, 2, low=-3, high=3)
    flow[0] = np.nan
    dynamic = (some(num, height, width) > 10).astype(np.float32)
    dynamic[rng.random(dynamic.shape) < 1 / 3] = np.nan
    turns = np.stack([exp_so3(rng.normal(0, 0.2, 3) * (t > 0)) for t in range(num)])
    places = rng.normal(0, 1, (num, 3, 1)) * (np.arange(num) > 0)[:, None, None]
    K = np.repeat([[[5.0, 0, 2.6], [0, 5.5, 1.4], [0, 0, 1]]], num, 0).astype(np.float32)
    return TeacherTensors(
        np.cumsum(rng.uniform(0.05, 0.2, num)) - 0.0, some(num, height, width), flow, dynamic, K,
        np.concatenate([turns, places], 2).astype(np.float32), True, "truth@1",
        some(2, 2, 3, 8) if latent else None, "small" if latent else "")


def assert_same(a: TeacherTensors, b: TeacherTensors, but: tuple[str, ...] = (), tolerance: float = 0) -> None:
    for name in NAMES:
        if name in but:
            continue
        one, other = getattr(a, name), getattr(b, name)
        if isinstance(one, np.ndarray):
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=name)
        else:
            assert one == other, name


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_stored_and_read_back_to_the_bit(seed, latent):
    tensors = made(seed, latent=latent)
    parts = to_parts(tensors)
    assert_same(from_parts(parts), tensors)
    assert to_parts(from_parts(parts)) == parts and unpack(pack(parts)) == parts
    assert pack(to_parts(made(seed, latent=latent))) == pack(parts)


def test_what_is_stored_is_small_and_what_is_too_far_is_unknown():
    tensors = made()
    tensors.depth[1, 2, 3] = 1e6
    parts = to_parts(tensors)
    arrays = {name: np.lib.format.read_array(_file(data)) for name, data in parts.items() if name.endswith(".npy")}
    assert {name: str(a.dtype) for name, a in arrays.items()} == {
        "depth.npy": "float16", "dynamic.npy": "uint8", "flow.npy": "float16", "intrinsics.npy": "float32",
        "poses.npy": "float32"}
    assert np.isnan(arrays["depth.npy"][1, 2, 3])
    assert ((arrays["dynamic.npy"] == UNKNOWN) == np.isnan(tensors.dynamic)).all()


def _file(data: bytes):
    import io

    return io.BytesIO(data)


def _altered(parts: dict[str, bytes], name: str, array: np.ndarray) -> dict[str, bytes]:
    import io

    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=False)
    return parts | {name: out.getvalue()}


@pytest.mark.parametrize(("change", "message"), [
    (lambda p: {n: d for n, d in p.items() if n != "flow.npy"}, "flow.npy"),
    (lambda p: p | {"depth.npy": p["depth.npy"][:-3]}, "depth.npy"),
    (lambda p: p | {"teacher.json": p["teacher.json"].replace(b'"version":1', b'"version":9')}, "version 9"),
    (lambda p: p | {"teacher.json": b"{"}, "torn or altered"),
    (lambda p: p | {"teacher.json": p["teacher.json"].replace(b'"time_s":[', b'"time_s":[7.5,')}, "do not rise"),
    (lambda p: _altered(p, "depth.npy", np.zeros((5, 4, 6), np.float32)), "<f4, expected <f2"),
    (lambda p: _altered(p, "dynamic.npy", np.zeros((5, 4, 7), np.uint8)), "dynamic.npy: shape"),
    (lambda p: _altered(p, "poses.npy", np.zeros((4, 3, 4), np.float32)), "poses.npy: shape"),
    (lambda p: p | {"depth.npy": p["depth.npy"].replace(b"(5, 4, 6)", b"(5,4,999)")}, "depth.npy"),
])
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ShardError, match=message):
        from_parts(change(to_parts(made())))


@given(st.sampled_from(["depth.npy", "dynamic.npy", "poses.npy", "teacher.json"]), st.integers(0, 10**6),
       st.sampled_from([b"", b"(", b"'", b"9" * 30, b"}", b"\n", b"\0", b"None", b"1e9", b"nan"]))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_a_part_it_is_read_or_refused_by_name(name, at, put):
    parts = to_parts(made())
    data = parts[name]
    at %= min(len(data), 150)
    try:
        from_parts(parts | {name: data[:at] + put + data[at + 1:]}, "some.tar: k")
    except ShardError as error:
        assert "some.tar: k" in str(error)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_staged_file_never_reads_as_another(data):
    whole = pack(to_parts(made()))
    torn = bytearray(whole)
    if data.draw(st.booleans()):
        torn = torn[:data.draw(st.integers(0, len(whole) - 1))]
    else:
        torn[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unpack(bytes(torn))
    except ShardError:
        return
    assert found == unpack(whole)  # a byte that means nothing


def test_it_is_read_when_a_field_is_asked_for_and_pickles_whole():
    tensors, reads = made(), []
    stored = Stored(lambda: reads.append(1) or tensors)
    assert isinstance(stored, TeacherTensors) and "not read yet" in repr(stored) and not reads
    assert_same(pickle.loads(pickle.dumps(Stored(lambda: tensors))), tensors)
    assert stored.latent is None and reads == [1]
    assert_same(stored, tensors)
    assert_same(replace(Stored(lambda: tensors), source="x"), replace(tensors, source="x"))
    assert reads == [1]
    with pytest.raises(AttributeError):
        _ = Stored(lambda: tensors).depths


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_variants_undo_themselves(seed):
    tensors = made(seed)
    assert_same(mirrored(mirrored(tensors)), tensors, tolerance=1e-6)
    shifted = replace(tensors, time_s=tensors.time_s - tensors.time_s[0])
    back = reversed_in_time(reversed_in_time(shifted))
    assert_same(back, shifted, but=("flow",), tolerance=1e-5)
    assert np.isnan(back.flow).all()
    assert_same(played(played(tensors, 2.0), 0.5), tensors, tolerance=1e-12)
    assert_same(reversed_in_time(mirrored(tensors)), mirrored(reversed_in_time(tensors)), tolerance=1e-5)


def test_a_mirrored_flow_leads_to_the_mirrored_place():
    tensors = made(1)
    flipped = mirrored(tensors)
    width = tensors.grid[1]
    for x in range(width):
        np.testing.assert_array_equal(flipped.flow[2, :, width - 1 - x] * [-1, 1], tensors.flow[2, :, x])
        np.testing.assert_array_equal(flipped.depth[2, :, width - 1 - x], tensors.depth[2, :, x])
    # a ray and its mirror image: directions are reflected, moments are pseudovectors
    sign = np.array([-1, 1, 1, 1, -1, -1])
    np.testing.assert_allclose(flipped.camray()[:, :, ::-1], tensors.camray() * sign, atol=1e-5)


@pytest.mark.parametrize("variant", [Variant(mirror=True), Variant(reverse=True), Variant(rate=2.0),
                                     Variant(True, True, 0.5), Variant(start=2), Variant(True, True, start=1)])
def test_camera_and_times_are_those_of_the_variants_own_scene(variant):
    from curate.augment import apply
    from tests.scenes import make_scene

    scene, _ = make_scene(seed=3, num_frames=6, num_regions=1)
    camera = scene.camera
    width, height = camera.width // 4, camera.height // 4

    def of(scene) -> TeacherTensors:
        num = scene.num_frames
        K = np.repeat(scene.camera.scaled(width, height).matrix[None], num, 0).astype(np.float32)
        empty = np.full((num, height, width), np.nan, np.float32)
        poses = first_camera_world(scene.T_world_cam.matrix()[:, :3].astype(np.float32))
        return TeacherTensors(scene.time_s - scene.time_s[0], empty, np.stack([empty] * 2, -1), empty, K, poses, True,
                              "truth@1")

    assert_same(apply_to_teacher(of(scene), variant), of(apply(scene, variant)), tolerance=1e-4)


def test_a_clip_that_begins_later_has_the_camera_there_as_its_world():
    tensors = made(2)
    later = begun_at(tensors, 2)
    assert later.num_frames == 3 and later.time_s[0] == 0 and np.isnan(later.flow[0]).all()
    np.testing.assert_array_equal(later.flow[1:], tensors.flow[3:])
    np.testing.assert_array_equal(later.depth, tensors.depth[2:])
    np.testing.assert_allclose(later.T_world_cam[0], np.eye(4)[:3], atol=1e-6)
    whole = np.concatenate([tensors.T_world_cam, np.repeat([[[0, 0, 0, 1]]], 5, 0)], 1)
    np.testing.assert_allclose(whole[2] @ np.vstack([later.T_world_cam[2], [0, 0, 0, 1]]), whole[4], atol=1e-5)


def test_neighbouring_frames_keep_their_flow_and_others_compose_it():
    num, height, width = 6, 8, 12
    step = np.array([1.5, -0.25], np.float32)  # everything moves by this from frame to frame
    tensors = replace(made(num=num, height=height, width=width),
                      flow=np.broadcast_to(-step, (num, height, width, 2)).astype(np.float32))
    chosen = tensors.at(tensors.time_s[[0, 1, 3, 3, 2]])
    assert np.isnan(chosen.flow[0]).all()
    np.testing.assert_array_equal(chosen.flow[1], tensors.flow[1])
    inside = np.arange(width) - step[0] > -0.5
    np.testing.assert_allclose(chosen.flow[2][:7, inside], np.broadcast_to(-2 * step, (7, inside.sum(), 2)))
    assert np.isnan(chosen.flow[2][:, ~inside]).all()  # it came from outside: nothing is known of the step before
    assert (chosen.flow[3] == 0).all()  # the same frame twice
    assert np.isnan(chosen.flow[4]).all()  # back in time
    np.testing.assert_array_equal(chosen.depth, tensors.depth[[0, 1, 3, 3, 2]])


def test_composition_does_not_mix_two_motions():
    """A cell at the edge of a mover goes on with one of the two motions, never with their mean."""
    flow = np.zeros((3, 3, 8, 2), np.float32)
    flow[1, :, 4:, 0] = -3.0  # frame 1: the right half moves, the left stands
    flow[2, ..., 0] = -0.4
    found = composed(flow, 0, 2)[..., 0]
    assert {round(float(x), 3) for x in np.unique(found)} == {-3.4, -0.4}


@pytest.mark.parametrize("times", [[], [[0.0]], [np.nan]])
def test_times_that_are_none_are_refused(times):
    with pytest.raises(ValueError, match="expected one or more finite seconds"):
        made().at(times)


def test_resized_is_area_correct_and_its_camera_sees_the_same_rays():
    tensors = made(4, height=12, width=18)
    half = tensors.resized(6, 9)
    assert half.grid == (6, 9) and tensors.resized(12, 18) is tensors
    K = np.linalg.inv(tensors.K[0]), np.linalg.inv(half.K[0])
    # the corners of the image are at -1/2 and size - 1/2, whatever the grid
    for (u, v), (a, b) in (((-0.5, -0.5), (-0.5, -0.5)), ((17.5, 11.5), (8.5, 5.5))):
        np.testing.assert_allclose(K[0] @ [u, v, 1], K[1] @ [a, b, 1], atol=1e-6)
    blocks = tensors.depth.reshape(5, 6, 2, 9, 2).transpose(0, 1, 3, 2, 4).reshape(5, 6, 9, 4)
    own = np.isfinite(half.depth)
    assert (half.depth[own][:, None] == blocks[own]).any(-1).all()
    assert np.isnan(blocks[~own]).all()


def test_flow_of_a_finer_grid_is_in_its_pixels():
    tensors = made(5)
    tensors.flow[1:] = [1.0, -2.0]
    fine = tensors.resized(8, 18)
    np.testing.assert_allclose(fine.flow[1:], np.broadcast_to([3.0, -4.0], (4, 8, 18, 2)))
    with pytest.raises(ValueError, match="positive"):
        tensors.resized(0, 5)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_every_cell_takes_pixels_of_its_own_rectangle(height, width, rows, columns):
    v, u = np.mgrid[:height, :width]
    cells = Cells((height, width), (rows, columns))
    for image, size, num, axis in ((v, height, rows, 0), (u, width, columns, 1)):
        taken = cells.take(image)
        index = np.arange(num).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        # pixel p covers p .. p + 1, the cell index * size / num .. (index + 1) * size / num
        assert (taken + 1 > index * size / num - 1e-9).all() and (taken < (index + 1) * size / num + 1e-9).all()


def test_a_cell_at_an_edge_takes_one_surface_and_all_signals_of_it():
    depth = np.full((4, 4), 10.0, np.float32)
    depth[:, 3] = 2.0  # a nearer thing in a quarter of the cell
    flow = np.where(depth < 5, 7.0, 1.0).astype(np.float32)
    cells = Cells((4, 4), (1, 1))
    chosen, same = cells.surface(depth)
    assert chosen == 10 and cells.median(flow, same) == 1 and cells.majority(flow > 5, same) == 0
    depth[:, :3] = np.nan  # too little is known of a cell: nothing is
    assert cells.surface(np.where(np.arange(4)[:, None] > 0, np.nan, depth))[0] != 2
