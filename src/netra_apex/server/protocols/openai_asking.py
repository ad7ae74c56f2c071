"""What OpenAI's clients ask, as a post: which parameters are taken, and which messages are an agent's history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request

from netra_apex.core.conversations import MAX_CONTENT, MAX_KEY, check_text
from netra_apex.core.messages import AssistantMessage, ModelMessage, UserMessage
from netra_apex.errors import Invalid
from netra_apex.server.protocols.openai_errors import NoSuchModel, Unsupported
from netra_apex.server.services import Services

# What samples, labels or bounds an answer is the agent's own affair, and changes nothing of what is answered to what.
_IGNORED = frozenset(
    {
        "temperature",
        "top_p",
        "user",
        "seed",
        "metadata",
        "service_tier",
        "parallel_tool_calls",
        "safety_identifier",
        "verbosity",
        "tool_choice",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    }
)
_IGNORED_IN_CHAT = _IGNORED | {
    "presence_penalty",
    "frequency_penalty",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
    "store",
    "prediction",
}
_IGNORED_IN_RESPONSES = _IGNORED | {"max_output_tokens", "reasoning", "truncation", "include", "stream_options"}
# The only values of these that mean here what they say.
_NEUTRAL_IN_CHAT: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "stop": ([],),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
_NEUTRAL_IN_RESPONSES: Mapping[str, tuple[Any, ...]] = {
    "top_logprobs": (0,),
    "tools": ([],),
    "text": ({}, {"format": {"type": "text"}}),
    "store": (True,),
}
_REASONS = {
    "tools": "tools are the agent's own, and run on the server",
    "functions": "tools are the agent's own, and run on the server",
    "n": "one message has one answer",
    "store": "a response is a run, which is kept: delete it when it is not needed any more",
    "text": "what form an answer has is the agent's to say",
    "response_format": "what form an answer has is the agent's to say",
}
_TEXTS = ("text", "input_text", "output_text", "refusal")
# What a response told of its own doings: clients send it back, and the agent knows it by its own log.
_OWN_ITEMS = frozenset({"mcp_call", "mcp_list_tools", "mcp_approval_request", "reasoning"})
_WORDS = {"mcp_approval_response", "function_call_output"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said before, and the message that is to be answered now."""

    before: tuple[ModelMessage, ...]
    content: str


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says to a run that waits: to an approval yes or no, with a note, or to a question an answer."""

    ident: str
    approves: bool | None
    text: str | None


def check_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a chat completion, those that are null left out. Raises: Unsupported, Invalid."""
    return _checked(body, {"model", "messages", "stream", "stream_options"}, _IGNORED_IN_CHAT, _NEUTRAL_IN_CHAT)


