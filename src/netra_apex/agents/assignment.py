"""What a member of a team is told, and what comes back: values that pydantic validates."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json, to_jsonable_python

from netra_apex.agents.base import BaseAgent
from netra_apex.tools.validation import adapter_of


class Assignment(BaseModel):
    """A mission as its agent is told it, and all that it is told.

    `context` has by name what the mission is shown, as JSON. `form` is the JSON Schema of what it must deliver, where
    the agent has no `output_type` of its own. `problems` are what was wrong with the attempt before.
    """

    model_config = ConfigDict(frozen=True)

    mission: str
    objective: str
    context: dict[str, Any] = {}
    form: dict[str, Any] | None = None
    problems: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The same for a model to read."""
        parts = [f"# Mission: {self.mission}", self.objective]
        for name, value in self.context.items():
            parts += [f"## {name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
        if self.form is not None:
            parts += ["## Form", f"Answer with JSON of this schema and nothing else: {json.dumps(self.form)}"]
        if self.problems:
            parts += ["## What was wrong with the last attempt", "\n".join(f"- {each}" for each in self.problems)]
        return "\n\n".join(parts)

    def as_task_of(self, agent: type[BaseAgent]) -> Any:
        """What this agent takes: the assignment where that is its `input_type`, else its text."""
        return self.text if agent.input_type is None else self


class Review(BaseModel):
    """What a reviewer says of a deliverable: whether it is accepted, and what is wrong with it where not."""

    model_config = ConfigDict(frozen=True)

    accepted: bool
    problems: tuple[str, ...] = ()


def form_for(agent: type[BaseAgent], deliverable: Any) -> dict[str, Any] | None:
    """The JSON Schema to tell this agent; None where it is to write text, or has a type of its own."""
    known = deliverable is str or getattr(agent, "output_type", None) is not None
    return None if known else adapter_of(deliverable).json_schema()


def received(deliverable: Any, output: Any) -> Any:
    """An agent's output as the type that was to be delivered; a text may be the JSON of it.

    Raises:
        ValidationError: it is not.
    """
    adapter = adapter_of(deliverable)
    plain: object = to_jsonable_python(output)
    try:
        return adapter.validate_json(to_json(plain))
    except ValidationError:
        if not isinstance(plain, str):
            raise
        return adapter.validate_json(plain)
