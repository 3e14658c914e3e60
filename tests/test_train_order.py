"""The order of questions: nothing lost, nothing doubled, the same from any place on, mixed but clip by clip."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.train.order import Order

COUNTS = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=8).map(tuple).filter(sum), min_size=1,
                  max_size=3).map(tuple)

GOLDEN = [(0, 1, 1), (0, 1, 0), (1, 1, 1), (0, 1, 2), (0, 1, 1), (0, 1, 2), (1, 1, 0), (0, 1, 0)]


def every(counts):
    return Counter((s, c, q) for s, clips in enumerate(counts) for c, num in enumerate(clips) for q in range(num))


@given(COUNTS, st.integers(1, 5), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_ranks_together_give_each_question_once_an_epoch(counts, world, epochs, seed, shuffle):
    def order(rank):
        return Order(counts, (1.0,) * len(counts), seed, rank, world, epochs, shuffle, pool=3)

    given_ = [list(order(rank).items()) for rank in range(world)]
    assert [len(items) for items in given_] == [order(rank).total() for rank in range(world)]
    expected = every(counts)
    assert sum(map(Counter, given_), Counter()) == Counter({item: epochs for item in expected})
    for epoch in range(epochs):
        lengths = [order(rank).length(epoch) for rank in range(world)]
        assert sum(lengths) == expected.total() and max(lengths) - min(lengths) <= 1
        parts = []
        for rank in range(world):
            start = sum(order(rank).length(e) for e in range(epoch))
            parts += given_[rank][start:start + lengths[rank]]
        assert Counter(parts) == expected


@given(COUNTS, st.integers(1, 3), st.integers(0, 60), st.booleans())
def test_from_any_place_on_it_is_what_would_have_come(counts, world, start, shuffle):
    order = Order(counts, (1.0,) * len(counts), 5, world - 1, world, None, shuffle, pool=4)
    whole = list(islice(order.items(), start + 20))
    assert list(islice(order.items(start), 20)) == whole[start:]
    epoch, done = order.place(start)
    assert sum(order.length(e) for e in range(epoch)) + done == start


def test_epochs_and_seeds_differ():
    def epoch(number, seed=0):
        order = Order(((4,) * 30,), (1.0,), seed)
        return list(islice(order.items(120 * number), 120))

    assert epoch(0) != epoch(1) and epoch(0) != epoch(0, seed=1)
    assert Counter(epoch(0)) == Counter(epoch(1)) == Counter(epoch(0, seed=1))


def test_the_order_stays_what_it_was_so_that_old_checkpoints_go_on():
    order = Order(((2, 3), (1, 2)), (1.0, 0.5), seed=7, rank=1, world_size=2, pool=2)
    assert list(islice(order.items(), 8)) == GOLDEN


@given(st.floats(0.1, 3.5), st.integers(1, 3))
def test_weights_say_how_often_a_question_comes(weight, world):
    counts = ((3, 5, 2), (4, 4))
    orders = [Order(counts, (1.0, weight), 1, rank, world, epochs=20) for rank in range(world)]
    seen = sum((Counter(order.items()) for order in orders), Counter())
    wanted = max(1, round(8 * weight))
    assert all(seen[0, c, q] == 20 for c in range(3) for q in range(counts[0][c]))
    of_second = [n for (s, _, _), n in seen.items() if s == 1]
    assert sum(of_second) == 20 * wanted
    assert len(of_second) == 8 and max(of_second) - min(of_second) <= 1, "evenly over its questions"


def test_clips_are_mixed_and_each_is_there_for_a_stretch_alone():
    clips, per_clip, pool = 200, 10, 16
    items = list(Order(((per_clip,) * clips,), (1.0,), 3, pool=pool, epochs=1).items())
    places = {c: [i for i, item in enumerate(items) if item[1] == c] for c in range(clips)}
    batches = [{item[1] for item in items[i:i + 8]} for i in range(0, len(items) - 8 * pool, 8)]
    assert sum(map(len, batches)) / len(batches) > 5.5, "a batch of 8 holds questions of most of 8 clips"
    stretch = [p[-1] - p[0] for p in places.values()]
    assert max(stretch) < 6 * pool * per_clip, "a clip is needed for a stretch, then no more"
    first = [p[0] for p in places.values()]
    assert abs(sum(a < b for a, b in pairwise(first)) / (clips - 1) - 0.5) < 0.15, "clips are permuted"


def test_at_most_one_clip_at_each_border_is_read_by_two_ranks():
    counts, world = ((7, 3, 5, 8, 2, 6, 4, 9, 1, 5),), 4
    clips = [{item[:2] for item in Order(counts, (1.0,), 2, rank, world, epochs=1).items()} for rank in range(world)]
    assert sum(map(len, clips)) <= len(counts[0]) + world - 1


def test_weights_need_a_shuffle():
    with pytest.raises(ValueError, match="come once each"):
        Order(((3,),), (2.0,), shuffle=False)
