"""`from_openai_agents`: an agent of the OpenAI Agents SDK as one of ours.

Each run has copies of the agent and of those that it hands over to, in which every tool is called by the run's
dispatcher, and a `Model` that asks the run's scope.
"""

import copy
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from pydantic import ValidationError
from typing_extensions import Unpack

from netra_apex.agents.adapters.borrowing import Borrowed, Rules, ToolRules, ill_formed, rules_of
from netra_apex.agents.adapters.examining import examine
from netra_apex.agents.adapters.making import AgentOptions, make_agent
from netra_apex.agents.base import BaseAgent
from netra_apex.agents.chat import text_of
from netra_apex.agents.wrapped import Wrapped
from netra_apex.core.messages import (
    AssistantMessage,
    ModelMessage,
    Reply,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from netra_apex.core.scope import RunScope
from netra_apex.errors import AgentFailed, CallFailed, ConfigurationError, RegistryError

try:
    from agents import (
        Agent,
        AgentOutputSchemaBase,
        FunctionTool,
        Handoff,
        Model,
        ModelBehaviorError,
        ModelResponse,
        RunConfig,
        RunHooks,
        Runner,
        Usage,
    )
    from agents.models.chatcmpl_converter import Converter
    from agents.tool_context import ToolContext
    from openai.types.responses import (
        ResponseFunctionToolCall,
        ResponseOutputItem,
        ResponseOutputMessage,
        ResponseOutputText,
    )
except ImportError as error:
    raise ConfigurationError(
        'from_openai_agents needs openai-agents, which is not installed: pip install "netra-apex[openai-agents]"'
    ) from error

# The SDK's own mark of a tool whose function it would run in a thread.
_BLOCKS = "__agents_sync_function_tool__"
# So that a tool that fails raises, and does not return a text about it.
_RAISING: dict[str, Any] = {"_failure_error_function": None, "_use_default_failure_error_function": False}


class OpenAIAgentsAgent(BaseAgent):
    """An agent of the OpenAI Agents SDK that runs by our scope."""

    wrapped: ClassVar[Wrapped[Agent[Any]]]
    tools: ClassVar[Rules] = ()
    making: ClassVar[Wrapped[Callable[[RunScope], Any]] | None] = None

    async def run(self, task: Any, scope: RunScope) -> Any:
        """Has the agent, and those that it hands over to, answer in the thread."""
        borrowed = Borrowed(scope, self.tools)
        result = await Runner.run(
            _Copies(borrowed).of(self.wrapped.original),
            cast("Any", [*_theirs(scope.history), {"role": "user", "content": text_of(task)}]),
            context=scope if self.making is None else self.making.original(scope),
            run_config=RunConfig(model=ScopeModel(borrowed), tracing_disabled=True),
            hooks=_Thoughts(scope),
            max_turns=None,  # the scope counts the turns
        )
        return result.final_output


def from_openai_agents(
    agent: Agent[Any],
    *,
    name: str,
    model: str | None = None,
    tools: Mapping[str, ToolRules] | None = None,
    context: Callable[[RunScope], Any] | None = None,
    **options: Unpack[AgentOptions],
) -> type[BaseAgent]:
    """An agent class for the registry whose runs are this agent's, and of those that it hands over to.

    Its model is asked by its name, through our providers; `model` names another one, which all of them then ask. Its
    context is the run's scope, or what `context` makes of it. `tools` says by a tool's name what `@tool` would.

    Raises:
        RegistryError: runs would share something in it that could change, or it does what only the SDK could.
    """
    if not isinstance(cast("object", agent), Agent):
        raise RegistryError(name, f"it is a {type(agent).__qualname__}, and no agents.Agent")
    team = _team(agent)
    for each in team:
        _check(name, each)
    examine(name, agent, "agents", "openai", unused=(Model,))
    if context is not None:
        examine(name, context)
    names = {each.model for each in team}
    if model is None and (len(names) > 1 or not isinstance(agent.model, str | None)):
        raise RegistryError(name, "its model is no name, or several; name one with model=, which all of its agents ask")
    attributes = {
        "wrapped": Wrapped(agent),
        "tools": rules_of(name, tools),
        "making": None if context is None else Wrapped(context),
        "model": model or _named(name, cast("str | None", agent.model)),
        **options,
    }
    return make_agent(OpenAIAgentsAgent, name, agent.handoff_description, attributes)


class ScopeModel(Model):
    """A model of the SDK that asks the model of a run's scope, and tells the user what it answers while it comes."""

    def __init__(self, borrowed: Borrowed) -> None:
        self._borrowed = borrowed

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's own name
        model_settings: Any,
        tools: list[Any],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Any],
        *rest: Any,
        **more: Any,
    ) -> ModelResponse:
        """One request, which is a step of the run's journal."""
        del model_settings, rest, more
        said: list[ModelMessage] = [SystemMessage(system_instructions)] if system_instructions else []
        said += _ours(input)
        offered = [self._borrowed.tool(tool.name, tool.description, tool.params_json_schema) for tool in tools]
        offered += [
            self._borrowed.tool(each.tool_name, each.tool_description, each.input_json_schema) for each in handoffs
        ]
        typed = None if output_schema is None or output_schema.is_plain_text() else output_schema
        while True:
            reply = await self._borrowed.ask(said, offered, None if typed is None else typed.json_schema())
            wrong = None if typed is None or reply.tool_calls else _wrong(typed, reply)
            if wrong is None:
                return _response(reply)
            said += [AssistantMessage(reply.text), UserMessage(f"{wrong} Answer again, in that form.")]

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Not needed: what is asked streams to the user by itself."""
        raise NotImplementedError


class _Thoughts(RunHooks[Any]):
    """Tells who hands over to whom."""

    def __init__(self, scope: RunScope) -> None:
        self._scope = scope

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        await self._scope.think(f"{from_agent.name} hands over to {to_agent.name}.")


class _Copies:
    """One run's own copies of the agents that take part in it."""

    def __init__(self, borrowed: Borrowed) -> None:
        self._borrowed = borrowed
        self._made: dict[int, Agent[Any]] = {}

    def of(self, agent: Agent[Any]) -> Agent[Any]:
        """The run's copy of this agent, which is the same each time, as agents may hand over in a circle."""
        if any(agent is made for made in self._made.values()):
            return agent
        if id(agent) not in self._made:
            own = self._made[id(agent)] = copy.copy(agent)
            own.tools = [self._tool(tool) for tool in cast("list[FunctionTool]", agent.tools)]
            own.handoffs = [
                self.of(each) if isinstance(each, Agent) else self._handoff(each) for each in agent.handoffs
            ]
        return self._made[id(agent)]

    def _handoff(self, handoff: Handoff[Any, Any]) -> Handoff[Any, Any]:
        async def to_copy(context: Any, arguments: str) -> Any:
            return self.of(await handoff.on_invoke_handoff(context, arguments))

        return replace(handoff, on_invoke_handoff=to_copy)

    def _tool(self, tool: FunctionTool) -> FunctionTool:
        borrowed = self._borrowed
        said: ToolRules = {"timeout": tool.timeout_seconds, "needs_approval": bool(tool.needs_approval)}
        blocks = getattr(tool.on_invoke_tool, _BLOCKS, False)
        borrowed.tool(tool.name, tool.description, tool.params_json_schema, blocks=blocks, said=said)
        inner = replace(tool, **_RAISING)

        async def by_dispatcher(context: ToolContext[Any], arguments: str) -> str:
            async def perform(values: dict[str, Any], scope: RunScope) -> Any:
                own = copy.copy(context)
                if isinstance(context.context, RunScope):
                    own.context = scope
                own.run_config = RunConfig(model=ScopeModel(borrowed.within(scope)), tracing_disabled=True)
                try:
                    return await inner.on_invoke_tool(own, json.dumps(values))
                except ModelBehaviorError as wrong:
                    if isinstance(wrong.__cause__, ValidationError):
                        raise ill_formed(wrong.__cause__) from wrong
                    raise CallFailed("invalid_arguments", f"{tool.name} takes other arguments") from wrong

            return await borrowed.answer(context.tool_call_id, tool.name, json.loads(arguments or "{}"), perform)

        return replace(tool, on_invoke_tool=by_dispatcher, needs_approval=False, timeout_seconds=None, **_RAISING)


