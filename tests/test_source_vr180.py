"""VR180 and VR360: files made of a room in closed form, cut into perspective pairs, compared with the room itself."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_spherical import VirtualPair, Vr180Config
from curate.sources.equirect import Equirectangular, Fisheye, Resampler, aim
from curate.sources.spherical import Spherical, of_side_data, read_spherical
from tests.source_media import refused
from tests.spherical_scene import (
    EYES_M,
    Room,
    box,
    eye_centres,
    frames,
    full_box,
    st3d,
    sv3d,
    v1,
    with_boxes,
    write,
)

RECIPE = Path(__file__).parents[1] / "recipes" / "vr180.yaml"
ROOM = Room()
TIMES = np.arange(4) / 10
SHORT = ClipConfig(num_frames=48, min_frames=2)
PAIR = VirtualPair(fov_deg=50, width=160, height=128)


def equirectangular(across: float, down: float, width: int, height: int) -> Equirectangular:
    left, bottom = -np.radians(across) / 2, -np.radians(down) / 2
    return Equirectangular(left, -left, bottom, -bottom, width, height)


LENS = equirectangular(90, 60, 540, 360)  # 6 px a degree


@pytest.fixture(scope="module")
def packed() -> np.ndarray:
    """[4, 360, 1080, 3] of the room, side by side."""
    return frames(ROOM, LENS, TIMES)


def source(path: Path, clip: ClipConfig = SHORT, **fields):
    return make_source(Vr180Config(**({"root": str(path), "fov_deg": (90, 60), "pairs": [PAIR]} | fields)), clip)


def only(made) -> tuple:
    clip = next(iter(made.plan()))
    assert not isinstance(clip, tuple), clip[1]
    return clip, made.open(clip)


def room_seen(pair: VirtualPair, t: float, fine: int) -> list[np.ndarray]:
    """Both views as a perspective camera would see the room, brightness [H, W]; `fine` samples a side of each pixel."""
    camera, R_eye_view = aim(pair)
    rays = camera.scaled(fine * pair.width, fine * pair.height).rays() @ R_eye_view.T
    seen = [ROOM.colours(centre, rays, t).mean(-1) for centre in eye_centres(ROOM, t)]
    return [view.reshape(pair.height, fine, pair.width, fine).mean((1, 3)) for view in seen]


def assert_sees_the_room(views: list[np.ndarray], pair: VirtualPair, frame: int, fine: int = 1) -> None:
    """Equal in brightness but for compression and the edges of the plate."""
    for seen, expected in zip(views, room_seen(pair, TIMES[frame], fine)):
        off = np.abs(seen[frame].mean(-1) - expected)
        assert np.median(off) < 3 and off.mean() < 4  # the room's contrast is 45; half a pixel aside is 16


def depths(pair: VirtualPair, t: float) -> np.ndarray:
    """[H, W] true depth of the left view along its optical axis."""
    camera, R_eye_view = aim(pair)
    rays = camera.rays() @ R_eye_view.T
    length, _ = ROOM.hits(eye_centres(ROOM, t)[0], rays.reshape(-1, 3), t)
    return length.reshape(rays.shape[:2])  # rays have z = 1 in the view


def disparity_errors(left: np.ndarray, right: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How far, in pixels, the right view is from lying at the true disparity of the left one: a least-squares step of
    brightness (Lucas and Kanade) in each cell of a grid of 4 x 5; cells with an edge of depth in them are left out."""
    v, u = np.mgrid[: true.shape[0], : true.shape[1]].astype(np.float32)
    grey = [np.float32(image.mean(-1)) for image in (left, right)]
    moved = cv2.remap(grey[1], u - np.float32(true), v, cv2.INTER_CUBIC)
    slope = cv2.Sobel(moved, cv2.CV_32F, 1, 0, ksize=3) / 8
    out = []
    for rows in np.array_split(np.arange(8, true.shape[0] - 8), 4):
        for columns in np.array_split(np.arange(24, true.shape[1] - 8), 5):
            cell = np.ix_(rows, columns)
            if np.ptp(true[cell]) < 1:
                out.append((slope[cell] * (grey[0] - moved)[cell]).sum() / (slope[cell] ** 2).sum())
    return np.array(out)


# Pixels

@pytest.mark.parametrize(("pair", "fine"), [
    (PAIR, 1), (VirtualPair(fov_deg=30, width=160, height=96, yaw_deg=25), 1),
    (VirtualPair(fov_deg=40, width=96, height=64, pitch_deg=-8, yaw_deg=-10), 3)])
