"""A token bucket: so many at once, so many a minute in the long run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.core.buckets import TokenBucket


def test_a_burst_goes_through_and_then_one_at_the_rate() -> None:
    bucket = TokenBucket(burst=3, per_minute=60, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(0.0) == pytest.approx(1.0)
    assert not bucket.take(0.5)
    assert bucket.wait(0.5) == pytest.approx(0.5)
    assert bucket.wait(1.25) == 0.0
    assert bucket.take(1.25)
    assert not bucket.take(1.25)


def test_what_is_not_used_is_not_saved_beyond_the_burst() -> None:
    bucket = TokenBucket(burst=2, per_minute=600, now=0.0)
    assert [bucket.take(1_000.0) for _ in range(3)] == [True, True, False]


def test_looking_how_long_to_wait_takes_nothing() -> None:
    bucket = TokenBucket(burst=1, per_minute=60, now=5.0)
    assert [bucket.wait(5.0) for _ in range(5)] == [0.0] * 5
    assert bucket.take(5.0)


@given(st.integers(1, 20), st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_stretch_of_time_lets_more_through_than_burst_and_rate(burst: int, rate: int, gaps: list[float]) -> None:
    bucket = TokenBucket(burst=burst, per_minute=rate, now=0.0)
    now = 0.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        wait = bucket.wait(now)
        assert wait >= 0
        if bucket.take(now):
            taken.append(now)
            assert wait == 0
        else:
            assert wait > 0
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) * rate / 60 + 1e-6
