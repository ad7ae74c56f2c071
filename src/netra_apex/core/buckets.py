"""A token bucket: so many at once, so many a minute in the long run."""


class TokenBucket:
    """Counts against a rate, without a clock of its own: `now` is seconds of any clock that does not go back."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, *, burst: int, per_minute: float, now: float) -> None:
        self._burst = float(burst)
        self._per_second = per_minute / 60
        self._left = self._burst
        self._at = now

    def take(self, now: float) -> bool:
        """Takes one; False where there is none left."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is one."""
        left = min(self._burst, self._left + (now - self._at) * self._per_second)
        return max(0.0, (1 - left) / self._per_second)
