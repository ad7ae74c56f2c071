"""Whether and when a lost socket is worth coming back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.client.comeback import FIRST_DELAY, LONGEST_DELAY, Comeback, Verdict, verdict


@pytest.mark.parametrize("code", [None, 1000, 1001, 1005, 1006, 1011, 1012, 1013, 4408])
def test_a_lost_socket_a_drain_and_a_time_out_are_worth_coming_back(code: int | None) -> None:
    assert verdict(code) is Verdict.RETURN


@pytest.mark.parametrize("code", [1003, 1007, 1009, 4403, 4409, 4413, 4429, 4000])
def test_a_refusal_is_not_asked_for_again(code: int) -> None:
    assert verdict(code) is Verdict.STAY_AWAY


def test_an_expired_login_is_renewed() -> None:
    assert verdict(4401) is Verdict.RENEW


def test_a_token_is_renewed_once_until_a_socket_has_worked() -> None:
    comeback = Comeback(60)
    assert comeback.renew()
    assert not comeback.renew()
    comeback.worked()
    assert comeback.renew()


def test_the_delay_doubles_to_its_longest_and_begins_anew_after_success() -> None:
    comeback = Comeback(1000)
    delays = [comeback.delay(0, 0) for _ in range(8)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_DELAY, LONGEST_DELAY]
    comeback.worked()
    assert comeback.delay(0, 0) == FIRST_DELAY


def test_patience_counts_from_the_first_loss() -> None:
    comeback = Comeback(10)
    assert comeback.delay(100, 0) == FIRST_DELAY
    assert comeback.delay(109.95, 0) == pytest.approx(0.05)
    assert comeback.delay(110, 0) is None
    comeback.worked()
    assert comeback.delay(200, 0) == FIRST_DELAY


@given(st.floats(0, 1), st.integers(0, 30))
def test_chance_takes_off_at_most_half_of_a_delay(chance: float, losses: int) -> None:
    comeback, steady = Comeback(1000), Comeback(1000)
    for _ in range(losses):
        comeback.delay(0, chance)
        steady.delay(0, 0)
    full = steady.delay(0, 0)
    spread = comeback.delay(0, chance)
    assert full is not None
    assert spread is not None
    assert full / 2 <= spread <= full
