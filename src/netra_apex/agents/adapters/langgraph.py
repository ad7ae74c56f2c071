"""`from_langgraph`: a LangGraph graph as one of our agents, and `ScopeChatModel`, the model that its nodes ask.

A graph's nodes are arbitrary code, which is run anew when a run is taken up. What they ask a `ScopeChatModel`, and the
calls that a `ToolNode` carries out, go by the run's scope, and are not repeated.
"""

# A namespace package, for which the checker finds no mark that it is typed.
# pyright: reportMissingTypeStubs=false

import contextvars
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeAlias, cast

from pydantic import BaseModel
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
    from langchain_core import messages as theirs
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
    from langchain_core.outputs import ChatGeneration, ChatResult
    from langchain_core.runnables import Runnable
    from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
    from langgraph.errors import GraphRecursionError
    from langgraph.graph import StateGraph
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.prebuilt import ToolNode
    from langgraph.prebuilt.tool_node import ToolCallRequest, ToolInvocationError
    from langgraph.types import Command
except ImportError as error:
    raise ConfigurationError(
        'from_langgraph needs LangGraph, which is not installed: pip install "netra-apex[langgraph]"'
    ) from error

Graph: TypeAlias = Any
"""A `CompiledStateGraph`, whose own types say no more."""
STEPS = 1000
"""How many steps a graph may take: the scope counts the model's turns, this ends a graph that goes in a circle."""

# Whose run this is: a node is handed the graph's state, and its model was made long before.
_running: "contextvars.ContextVar[Borrowed | None]" = contextvars.ContextVar("netra_graph", default=None)


class LangGraphAgent(BaseAgent):
    """A LangGraph graph that runs by our scope. Its state is made anew for each run."""

    wrapped: ClassVar[Wrapped[Graph]]
    tools: ClassVar[Rules] = ()
    making: ClassVar[Wrapped[Mapping[str, Callable[..., Any]]]]

    async def run(self, task: Any, scope: RunScope) -> Any:
        """Has the graph come to its end, and returns what its state says then.

        Raises:
            TurnsExhausted: it went on and on.
        """
        graph, making = self.wrapped.original, self.making.original
        borrowed = Borrowed(scope, self.tools)
        for node in _tool_nodes(graph):
            for tool in node.tools_by_name.values():
                _offer(borrowed, convert_to_openai_tool(tool), blocks=getattr(tool, "coroutine", True) is None)
        context = making["context"](scope) if "context" in making else ours(graph.context_schema, scope)
        state: Any = making["state"](task, scope) if "state" in making else {"messages": _opening(task, scope)}
        token = _running.set(borrowed)
        try:
            stream = graph.astream(state, {"recursion_limit": STEPS}, context=context, stream_mode=["values", "custom"])
            async for mode, told in stream:
                if mode == "values":
                    state = told
                elif isinstance(told, str):
                    await scope.think(told)
        except GraphRecursionError as error:
            raise TurnsExhausted(f"the graph came to no end in {STEPS} steps") from error
        finally:
            _running.reset(token)
        return making["output"](state) if "output" in making else _output(state)


class GraphOptions(AgentOptions, total=False):
    """What may be said of a graph besides: how its state, its output and its context are made."""

    model: str | None
    state: Callable[[Any, RunScope], Any]
    output: Callable[[Any], Any]
    context: Callable[[RunScope], Any]


def from_langgraph(
    graph: Any, *, name: str, tools: Mapping[str, ToolRules] | None = None, **options: Unpack[GraphOptions]
) -> type[BaseAgent]:
    """An agent class for the registry whose runs are this graph's, compiled or not.

    A `ScopeChatModel` in it asks `model` (left out: NETRA_MODEL). `state` makes the graph's first state from the task
    and the run's scope (left out: the thread's history and the task, as `messages`), `output` the run's output from its
    last one (left out: `structured_response`, the last message's text, or the whole state), `context` the graph's
    context from the scope, which it is otherwise. `tools` says by a tool's name what `@tool` would. What a node writes
    to the stream as a text becomes a thought.

    Raises:
        RegistryError: runs would share something in it that could change, or its state or context cannot be ours.
    """
    if isinstance(graph, StateGraph):
        graph = cast("Any", graph).compile()
    if not _is_graph(graph):
        raise RegistryError(name, f"it is a {type(graph).__qualname__}, and no graph of LangGraph")
    compiled: Graph = graph
    _check_graph(name, compiled)
    examine(name, compiled, "langgraph", "langchain_core", unused=(ScopeChatModel,))
    said: dict[str, Any] = dict(options)
    making = {key: said.pop(key) for key in ("state", "output", "context") if key in said}
    for function in making.values():
        examine(name, function)
    if "context" not in making and not takes_ours(compiled.context_schema):
        kind = getattr(compiled.context_schema, "__qualname__", "context")
        raise RegistryError(name, f"its context is a {kind}; pass context=, a function that makes it from the scope")
    if "state" not in making and "messages" not in compiled.channels:
        raise RegistryError(
            name, "its state has no messages; pass state=, a function that makes it from task and scope"
        )
    attributes = {
        "wrapped": Wrapped(_dispatched(name, compiled)),
        "tools": rules_of(name, tools),
        "making": Wrapped(making),
        **said,
    }
    return make_agent(LangGraphAgent, name, None, attributes)


