"""`from_pydantic_ai`: a Pydantic AI agent as one of ours.

Its model requests and tool calls go by the run's scope: each run has a `Model` of its own, which asks the scope, and a
toolset around the agent's own, which has the dispatcher carry out each call.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import msgspec
from pydantic import ValidationError
from pydantic_core import SchemaValidator, core_schema
from typing_extensions import Unpack

from netra_apex.agents.adapters.borrowing import Borrowed, Rules, ToolRules, ill_formed, rules_of
from netra_apex.agents.adapters.examining import examine
from netra_apex.agents.adapters.making import AgentOptions, make_agent, ours, takes_ours
from netra_apex.agents.base import BaseAgent
from netra_apex.agents.chat import text_of
from netra_apex.agents.wrapped import Wrapped
from netra_apex.core.messages import AssistantMessage, ModelMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from netra_apex.core.scope import RunScope
from netra_apex.errors import AgentFailed, CallFailed, ConfigurationError, RegistryError, TurnsExhausted

try:
    from pydantic_ai import Agent, FunctionToolset, ModelRetry, RunContext, ToolReturn, UsageLimitExceeded, UsageLimits
    from pydantic_ai import messages as parts
    from pydantic_ai.capabilities import AbstractCapability, ReinjectSystemPrompt
    from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, ToolFailed
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.profiles import ModelProfile
    from pydantic_ai.providers import Provider
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset, DynamicToolset, ToolsetTool, WrapperToolset
    from pydantic_ai.usage import RequestUsage
except ImportError as error:
    raise ConfigurationError(
        'from_pydantic_ai needs Pydantic AI, which is not installed: pip install "netra-apex[providers]"'
    ) from error

_ANYTHING = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))


class PydanticAIAgent(BaseAgent):
    """A Pydantic AI agent that runs by our scope. Each run has a copy of it, which is the run's own."""

    wrapped: ClassVar[Wrapped[Agent[Any, Any]]]
    tools: ClassVar[Rules] = ()
    deps: ClassVar[Wrapped[Callable[[RunScope], Any]] | None] = None

    async def run(self, task: Any, scope: RunScope) -> Any:
        """Has the agent answer in the thread.

        Raises:
            TurnsExhausted: it asked the model too often.
        """
        agent = _copied(self.wrapped.original)
        borrowed = Borrowed(scope, self.tools)
        make = None if self.deps is None else self.deps.original
        deps = ours(agent.deps_type, scope) if make is None else make(scope)
        calls = _Calls(borrowed, None if make is not None else agent)
        try:
            result = await agent.run(
                text_of(task),
                model=ScopeModel(borrowed),
                deps=deps,
                message_history=_theirs(scope.history),
                capabilities=[ReinjectSystemPrompt(), calls],
                usage_limits=UsageLimits(request_limit=None),  # the scope counts the turns
            )
        except UsageLimitExceeded as error:
            raise TurnsExhausted(str(error)) from error
        return result.output


def from_pydantic_ai(
    agent: Agent[Any, Any],
    *,
    name: str,
    model: str | None = None,
    tools: Mapping[str, ToolRules] | None = None,
    deps: Callable[[RunScope], Any] | None = None,
    **options: Unpack[AgentOptions],
) -> type[BaseAgent]:
    """An agent class for the registry whose runs are this agent's.

    The agent's model is asked by its name, through our providers; `model` names another one. `deps` makes its deps from
    the run's scope; left out, they are the scope itself, or its context where `deps_type` says so. `tools` says by a
    tool's name what `@tool` would: `tools={"refund": {"requires": "orders:refund", "needs_approval": True}}`.

    Raises:
        RegistryError: runs would share something in it that could change, its model or its deps cannot be ours.
    """
    if not isinstance(cast("object", agent), Agent):
        raise RegistryError(name, f"it is a {type(agent).__qualname__}, and no pydantic_ai.Agent")
    _check_toolsets(name, agent)
    examine(name, agent, "pydantic_ai", unused=(Model, Provider))
    if deps is not None:
        examine(name, deps, "pydantic_ai")
    elif not takes_ours(agent.deps_type):
        kind = getattr(agent.deps_type, "__qualname__", str(agent.deps_type))
        raise RegistryError(name, f"its deps are a {kind}; pass deps=, a function that makes one from the run's scope")
    attributes = {
        "wrapped": Wrapped(_copied(agent)),
        "tools": rules_of(name, tools),
        "deps": None if deps is None else Wrapped(deps),
        "model": model or _model_of(name, agent),
        **options,
    }
    return make_agent(PydanticAIAgent, name, _text(agent.description), attributes)


