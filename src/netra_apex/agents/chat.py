"""`ChatAgent`: the model-tool loop, declared by class attributes."""

import json
from typing import Any, ClassVar

from pydantic_core import to_jsonable_python

from netra_apex.agents.base import BaseAgent
from netra_apex.core.messages import AssistantMessage, ModelMessage, SystemMessage, UserMessage
from netra_apex.core.scope import RunScope
from netra_apex.errors import OutputInvalid, TurnsExhausted
from netra_apex.tools import Tool


def text_of(task: Any) -> str:
    """A task as a model is told it: text as it is, anything else as JSON."""
    return task if isinstance(task, str) else json.dumps(to_jsonable_python(task), ensure_ascii=False)


class ChatAgent(BaseAgent):
    """An agent that is a conversation with a model, which may call tools.

    `instructions` open the conversation; the thread's history follows, then the task. `model` is `provider:name`
    (left out: NETRA_MODEL). `tools`, and those of its `mcp_servers`, are offered as far as the
    user may use them. With `output_type`, any type that
    pydantic validates, the output is of that type. `max_turns` bounds the model's answers in one run (left out:
    NETRA_MAX_TURNS).
    """

    instructions: ClassVar[str] = ""
    tools: ClassVar[tuple[Tool[..., Any], ...]] = ()
    output_type: ClassVar[Any] = None

    @property
    def offers(self) -> tuple[Any, ...]:
        """What the model is offered: the tools, and those of the servers."""
        return (*self.tools, *self.mcp_servers)

    async def run(self, task: Any, scope: RunScope) -> Any:
        """Asks the model, carries out the calls that it asks for side by side, and asks again until it answers.

        Raises:
            TurnsExhausted: it still called tools, or answered in a wrong form, after the last turn.
            ModelFailed: the provider failed.
        """
        opening: list[ModelMessage] = [SystemMessage(self.instructions)] if self.instructions else []
        return await self.converse([*opening, *scope.history, UserMessage(text_of(task))], scope, self.offers)

    async def converse(self, messages: list[ModelMessage], scope: RunScope, offers: tuple[Any, ...]) -> Any:
        """Goes on with a conversation, in which these are offered, until there is an answer. Raises: as `run`."""
        wrong: OutputInvalid | None = None
        while True:  # the scope counts the turns
            try:
                reply = await scope.model(messages, tools=offers, output_type=self.output_type)
            except TurnsExhausted as exhausted:
                if wrong is None:
                    raise
                raise TurnsExhausted(
                    f"{exhausted.message}; the last one was in a wrong form: {wrong.reason}"
                ) from wrong
            except OutputInvalid as error:
                wrong = error
                messages += [AssistantMessage(error.text), UserMessage(f"{error.reason} Answer again, in that form.")]
                continue
            if not reply.tool_calls:
                return reply.text if self.output_type is None else reply.output
            messages.append(AssistantMessage(reply.text, reply.tool_calls))
            messages += await scope.tools.answer(reply.tool_calls)
