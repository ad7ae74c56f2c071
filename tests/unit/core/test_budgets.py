"""Which budget suffices for what, decided from values alone."""

import pytest

from netra_apex.core.budgets import Amount, Bound, Limits, Reservation, amount, dollars, excess, nano
from netra_apex.core.messages import Usage

NOTHING = {"run": Amount(), "user": Amount(), "day": Amount()}
TOMORROW = "2026-11-23T00:00:00Z"


def over(limits, used, wanted):
    found = excess(limits, NOTHING | used, wanted, renews_at=TOMORROW)
    return None if found is None else (found.scope, found.measure, found.limit, found.used, found.wanted)


def test_what_just_fits_is_allowed_and_one_more_is_not():
    limits = Limits(user=Bound(tokens=100))
    assert over(limits, {"user": Amount(60)}, Amount(40)) is None
    assert over(limits, {"user": Amount(60)}, Amount(41)) == ("user", "tokens", 100, 60, 41)


def test_each_scope_and_each_measure_has_a_bound_of_its_own():
    limits = Limits(run=Bound(10, 1), user=Bound(20, 2), day=Bound(30, 3))
    assert over(limits, {}, Amount(11)) == ("run", "tokens", 10, 0, 11)
    assert over(limits, {}, Amount(0, 2)) == ("run", "cost", 1, 0, 2)
    assert over(limits, {"user": Amount(15)}, Amount(10)) == ("user", "tokens", 20, 15, 10)
    assert over(limits, {"user": Amount(0, 2)}, Amount(0, 1)) == ("user", "cost", 2, 2, 1)
    assert over(limits, {"day": Amount(25)}, Amount(10)) == ("day", "tokens", 30, 25, 10)
    assert over(limits, {"day": Amount(0, 3)}, Amount(0, 1)) == ("day", "cost", 3, 3, 1)


def test_without_a_limit_everything_is_allowed():
    assert not Limits()
    assert Limits(day=Bound(cost=1))
    assert over(Limits(), {"user": Amount(10**15, 10**15)}, Amount(10**15, 10**15)) is None


def test_the_sentence_names_the_budget_what_is_used_and_when_it_is_renewed():
    used = NOTHING | {"run": Amount(1200), "user": Amount(0, nano(1.5)), "day": Amount(77_777)}
    wanted = Amount(2000, nano(0.75))
    found = excess(Limits(run=Bound(tokens=3000)), used, wanted, renews_at=TOMORROW)
    assert str(found) == (
        "the budget of 3,000 tokens for a run (NETRA_RUN_TOKENS) does not suffice: 1,200 tokens are used or reserved, "
        "and this request may take 2,000 tokens"
    )
    found = excess(Limits(user=Bound(cost=nano(2))), used, wanted, renews_at=TOMORROW)
    assert str(found) == (
        "the budget of $2 per user and day (NETRA_USER_COST_USD_PER_DAY) does not suffice: $1.5 are used or reserved, "
        f"and this request may take $0.75; it is renewed at {TOMORROW}"
    )


def test_what_others_have_used_is_not_told():
    used = NOTHING | {"day": Amount(77_777)}
    said = str(excess(Limits(day=Bound(tokens=77_780)), used, Amount(5), renews_at=TOMORROW))
    assert "77,777" not in said
    assert "NETRA_DAY_TOKENS" in said


@pytest.mark.parametrize("usd", [0.0, 1e-9, 0.1, 2.5e-7, 7e-7, 19.99, 1e6])
def test_costs_are_whole_billionths_of_a_dollar(usd):
    assert nano(usd) == round(usd * 1e9)
    assert dollars(nano(usd)) == pytest.approx(usd)


def test_an_unknown_cost_counts_as_none():
    assert nano(None) is None
    assert amount(Usage(3, 4, 1)) == Amount(7, 0)
    assert Amount(1, 2) + Amount(3, 4) == Amount(4, 6)
    reserved = Reservation(user_id="ada", run_id="run_1", key="1", epoch=1, usage=Usage(3, 4, 1, 1e-6))
    assert reserved.amount == Amount(7, 1000)
