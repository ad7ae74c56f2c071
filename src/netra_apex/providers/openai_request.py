"""A request in the Chat Completions wire format (OpenAI's API reference, "Create chat completion")."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from netra_apex.core.messages import (
    AssistantMessage,
    ModelMessage,
    ModelRequest,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

# What decoding raises for what is no JSON, or is nested deeper than anything that means something.
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_request(model: str, request: ModelRequest) -> bytes:
    """The body of a streamed request that asks for usage figures too."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.output_tokens is not None:
        body["max_completion_tokens"] = request.output_tokens
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    if request.output_schema is not None:
        # Not strict: strict mode refuses schemas with optional fields, and the answer is validated by us anyway.
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": request.output_schema},
        }
    return to_json(body)


def _message(message: ModelMessage) -> dict[str, Any]:
    match message:
        case SystemMessage():
            return {"role": "system", "content": message.content}
        case UserMessage():
            return {"role": "user", "content": _seen(message) if message.images else message.content}
        case ToolMessage():
            return {"role": "tool", "tool_call_id": message.call_id, "content": message.content}
        case AssistantMessage():
            if not message.tool_calls:
                return {"role": "assistant", "content": message.content}
            calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": _object_text(call.arguments)},
                }
                for call in message.tool_calls
            ]
            return {"role": "assistant", "content": message.content or None, "tool_calls": calls}


def _seen(message: UserMessage) -> list[dict[str, Any]]:
    """A message with pictures (OpenAI's API reference, "Images and vision": by `data:` address)."""
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{b64encode(image.data).decode()}"}}
        for image in message.images
    ]
    return [{"type": "text", "text": message.content}, *pictures]


def _object_text(arguments: str) -> str:
    # Some servers refuse a history with arguments that are no JSON object, which would end the conversation for good.
    try:
        _decode_object(arguments)
    except NO_JSON:
        return "{}"
    return arguments


def _plain(value: object) -> object:
    """Schemas are registered as read-only mappings, which msgspec does not encode by itself."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


to_json = msgspec.json.Encoder(enc_hook=_plain).encode
