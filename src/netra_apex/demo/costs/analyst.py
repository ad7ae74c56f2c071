"""`Analyst`: a member whose model says which tools are called, and whose output is what they gave."""

import json
from collections.abc import Sequence
from typing import Any

from netra_apex.agents import BaseAgent
from netra_apex.core.messages import AssistantMessage, ModelMessage, SystemMessage, UserMessage
from netra_apex.core.scope import RunScope
from netra_apex.errors import AgentFailed
from netra_apex.tools import Tool

ROUNDS = 3  # answers in which the model may call the tools
FAILED = "Error"  # how the answer to a call begins that failed


class Analyst(BaseAgent):
    """A member of the team.

    Its tools are made in its run, over the usage that it was given, so that no figure goes through the model: the model
    calls them, and what they gave is kept as they gave it.
    """

    async def consult(
        self, instructions: str, asked: str, scope: RunScope, tools: Sequence[Tool[..., Any]]
    ) -> dict[str, Any]:
        """What each tool that the model called gave, by the tool's name.

        Raises:
            AgentFailed: none of them gave anything, and why.
        """
        messages: list[ModelMessage] = [SystemMessage(instructions), UserMessage(asked)]
        found: dict[str, Any] = {}
        why = "the model called none of its tools"
        for _ in range(ROUNDS):
            reply = await scope.model(messages, tools=tools, show=False)
            names = {call.id: call.name for call in reply.tool_calls}
            answers = await scope.tools.answer(reply.tool_calls) if reply.tool_calls else ()
            for answer in answers:
                if answer.content.startswith(FAILED):
                    why = answer.content.partition(": ")[2] or answer.content
                else:
                    found.setdefault(names[answer.call_id], _plain(answer.content))
            lacking = [tool.name for tool in tools if tool.name not in found]
            if not lacking:
                break
            messages += [AssistantMessage(reply.text, reply.tool_calls), *answers]
            if not reply.tool_calls:
                messages.append(UserMessage(f"{asked}\n\nNot called yet: {', '.join(lacking)}."))
        if not found:
            raise AgentFailed(why)
        return found


def _plain(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