def test_views_show_what_a_perspective_camera_would(tmp_path, packed, pair, fine):
    """Straight ahead, aside and down; as dense as the video, or sparser: then a pixel is the mean of what it covers."""
    _, opened = only(source(write(tmp_path / "v.mp4", packed), pairs=[pair]))
    with opened:
        views = opened.read(0, 4)
        rig = opened.rig
    assert rig.baseline_m == EYES_M and (rig.left.width, rig.left.height) == (pair.width, pair.height)
    assert_sees_the_room(views, pair, 0, fine)
    assert_sees_the_room(views, pair, 3, fine)
    errors = disparity_errors(views[0][0], views[1][0], rig.disparity(depths(pair, 0.0)))
    assert len(errors) >= 6 and np.abs(np.median(errors)) < 0.03
    assert np.percentile(np.abs(errors), 80) < 0.1  # beside the plate the right view sees what the left one does not


def test_rows_of_both_views_are_alike_wherever_the_pair_looks(packed):
    """A point is seen in one row by both views, at the disparity of its depth: also aside and tilted."""
    rng = np.random.default_rng(0)
    for yaw, pitch in ((0, 0), (35, 0), (0, 40), (-30, -25)):
        camera, R_eye_view = aim(VirtualPair(yaw_deg=yaw, pitch_deg=pitch, fov_deg=50))
        uv = rng.uniform([0, 0], [camera.width, camera.height], (50, 2))
        depth = rng.uniform(0.5, 20, 50)
        points = camera.lift(uv, depth) @ R_eye_view.T  # axes of the left eye
        other = camera.project((points - [EYES_M, 0, 0]) @ R_eye_view)
        np.testing.assert_allclose(uv - other, np.stack([camera.fx * EYES_M / depth, 0 * depth], -1), atol=1e-9)


def test_the_window_covers_the_angles_it_names():
    for yaw, fov in ((0, 60), (30, 40), (-20, 90)):
        camera, _ = aim(VirtualPair(yaw_deg=yaw, fov_deg=fov, width=300, height=200))
        edges = camera.lift(np.array([[-0.5, 99.5], [299.5, 99.5]]), np.ones(2))
        np.testing.assert_allclose(np.degrees(np.arctan(edges[:, 0])), [yaw - fov / 2, yaw + fov / 2])
        np.testing.assert_allclose(edges[:, 1], 0, atol=1e-12)


@pytest.mark.parametrize("lens", [LENS, equirectangular(360, 180, 720, 360), Fisheye(np.radians(190), 300, 300),
                                  Fisheye(np.radians(180), 320, 280)])
def test_pixels_and_rays_of_a_lens_are_inverse(lens):
    uv = lens.pixels(lens.rays() * 3.7)
    inside = ~np.isnan(uv[..., 0])
    v, u = np.nonzero(inside)
    np.testing.assert_allclose(uv[inside], np.stack([u, v], -1), atol=1e-6)
    assert inside.mean() > (0.99 if isinstance(lens, Equirectangular) else 0.6)


def test_the_seam_of_a_whole_sphere_does_not_show():
    lens = equirectangular(360, 180, 1440, 720)
    camera, _ = aim(VirtualPair(fov_deg=40, width=160, height=120))
    behind = np.diag([-1.0, 1.0, -1.0])
    image = ROOM.colours(np.zeros(3), lens.rays(), 0.0)
    got = Resampler(lens, camera, behind, "v.mp4")(image).mean(-1)
    expected = ROOM.colours(np.zeros(3), camera.rays() @ behind.T, 0.0).mean(-1)
    assert np.abs(got - expected).mean() < 2


def test_a_fisheye(tmp_path):
    lens = Fisheye(np.radians(120), 600, 600)
    path = write(tmp_path / "v.mp4", frames(ROOM, lens, TIMES[:2]))
    made = source(path, projection="fisheye", fov_deg=(120, 120))
    _, opened = only(made)
    with opened:
        views = opened.read(0, 2)
    assert_sees_the_room(views, PAIR, 1)


@pytest.mark.parametrize(("mode", "axis", "first", "settings"), [
    (1, 0, "left", {}), (2, 1, "left", {}), (4, 1, "right", {}),
    (None, 0, "right", {"packing": "top_bottom", "first": "right"}), (2, 0, "left", {"packing": "top_bottom"})])
