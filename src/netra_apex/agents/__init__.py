"""Who acts: agents are classes, registered once; each run makes an instance of its own."""

from netra_apex.agents.base import BaseAgent, description_of
from netra_apex.agents.chat import ChatAgent
from netra_apex.agents.orchestrator import ChatOrchestrator
from netra_apex.agents.registry import AgentRegistry
from netra_apex.agents.supervisor import HISTORY, SupervisorAgent

__all__ = [
    "HISTORY",
    "AgentRegistry",
    "BaseAgent",
    "ChatAgent",
    "ChatOrchestrator",
    "SupervisorAgent",
    "description_of",
]