def _team(agent: Agent[Any]) -> list[Agent[Any]]:
    """The agent and those that it may hand over to, as far as they are named."""
    team: list[Agent[Any]] = []
    waiting = [agent]
    while waiting:
        each = waiting.pop()
        if not any(each is known for known in team):
            team.append(each)
            waiting += [other for other in each.handoffs if isinstance(other, Agent)]
    return team


def _check(name: str, agent: Agent[Any]) -> None:
    whose = f"its agent {agent.name}"
    if agent.mcp_servers:
        raise RegistryError(name, f"{whose} has MCP servers, whose sessions every run would share")
    if agent.prompt is not None:
        raise RegistryError(name, f"{whose} has a prompt that is kept at OpenAI; write its instructions")
    for tool in agent.tools:
        if not isinstance(tool, FunctionTool):
            kind = type(tool).__qualname__
            raise RegistryError(name, f"{whose} has a {kind}, which is called beside the run; make it a function_tool")
        if callable(tool.needs_approval):
            reason = f"{whose} asks a function whether {tool.name} needs approval"
            raise RegistryError(name, f"{reason}; say needs_approval=True, so that a person is shown each call")


def _named(name: str, model: str | None) -> str | None:
    """The model as our providers know it, None for NETRA_MODEL."""
    if model is None or ":" in model:
        return model
    provider, _, rest = model.rpartition("/")
    if provider not in ("", "openai"):
        raise RegistryError(name, f"its model is {model}; name it as provider:name with model=")
    return f"openai:{rest}"


