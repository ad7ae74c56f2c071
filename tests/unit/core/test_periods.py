"""Periods as people write them."""

import pytest

from netra_apex.core.periods import Period
from netra_apex.errors import Invalid

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("since", "length", "width", "stretches"),
    [
        ("24h", 86_400_000, 1_800_000, 48),
        ("7d", 604_800_000, 21_600_000, 28),
        (" 30m ", 1_800_000, 60_000, 30),
        ("30s", 30_000, 1_000, 30),
        ("90d", 7_776_000_000, 86_400_000 * 1, 90),
    ],
)
def test_a_period_is_cut_in_stretches_that_people_use(since: str, length: int, width: int, stretches: int) -> None:
    period = Period.read(since, None, points=48, now=NOW)
    assert (period.until - period.since, period.width, period.stretches) == (length, width, stretches)
    assert period.until == NOW
    assert (period.before.until, period.before.since) == (period.since, period.since - length)


def test_a_period_between_two_times_has_a_shorter_last_stretch() -> None:
    period = Period.read("2026-11-22T05:00:00Z", "2026-11-22T06:30:00+00:00", points=1, now=NOW)
    assert (period.width, period.stretches) == (7_200_000, 1)
    assert Period.read("2026-11-22T05:00:00Z", "2026-11-22T06:30:01Z", points=90, now=NOW).stretches == 19


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("yesterday", None),
        ("", None),
        ("0h", None),
        ("91d", None),
        ("24h", "tomorrow"),
        ("2026-11-22T05:00:00", None),  # without a zone
        ("2999-01-01T00:00:00Z", None),
        ("99999999d", None),
        ("0001-01-01T00:00:00+23:59", None),
    ],
)
def test_what_is_no_period_gets_a_sentence(since: str, until: str | None) -> None:
    with pytest.raises(Invalid, match=r"\w{3,}.* \w+"):
        Period.read(since, until, points=48, now=NOW)
