"""`@tool`: a function that agents may call."""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, get_args, overload

from typing_extensions import ParamSpec, TypeVar

from netra_apex.core.journal import digest_of
from netra_apex.core.messages import ToolSpec
from netra_apex.core.permissions import check_permissions
from netra_apex.errors import Invalid, ToolDefinitionError
from netra_apex.tools.reach import check_reach
from netra_apex.tools.schema import Signature, read_signature

OnUnknown = Literal["fail", "ask"]

# With defaults, so that `Tool` alone means any tool.
P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)

# What the OpenAI wire format takes as a function's name; the other providers take no less.
MAX_TOOL_NAME = 64  # characters
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOOL_NAME}}}")


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Tool(Generic[P, R]):
    """A function with what a model is told of it: made by `@tool`, and frozen, as every user's runs share it.

    Calling it calls the plain function, so that a test needs nothing but the function's arguments. `requires` is the
    permission that its user needs (None: nobody needs one), `timeout` the seconds that a call may take (None:
    `NETRA_TOOL_TIMEOUT_SECONDS`). An `idempotent` one may be called again where a crash left its outcome unknown. Each
    call of an `isolated` one runs in a process of its own; that of a `question` gives what its user answers.
    """

    name: str
    description: str
    function: Callable[P, R]
    signature: Signature
    is_async: bool
    requires: str | None = None
    timeout: float | None = None
    idempotent: bool = False
    isolated: bool = False
    needs_approval: bool = False
    on_unknown: OnUnknown = "fail"
    question: bool = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function itself, without permission, validation, time-out or events."""
        return self.function(*args, **kwargs)

    @property
    def waits(self) -> bool:
        """Whether each call waits for a person before anything else."""
        return self.needs_approval or self.question

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema of its arguments, each time a copy."""
        return self.signature.parameters

    @property
    def version(self) -> str:
        """What tells this tool from another of its name: a person who approved a call has approved this one."""
        return digest_of(self.name, self.description, self.parameters)

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model is offered it."""
        return ToolSpec(name=self.name, description=self.description, parameters=self.parameters)


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    requires: str | None = None,
    timeout: float | None = None,
    needs_approval: bool = False,
    idempotent: bool = False,
    isolated: bool = False,
    on_unknown: OnUnknown = "fail",
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(  # noqa: PLR0913 - what may be said of a tool, by name; the contract's own list
    function: Callable[P, R] | None = None,
    /,
    *,
    requires: str | None = None,
    timeout: float | None = None,
    needs_approval: bool = False,
    idempotent: bool = False,
    isolated: bool = False,
    on_unknown: OnUnknown = "fail",
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Makes a tool of a function: its docstring is the description, its typed parameters are the JSON Schema.

    The function may be async or not; one that is not runs in a thread. A parameter annotated `RunScope` receives the
    call's own scope and is not shown to the model. `Annotated[str, Field(description="…")]` describes a parameter.
    `timeout` is in seconds. `idempotent` says that calling it again with the same `scope.context.idempotency_key` does
    what calling it once does: after a crash such a call is repeated, any other ends its run as `tool_outcome_unknown`.
    A default must be a value that cannot change, as all users' calls share it.

    `needs_approval` has each call wait until its user has approved it, for NETRA_APPROVAL_DAYS at most; waiting takes
    no slot and no memory, and outlives restarts. `on_unknown` says what becomes of a call that is not idempotent and of
    which a crash left nobody knowing how it ended: `fail` ends its run, `ask` asks the user whether to call it again.

    `isolated` has each call run in a process of its own, which is killed when the call is out of time or cancelled:
    for code that blocks for long, computes, takes much memory, or may crash. A call costs about 4.5 ms more
    (see `ToolProcesses`), and has no `RunScope`.

    Raises:
        ToolDefinitionError: the function cannot be offered to a model, and why.
    """

    def define(function: Callable[P, R]) -> Tool[P, R]:
        _check(function, requires, timeout)
        if on_unknown not in get_args(OnUnknown):
            raise ToolDefinitionError(function.__name__, f"on_unknown is fail or ask, not {on_unknown!r}")
        signature = read_signature(function)
        if isolated:
            check_reach(function)
            if signature.scope is not None:
                reason = f"it is isolated, and its {signature.scope} is a RunScope, which no other process can have"
                raise ToolDefinitionError(function.__name__, reason)
        return Tool(
            name=function.__name__,
            description=inspect.getdoc(function) or "",
            function=function,
            signature=signature,
            is_async=inspect.iscoroutinefunction(function),
            requires=requires,
            timeout=timeout,
            idempotent=idempotent,
            isolated=isolated,
            needs_approval=needs_approval,
            on_unknown=on_unknown,
        )

    return define if function is None else define(function)


def _check(function: Callable[..., Any], requires: str | None, timeout: float | None) -> None:
    if not inspect.isfunction(function):
        # A bound method or a callable object would share its state between all users.
        raise ToolDefinitionError(str(getattr(function, "__name__", function)), "only a function can be one")
    name = function.__name__
    if not _NAME.fullmatch(name):
        raise ToolDefinitionError(name, f"a name has 1 to {MAX_TOOL_NAME} letters, digits, _ and -")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ToolDefinitionError(name, "it yields; a tool returns one result")
    if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
        raise ToolDefinitionError(name, f"a time-out of {timeout} s is not possible")
    try:
        check_permissions([] if requires is None else [requires])
    except Invalid as error:
        raise ToolDefinitionError(name, str(error)) from error
