"""Coordinates in text and back: bins, tokens, spans. The numbers are worked out by hand."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.questions.coordinates import AXES, DEPTH, DIALECTS, HEIGHT, TEMP, WIDTH, Canvas, Writer, plain_text, runs
from curate.questions.coordinates import special_tokens as tokens

CANVAS = Canvas(400, 200, 2.0, 300.0, 300.0, 199.5, 99.5)
axes = st.sampled_from(list(AXES.values()))


def test_bins_are_where_the_table_says():
    assert [axis.num for axis in (TEMP, WIDTH, HEIGHT, DEPTH)] == [100, 200, 200, 200]
    assert WIDTH.edges[:2] == (0, .005) and WIDTH.edges[-1] == 1 and len(WIDTH.edges) == 201
    assert DEPTH.edges[0] == .1 and DEPTH.edges[-1] == 200
    assert DEPTH.edges[100] == pytest.approx(math.sqrt(.1 * 200), rel=1e-8)  # the middle of the logarithm
    assert {round(b / a, 6) for a, b in pairwise(DEPTH.edges)} == {round(2000 ** (1 / 200), 6)}
    assert WIDTH.encode(.005) == 1 and WIDTH.encode(math.nextafter(.005, 0)) == 0  # half open
    assert DEPTH.encode(.01) == 0 and DEPTH.encode(math.inf) == 199 and TEMP.encode(1.0) == 99


def test_every_token_is_there_once():
    assert len(tokens()) == len(set(tokens())) == 700
    assert {"<TEMP-000>", "<WIDTH-199>", "<HEIGHT-199>", "<DEPTH-000>"} <= set(tokens())
    assert "<TEMP-100>" not in tokens()


@given(axes, st.data())
def test_a_bin_decodes_to_a_value_that_encodes_to_it(axis, data):
    k = data.draw(st.integers(0, axis.num - 1))
    assert axis.encode(axis.decode(k)) == k and axis.edges[k] <= axis.decode(k) < axis.edges[k + 1]


@given(axes, st.floats(0, 1))
def test_a_value_is_within_half_a_bin_of_what_it_decodes_to(axis, share):
    value = axis.low * (axis.high / axis.low) ** share if axis.log else share
    again = axis.decode(axis.encode(value))
    if axis.log:
        assert abs(math.log(again / value)) <= math.log(2000) / 400 + 1e-6
    else:
        assert abs(again - value) <= .5 / axis.num + 1e-12


@given(axes, st.floats(1e-4, .9999), st.floats(1e-3, .3))
def test_neighbours_share_a_normal_distribution(axis, share, sigma):
    value = axis.low * (axis.high / axis.low) ** share if axis.log else share
    found = axis.neighbours(value, sigma * value if axis.log else sigma)
    assert [k for k, _ in found] == sorted({k for k, _ in found}) and all(w > 0 for _, w in found)
    assert sum(w for _, w in found) == pytest.approx(1)
    inner = [(k, w) for k, w in found if 0 < k < axis.num - 1]
    own = axis.encode(value)
    for (a, x), (b, y) in pairwise(inner):  # falls off to both sides
        if a > own:
            assert x >= y
        elif b < own:
            assert y >= x


def test_neighbours_by_hand():
    # a bin of 0.005 and a sigma of half of it, from the middle: 68.3 % inside, 15.7 % next to it, 0.1 % beyond
    found = dict(WIDTH.neighbours(.5025, .0025))
    assert found[100] == pytest.approx(.6827, abs=1e-3) and found[99] == pytest.approx(found[101]) == pytest.approx(
        .1573, abs=1e-3)
    assert WIDTH.neighbours(.5025, 0) == [(100, 1.0)]
    # depth: sigma 3.8 % is one bin, whatever the depth
    near, far = DEPTH.neighbours(DEPTH.decode(50), .038 * DEPTH.decode(50)), DEPTH.neighbours(
        DEPTH.decode(150), .038 * DEPTH.decode(150))
    assert [w for _, w in near] == pytest.approx([w for _, w in far], rel=1e-5)
    # beyond the last edge everything belongs to the last bin
    assert DEPTH.neighbours(500.0, 1.0) == [(199, 1.0)]


@pytest.mark.parametrize("call,message", [
    (lambda: WIDTH.encode(math.nan), "nan"), (lambda: WIDTH.decode(200), "0 to 199"),
    (lambda: WIDTH.neighbours(.5, -1), "sigma"), (lambda: WIDTH.neighbours(.5, math.inf), "sigma"),
    (lambda: Writer("tokenz", CANVAS), "plain, box1000, tokens")])
def test_what_is_no_coordinate_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_points_and_boxes_in_each_dialect():
    plain, thousandths, coded = (Writer(name, CANVAS) for name in DIALECTS)
    assert plain.point(100.4, 50) == "[100, 50]" and plain.numbers(100.4, 50) == [100, 50]
    assert thousandths.box(100, 50, 300, 200) == "[250, 250, 750, 1000]"
    assert coded.point(101, 50.5) == "<WIDTH-050><HEIGHT-050>" and coded.numbers(101, 50.5) == [101, 50.5]
    assert plain.place((1.5, -.001, 7.25), .8, 2) == "[1.50, 0.00, 7.25, 0.80]"
    # a point straight ahead is in the image's middle; 1 s of 2 s, 20^½ m: half way of the logarithm
    assert coded.place((0, 0, math.sqrt(20)), 1.0, 2) == "<WIDTH-100><HEIGHT-100><DEPTH-100><TEMP-050>"


@given(st.floats(0, 399.9), st.floats(0, 199.9), st.floats(.1, 199), st.floats(0, 2))
def test_a_place_comes_back_from_its_tokens(across, down, z, seconds):
    point = CANVAS.camera_point(across, down, z)
    assert CANVAS.image_point(*point) == pytest.approx((across, down), abs=1e-6)
    (_, _, (x, y, again, t)), = runs(Writer("tokens", CANVAS).place(point, seconds, 2), CANVAS)
    assert abs(math.log(again / z)) <= math.log(2000) / 400 + 1e-6 and abs(t - seconds) <= .01 + 1e-9
    assert CANVAS.image_point(x, y, again) == pytest.approx((across, down), abs=1.0 + 1e-6)  # half of 2 px


@given(st.sampled_from(DIALECTS), st.tuples(*[st.floats(0, 400), st.floats(0, 200)] * 2))
def test_spans_of_a_box_hold_its_corners(dialect, box):
    writer = Writer(dialect, CANVAS)
    text, (first, second) = writer.box(*box), writer.box_spans(box, 1.5)
    for (begin, end, vector), corner in ((first, box[:2]), (second, box[2:])):
        assert text[begin:end] == writer.point(*corner).strip("[]")
        assert vector[:2] == pytest.approx(corner, abs=1e-4) and math.isnan(vector[2]) and vector[3] == 1.5


def test_tokens_are_written_out_for_readers_of_numbers():
    text = "From <WIDTH-050><HEIGHT-050> to <WIDTH-000> <HEIGHT-000><WIDTH-199><HEIGHT-199>, <R1> stays."
    assert plain_text(text, CANVAS) == "From [101, 50.5] to [1, 0.5, 399, 199.5], <R1> stays."
    for other in ("<HEIGHT-001><WIDTH-001>", "<WIDTH-200><HEIGHT-000>", "<DEPTH-003>", "<WIDTH-1><HEIGHT-1>"):
        assert plain_text(other, CANVAS) == other
    assert Canvas.from_json(CANVAS.to_json()) == CANVAS
