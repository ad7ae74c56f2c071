"""`Borrowed`: what an agent of another framework does in one run, done by the run's scope instead.

Why: what goes by the scope streams to the user, is counted, journaled and cancelled, and its tools ask for permission
and approval. What a framework does by itself is none of that.
"""

import asyncio
import contextvars
import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict, get_args

from msgspec.structs import replace
from pydantic import ValidationError, WithJsonSchema

from netra_apex.core.messages import AssistantMessage, ModelMessage, Reply, ToolCall, ToolMessage
from netra_apex.core.permissions import check_permissions
from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, Invalid, OutputInvalid, RegistryError, ToolDefinitionError
from netra_apex.tools import Tool
from netra_apex.tools.schema import open_signature
from netra_apex.tools.tool import OnUnknown

Perform = Callable[[dict[str, Any], RunScope], Awaitable[Any]]
"""The framework's own way to carry out a call, given the arguments and the call's own scope."""

SHOWN_PROBLEMS = 5
BESIDE = "it was not called, as another call beside it cannot be made; ask for it again"

_SAYABLE = "there are requires, timeout, needs_approval, idempotent and on_unknown"

# Which call a tool's function is to carry out: the dispatcher hands it the arguments alone.
_performing: "contextvars.ContextVar[Perform | None]" = contextvars.ContextVar("netra_performing", default=None)


class ToolRules(TypedDict, total=False):
    """What may be said of a framework's tool: as of `@tool`, but for `isolated`."""

    requires: str | None
    timeout: float | None
    needs_approval: bool
    idempotent: bool
    on_unknown: OnUnknown


Rules = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
"""`ToolRules` by their tools' names, as a class can hold them."""


def rules_of(agent: str, tools: Mapping[str, ToolRules] | None) -> Rules:
    """What was said of tools, checked.

    Raises:
        RegistryError: it says what cannot be said of a tool.
    """
    for name, rules in (tools or {}).items():
        for key, value in rules.items():
            if key not in ToolRules.__annotations__:
                raise RegistryError(agent, f"of its tool {name} {key!r} cannot be said; {_SAYABLE}")
            if key == "on_unknown" and value not in get_args(OnUnknown):
                raise RegistryError(agent, f"of its tool {name} on_unknown is fail or ask, not {value!r}")
        try:
            check_permissions(filter(None, [rules.get("requires")]))
        except Invalid as error:
            raise RegistryError(agent, f"its tool {name} cannot require that: {error}") from error
    return tuple((name, tuple(rules.items())) for name, rules in (tools or {}).items())