class ScopeModel(Model[Any]):
    """A Pydantic AI model that asks the model of a run's scope, and tells the user what it answers while it comes."""

    def __init__(self, borrowed: Borrowed) -> None:
        profile = ModelProfile(supports_json_schema_output=True, default_structured_output_mode="native")
        super().__init__(profile=profile)
        self._borrowed = borrowed

    @property
    def model_name(self) -> str:
        """What errors and logs of Pydantic AI call it."""
        return "scope"

    @property
    def system(self) -> str:
        """As `model_name`."""
        return "netra"

    async def request(
        self,
        messages: list[parts.ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> parts.ModelResponse:
        """One request, which is a step of the run's journal."""
        _, asked = self.prepare_request(model_settings, model_request_parameters)
        tools = [self._tool(each) for each in (*asked.function_tools, *asked.output_tools)]
        wanted = asked.output_object if asked.output_mode == "native" else None
        reply = await self._borrowed.ask(
            [*_instructions(messages, asked), *_ours(messages)], tools, None if wanted is None else wanted.json_schema
        )
        said: list[parts.ModelResponsePart] = [parts.TextPart(content=reply.text)] if reply.text else []
        said += [
            parts.ToolCallPart(tool_name=call.name, args=call.arguments, tool_call_id=call.id)
            for call in reply.tool_calls
        ]
        usage = RequestUsage(input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens)
        return parts.ModelResponse(parts=said, usage=usage, model_name=self.model_name)

    def _tool(self, offered: ToolDefinition) -> Any:
        return self._borrowed.tool(offered.name, offered.description or "", offered.parameters_json_schema)


class _Calls(AbstractCapability[Any]):
    """Puts the run's dispatcher around the agent's tools. `agent` says whose deps are a call's own scope."""

    def __init__(self, borrowed: Borrowed, agent: Agent[Any, Any] | None) -> None:
        self._borrowed = borrowed
        self._agent = agent

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return _Dispatched(toolset, self._borrowed, self._agent)


@dataclass
class _Dispatched(WrapperToolset[Any]):
    """Tools that are called by the run's dispatcher, which checks permission, approval and arguments and tells it."""

    borrowed: Borrowed
    agent: Agent[Any, Any] | None

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        tools = await self.wrapped.get_tools(ctx)
        return {name: self._dispatched(name, tool) for name, tool in tools.items()}

    def _dispatched(self, name: str, tool: ToolsetTool[Any]) -> ToolsetTool[Any]:
        offered = tool.tool_def
        said: ToolRules = {"timeout": offered.timeout, "needs_approval": offered.kind == "unapproved"}
        blocks = not getattr(_innermost(tool), "is_async", True)
        self.borrowed.tool(name, offered.description or "", offered.parameters_json_schema, blocks=blocks, said=said)
        kind = "function" if offered.kind == "unapproved" else offered.kind
        # Its arguments are checked inside the call, where a refusal is told.
        return _DispatchedTool(
            toolset=self,
            tool_def=replace(offered, kind=kind, timeout=None),
            max_retries=tool.max_retries,
            args_validator=_ANYTHING,
            inner=tool,
        )

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        assert isinstance(tool, _DispatchedTool)
        inner = tool.inner

        async def perform(arguments: dict[str, Any], scope: RunScope) -> Any:
            deps = ctx.deps if self.agent is None else ours(self.agent.deps_type, scope)
            own = replace(ctx, deps=deps, model=ScopeModel(self.borrowed.within(scope)))
            try:
                checked = inner.args_validator.validate_json(
                    msgspec.json.encode(arguments), context=own.validation_context
                )
                if inner.args_validator_func is not None:
                    verdict = inner.args_validator_func(own, **checked)
                    if verdict is not None:
                        await verdict
            except ValidationError as problem:
                raise ill_formed(problem) from problem
            try:
                given = await self.wrapped.call_tool(name, checked, own, inner)
            except (ModelRetry, ToolFailed) as failed:
                raise CallFailed("error", failed.message) from failed
            except (ApprovalRequired, CallDeferred) as asked:
                said = "it asks to be approved or deferred while it runs; declare it with requires_approval=True"
                raise CallFailed("error", said) from asked
            return given.return_value if isinstance(given, ToolReturn) else given

        return await self.borrowed.answer(ctx.tool_call_id or "", name, tool_args, perform)


@dataclass(kw_only=True)
class _DispatchedTool(ToolsetTool[Any]):
    """A tool whose calls are the dispatcher's, and `inner`, what it then calls."""

    inner: ToolsetTool[Any]


def _innermost(tool: ToolsetTool[Any]) -> ToolsetTool[Any]:
    while (source := getattr(tool, "source_tool", None)) is not None:
        tool = source
    return tool


def _copied(agent: Agent[Any, Any]) -> Agent[Any, Any]:
    """The agent with containers of its own: what is added to one run's agent is not in another's."""
    own = copy.copy(agent)
    for key, value in list(vars(own).items()):
        if isinstance(value, list | dict | set):
            setattr(own, key, copy.copy(cast("Any", value)))
        elif isinstance(value, FunctionToolset):
            tools = copy.copy(cast("FunctionToolset[Any]", value))
            tools.tools = dict(tools.tools)
            setattr(own, key, tools)
    return own


def _model_of(name: str, agent: Agent[Any, Any]) -> str | None:
    """The model as our providers know it, None for NETRA_MODEL."""
    model = agent.model
    if model is None or isinstance(model, str):
        return model
    if model.provider is None:
        reason = f"its model is a {type(model).__qualname__}, whose requests no journal would know"
        raise RegistryError(name, f"{reason}; name one with model=, or make the agent without")
    return model.model_id


def _check_toolsets(name: str, agent: Agent[Any, Any]) -> None:
    leaves: list[AbstractToolset[Any]] = []
    for toolset in agent.toolsets:
        toolset.apply(leaves.append)
    for leaf in leaves:
        if not isinstance(leaf, FunctionToolset | DynamicToolset):
            reason = f"its toolset {leaf.label} is one object, which every run would share with whatever it holds open"
            raise RegistryError(name, f"{reason}; make it for each run, in a function decorated with @agent.toolset")


def _text(description: Any) -> str | None:
    return description if isinstance(description, str) else None


def _instructions(messages: Iterable[parts.ModelMessage], asked: ModelRequestParameters) -> list[ModelMessage]:
    if asked.instruction_parts is not None:
        said = [part.content for part in asked.instruction_parts]
    else:
        requests = [each for each in messages if isinstance(each, parts.ModelRequest)]
        said = [requests[-1].instructions or ""] if requests else []
    text = "\n\n".join(filter(None, said))
    return [SystemMessage(text)] if text else []


def _ours(messages: Iterable[parts.ModelMessage]) -> list[ModelMessage]:
    """Theirs as ours."""
    found: list[ModelMessage] = []
    for message in messages:
        if isinstance(message, parts.ModelResponse):
            text = "".join(part.content for part in message.parts if isinstance(part, parts.TextPart))
            calls = tuple(
                ToolCall(part.tool_call_id, part.tool_name, _arguments(part))
                for part in message.parts
                if isinstance(part, parts.ToolCallPart)
            )
            found.append(AssistantMessage(text, calls))
            continue
        for part in message.parts:
            match part:
                case parts.SystemPromptPart(content=content):
                    found.append(SystemMessage(content))
                case parts.UserPromptPart(content=content):
                    found.append(UserMessage(_written(content)))
                case parts.ToolReturnPart():
                    found.append(ToolMessage(part.tool_call_id, part.model_response_str()))
                case _:
                    raise AgentFailed(f"a model cannot be told a {type(part).__name__} here")
    return found


def _arguments(call: parts.ToolCallPart) -> str:
    return (call.args or "{}") if isinstance(call.args, str) else call.args_as_json_str()


def _written(content: Any) -> str:
    if isinstance(content, str):
        return content
    written: list[str] = []
    for each in content:
        if isinstance(each, str | parts.TextContent):
            written.append(each if isinstance(each, str) else each.content)
        elif not isinstance(each, parts.CachePoint):
            raise AgentFailed(f"a model can be told text alone here, and no {type(each).__name__}")
    return "\n".join(written)


def _theirs(history: Iterable[ModelMessage]) -> list[parts.ModelMessage]:
    """Ours as theirs: what stands between two answers is one of their requests."""
    found: list[parts.ModelMessage] = []
    names: dict[str, str] = {}
    waiting: list[parts.ModelRequestPart] = []
    for message in history:
        match message:
            case SystemMessage(content=content):
                waiting.append(parts.SystemPromptPart(content=content))
            case UserMessage(content=content):
                waiting.append(parts.UserPromptPart(content=content))
            case ToolMessage(call_id=call_id, content=content):
                waiting.append(parts.ToolReturnPart(names.get(call_id, "unknown"), content, call_id))
            case AssistantMessage(content=content, tool_calls=calls):
                if waiting:
                    found.append(parts.ModelRequest(parts=waiting))
                    waiting = []
                said: list[parts.ModelResponsePart] = [parts.TextPart(content=content)] if content else []
                said += [parts.ToolCallPart(call.name, call.arguments, call.id) for call in calls]
                names |= {call.id: call.name for call in calls}
                found.append(parts.ModelResponse(parts=said))
    return [*found, parts.ModelRequest(parts=waiting)] if waiting else found
