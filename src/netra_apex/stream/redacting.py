"""Events and messages without the secrets that people or programs can have put in them."""

from typing import Any

from msgspec.structs import replace

from netra_apex.core.events import (
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    ApprovalRequested,
    CallError,
    DurableEvent,
    MessageCompleted,
    QuestionAnswered,
    QuestionAsked,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import AssistantMessage, ModelMessage, ToolMessage
from netra_apex.core.redaction import Redactor


def redacted(event: DurableEvent, redactor: Redactor) -> dict[str, Any]:
    """The fields of an event in which people or programs can have put a secret, without it."""
    match event:
        case AgentStarted(task=task):
            return {"task": redactor.value(task)}
        case AgentThinking(text=text) | QuestionAsked(text=text):
            return {"text": redactor.text(text)}
        case ToolExecuting(arguments=str() as arguments):  # a model's, which were no JSON object
            return {"arguments": redactor.json(arguments)}
        case ToolExecuting(arguments=arguments) | ApprovalRequested(arguments=arguments):
            return {"arguments": redactor.value(arguments)}
        case ToolCompleted(error=CallError(code=code, message=message)):
            return {"error": CallError(code, redactor.text(message))}
        case ToolCompleted(result=str() as result):  # which may be JSON
            return {"result": redactor.json(result)}
        case ToolCompleted(result=result):
            return {"result": redactor.value(result)}
        case MessageCompleted(content=content) | QuestionAnswered(content=content):
            return {"content": redactor.text(content)}
        case AgentCompleted(output=output):
            return {"output": redactor.value(output)}
        case AgentFailed(message=message):
            return {"message": redactor.text(message)}
        case _:
            return {}


def redacted_message(message: ModelMessage, redactor: Redactor) -> ModelMessage:
    """The message without secrets that people or programs can have put in it."""
    if isinstance(message, AssistantMessage) and message.tool_calls:
        calls = tuple(replace(call, arguments=redactor.json(call.arguments)) for call in message.tool_calls)
        return AssistantMessage(redactor.text(message.content), calls)
    if isinstance(message, ToolMessage):
        return ToolMessage(message.call_id, redactor.json(message.content))
    return replace(message, content=redactor.text(message.content))