def test_the_eyes_are_where_the_file_or_the_recipe_says(tmp_path, packed, mode, axis, first, settings):
    """The recipe goes before the file."""
    eyes = np.split(packed[:2], 2, 2)
    eyes = eyes if first == "left" else eyes[::-1]
    path = write(tmp_path / "v.mp4", np.concatenate(eyes, 1 + axis), boxes=b"" if mode is None else st3d(mode))
    _, opened = only(source(path, **settings))
    with opened:
        assert_sees_the_room(opened.read(0, 2), PAIR, 1)


def test_bounds_of_the_file(tmp_path, packed):
    said = st3d(2) + sv3d(left=0.375, right=0.375, top=1 / 3, bottom=1 / 3)
    _, opened = only(source(write(tmp_path / "v.mp4", packed, boxes=said), fov_deg=None))
    with opened:
        assert_sees_the_room(opened.read(0, 4), PAIR, 2)


def test_frames_are_shown_when_the_container_says_and_upright(tmp_path, packed):
    """A variable frame rate; and a file stored turned, with the turn in its display matrix."""
    times = np.array([0, 0.03, 0.2, 0.24])
    with only(source(write(tmp_path / "v.mp4", packed, time_s=times)))[1] as opened:
        np.testing.assert_allclose(opened.time_s, times, atol=1e-4)
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = packed.shape[1], packed.shape[2], "yuv420p"
        stream.set_display_rotation(90)
        for image in packed:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(image, -1)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with only(source(path))[1] as opened:
        assert_sees_the_room(opened.read(0, 4), PAIR, 3)


# Plans

def test_each_pair_is_a_clip_of_one_recording(tmp_path, packed):
    path = write(tmp_path / "v.mp4", np.concatenate([packed] * 2))
    pairs = [PAIR, VirtualPair(fov_deg=30, width=128, height=96, yaw_deg=20)]
    clips = list(source(path, ClipConfig(num_frames=4, min_frames=2), pairs=pairs).plan())
    assert [(c.start, c.params["pair"]["yaw_deg"]) for c in clips] == [(0, 0), (0, 20), (4, 0), (4, 20)]
    assert len({c.key for c in clips}) == 4 and len({c.recording for c in clips}) == 1
    again = list(source(path, ClipConfig(num_frames=4, min_frames=2), pairs=pairs[1:]).plan())
    assert {c.key for c in again} == {clips[1].key, clips[3].key}  # the others do not matter


def test_what_cannot_be_cut_out_is_said_before_any_work(tmp_path, packed):
    path = write(tmp_path / "v.mp4", packed[:2])
    refused(source(path, pairs=[VirtualPair(fov_deg=100)]), "looks beyond the picture .* lower its fov_deg")
    refused(source(path, fov_deg=(360, 180)), "omnidirectional stereo, and a pair of fov_deg 50")
    refused(source(write(tmp_path / "mono.mp4", packed[:2], boxes=st3d(0))), "mono.mp4.* one eye only")
    refused(source(write(tmp_path / "unsaid.mp4", packed[:2], boxes=sv3d())), "unsaid.mp4.* one eye only")
    refused(source(write(tmp_path / "own.mp4", packed[:2], boxes=st3d(3))), "layout of its own")
    mesh = st3d(2) + sv3d(projection=full_box(b"mshp", bytes(8)))
    refused(source(write(tmp_path / "mesh.mp4", packed[:2], boxes=mesh), fov_deg=None), "projection is 'mesh'")
    refused(source(path, pairs=[VirtualPair(yaw_deg=55, fov_deg=60)]), "reaches 85 degrees to the side")
    with pytest.raises(ValueError, match="fov_deg down is 200"):
        Vr180Config(root=".", fov_deg=(180, 200))


def test_a_video_that_changed_since_it_was_planned(tmp_path, packed):
    path = write(tmp_path / "v.mp4", packed)
    made = source(path)
    clip = next(iter(made.plan()))
    write(path, packed[:2])
    with pytest.raises(BadInput, match="2 frames, expected at least 4 as planned"):
        made.open(clip)


# Metadata

def test_boxes_of_the_second_version(tmp_path, packed):
    path = write(tmp_path / "v.mp4", packed[:1], boxes=st3d(4) + sv3d(0.1, 0.2, 0.25, 0.125, pose=(30.0, -5.5, 1.0)))
    said = read_spherical(path)
    assert (said.packing, said.first) == ("side_by_side", "right")
    assert (said.projection, said.told_by) == ("equirectangular", "sv3d")
    np.testing.assert_allclose(said.bounds_deg, (-90, 135, -54, 72), atol=1e-6)
    np.testing.assert_allclose(said.pose_deg, (30, -5.5, 1))


