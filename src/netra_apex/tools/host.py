"""`ToolHost`: what a process gives the dispatchers of all its runs."""

from dataclasses import dataclass, field

from netra_apex.core.redaction import Redactor
from netra_apex.core.telemetry import Telemetry
from netra_apex.tools.attempts import Attempts
from netra_apex.tools.processes import ToolProcesses
from netra_apex.tools.threads import ToolThreads


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolHost:
    """What a process gives the dispatchers of all its runs: threads, processes, tasks, limits; nothing of any user.

    `timeout_seconds` is for a tool that declares none; `result_bytes` is the size of a result as UTF-8. Close it when
    the process stops.
    """

    threads: ToolThreads = field(default_factory=ToolThreads)
    processes: ToolProcesses = field(default_factory=ToolProcesses)
    attempts: Attempts = field(default_factory=Attempts)
    timeout_seconds: float = 30.0
    approval_days: float = 30.0
    result_bytes: int = 65_536
    redactor: Redactor = field(default_factory=Redactor)
    telemetry: Telemetry = field(default_factory=Telemetry)

    async def aclose(self) -> None:
        """Takes no more calls; waits only briefly for what will not stop."""
        self.threads.close()
        self.processes.close()
        await self.attempts.aclose()
        await self.processes.aclose()
