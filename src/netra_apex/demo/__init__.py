"""The built-in team: what `netra serve` serves where it is given no application.

It works without a key and shows each of the five events at every message. Reading this file is a good way to begin.
"""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from netra_apex.agents import AgentRegistry, ChatAgent
from netra_apex.demo import arithmetic, handbook
from netra_apex.errors import CallFailed
from netra_apex.tools import tool


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


class Assistant(ChatAgent):
    """Answers questions, tells the time and calculates."""

    name = "assistant"
    instructions = (
        "You are the assistant of a fresh Netra Apex server. Answer briefly and kindly. Look things about Netra Apex up"
        " in the handbook, take the time from current_time, and calculate with calculate rather than in your head."
    )
    tools = (search_handbook, current_time, calculate)


class Guide(ChatAgent):
    """Shows a newcomer around, one step at a time."""

    name = "guide"
    instructions = (
        "You show a newcomer around Netra Apex. Look up the handbook, then propose one next step, with the exact"
        " command or code to try."
    )
    tools = (search_handbook,)


registry = AgentRegistry([Assistant, Guide], default="assistant")
