"""The host of a process's tool calls, as its settings say."""

from netra_apex.core.redaction import Redactor
from netra_apex.core.telemetry import Telemetry
from netra_apex.settings import Settings, environment_for_tools
from netra_apex.tools import ToolHost
from netra_apex.tools.processes import ToolProcesses


def tool_host(settings: Settings, redactor: Redactor, telemetry: Telemetry) -> ToolHost:
    """A host within the limits of these settings. Close it when the process stops."""
    return ToolHost(
        processes=ToolProcesses(
            environment=environment_for_tools(),
            size=settings.tool_processes,
            per_user=settings.tool_processes_per_user,
            memory_bytes=settings.tool_memory_bytes,
        ),
        timeout_seconds=settings.tool_timeout_seconds,
        approval_days=settings.approval_days,
        result_bytes=settings.tool_result_bytes,
        redactor=redactor,
        telemetry=telemetry,
    )
