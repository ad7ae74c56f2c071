"""Netra Apex: a multi-user server and library for AI agents. Every run is isolated, told live, and never lost."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netra_apex.agents import (
        AdaptivePipeline,
        AgentRegistry,
        Assignment,
        BaseAgent,
        ChatAgent,
        ChatOrchestrator,
        DataPlan,
        Material,
        Mission,
        Phase,
        Plan,
        Review,
        Sufficiency,
        SupervisorAgent,
        Team,
        TeamReport,
    )
    from netra_apex.agents.adapters.function import from_function
    from netra_apex.agents.adapters.langgraph import ScopeChatModel, from_langgraph
    from netra_apex.agents.adapters.openai_agents import from_openai_agents
    from netra_apex.agents.adapters.pydantic_ai import from_pydantic_ai
    from netra_apex.core.context import UserExecutionContext
    from netra_apex.core.messages import (
        AssistantMessage,
        Image,
        Reply,
        SystemMessage,
        ToolCall,
        ToolMessage,
        Usage,
        UserMessage,
    )
    from netra_apex.core.runs import Result
    from netra_apex.core.scope import RunScope
    from netra_apex.engine.engine import UserExecutionEngine
    from netra_apex.errors import CallFailed, ConfigurationError, NetraError, Refused, RunFailed
    from netra_apex.runtime import Runtime
    from netra_apex.server import create_app
    from netra_apex.settings import Settings
    from netra_apex.tools import ask_user, list_files, read_file, tool
    from netra_apex.tools.administration import admin_tools
    from netra_apex.tools.mcp import MCPServer
    from netra_apex.tools.memory import forget, recall, remember

__all__ = [
    "AdaptivePipeline",
    "AgentRegistry",
    "Assignment",
    "AssistantMessage",
    "BaseAgent",
    "CallFailed",
    "ChatAgent",
    "ChatOrchestrator",
    "ConfigurationError",
    "DataPlan",
    "Image",
    "MCPServer",
    "Material",
    "Mission",
    "NetraError",
    "Phase",
    "Plan",
    "Refused",
    "Reply",
    "Result",
    "Review",
    "RunFailed",
    "RunScope",
    "Runtime",
    "ScopeChatModel",
    "Settings",
    "Sufficiency",
    "SupervisorAgent",
    "SystemMessage",
    "Team",
    "TeamReport",
    "ToolCall",
    "ToolMessage",
    "Usage",
    "UserExecutionContext",
    "UserExecutionEngine",
    "UserMessage",
    "admin_tools",
    "ask_user",
    "create_app",
    "forget",
    "from_function",
    "from_langgraph",
    "from_openai_agents",
    "from_pydantic_ai",
    "list_files",
    "read_file",
    "recall",
    "remember",
    "tool",
]

# Loaded when first used: `netra --help` and a client need neither the server nor the engine.
_HOME = {
    "AdaptivePipeline": "netra_apex.agents",
    "AgentRegistry": "netra_apex.agents",
    "Assignment": "netra_apex.agents",
    "AssistantMessage": "netra_apex.core.messages",
    "BaseAgent": "netra_apex.agents",
    "CallFailed": "netra_apex.errors",
    "ChatAgent": "netra_apex.agents",
    "ChatOrchestrator": "netra_apex.agents",
    "ConfigurationError": "netra_apex.errors",
    "DataPlan": "netra_apex.agents",
    "Image": "netra_apex.core.messages",
    "MCPServer": "netra_apex.tools.mcp",
    "Material": "netra_apex.agents",
    "Mission": "netra_apex.agents",
    "NetraError": "netra_apex.errors",
    "Phase": "netra_apex.agents",
    "Plan": "netra_apex.agents",
    "Refused": "netra_apex.errors",
    "Reply": "netra_apex.core.messages",
    "Result": "netra_apex.core.runs",
    "Review": "netra_apex.agents",
    "RunFailed": "netra_apex.errors",
    "RunScope": "netra_apex.core.scope",
    "Runtime": "netra_apex.runtime",
    "ScopeChatModel": "netra_apex.agents.adapters.langgraph",
    "Settings": "netra_apex.settings",
    "Sufficiency": "netra_apex.agents",
    "SupervisorAgent": "netra_apex.agents",
    "SystemMessage": "netra_apex.core.messages",
    "Team": "netra_apex.agents",
    "TeamReport": "netra_apex.agents",
    "ToolCall": "netra_apex.core.messages",
    "ToolMessage": "netra_apex.core.messages",
    "Usage": "netra_apex.core.messages",
    "UserExecutionContext": "netra_apex.core.context",
    "UserExecutionEngine": "netra_apex.engine.engine",
    "UserMessage": "netra_apex.core.messages",
    "admin_tools": "netra_apex.tools.administration",
    "ask_user": "netra_apex.tools",
    "create_app": "netra_apex.server",
    "forget": "netra_apex.tools.memory",
    "from_function": "netra_apex.agents.adapters.function",
    "from_langgraph": "netra_apex.agents.adapters.langgraph",
    "from_openai_agents": "netra_apex.agents.adapters.openai_agents",
    "from_pydantic_ai": "netra_apex.agents.adapters.pydantic_ai",
    "list_files": "netra_apex.tools",
    "read_file": "netra_apex.tools",
    "recall": "netra_apex.tools.memory",
    "remember": "netra_apex.tools.memory",
    "tool": "netra_apex.tools",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
