"""Limits by address: failures fill a bucket that empties with time, and a full one refuses. Successes never count."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from netra_apex.errors import Flood

MAX_KEYS = 10_000
PER_NAME = 10  # failures a minute of one address with one name
PER_ADDRESS = 100  # failures a minute of one address


@dataclass(slots=True)
class _Bucket:
    failures: float
    at: float


class Failures:
    """Failures per key, forgiven at an even pace of `per_minute`; the keys that failed least recently are forgotten."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._pace = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until one more attempt of this key is heard; 0 for now."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0
        over = self._left(bucket) - (self._limit - 1)
        return over / self._pace if over > 0 else 0

    def add(self, key: str) -> None:
        """One more failure."""
        bucket = self._buckets.pop(key, None)
        self._buckets[key] = _Bucket(1 + (0 if bucket is None else self._left(bucket)), self._clock())
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Forgets the failures of this key."""
        self._buckets.pop(key, None)

    def _left(self, bucket: _Bucket) -> float:
        return max(0, bucket.failures - (self._clock() - bucket.at) * self._pace)


class LoginThrottle:
    """The limit on guessing: by address and name, and by address.

    Not by name alone: then anybody could lock anybody out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._names = Failures(PER_NAME, clock)
        self._addresses = Failures(PER_ADDRESS, clock)

    def check(self, address: str, name: str) -> None:
        """Raises: Flood: this address has failed too often of late; `retry_after` says when to come back."""
        place = network_of(address)
        wait = max(self._names.wait(f"{place} {name}"), self._addresses.wait(place))
        if wait > 0:
            raise Flood("too many failed attempts: wait and try again", retry_after=wait)

    def failed(self, address: str, name: str) -> None:
        """Counts a failure."""
        place = network_of(address)
        self._names.add(f"{place} {name}")
        self._addresses.add(place)

    def succeeded(self, address: str, name: str) -> None:
        """Forgives this name's failures from this address; the address's own stay."""
        self._names.forgive(f"{network_of(address)} {name}")


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 customer has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
