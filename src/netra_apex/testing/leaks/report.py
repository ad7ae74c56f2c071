"""What a leak test found."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

_KINDS = ("registration", "identity", "state", "event", "prompt", "refusal", "lost", "log", "metric", "row")
_SAID_AGAIN = frozenset({"agent_completed", "message_completed", "message_delta", "answer", "message"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One way by which something of one user reaches another, or stays behind where everybody's runs can reach it.

    `kind`: `registration` (the registry refused it), `identity` (a tool takes from the model whom it acts for),
    `prompt`, `event`, `row`, `log`, `metric` (one user's words in another's, or in nobody's), `state` (kept in the
    application's modules), `refusal` (another's thread was not refused) or `lost` (a conversation was not remembered).
    `where` is the attribute or tool. `users` are whose words they are and who could see them, `seed` is the
    interleaving's. `path` and `line` are the place in the application where it can happen, as far as that is known.
    """

    kind: str
    where: str
    message: str
    agent: str | None = None
    users: tuple[str, ...] = ()
    seed: int = 0
    path: str | None = None
    line: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def __str__(self) -> str:
        place = "" if self.path is None else f"{self.path}:{self.line}: "
        who = f" [{' -> '.join(self.users)}]" if self.users else ""
        by = "" if self.agent is None else f"agent {self.agent}, "
        return f"{place}{self.kind}: {by}{self.where}: {self.message}{who} (seed {self.seed})"


@dataclass(kw_only=True)
class LeakReport:
    """All that a leak test found, each once, and how much it looked at."""

    users: int
    seed: int
    runs: int = 0
    prompts: int = 0
    events: int = 0
    rows: int = 0
    log_lines: int = 0
    _found: dict[tuple[str, str | None, str], Finding] = field(default_factory=dict[Any, Finding])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Each agent and place once, those first that say most about the cause.

        What only follows from others is left out: the answer in which a tool's foreign result is said again, and the
        rows in which both are stored.
        """
        ranked = sorted(self._found.values(), key=lambda finding: _KINDS.index(finding.kind))
        causes = tuple(finding for finding in ranked if not _follows(finding))
        return causes or tuple(ranked)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self._found

    def add(self, finding: Finding, *, like: str | None = None) -> None:
        """Takes a finding in, unless one of its kind and agent is known that is `like` it: in the same place."""
        self._found.setdefault((finding.kind, finding.agent, like or finding.where), finding)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        counts = {name: getattr(self, name) for name in ("users", "seed", "runs", "prompts", "events", "rows")}
        return {**counts, "log_lines": self.log_lines, "findings": [each.as_json() for each in self.findings]}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from map(str, self.findings)
        yield (
            f"{len(self.findings)} findings with {self.users} users: {self.runs} runs, {self.prompts} prompts, "
            f"{self.events} events, {self.rows} rows, {self.log_lines} log lines (seed {self.seed})"
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _follows(finding: Finding) -> bool:
    """Whether it may be no more than the trace of another one."""
    return finding.kind == "row" or (finding.kind in ("event", "prompt") and finding.where in _SAID_AGAIN)
