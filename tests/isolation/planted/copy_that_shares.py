"""Cause 13: a copy that falls back to sharing where something cannot be copied."""

import copy
import threading
from typing import Any

from netra_apex import AgentRegistry, BaseAgent, RunScope


class Notebook:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lines: list[str] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "Notebook":
        try:
            return copy.copy(copy.deepcopy(vars(self), memo))  # type: ignore[return-value]
        except TypeError:  # a lock cannot be copied
            return self


PROTOTYPE = Notebook()


class Assistant(BaseAgent):
    name = "assistant"

    async def run(self, task: str, scope: RunScope) -> str:
        notebook = copy.deepcopy(PROTOTYPE)
        notebook.lines.append(task)
        await scope.think("writing it down")
        return " / ".join(notebook.lines)


registry = AgentRegistry([Assistant])