class ScopeChatModel(BaseChatModel):
    """A LangChain chat model that asks the model of the run in which it is awaited: `await model.ainvoke(messages)`.

    It holds nothing: one serves every graph and every user. What it answers streams to the user and is journaled.
    """

    cache: Any = False  # LangChain's own cache knows no owner

    @property
    def _llm_type(self) -> str:
        return "netra-scope"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any) -> Runnable[Any, Any]:
        """The model with tools that it may call; `tool_choice` is not passed on, as the choice is the model's."""
        del tool_choice, kwargs
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def with_structured_output(self, schema: Any, *, include_raw: bool = False, **kwargs: Any) -> Runnable[Any, Any]:
        """The model with answers of this type, or JSON Schema."""
        del kwargs
        if include_raw:
            raise NotImplementedError("ScopeChatModel gives the answer alone, without include_raw")
        parser: Any = JsonOutputParser()
        if isinstance(schema, type) and issubclass(cast("type[Any]", schema), BaseModel):
            parser = PydanticOutputParser[BaseModel](pydantic_object=schema)
        return self.bind(output_schema=convert_to_json_schema(cast("Any", schema))) | parser

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise AgentFailed("a ScopeChatModel is awaited: write `await model.ainvoke(…)` in an async node")

    async def _agenerate(
        self, messages: list[theirs.BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        del stop, run_manager
        borrowed = _running.get()
        if borrowed is None:
            raise AgentFailed("a ScopeChatModel answers inside a run of from_langgraph's agent alone")
        tools = [_offer(borrowed, tool) for tool in kwargs.get("tools", ())]
        reply = await borrowed.ask(_ours(messages), tools, kwargs.get("output_schema"))
        usage = reply.usage
        answer = theirs.AIMessage(
            content=reply.text,
            tool_calls=[
                theirs.ToolCall(name=call.name, args=json.loads(call.arguments or "{}"), id=call.id)
                for call in reply.tool_calls
            ],
            usage_metadata={
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.input_tokens + usage.output_tokens,
            },
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])


def _offer(borrowed: Borrowed, tool: Mapping[str, Any], *, blocks: bool = False) -> Any:
    function = tool["function"]
    return borrowed.tool(function["name"], function.get("description", ""), function["parameters"], blocks=blocks)


def _is_graph(thing: Any) -> bool:
    return isinstance(thing, CompiledStateGraph)


def _tool_nodes(graph: Graph) -> Iterable[ToolNode]:
    for node in graph.nodes.values():
        if isinstance(node.bound, ToolNode):
            yield node.bound
        elif _is_graph(node.bound):
            yield from _tool_nodes(node.bound)


def _check_graph(name: str, graph: Graph) -> None:
    held: dict[str, Any] = {"checkpointer": graph.checkpointer, "store": graph.store, "cache": graph.cache}
    for what, value in held.items():
        if value is not None and value is not False:
            reason = f"its {what} would hold what all users said in one place; compile it without"
            raise RegistryError(name, f"{reason}: the thread's history is told to each run, and the journal keeps it")
    if graph.interrupt_before_nodes or graph.interrupt_after_nodes:
        raise RegistryError(name, "it interrupts before or after nodes; have a tool ask with needs_approval instead")
    for node in graph.nodes.values():
        if _is_graph(node.bound):
            _check_graph(name, node.bound)
        if isinstance(node.bound, ToolNode) and type(node.bound) is not ToolNode:
            raise RegistryError(name, f"its {type(node.bound).__qualname__} calls tools in a way of its own")


def _dispatched(name: str, graph: Graph) -> Graph:
    """A copy of the graph in which the run's dispatcher has the tools called."""
    nodes: dict[str, Any] = {}
    for key, node in graph.nodes.items():
        nodes[key] = node
        if isinstance(node.bound, ToolNode):
            nodes[key] = node.copy({"bound": _asking(name, node.bound)})
        elif _is_graph(node.bound):
            nodes[key] = node.copy({"bound": _dispatched(name, node.bound), "subgraphs": None})
    return graph.copy({"nodes": nodes})


def _asking(name: str, node: ToolNode) -> ToolNode:
    made = vars(node)  # ToolNode tells what it was made with nowhere else
    if made["_wrap_tool_call"] is not None and made["_awrap_tool_call"] is None:
        raise RegistryError(name, "its wrap_tool_call is not async, so that it would hold up everybody")
    inner = made["_awrap_tool_call"]

    async def by_dispatcher(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        borrowed = _running.get()
        if borrowed is None:
            raise AgentFailed("a graph of from_langgraph's runs in its agent's runs alone")

        async def perform(arguments: dict[str, Any], scope: RunScope) -> Any:
            _running.set(borrowed.within(scope))  # in the call's own task or thread
            runtime = cast("Any", request).runtime
            context = scope if isinstance(runtime.context, RunScope) else runtime.context
            call = {**request.tool_call, "args": arguments}
            own: Any = replace(cast("Any", request), tool_call=call, runtime=replace(runtime, context=context))
            try:
                return _told(await (execute(own) if inner is None else inner(own, execute)))
            except ToolInvocationError as wrong:
                raise ill_formed(wrong.source) from wrong

        call = request.tool_call
        told = await borrowed.answer(str(call["id"]), call["name"], call["args"], perform)
        return theirs.ToolMessage(content=told, name=call["name"], tool_call_id=str(call["id"]))

    return ToolNode(
        list(node.tools_by_name.values()),
        name=node.name or "tools",
        tags=list(node.tags or ()),
        handle_tool_errors=False,  # each call that fails is an answer to the model, by the dispatcher
        messages_key=made["_messages_key"],
        awrap_tool_call=by_dispatcher,
    )


def _told(given: Any) -> Any:
    """What a tool gave, as its call tells it."""
    if not isinstance(given, theirs.ToolMessage):
        what = "a Command" if isinstance(given, Command) else f"a {type(given).__name__}"
        raise CallFailed("error", f"it gave {what}, which no journal can keep; let it return a text or JSON")
    if given.status == "error":
        raise CallFailed("error", str(given.text))
    try:
        return json.loads(str(given.text))  # LangChain has made a text of what the function returned
    except ValueError:
        return str(given.text)


def _opening(task: Any, scope: RunScope) -> list[theirs.BaseMessage]:
    return [*_theirs(scope.history), theirs.HumanMessage(text_of(task))]


def _output(state: Any) -> Any:
    if isinstance(state, Mapping):
        found = cast("Mapping[str, Any]", state)
        if found.get("structured_response") is not None:
            return found["structured_response"]
        if found.get("messages"):
            return str(found["messages"][-1].text)
    return cast("Any", state)


def _ours(messages: Iterable[theirs.BaseMessage]) -> list[ModelMessage]:
    """Theirs as ours."""
    found: list[ModelMessage] = []
    for message in messages:
        match message:
            case theirs.SystemMessage():
                found.append(SystemMessage(_text(message)))
            case theirs.HumanMessage():
                found.append(UserMessage(_text(message)))
            case theirs.ToolMessage():
                found.append(ToolMessage(message.tool_call_id, _text(message)))
            case theirs.AIMessage():
                calls = [ToolCall(str(call["id"]), call["name"], _written(call["args"])) for call in message.tool_calls]
                found.append(AssistantMessage(_text(message), tuple(calls)))
            case _:
                raise AgentFailed(f"a model cannot be told a {type(message).__name__} here")
    return found


def _written(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


def _text(message: theirs.BaseMessage) -> str:
    parts = [message.content] if isinstance(message.content, str) else message.content
    for part in parts:
        if not isinstance(part, str) and part.get("type") != "text":
            raise AgentFailed(f"a model can be told text alone here, and no {part.get('type')}")
    return str(message.text)


def _theirs(history: Iterable[ModelMessage]) -> list[theirs.BaseMessage]:
    """Ours as theirs; calls whose arguments are no object were never made."""
    found: list[theirs.BaseMessage] = []
    for message in history:
        match message:
            case SystemMessage(content=content):
                found.append(theirs.SystemMessage(content))
            case UserMessage(content=content):
                found.append(theirs.HumanMessage(content))
            case ToolMessage(call_id=call_id, content=content):
                found.append(theirs.ToolMessage(content, tool_call_id=call_id))
            case AssistantMessage(content=content, tool_calls=calls):
                asked = [theirs.ToolCall(name=call.name, args=_object(call.arguments), id=call.id) for call in calls]
                found.append(theirs.AIMessage(content, tool_calls=asked))
    return found


def _object(arguments: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
