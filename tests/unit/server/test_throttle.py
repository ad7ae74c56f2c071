import pytest

from netra_apex.errors import Flood
from netra_apex.server.throttle import MAX_KEYS, PER_ADDRESS, PER_NAME, Failures, LoginThrottle, network_of


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_failures_up_to_the_limit_are_heard_and_the_next_is_told_when_to_come_back():
    clock = Clock()
    throttle = LoginThrottle(clock)
    for _ in range(PER_NAME):
        throttle.check("192.0.2.1", "ada")
        throttle.failed("192.0.2.1", "ada")
    with pytest.raises(Flood) as caught:
        throttle.check("192.0.2.1", "ada")
    wait = caught.value.retry_after
    assert wait == pytest.approx(60 / PER_NAME)
    clock.now += wait
    throttle.check("192.0.2.1", "ada")


def test_another_address_and_another_name_are_not_held_up():
    throttle = LoginThrottle(Clock())
    for _ in range(PER_NAME):
        throttle.failed("192.0.2.1", "ada")
    throttle.check("192.0.2.2", "ada")
    throttle.check("192.0.2.1", "bob")


def test_an_address_that_tries_many_names_is_held_up_for_all_of_them():
    throttle = LoginThrottle(Clock())
    for number in range(PER_ADDRESS):
        throttle.check("192.0.2.1", f"user{number}")
        throttle.failed("192.0.2.1", f"user{number}")
    with pytest.raises(Flood):
        throttle.check("192.0.2.1", "somebody else")
    throttle.check("192.0.2.2", "somebody else")


def test_successes_never_count_and_forgive_the_names_failures():
    throttle = LoginThrottle(Clock())
    for _ in range(1000):
        throttle.check("192.0.2.1", "ada")
        throttle.succeeded("192.0.2.1", "ada")
    for _ in range(PER_NAME - 1):
        throttle.failed("192.0.2.1", "ada")
    throttle.succeeded("192.0.2.1", "ada")
    throttle.failed("192.0.2.1", "ada")
    throttle.check("192.0.2.1", "ada")


def test_failures_are_forgiven_at_an_even_pace():
    clock = Clock()
    failures = Failures(60, clock)
    for _ in range(60):
        failures.add("key")
    assert failures.wait("key") == pytest.approx(1)
    clock.now += 30
    for _ in range(30):
        assert failures.wait("key") == 0
        failures.add("key")
    assert failures.wait("key") == pytest.approx(1)


def test_the_memory_for_failures_is_bounded():
    failures = Failures(2, Clock())
    for _ in range(2):
        failures.add("first")
    for number in range(MAX_KEYS - 1):
        failures.add(str(number))
    assert failures.wait("first") > 0
    failures.add("one more")
    assert failures.wait("first") == 0
    assert len(failures._buckets) == MAX_KEYS


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_what_one_customer_has_counts_as_one_address(address, network):
    assert network_of(address) == network
