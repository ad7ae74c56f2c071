"""Cursors and times: a cursor comes back as it went, and whatever else a client sends is refused with a sentence."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.errors import Invalid
from netra_apex.stores.rows import cursor_of, from_ms, read_cursor, to_ms


@given(st.integers(0, 2**53), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_cursor_comes_back_as_it_went_and_fits_into_an_address(number: int, ident: str) -> None:
    cursor = cursor_of(number, ident)
    assert read_cursor(cursor) == (number, ident)
    assert all(char.isascii() and (char.isalnum() or char in "-_") for char in cursor)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_garbage_is_refused_with_a_sentence_or_is_a_cursor(text: str) -> None:
    try:
        number, ident = read_cursor(text)
    except Invalid as error:
        assert "next_cursor" in str(error)
    else:
        assert 0 <= number <= 2**53
        ident.encode()


@pytest.mark.parametrize(
    "forged",
    [
        None,
        [],
        [1],
        ["a", "b"],
        [1, 2],
        [1, "a", 2],
        {"n": 1},
        [-1, "a"],
        [2**53 + 1, "a"],
        [1.5, "a"],
        [True, "a"],
        [10**30, "a"],
    ],
)
def test_a_forged_cursor_is_refused(forged: object) -> None:
    with pytest.raises(Invalid, match="none of ours"):
        read_cursor(base64.urlsafe_b64encode(json.dumps(forged).encode()).decode())


@given(
    st.datetimes(
        datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))])
    )
)
def test_a_time_is_kept_to_the_millisecond_whatever_its_zone(at: datetime) -> None:
    kept = from_ms(to_ms(at))
    assert abs(kept - at) <= timedelta(microseconds=501)
    assert kept.tzinfo is UTC
    assert from_ms(to_ms(kept)) == kept
