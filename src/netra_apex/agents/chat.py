"""`ChatAgent`: the model-tool loop, declared by class attributes."""

from typing import Any, ClassVar

from netra_apex.agents.base import BaseAgent
from netra_apex.core.messages import AssistantMessage, ModelMessage, SystemMessage, UserMessage
from netra_apex.core.scope import RunScope
from netra_apex.errors import OutputInvalid
from netra_apex.tools import Tool


class ChatAgent(BaseAgent):
    """An agent that is a conversation with a model, which may call tools.

    `instructions` open the conversation; the thread's history follows, then the task. `model` is `provider:name`
    (left out: NETRA_MODEL). `tools` are offered as far as the user may use them. With `output_type`, any type that
    pydantic validates, the output is of that type. `max_turns` bounds the model's answers in one run (left out:
    NETRA_MAX_TURNS).
    """

    instructions: ClassVar[str] = ""
    tools: ClassVar[tuple[Tool[..., Any], ...]] = ()
    output_type: ClassVar[Any] = None

    async def run(self, task: str, scope: RunScope) -> Any:
        """Asks the model, carries out the calls that it asks for side by side, and asks again until it answers.

        Raises:
            TurnsExhausted: it still called tools, or answered in a wrong form, after the last turn.
            ModelFailed: the provider failed.
        """
        messages: list[ModelMessage] = [SystemMessage(self.instructions)] if self.instructions else []
        messages += [*scope.history, UserMessage(task)]
        while True:  # the scope counts the turns
            try:
                reply = await scope.model(messages, tools=self.tools, output_type=self.output_type)
            except OutputInvalid as error:
                messages += [AssistantMessage(error.text), UserMessage(f"{error.reason} Answer again, in that form.")]
                continue
            if not reply.tool_calls:
                return reply.text if self.output_type is None else reply.output
            messages.append(AssistantMessage(reply.text, reply.tool_calls))
            messages += await scope.tools.answer(reply.tool_calls)
