"""Periods of time that figures are asked for: `24h`, `7d`, or since an instant; in stretches that make a chart."""

import contextlib
import re
from dataclasses import dataclass
from datetime import datetime

from netra_apex.errors import Invalid

DAY_MS = 86_400_000
LONGEST_DAYS = 90
_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}.get
_WIDTHS = (1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)  # seconds of a stretch


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """From `since` to before `until`, in stretches of `width`: milliseconds, the first two since 1970."""

    since: int
    until: int
    width: int

    @classmethod
    def read(cls, since: str, until: str | None, *, points: int, now: int) -> "Period":
        """What somebody has written, in about so many stretches. `since` is a duration back from the end, or a time.

        Raises:
            Invalid: it is neither, or no period.
        """
        end = now if until is None else _instant("until", until)
        found = _DURATION.fullmatch(since.strip())
        begin = end - int(found[1]) * (_UNITS(found[2]) or 0) if found else _instant("since", since)
        if begin >= end:
            raise Invalid("since must lie before until, which is now where it is left out")
        if end - begin > LONGEST_DAYS * DAY_MS:
            raise Invalid(f"a period has {LONGEST_DAYS} days at most")
        wanted = (end - begin) / 1000 / points
        width = next((each for each in _WIDTHS if each >= wanted), _WIDTHS[-1])
        return cls(since=begin, until=end, width=width * 1000)

    @property
    def before(self) -> "Period":
        """As long a one, which ends where this begins."""
        return Period(since=2 * self.since - self.until, until=self.since, width=self.width)

    @property
    def stretches(self) -> int:
        """How many there are; the last may be shorter."""
        return -(-(self.until - self.since) // self.width)


def _instant(name: str, text: str) -> int:
    with contextlib.suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is not None:
            return round(at.timestamp() * 1000)
    raise Invalid(f"{name} {text!r} is no period and no time: write 30m, 24h or 7d, or 2026-11-22T05:00:00Z")
