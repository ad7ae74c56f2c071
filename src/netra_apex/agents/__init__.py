"""Who acts: agents are classes, registered once; each run makes an instance of its own."""

from netra_apex.agents.assignment import Assignment, Review
from netra_apex.agents.base import BaseAgent, description_of
from netra_apex.agents.chat import ChatAgent
from netra_apex.agents.orchestrator import ChatOrchestrator
from netra_apex.agents.pipeline import AdaptivePipeline, DataPlan, Material, Sufficiency
from netra_apex.agents.plan import Mission, Phase, Plan
from netra_apex.agents.registry import AgentRegistry
from netra_apex.agents.report import MissionReport, TeamReport
from netra_apex.agents.supervisor import FILES, HISTORY, SupervisorAgent
from netra_apex.agents.team import Team

__all__ = [
    "FILES",
    "HISTORY",
    "AdaptivePipeline",
    "AgentRegistry",
    "Assignment",
    "BaseAgent",
    "ChatAgent",
    "ChatOrchestrator",
    "DataPlan",
    "Material",
    "Mission",
    "MissionReport",
    "Phase",
    "Plan",
    "Review",
    "Sufficiency",
    "SupervisorAgent",
    "Team",
    "TeamReport",
    "description_of",
]
