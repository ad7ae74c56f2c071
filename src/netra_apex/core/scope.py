"""`RunScope`: what a run lends an agent or a tool call."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, overload

from netra_apex.core.belongings import UserStore
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.messages import ModelMessage, Reply, ToolCall, ToolMessage
from netra_apex.core.runs import Result

R = TypeVar("R")


class ToolCalls(ABC):
    """Calling tools from an agent's own code, with everything that a model's call goes through too."""

    @overload
    async def call(self, tool: Callable[..., Awaitable[R]], *args: Any, **kwargs: Any) -> R: ...
    @overload
    async def call(self, tool: Callable[..., R], *args: Any, **kwargs: Any) -> R: ...
    @abstractmethod
    async def call(self, tool: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a tool: permission, validation, time-out, events; then the function.

        Raises:
            CallFailed: it was denied, ill-formed, timed out or failed; told as `tool_completed` with `ok: false`.
        """

    @abstractmethod
    async def answer(self, calls: Sequence[ToolCall]) -> tuple[ToolMessage, ...]:
        """Carries out a model's calls, side by side, and returns their answers for the model, in the calls' order.

        A call that fails is an answer too: the model is told why.
        """


class RunScope(ABC):
    """What a run lends an agent or a tool call, for the run's time only.

    A tool receives its call's own scope: its `context.idempotency_key` is the same when the call is repeated after a
    crash. Using a scope after its run raises `ScopeClosed`.
    """

    @property
    @abstractmethod
    def context(self) -> UserExecutionContext:
        """Who this acts for."""

    @property
    @abstractmethod
    def history(self) -> tuple[ModelMessage, ...]:
        """What was said in this thread before this run, oldest first, within NETRA_HISTORY_MESSAGES."""

    @property
    @abstractmethod
    def tools(self) -> ToolCalls:
        """Tool calls from code."""

    @property
    @abstractmethod
    def store(self) -> UserStore:
        """What this run's user keeps, bound to that user: the files of its thread, and what is remembered of him.

        `store.admin` is there for everybody, and does nothing for who is no administrator.
        """

    @abstractmethod
    async def think(self, text: str) -> None:
        """Tells the user what the agent is about: an `agent_thinking` event."""

    @abstractmethod
    async def model(
        self,
        messages: str | Sequence[ModelMessage],
        *,
        tools: Sequence[Any] = (),
        output_type: Any = None,
        show: bool = True,
    ) -> Reply:
        """Asks the agent's model; where shown, the answer streams to the user and becomes `message_completed`.

        `tools`, members and MCP servers among them, are offered, not called: the reply's `tool_calls` are the caller's
        to carry out. With `output_type` (any type that pydantic validates), the reply's `output` is the answer as that
        type.

        Raises:
            ModelFailed: the provider failed, or the answer is not of `output_type`.
        """

    @abstractmethod
    async def delegate(self, member: type[Any], task: Any, *, share: Sequence[str] = ()) -> Result:
        """Hands a task to one of this agent's `members`, and waits for what comes of it.

        The member works in a context of its own, one deeper, with no more permissions, and sees the task and what
        `share` names: `"history"`, `"files"`, and by their names other members that have answered in this run. However
        it ends, that is a result: where not `ok`, `error` has its code (`agent_error`, `agent_timeout`, `denied`, …)
        and why.

        Raises:
            TypeError: it is no member of this agent, or takes no such task.
            ValueError: `share` names what is not there.
        """

    @abstractmethod
    async def step(self, name: str, function: Callable[..., Awaitable[R]], *args: Any) -> R:
        """Runs `function(*args)` once per run under this name; the same name again gives the first result."""
