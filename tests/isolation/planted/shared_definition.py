"""Cause 4: one request changes a definition that the next one reads."""

from netra_apex import AgentRegistry, BaseAgent, RunScope, SystemMessage, UserMessage

PROMPT = {"system": "Answer briefly."}


class Assistant(BaseAgent):
    name = "assistant"

    async def run(self, task: str, scope: RunScope) -> str:
        PROMPT["system"] += f" The user said: {task}"
        return (await scope.model([SystemMessage(PROMPT["system"]), UserMessage(task)])).text


registry = AgentRegistry([Assistant])
