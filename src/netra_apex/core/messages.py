"""What people and models say: the messages of a conversation, a model's request and its reply."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import msgspec

IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")  # those that models see
FILES_CAME = "\n\nFiles that came with this message:"


class ToolCall(msgspec.Struct, frozen=True):
    """A call that a model asks for; `arguments` is the model's own text, which may not even be JSON."""

    id: str
    name: str
    arguments: str


class SystemMessage(msgspec.Struct, frozen=True, tag_field="role", tag="system"):
    """What the application tells the model about its task."""

    content: str


class Attachment(msgspec.Struct, frozen=True):
    """A file that came with a message; `size` is in bytes."""

    file_id: str
    name: str
    media_type: str
    size: int


class Image(msgspec.Struct, frozen=True, omit_defaults=True):
    """A picture for models that see: its bytes, or the id of a file of this thread, whose bytes no journal keeps."""

    media_type: str
    data: bytes = b""
    file_id: str = ""


# Without what is left out: a message is the same in a journal, whether or not it could have had pictures then.
class UserMessage(msgspec.Struct, frozen=True, tag_field="role", tag="user", omit_defaults=True):
    """What the person said, and the pictures that came with it."""

    content: str
    images: tuple[Image, ...] = ()


class AssistantMessage(msgspec.Struct, frozen=True, tag_field="role", tag="assistant"):
    """What the model answered: text, calls, or both."""

    content: str
    tool_calls: tuple[ToolCall, ...] = ()


class ToolMessage(msgspec.Struct, frozen=True, tag_field="role", tag="tool"):
    """What a call gave, as text for the model; `call_id` is the `ToolCall.id` that it answers."""

    call_id: str
    content: str


ModelMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class Usage(msgspec.Struct, frozen=True):
    """What model requests used: tokens, number of requests, and the cost in US dollars where it is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cost_usd: float | None = None

    def __add__(self, other: Self) -> "Usage":
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
            sum(costs) if costs else None,
        )


NO_USAGE = Usage()


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """A tool as a model is offered it; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """One request to a model. `output_schema` asks for an answer that is JSON of this schema.

    `output_tokens` is the longest that the answer may be; None leaves it to the provider. `headers` go along.
    """

    messages: tuple[ModelMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    output_schema: Mapping[str, Any] | None = None
    output_tokens: int | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A model's whole answer. `output` is the text parsed as `output_type`, where one was asked for.

    `cached_tokens` are those of the input that the provider had read before, which cost less. `finish_reason` is the
    provider's own word for why it has stopped.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    usage: Usage = NO_USAGE
    output: Any = None
    cached_tokens: int = 0
    finish_reason: str | None = None


def answered(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """The messages without calls that have no answer after them, which providers refuse in a history."""
    have = {message.call_id for message in messages if isinstance(message, ToolMessage)}
    kept: list[ModelMessage] = []
    for message in messages:
        if isinstance(message, AssistantMessage) and message.tool_calls:
            calls = tuple(call for call in message.tool_calls if call.id in have)
            if calls or message.content:
                kept.append(AssistantMessage(message.content, calls))
        else:
            kept.append(message)
    return kept


def told_with(content: str, files: Sequence[Attachment]) -> UserMessage:
    """A message of the user's as a model is told it: with the files that came along, and the pictures among them."""
    if not files:
        return UserMessage(content)
    lines = [f"- {file.name} ({file.media_type}, {file.size} bytes), file_id: {file.file_id}" for file in files]
    images = tuple(Image(file.media_type, file_id=file.file_id) for file in files if file.media_type in IMAGES)
    return UserMessage("\n".join((f"{content}{FILES_CAME}", *lines)), images)


def clean(text: str) -> str:
    """Without halves of surrogate pairs, which cannot be sent or kept."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def as_said(output: Any) -> str:
    """An agent's output as a person reads it, who is shown an answer: a text as it is, else its `text`, else its JSON.

    Why `text`: an output that programs take apart, a report for instance, can say itself what it says to people.
    """
    if isinstance(output, Mapping):
        output = cast("Mapping[str, Any]", output)
        output = output["text"] if isinstance(output.get("text"), str) and output["text"] else output
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
