"""`MCPServer`: a server that speaks the Model Context Protocol, declared; and what is needed of who talks to it."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from hashlib import sha256
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlsplit

from msgspec import Struct

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.permissions import check_permissions
from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, ConfigurationError, Invalid
from netra_apex.tools.schema import open_signature
from netra_apex.tools.tool import MAX_TOOL_NAME, Tool

Pairs = tuple[tuple[str, str], ...]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST = 8
_DESCRIPTION = 4096  # characters of what a server says of a tool: it is told with every request to the model


@dataclass(frozen=True)
class MCPServer:
    """An MCP server whose tools an agent may use: `mcp_servers = (MCPServer("github", url="https://…"),)`.

    It is started as a `command` with `env`, or reached at a `url` with `headers`; these are the same for every user.
    With `credential="user"` each user brings a token of his own. It is sent as `Authorization: Bearer TOKEN`, or bare
    under another `credential_name`: a header, or a command's environment variable.

    `requires` is the permission that its user needs. `tools` are those that are offered (None: all that it has),
    `needs_approval` those that wait for a person (True: all), `idempotent` those that may be called again after a
    crash. What the server itself says of that is not believed. `timeout` is in seconds, for each call.

    Raises:
        ConfigurationError: it cannot be as it is declared, and why.
    """

    name: str
    _: KW_ONLY
    command: tuple[str, ...] = ()
    env: Pairs | Mapping[str, str] = field(default=(), repr=False)  # values may be secret
    url: str | None = None
    headers: Pairs | Mapping[str, str] = field(default=(), repr=False)
    credential: Literal["none", "user"] = "none"
    credential_name: str | None = None
    requires: str | None = None
    tools: tuple[str, ...] | None = None
    needs_approval: bool | tuple[str, ...] = False
    idempotent: tuple[str, ...] = ()
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Checks it, and makes tuples of what could change."""
        for name in ("env", "headers"):
            object.__setattr__(self, name, _pairs(self, name))
        for name in ("command", "tools", "idempotent"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _texts(self, name))
        if not isinstance(cast("object", self.needs_approval), bool):
            object.__setattr__(self, "needs_approval", _texts(self, "needs_approval"))
        _check(self)

    @property
    def place(self) -> str:
        """What tells the server that a credential is for from any other: a token is sent nowhere else."""
        return sha256(repr((self.name, self.command, self.url, self.credential_name)).encode()).hexdigest()

    @property
    def way(self) -> tuple[Any, ...]:
        """All that a session depends on, but for its user."""
        return (self.name, self.command, self.env, self.url, self.headers, self.credential, self.credential_name)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not be told: those of its headers and environment."""
        values = [value for _, value in (*cast("Pairs", self.env), *cast("Pairs", self.headers))]
        return tuple(part for value in values for part in {value, value.rpartition(" ")[2]})

    def tool(self, name: str) -> Tool[..., Any]:
        """One of its tools, for an agent's own code: `await scope.tools.call(server.tool("search"), query="x")`."""
        return _tool(self, Listed(name=name, description="", schema={"type": "object"}), f"{self.name}__{name}")


class Listed(Struct, frozen=True):
    """A tool as its server lists it; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Question(Struct, frozen=True):
    """What a server asks the user in the middle of a call; `schema` is that of the answer, a flat object."""

    key: str
    text: str
    schema: dict[str, Any]


class Asks(Struct, frozen=True):
    """A call's answer that is none yet: it is made again with `answers` to these, and with the server's own `state`."""

    questions: tuple[Question, ...]
    state: str | None


class Answers(Struct, frozen=True):
    """What the user said, by the questions' keys (None: he declined), and the state that came with them."""

    given: dict[str, dict[str, Any] | None]
    state: str | None


class Servers(Protocol):
    """Who talks to MCP servers. Whatever goes wrong there is a `CallFailed`."""

    def named(self, server: MCPServer | str) -> MCPServer:
        """The declaration. Raises: ConfigurationError: there is none of that name."""
        ...

    async def listed(self, context: UserExecutionContext, server: MCPServer) -> tuple[Listed, ...]:
        """The tools that this user is offered, by a session of his."""
        ...

    async def call(
        self,
        context: UserExecutionContext,
        server: MCPServer,
        tool: str,
        arguments: Mapping[str, Any],
        answers: Answers | None = None,
    ) -> Any:
        """Calls a tool in a session of this user's: its result as JSON, or `Asks`."""
        ...

    def left(self, run_id: str) -> None:
        """The run has ended, or is left: its sessions may be closed."""
        ...