def test_ffmpeg_reads_the_same(tmp_path, packed):
    """The boxes are written as others read them; and what FFmpeg says of other containers is understood."""
    path = write(tmp_path / "v.mp4", packed[:1], boxes=st3d(1) + sv3d(0.1, 0.2, 0.25, 0.125, pose=(30.0, -5.5, 1.0)))
    with av.open(str(path)) as container:
        data = next(container.decode(video=0)).side_data
        theirs = of_side_data(*(bytes(data.get(k)) for k in (SideData.SPHERICAL, SideData.STEREO3D)), "v.mp4")
    ours = read_spherical(path)
    assert (ours.packing, ours.first, ours.projection) == (theirs.packing, theirs.first, theirs.projection)
    np.testing.assert_allclose(ours.bounds_deg, theirs.bounds_deg, atol=1e-6)
    np.testing.assert_allclose(ours.pose_deg, theirs.pose_deg, atol=1e-4)
    for name, boxes in (("a", sv3d(0.1, 0.2, 0.25, 0.125) + st3d(2)), ("b", b"")):
        path = write(tmp_path / f"{name}.mp4", packed[:1], boxes=boxes)
        with av.open(str(path)) as video, av.open(str(path.with_suffix(".mkv")), "w") as container:
            stream = container.add_stream_from_template(video.streams.video[0])
            for packet in video.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    container.mux(packet)
        ours, theirs = read_spherical(path), read_spherical(path.with_suffix(".mkv"))
        assert (theirs.packing, theirs.projection, theirs.cropped) == (ours.packing, ours.projection, ours.cropped)
        assert theirs.told_by == ("ffmpeg" if boxes else "")


def test_xml_of_the_first_version(tmp_path, packed):
    crop = {"CroppedAreaImageWidthPixels": 2048, "CroppedAreaImageHeightPixels": 2048, "FullPanoWidthPixels": 4096,
            "FullPanoHeightPixels": 2048, "CroppedAreaLeftPixels": 1024, "CroppedAreaTopPixels": 0}
    xml = v1(Spherical="true", ProjectionType="equirectangular", StereoMode="top-bottom", **crop)
    said = read_spherical(write(tmp_path / "v.mp4", packed[:1], track_boxes=xml))
    assert (said.packing, said.first, said.bounds_deg) == ("top_bottom", "left", (-90, 90, -90, 90))
    both = read_spherical(write(tmp_path / "w.mp4", packed[:1], boxes=st3d(2) + sv3d(left=0.4), track_boxes=xml))
    assert (both.packing, both.told_by) == ("side_by_side", "sv3d")  # the second version goes before the first
    assert read_spherical(write(tmp_path / "n.mp4", packed[:1], track_boxes=v1(Spherical="false"))) == Spherical()
    with pytest.raises(BadInput, match=r"left 0\.600, right 0\.500"):
        read_spherical(write(tmp_path / "b.mp4", packed[:1], boxes=sv3d(left=0.6, right=0.5)))
    lying = v1(Spherical="true", **(crop | {"FullPanoWidthPixels": 0}))
    with pytest.raises(BadInput, match="whole sphere of 0x2048"):
        read_spherical(write(tmp_path / "z.mp4", packed[:1], track_boxes=lying))


def test_a_file_without_metadata_shows_half_the_world(tmp_path, packed):
    path = write(tmp_path / "v.mp4", packed[:2])
    assert read_spherical(path) == Spherical()
    made = source(path, fov_deg=None)
    assert made._lens(path, Spherical(), 100, 100) == (equirectangular(180, 180, 100, 100), 180.0)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_boxes_are_passed_over_or_refused(tmp_path_factory, data):
    """Whatever bytes: an answer or BadInput, and never a long walk."""
    path = tmp_path_factory.getbasetemp() / "damaged.mp4"
    entry = box(b"avc1", bytes(78) + st3d(2) + sv3d())
    moov = box(b"moov", box(b"trak", box(b"mdia", full_box(b"hdlr", bytes(4) + b"vide") + box(
        b"minf", box(b"stbl", full_box(b"stsd", bytes([0, 0, 0, 1]) + entry)))) + v1(Spherical="true")))
    damaged = bytearray(box(b"ftyp", b"isom") + moov)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(8, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(damaged[: data.draw(st.integers(12, len(damaged)))]))
    try:
        said = read_spherical(path)
    except BadInput:
        return
    assert said.bounds_deg is None or -180 <= said.bounds_deg[0] < said.bounds_deg[1] <= 180


