"""`DemoModel`: answers without a network or a key, and says so.

Why: a newcomer's first minute should show the whole machine at work, tools, events and streaming included. It decides
by plain rules, so the same request always gets the same answer.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from netra_apex.core.ids import new_id
from netra_apex.core.messages import (
    FILES_CAME,
    AssistantMessage,
    ModelMessage,
    ModelRequest,
    Reply,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from netra_apex.core.voices import Deltas
from netra_apex.providers.demo_arguments import EXPRESSION, arguments_for, example

NAME = "demo:offline"
PACE_SECONDS = 0.015
RESULT_CHARACTERS = 2_000
NOTE = (
    "(I am the offline demo model. For a real one, set NETRA_MODEL=openai:NAME and OPENAI_API_KEY, then start again.)"
)
BLIND = "I cannot see pictures; I only know that some came with your message."
SHORT_NOTE = "(Still the offline demo model.)"

_WORD = re.compile(r"[a-z0-9]+")
# Words that say nothing about which tool is meant.
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be by can could do does for from get give has have he how i if in is it its me my no not
        of on one or our please say she so some such tell that the their them there these they this to us was we what
        when where which who why will with would you your""",
    )
)
_STEM = 5
_CALL = re.compile(r"^Call `[^.]*", re.MULTILINE)
_NAMED = re.compile(r"`([A-Za-z0-9_-]+)`")


class DemoModel:
    """The offline demo model. `pace` is the time in seconds between two words.

    Where tools are offered, it calls the fitting one once for each message of the user, or those that the instructions
    say to call ("Call `one` and `two`."), and then answers with what they gave. Usage is counted in words.
    """

    def __init__(self, *, pace: float = PACE_SECONDS) -> None:
        self._pace = pace

    @property
    def name(self) -> str:
        """Always `demo:offline`."""
        return NAME

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """The answer, word by word. It never fails."""
        message, since = _turn(request.messages)
        asked = message.content.partition(FILES_CAME)[0].strip()
        results = [message.content for message in since if isinstance(message, ToolMessage)]
        heard = sum(len(_text(message).split()) for message in request.messages)
        if request.tools and asked and not results:
            specs = told_to_call(request) or (choose_tool(asked, request.tools),)
            calls = tuple(
                ToolCall(new_id("call"), spec.name, _arguments(spec, asked, message.content)) for spec in specs
            )
            return Reply(text="", tool_calls=calls, usage=Usage(heard, len(calls), 1))
        if request.output_schema is not None:
            text = json.dumps(example(request.output_schema), ensure_ascii=False)
        else:
            text = _answer(asked, results, request.messages)
            text = f"{BLIND}\n\n{text}" if message.images else text
        words = re.findall(r"\s*\S+\s*", text)
        for word in words:
            deltas.text(word)
            await asyncio.sleep(self._pace)
        return Reply(text=text, usage=Usage(heard, len(words), 1))

    async def check(self) -> str | None:
        """None: it is always there."""
        return None

    async def aclose(self) -> None:
        """Nothing to close."""


def _arguments(tool: ToolSpec, asked: str, whole: str) -> str:
    return json.dumps(arguments_for(tool.parameters, asked, files=whole), ensure_ascii=False)


def told_to_call(request: ModelRequest) -> tuple[ToolSpec, ...]:
    """The offered tools that the instructions say to call: those in backticks in a sentence that begins with `Call`."""
    told = "\n".join(message.content for message in request.messages if isinstance(message, SystemMessage))
    named = [name for sentence in _CALL.findall(told) for name in _NAMED.findall(sentence)]
    offered = {spec.name: spec for spec in request.tools}
    return tuple(offered[name] for name in dict.fromkeys(named) if name in offered)


def choose_tool(asked: str, tools: Sequence[ToolSpec]) -> ToolSpec:
    """The tool whose name and description share most words with the message; the first where none shares any.

    A word of the name counts twice. A message with something to calculate goes to a tool that takes an expression.
    """
    words = _stems(asked)
    calculates = EXPRESSION.search(asked) is not None

    def fit(tool: ToolSpec) -> int:
        shared = 2 * len(words & _stems(tool.name)) + len(words & _stems(tool.description))
        properties = cast("Mapping[str, Any]", tool.parameters.get("properties") or {})
        return shared + (10 if calculates and "expression" in properties else 0)

    return max(tools, key=fit)


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM] for word in _WORD.findall(text.lower().replace("_", " ")) if word not in _EMPTY)


def _turn(messages: Sequence[ModelMessage]) -> tuple[UserMessage, Sequence[ModelMessage]]:
    """The last thing that the user said, and all that came after it."""
    for i in range(len(messages) - 1, -1, -1):
        message = messages[i]
        if isinstance(message, UserMessage):
            return message, messages[i + 1 :]
    return UserMessage(""), messages


def _answer(asked: str, results: Sequence[str], messages: Sequence[ModelMessage]) -> str:
    if results:
        told = "\n\n".join(_readable(result) for result in results)
        text = f"Here is what I found: {told}"
    elif asked:
        text = f"Thank you for your message. I understood: “{_cut(asked, 300)}”"
    else:
        text = "Hello! Ask me something."
    said_before = any(isinstance(message, AssistantMessage) and NOTE in message.content for message in messages)
    return f"{text}\n\n{SHORT_NOTE if said_before else NOTE}"


def _readable(result: str) -> str:
    """A tool's result without the quotes of JSON, where it is a string."""
    try:
        decoded: object = json.loads(result)
    except ValueError:
        decoded = result
    return _cut(decoded if isinstance(decoded, str) else result, RESULT_CHARACTERS)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _text(message: ModelMessage) -> str:
    match message:
        case SystemMessage() | UserMessage() | AssistantMessage() | ToolMessage():
            return message.content
