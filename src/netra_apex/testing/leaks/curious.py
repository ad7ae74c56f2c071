"""The model of a leak test: it calls every tool, hands on whatever it was told, and notes what each prompt holds."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from netra_apex.core.messages import (
    AssistantMessage,
    ModelMessage,
    ModelRequest,
    Reply,
    ToolCall,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from netra_apex.core.voices import Deltas
from netra_apex.providers.demo_arguments import arguments_for, example
from netra_apex.testing.leaks.canaries import Crowd, Person

CALLS_AT_ONCE = 3
ROUNDS = 12

# Names by which a tool lets the model say for whom it acts.
IDENTITIES = frozenset(
    {"user_id", "userid", "user", "owner_id", "owner", "tenant_id", "tenant", "principal", "on_behalf_of", "as_user"}
)


class CuriousModel:
    """Serves every run; it keeps of a request nothing but whose canaries were in it, and where."""

    name = "test:curious"

    def __init__(self, crowd: Crowd, place_of: Callable[[Person, str], str | None]) -> None:
        self._crowd = crowd
        self._place_of = place_of
        self._ids = itertools.count(1)
        self.on_calls: Callable[[Person], object] | None = None
        self.prompts: list[tuple[Person | None, Person | None, str, frozenset[str]]] = []

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """Calls what it has not called yet in this run; then says all that it has heard."""
        asked = next((m.content for m in reversed(request.messages) if isinstance(m, UserMessage)), "")
        owner = next(iter(self._crowd.owners(asked)), None)
        self._note(request, owner)
        await asyncio.sleep(0)
        usage = Usage(sum(len(message.content) for message in request.messages) // 4, 8, 1)
        calls = self._calls(request, asked, owner)
        if calls:
            if self.on_calls is not None and owner is not None:
                self.on_calls(owner)
            return Reply(text="", tool_calls=calls, usage=usage)
        if request.output_schema is not None:
            text = msgspec.json.encode(example(request.output_schema, asked)).decode()
        else:
            heard = self._crowd.owners(" ".join(message.content for message in request.messages))
            text = f"Heard: {' '.join(person.canary for person in heard)}. Asked: {asked}"
        for piece in text.split(" "):
            deltas.text(piece + " ")
            await asyncio.sleep(0)
        return Reply(text=text, usage=usage)

    async def check(self) -> str | None:
        """None: it is always there."""
        return None

    async def aclose(self) -> None:
        """Nothing to close."""

    def _note(self, request: ModelRequest, owner: Person | None) -> None:
        words = frozenset(word for message in request.messages for word in message.content.split() if "cnry" in word)
        for message in request.messages:
            other = self._crowd.foreign(_said(message), owner)
            if other is not None and owner is not None:
                self.prompts.append((owner, other, _name_of(message, request), words))
                return
        self.prompts.append((owner, None, "", words))

    def _calls(self, request: ModelRequest, asked: str, owner: Person | None) -> tuple[ToolCall, ...]:
        since = _since_asked(request)
        made = [call.name for message in since if isinstance(message, AssistantMessage) for call in message.tool_calls]
        if sum(isinstance(message, AssistantMessage) for message in since) >= ROUNDS:
            return ()
        wanted = [(spec, made.count(spec.name)) for spec in request.tools]
        due = [(spec, times) for spec, times in wanted if times < 1 + self._may_be_forged(spec)]
        return tuple(self._call(spec, times, asked, owner) for spec, times in due[:CALLS_AT_ONCE])

    def _may_be_forged(self, spec: ToolSpec) -> bool:
        return any(_is_id(name) for name in _properties(spec))

    def _call(self, spec: ToolSpec, times: int, asked: str, owner: Person | None) -> ToolCall:
        """The first call speaks for its user; the second, of a tool that takes ids, names what is a neighbour's."""
        arguments = arguments_for(spec.parameters, asked)
        for name, schema in _properties(spec).items():
            if name not in arguments and schema.get("type") == "string" and not _is_id(name):
                arguments[name] = asked
            if owner is not None and _is_id(name) and schema.get("type") == "string":
                whose = owner if times == 0 else self._crowd.neighbour(owner)
                arguments[name] = self._place_of(whose, name) or whose.user_id
        return ToolCall(f"call_{next(self._ids)}", spec.name, msgspec.json.encode(arguments).decode())


def identities(spec: ToolSpec) -> list[str]:
    """The parameters by which the model would say for whom the tool acts."""
    return [name for name in _properties(spec) if name.lower() in IDENTITIES]


def _is_id(name: str) -> bool:
    return name.lower() in IDENTITIES or name.endswith("_id")


def _properties(spec: ToolSpec) -> Mapping[str, Mapping[str, Any]]:
    return cast("Mapping[str, Mapping[str, Any]]", spec.parameters.get("properties") or {})


def _since_asked(request: ModelRequest) -> list[ModelMessage]:
    last = max((at for at, m in enumerate(request.messages) if isinstance(m, UserMessage)), default=0)
    return list(request.messages[last:])


def _said(message: ModelMessage) -> str:
    called = message.tool_calls if isinstance(message, AssistantMessage) else ()
    return " ".join((message.content, *(call.arguments for call in called)))


def _name_of(message: ModelMessage, request: ModelRequest) -> str:
    """What brought this message into the prompt."""
    if isinstance(message, ToolMessage):
        for each in request.messages:
            for call in each.tool_calls if isinstance(each, AssistantMessage) else ():
                if call.id == message.call_id:
                    return call.name
        return "result of a call"
    return {"system": "instructions", "user": "message"}.get(str(message.__struct_config__.tag), "answer")