def check_response(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a response, those that are null left out. Raises: Unsupported, Invalid."""
    taken = {"model", "input", "stream", "background", "instructions", "previous_response_id", "conversation"}
    return _checked(body, taken, _IGNORED_IN_RESPONSES, _NEUTRAL_IN_RESPONSES)


def agent_of(asked: Mapping[str, Any], services: Services, permissions: frozenset[str]) -> str:
    """The agent that a request names as its model. Raises: NoSuchModel; Invalid: it names none."""
    model = asked.get("model")
    if not isinstance(model, str) or not model:
        raise Unsupported("model", "model is missing: name one of your agents, see /v1/models")
    if model not in dict(services.runtime.registry.describe(permissions)):
        raise NoSuchModel(model[:MAX_KEY])
    return model


def key_of(request: Request) -> str | None:
    """The `Idempotency-Key`, with which a client asks again without asking twice."""
    return request.headers.get("idempotency-key") or None


def flag(asked: Mapping[str, Any], name: str) -> bool:
    """A parameter that is true or false. Raises: Unsupported: it is neither."""
    value = asked.get(name, False)
    if not isinstance(value, bool):
        raise Unsupported(name, f"{name} must be true or false")
    return value


def usage_wanted(asked: Mapping[str, Any]) -> bool:
    """Whether a stream is to end with what was used. Raises: Unsupported: its options are none."""
    options = asked.get("stream_options", {})
    if not isinstance(options, Mapping):
        raise Unsupported("stream_options", "stream_options must be an object")
    return bool(cast("Mapping[str, Any]", options).get("include_usage"))


def conversation(messages: Any, param: str) -> Conversation:
    """A whole conversation, whose last message is to be answered. Raises: Unsupported, Invalid."""
    if not isinstance(messages, list) or not messages:
        raise Unsupported(param, f"{param} must be a list of messages, and not empty")
    said = [_message(each, f"{param}[{place}]") for place, each in enumerate(cast("list[Any]", messages))]
    kept = [each for each in said if each is not None]
    if not kept or not isinstance(kept[-1], UserMessage):
        raise Unsupported(param, f"the last of {param} must be the user's: it is what is answered")
    return Conversation(tuple(kept[:-1]), kept[-1].content)


def addition(given: Any, param: str) -> str:
    """What is said to a thread that is there: nothing but its user's words. Raises: Unsupported, Invalid."""
    if isinstance(given, str):
        return check_text(param, given, limit=MAX_CONTENT)
    found = conversation(given, param)
    texts: list[str] = []
    for said in found.before:
        if not isinstance(said, UserMessage):
            raise Unsupported(param, "a conversation that is there has its own history: send only what is new")
        texts.append(said.content)
    return check_text(param, "\n\n".join((*texts, found.content)), limit=MAX_CONTENT)


def words(given: Any, param: str) -> tuple[Word, ...]:
    """What is said to a response that waits; nothing where the input is something else.

    Raises:
        Unsupported: there is something else besides, or a word is not well formed.
    """
    if not isinstance(given, list):
        return ()
    items = [item for item in cast("list[Any]", given) if _type_of(item) not in _OWN_ITEMS | {"function_call"}]
    said = [item for item in items if _type_of(item) in _WORDS]
    if said and len(said) < len(items):
        raise Unsupported(param, "answer what a response waits for by itself, and say more when it has gone on")
    return tuple(_word(item, f"{param}[{place}]") for place, item in enumerate(said))


def _checked(
    body: Mapping[str, Any], taken: set[str], ignored: frozenset[str], neutral: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    asked = {name: value for name, value in body.items() if value is not None}
    for name, value in asked.items():
        if name in taken or name in ignored or value in neutral.get(name, ()):
            continue
        reason = _REASONS.get(name, "no agent here knows what to do with it")
        shown = name[:MAX_KEY]
        raise Unsupported(shown, f"{shown} is not supported{' with this value' if name in neutral else ''}: {reason}")
    return asked


def _type_of(item: Any) -> str:
    given = cast("Mapping[str, Any]", item).get("type", "message") if isinstance(item, Mapping) else ""
    return given if isinstance(given, str) else ""


def _message(item: Any, param: str) -> ModelMessage | None:
    kind = _type_of(item)
    if kind in _OWN_ITEMS:
        return None
    if kind != "message":
        raise Unsupported(param, f"{param} is no message of a conversation: {kind[:MAX_KEY] or 'it has no type'}")
    message = cast("Mapping[str, Any]", item)
    if message.get("tool_calls") or message.get("function_call"):
        raise Unsupported(param, f"{param} calls a tool: tools are the agent's own, and run on the server")
    text = _text(message.get("content"), f"{param}.content")
    match message.get("role"):
        case "user":
            return UserMessage(check_text(f"{param}.content", text, limit=MAX_CONTENT))
        case "system" | "developer":
            # What the application says of an agent is the agent's own; this is its user's word, like any other.
            return UserMessage(check_text(f"{param}.content", text, limit=MAX_CONTENT)) if text.strip() else None
        case "assistant":
            return AssistantMessage(check_text(f"{param}.content", text, limit=MAX_CONTENT)) if text.strip() else None
        case _:
            raise Unsupported(f"{param}.role", f"{param}.role must be user, assistant, system or developer")


def _text(content: Any, param: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in cast("list[Any]", content) if isinstance(content, list) else [content]:
        kind = _type_of(part)
        name = "refusal" if kind == "refusal" else "text"
        text = cast("Mapping[str, Any]", part).get(name) if kind in _TEXTS else None
        if not isinstance(text, str):
            raise Unsupported(param, f"{param} must be text: pictures and files are uploaded to a thread")
        texts.append(text)
    return "\n".join(texts)


def _word(item: Any, param: str) -> Word:
    given = cast("Mapping[str, Any]", item)
    if given["type"] == "function_call_output":
        ident, text = given.get("call_id"), _text(given.get("output"), f"{param}.output")
        approves = None
    else:
        ident, text, approves = given.get("approval_request_id"), given.get("reason"), given.get("approve")
        if not isinstance(approves, bool):
            raise Unsupported(f"{param}.approve", f"{param}.approve must be true or false")
    if not isinstance(ident, str) or not (text is None or isinstance(text, str)):
        raise Invalid(f"{param} does not say what it answers")
    return Word(ident, approves, text)
