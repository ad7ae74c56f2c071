"""Whether and when a lost socket is worth coming back: a machine without I/O, a clock or chance of its own."""

from dataclasses import dataclass
from enum import Enum

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
HELD = 5.0
_FINAL = frozenset({1003, 1007, 1009})


class Verdict(Enum):
    """What to do after a socket has closed."""

    RETURN = "return"
    RENEW = "renew the token, then return"
    STAY_AWAY = "the same again would end the same"


def verdict(close_code: int | None) -> Verdict:
    """What a close code (docs/reference/socket.md) asks of a client; None is a socket that was lost without one."""
    if close_code == 4401:
        return Verdict.RENEW
    # 4408 is a time-out: of a slow network, not of a wrong client. Other codes of the application are refusals.
    if close_code in _FINAL or (close_code is not None and 4000 <= close_code < 5000 and close_code != 4408):
        return Verdict.STAY_AWAY
    return Verdict.RETURN


@dataclass(slots=True)
class Comeback:
    """Counts the attempts since the last socket that did its work.

    A socket that was established and closed at once is no success, or a server that does this would be called without
    end: `worked` is told once more than the greeting came, or it held for `HELD` seconds.
    """

    patience: float
    _attempts: int = 0
    _since: float | None = None
    _renewed: bool = False

    def worked(self) -> None:
        """The socket does its work: the next loss is a first one."""
        self._attempts, self._since, self._renewed = 0, None, False

    def renew(self) -> bool:
        """Whether a refused token may be renewed: once, until a socket has worked with it."""
        first, self._renewed = not self._renewed, True
        return first

    def delay(self, now: float, chance: float) -> float | None:
        """Seconds until the next attempt, or None where patience has run out.

        Doubles from `FIRST_DELAY` to `LONGEST_DELAY`; `chance` (0 to 1) takes off up to half of it, so that the
        clients of a restarted server do not come back in one moment.
        """
        if self._since is None:
            self._since = now
        left = self._since + self.patience - now
        if left <= 0:
            return None
        full = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._attempts)
        self._attempts += 1
        return min(full * (1 - chance / 2), left)