def test_boxes_without_end_end(tmp_path):
    path = tmp_path / "many.mp4"
    path.write_bytes(box(b"ftyp", b"isom") + box(b"moov", box(b"free", b"") * 100_000))
    assert read_spherical(path) == Spherical()
    assert with_boxes(box(b"moov", box(b"trak", b"")), track_boxes=st3d(2)).endswith(st3d(2))


# Scale

def test_the_scale_is_assumed_and_its_error_stated(tmp_path, packed):
    path = write(tmp_path / "v.mp4", packed[:2])
    with only(source(path))[1] as opened:
        assert (opened.scale, opened.rig.baseline_m, opened.baseline_sigma_m) == ("assumed", 0.063, 0.003)
    with only(source(path, eye_distance_m=0.065, eye_distance_sigma_m=0.001))[1] as opened:
        assert (opened.scale, opened.rig.baseline_m, opened.baseline_sigma_m) == ("assumed", 0.065, 0.001)


def test_eyes_that_turn_with_the_view(tmp_path):
    """Omnidirectional stereo: turned to the side, the pair's middle has the disparity of two cameras; towards its
    borders it is off by what the scale's error says."""
    lens = Equirectangular(*np.radians([-180.0, 180.0, -30.0, 30.0]), 1440, 240)
    room = Room(half_width=2.0, plate_at=(0.0, -9.0, 1.0))
    pair = VirtualPair(fov_deg=36, width=144, height=96, yaw_deg=90)
    path = write(tmp_path / "v.mp4", frames(room, lens, TIMES[:2], omnidirectional=True))
    _, opened = only(source(path, fov_deg=(360, 60), pairs=[pair]))
    with opened:
        left, right = (view[0] for view in opened.read(0, 1))
        assert opened.baseline_sigma_m == pytest.approx(np.hypot(0.003, 0.063 * (1 / np.cos(np.radians(18)) - 1)))
        assert aim(pair, turns=True)[0].cx == pytest.approx(71.5)
        true = np.full((96, 144), opened.rig.disparity(2.0))  # the wall at the right is square to the view
    slope = np.float32(right.mean(-1))
    strips = disparity_errors(left[34:62], right[34:62], true[34:62]) / true[0, 0]
    assert np.median(np.abs(strips)) < 0.05 and np.abs(strips).max() < 0.08 and slope.std() > 20


def test_answers_of_a_room_hold(tmp_path):
    """The recipe on a made file, pixels to answers: the plate moves, and so does the rig; every length lies within its
    stated error, which is mostly the assumed distance of the eyes."""
    import curate
    from curate.measure import measure

    room = Room(rig_velocity=(0.06, 0.0, 0.12))
    lens = equirectangular(66, 52, 528, 416)
    times = np.arange(12) / 10
    path = write(tmp_path / "v.mp4", frames(room, lens, times), boxes=st3d(2) + sv3d(
        *[(1 - 52 / 180) / 2] * 2, *[(1 - 66 / 360) / 2] * 2))
    pairs = "source.pairs=[{fov_deg: 60, width: 320, height: 240}]"
    recipe = curate.load_recipe(RECIPE, [f"source.root={path}", pairs])
    scene = curate.perceive(curate.clips(recipe)[0])
    assert (scene.scale, scene.baseline_sigma_m) == ("assumed", 0.003)
    moved, last = np.linalg.norm(room.plate(times[-1]) - room.plate(0)), len(times) - 1
    region = next(r for r in scene.regions if np.linalg.norm(r.point_cam[0] - room.plate(0) - [EYES_M / 2, 0, 0]) < 0.1)
    truth = {"object_displacement": moved, "object_mean_speed": moved / times[-1], "object_path_length": moved,
             "camera_displacement": np.linalg.norm(room.rig(times[-1]).translation)}
    found = {q.kind: q for q in measure(scene) if q.span == (0, last) and (q.subjects in ((), (region.id,)))}
    for kind, value in truth.items():
        low, middle, high = found[kind].quantiles[0], found[kind].value, found[kind].quantiles[-1]
        assert low <= value <= high and abs(middle / value - 1) < 0.05, (kind, low, value, high)
        assert 0.1 < (high - low) / middle < 0.4  # ± 2.6 times 4.8 %, and a little of its own
    asked = [q for q in curate.ask(scene) if q.unit == "m"]
    assert asked and {q.scale for q in asked} == {"assumed"}
