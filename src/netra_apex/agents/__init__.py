"""Who acts: agents are classes, registered once; each run makes an instance of its own."""

from netra_apex.agents.base import BaseAgent
from netra_apex.agents.chat import ChatAgent
from netra_apex.agents.registry import AgentRegistry

__all__ = ["AgentRegistry", "BaseAgent", "ChatAgent"]
