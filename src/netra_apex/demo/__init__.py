"""The built-in team: what `netra serve` serves where it is given no application.

It works without a key and shows each of the five events at every message. Reading this file is a good way to begin.
"""

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from netra_apex.agents import AgentRegistry, ChatAgent, SupervisorAgent
from netra_apex.core.messages import AssistantMessage, ModelMessage, SystemMessage, UserMessage
from netra_apex.core.scope import RunScope
from netra_apex.demo import arithmetic, handbook
from netra_apex.demo.costs import CostAnalysis
from netra_apex.errors import CallFailed
from netra_apex.tools import tool

REPORTS = f"delegate_{CostAnalysis.name}"


@tool(idempotent=True)
async def search_handbook(
    query: Annotated[str, Field(description="What to look for, in the user's own words.")],
) -> str:
    """Search the Netra Apex handbook: questions about setup, agents, models, users and events."""
    return handbook.search(query)


@tool(idempotent=True)
async def current_time(
    timezone: Annotated[str, Field(description="An IANA name such as Europe/Berlin.")] = "UTC",
) -> str:
    """Tell the current time, date and day of the week, today or now, in a time zone."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CallFailed("error", f"{timezone!r} is no time zone; use an IANA name such as Europe/Berlin") from error
    return datetime.now(zone).strftime(f"It is %H:%M on %A, %d %B %Y ({timezone}).")


@tool(idempotent=True)
async def calculate(expression: Annotated[str, Field(description="Arithmetic such as 17*23 or (2+3)/4.")]) -> str:
    """Calculate an arithmetic expression: plus, minus, times, divided, percent, power, sum."""
    try:
        return arithmetic.calculate(expression)
    except arithmetic.NotArithmetic as error:
        raise CallFailed("error", str(error)) from error


class Assistant(SupervisorAgent):
    """Answers questions, tells the time and calculates."""

    name = "assistant"
    instructions = (
        "You are the assistant of a fresh Netra Apex server. Answer briefly and kindly. Look things about Netra Apex up"
        " in the handbook, take the time from current_time, and calculate with calculate rather than in your head."
    )
    tools = (search_handbook, current_time, calculate)
    members = (CostAnalysis,)

    async def run(self, task: str, scope: RunScope) -> Any:
        """Answers; a report on costs is passed on as it is, as no model should tell its figures anew."""
        messages: list[ModelMessage] = [SystemMessage(self.instructions), *scope.history, UserMessage(task)]
        while True:  # the scope counts the turns
            reply = await scope.model(messages, tools=self.offers)
            if not reply.tool_calls:
                return reply.text
            answers = await scope.tools.answer(reply.tool_calls)
            reported = [call.name == REPORTS for call in reply.tool_calls]
            if reported == [True] and not answers[0].content.startswith("Error"):
                return answers[0].content
            messages += [AssistantMessage(reply.text, reply.tool_calls), *answers]


class Guide(ChatAgent):
    """Shows a newcomer around, one step at a time."""

    name = "guide"
    instructions = (
        "You show a newcomer around Netra Apex. Look up the handbook, then propose one next step, with the exact"
        " command or code to try."
    )
    tools = (search_handbook,)


registry = AgentRegistry([Assistant, Guide, CostAnalysis], default="assistant")