class Reaching(RunScope):
    """The scope of a call that goes to a server."""

    @abstractmethod
    async def reach(self, server: MCPServer, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Calls the server's tool for this scope's user.

        Raises:
            CallFailed: it failed, and why.
        """


def server_tools(server: MCPServer, listed: Iterable[Listed]) -> tuple[Tool[..., Any], ...]:
    """The tools of a server, each under a name that no other of them has."""
    made: dict[str, Tool[..., Any]] = {}
    for each in listed:
        name = _named(server.name, each.name)
        made[name] = _tool(server, each, name)
    return tuple(made.values())


def unusable(server: MCPServer, reason: str) -> Tool[..., Any]:
    """What stands for the tools of a server that could not list them: it tells a model, and its user, why."""

    async def call(arguments: Mapping[str, Any]) -> Any:
        del arguments
        raise CallFailed("error", reason)

    return Tool(
        name=f"{server.name}__unavailable",
        description=f"Nothing of {server.name} can be used now: {reason}",
        function=call,
        signature=open_signature({"type": "object", "properties": {}}, into="arguments"),
        is_async=True,
        requires=server.requires,
        idempotent=True,
    )


def _tool(server: MCPServer, listed: Listed, name: str) -> Tool[..., Any]:
    async def call(arguments: Mapping[str, Any], *, scope: RunScope) -> Any:
        assert isinstance(scope, Reaching)
        return await scope.reach(server, listed.name, arguments)

    call.__name__ = name
    asks = server.needs_approval
    return Tool(
        name=name,
        description=listed.description[:_DESCRIPTION],
        function=call,
        signature=open_signature(listed.schema, into="arguments", scope="scope"),
        is_async=True,
        requires=server.requires,
        timeout=server.timeout,
        # Begun anew after a crash, or a wait for its user; what it has sent is in the journal, and not sent twice.
        idempotent=True,
        needs_approval=asks if isinstance(asks, bool) else listed.name in asks,
    )


def _named(server: str, tool: str) -> str:
    """A name that models take, and that is no other tool's of the server."""
    plain = f"{server}__{tool}"
    name = _NOT_IN_NAMES.sub("_", plain)
    if name == plain and len(name) <= MAX_TOOL_NAME:
        return name
    return f"{name[: MAX_TOOL_NAME - _DIGEST - 1]}_{sha256(plain.encode()).hexdigest()[:_DIGEST]}"


def _texts(server: MCPServer, name: str) -> tuple[str, ...]:
    value: object = getattr(server, name)
    texts = tuple(cast("Iterable[object]", value)) if isinstance(value, list | tuple) else ()
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in texts):
        raise ConfigurationError(f"MCP server {server.name!r}: {name} must be a tuple of texts")
    return cast("tuple[str, ...]", texts)


def _pairs(server: MCPServer, name: str) -> Pairs:
    value: object = getattr(server, name)
    items = cast("Mapping[object, object]", value).items() if isinstance(value, Mapping) else value
    try:
        pairs = tuple((key, each) for key, each in cast("Iterable[tuple[object, object]]", items))
    except (TypeError, ValueError):
        pairs = ((None, None),)
    if not all(isinstance(each, str) for pair in pairs for each in pair):
        raise ConfigurationError(f"MCP server {server.name!r}: {name} must have texts under names")
    return cast("Pairs", pairs)


def _check(server: MCPServer) -> None:
    reason = _problem(server)
    if reason is not None:
        raise ConfigurationError(f"MCP server {server.name!r}: {reason}")
    try:
        check_permissions([] if server.requires is None else [server.requires])
    except Invalid as error:
        raise ConfigurationError(f"MCP server {server.name!r}: {error}") from error


def _problem(server: MCPServer) -> str | None:
    if not _NAME.fullmatch(server.name) or "__" in server.name:
        return "its name is not 1 to 32 small letters, digits, _ or -, without __"
    if bool(server.command) == (server.url is not None):
        return "it needs a command or a url, and not both"
    if server.url is not None and not _is_url(server.url):
        return "its url is not http://… or https://… without a password in it"
    if server.credential not in ("none", "user"):
        return "its credential is none or user"
    if server.command and server.credential == "user" and not server.credential_name:
        return "its credential_name must be the environment variable that takes a user's credential"
    if (server.headers and server.url is None) or (server.env and not server.command):
        return "a command has env, and a url has headers"
    if server.timeout is not None and not 0 < server.timeout < float("inf"):
        return f"a time-out of {server.timeout} s is not possible"
    return None


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
