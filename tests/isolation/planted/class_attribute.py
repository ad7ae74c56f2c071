"""Cause 2: a class attribute that can change."""

from netra_apex import AgentRegistry, BaseAgent, RunScope


class Assistant(BaseAgent):
    name = "assistant"
    seen: list[str] = []

    async def run(self, task: str, scope: RunScope) -> str:
        self.seen.append(task)
        return " ".join(self.seen)


registry = AgentRegistry([Assistant])