class Borrowed:
    """One run's model requests and tool calls."""

    def __init__(self, scope: RunScope, rules: Rules, tools: "dict[str, Tool[..., Any]] | None" = None) -> None:
        self.scope = scope
        self._rules = rules
        self._tools = {} if tools is None else tools
        self._asked: dict[str, ToolCall] = {}

    def within(self, scope: RunScope) -> "Borrowed":
        """The same inside of one of its calls, whose scope this is: what is asked there belongs to the call."""
        return Borrowed(scope, self._rules, self._tools)

    def tool(
        self,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        *,
        blocks: bool = False,
        said: ToolRules | None = None,
    ) -> Tool[..., Any]:
        """The framework's tool as one of ours: the same for the whole run, as its calls are told by its name.

        `blocks`: its function is not async, and is run in a thread. `said` is what the framework itself knows of it.

        Raises:
            ToolDefinitionError: the run had another one of this name.
        """
        known = self._tools.get(name)
        if known is None:
            rules: dict[str, Any] = {**(said or {}), **dict(next((each for of, each in self._rules if of == name), ()))}
            known = Tool(
                name=name,
                description=description,
                function=_carry_out_blocking if blocks else _carry_out,
                signature=open_signature(parameters, into="arguments", scope="scope"),
                is_async=not blocks,
                **rules,
            )
            self._tools[name] = known
        elif known.parameters != parameters:
            raise ToolDefinitionError(name, "the run has another tool of this name, with other parameters")
        return known

    async def ask(
        self, messages: Sequence[ModelMessage], tools: Sequence[Tool[..., Any]], schema: Mapping[str, Any] | None = None
    ) -> Reply:
        """Asks the agent's model; an answer that is to be JSON of `schema` is not checked, as the framework does.

        A call of a tool that there is not, or whose arguments are no object, is told and answered here: frameworks end
        the run on it, or tell nobody.
        """
        said = [self._as_asked(message) for message in messages]
        offered = {tool.name for tool in tools}
        while True:
            reply = await self._ask(said, tools, schema)
            if all(call.name in offered and _has_object(call) for call in reply.tool_calls):
                return dataclasses.replace(reply, tool_calls=tuple(map(self._known, reply.tool_calls)))
            answers = await self.scope.tools.answer(reply.tool_calls)
            said += [AssistantMessage(reply.text, reply.tool_calls), *answers]

    def _known(self, call: ToolCall) -> ToolCall:
        """The call by an id that is the run's only one: some models count theirs from 0 in each answer."""
        unique = call.id
        while not unique or unique in self._asked:
            unique = f"{call.id}.{len(self._asked)}"
        self._asked[unique] = call
        return replace(call, id=unique)

    def _as_asked(self, message: ModelMessage) -> ModelMessage:
        """The message with its calls by the model's own ids: ours depend on which of two requests was first."""
        match message:
            case AssistantMessage(tool_calls=calls) if calls:
                own = tuple(replace(call, id=self._own_id(call.id)) for call in calls)
                return AssistantMessage(message.content, own)
            case ToolMessage(call_id=call_id):
                return ToolMessage(self._own_id(call_id), message.content)
            case _:
                return message

    def _own_id(self, call_id: str) -> str:
        known = self._asked.get(call_id)
        return call_id if known is None else known.id

    async def _ask(
        self, messages: Sequence[ModelMessage], tools: Sequence[Tool[..., Any]], schema: Mapping[str, Any] | None
    ) -> Reply:
        output_type: Any = None if schema is None else Annotated[Any, WithJsonSchema(dict(schema))]
        try:
            return await self.scope.model(messages, tools=tools, output_type=output_type)
        except OutputInvalid as error:
            return Reply(text=error.text)  # it is no JSON, which the framework tells the model in its own way

    async def answer(self, call_id: str, name: str, arguments: Mapping[str, Any], perform: Perform) -> str:
        """Has a call go through the run's dispatcher, which then has `perform` carry it out; its answer for the model.

        `arguments` are what the framework made of the model's own text, which is known here.
        """
        call = self._asked.get(call_id) or ToolCall(call_id, name, json.dumps(arguments))
        token = _performing.set(perform)
        try:
            (answer,) = await self.scope.tools.answer((call,))
        finally:
            _performing.reset(token)
        return answer.content


def ill_formed(problem: ValidationError) -> CallFailed:
    """How a call ends whose arguments the framework refuses."""
    found = problem.errors(include_url=False, include_input=False, include_context=False)
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:SHOWN_PROBLEMS])
    return CallFailed("invalid_arguments", said)


def _has_object(call: ToolCall) -> bool:
    try:
        return isinstance(json.loads(call.arguments.strip() or "{}"), dict)
    except ValueError:
        return False


async def _carry_out(arguments: dict[str, Any], scope: RunScope) -> Any:
    perform = _performing.get()
    if perform is None:
        raise CallFailed("error", BESIDE)
    _performing.set(None)  # in the call's own task or thread: what is asked inside it is another matter
    return await perform(arguments, scope)


def _carry_out_blocking(arguments: dict[str, Any], scope: RunScope) -> Any:
    """In the thread that the dispatcher has made for the call, with a loop of its own for the framework's wrapping."""
    return asyncio.run(_carry_out(arguments, scope))