def _wrong(schema: AgentOutputSchemaBase, reply: Reply) -> str | None:
    """Why the answer is not of the type that was asked for."""
    try:
        schema.validate_json(reply.text)
    except ModelBehaviorError as wrong:
        return f"{wrong.message}."
    return None


def _response(reply: Reply) -> ModelResponse:
    said: list[ResponseOutputItem] = []
    if reply.text or not reply.tool_calls:
        text = ResponseOutputText(text=reply.text, type="output_text", annotations=[])
        said.append(
            ResponseOutputMessage(id="netra", content=[text], role="assistant", type="message", status="completed")
        )
    said += [
        ResponseFunctionToolCall(
            call_id=call.id, name=call.name, arguments=call.arguments or "{}", type="function_call"
        )
        for call in reply.tool_calls
    ]
    used = reply.usage
    total = used.input_tokens + used.output_tokens
    usage = Usage(requests=1, input_tokens=used.input_tokens, output_tokens=used.output_tokens, total_tokens=total)
    return ModelResponse(output=said, usage=usage, response_id=None)


def _ours(items: Any) -> list[ModelMessage]:
    """Theirs as ours, by way of the SDK's own chat messages."""
    found: list[ModelMessage] = []
    for message in cast("list[Any]", Converter.items_to_messages(items)):
        match message["role"]:
            case "system" | "developer":
                found.append(SystemMessage(_text(message["content"])))
            case "user":
                found.append(UserMessage(_text(message["content"])))
            case "tool":
                found.append(ToolMessage(message["tool_call_id"], _text(message["content"])))
            case _:
                calls = [
                    ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
                    for call in message.get("tool_calls") or ()
                ]
                found.append(AssistantMessage(_text(message.get("content") or ""), tuple(calls)))
    return found


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[dict[str, Any]]", list(content))
    for part in parts:
        if part["type"] != "text":
            raise AgentFailed(f"a model can be told text alone here, and no {part['type']}")
    return "\n".join(part["text"] for part in parts)


def _theirs(history: Iterable[ModelMessage]) -> list[dict[str, Any]]:
    """Ours as theirs."""
    found: list[dict[str, Any]] = []
    for message in history:
        match message:
            case SystemMessage(content=content):
                found.append({"role": "system", "content": content})
            case UserMessage(content=content):
                found.append({"role": "user", "content": content})
            case ToolMessage(call_id=call_id, content=content):
                found.append({"type": "function_call_output", "call_id": call_id, "output": content})
            case AssistantMessage(content=content, tool_calls=calls):
                if content:
                    found.append({"role": "assistant", "content": content})
                found += [
                    {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
                    for call in calls
                ]
    return found
