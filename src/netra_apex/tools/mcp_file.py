"""The file of MCP servers that NETRA_MCP_SERVERS names: `mcpServers`, as other programs have it, in JSON or TOML."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from netra_apex.errors import ConfigurationError
from netra_apex.tools.mcp import MCPServer

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_TYPES = ("stdio", "http", "streamable-http", "streamable_http")
_FIELDS = frozenset(each.name for each in fields(MCPServer)) - {"name", "command"}


def read_servers(path: Path, variable: Callable[[str], str | None]) -> tuple[MCPServer, ...]:
    """The servers of a file. `${NAME}` in a value is what `variable` says of that name.

    Raises:
        ConfigurationError: the file cannot be read, or a server cannot be as it is written there.
    """
    try:
        text = path.read_text("utf-8")
        content: Any = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigurationError(f"NETRA_MCP_SERVERS: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"NETRA_MCP_SERVERS: {path} is no JSON or TOML: {error}") from error
    servers: object = cast("Mapping[str, Any]", content).get("mcpServers") if isinstance(content, Mapping) else None
    if not isinstance(servers, Mapping):
        raise ConfigurationError(f"NETRA_MCP_SERVERS: {path} has no mcpServers")
    entries = cast("Mapping[str, Any]", servers).items()
    return tuple(_server(name, _filled(name, entry, variable)) for name, entry in entries)


def catalogue(declared: Iterable[MCPServer | str], filed: Iterable[MCPServer]) -> Mapping[str, MCPServer]:
    """Every server by its name: those of agents, and those of the file.

    Raises:
        ConfigurationError: two servers have one name, so that a user's credential for one would go to the other; or
            an agent names one that there is not.
    """
    found = {server.name: server for server in filed}
    for server in declared:
        if isinstance(server, str):
            continue
        if found.setdefault(server.name, server).way != server.way:
            raise ConfigurationError(f"two MCP servers have the name {server.name!r}")
    for server in declared:
        if isinstance(server, str) and server not in found:
            raise ConfigurationError(f"there is no MCP server {server!r}: NETRA_MCP_SERVERS names their file")
    return MappingProxyType(found)


def _filled(name: str, value: Any, variable: Callable[[str], str | None]) -> Any:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {key: _filled(name, each, variable) for key, each in items}
    if isinstance(value, list):
        return [_filled(name, each, variable) for each in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value

    def known(found: re.Match[str]) -> str:
        text = variable(found[1])
        if text is None:
            raise ConfigurationError(f"MCP server {name!r}: there is no environment variable {found[1]}")
        return text

    return _VARIABLE.sub(known, value)


def _server(name: str, entry: Any) -> MCPServer:
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"MCP server {name!r} is no table")
    given = dict(cast("Mapping[str, Any]", entry))
    kind, command, args = given.pop("type", None), given.pop("command", None), given.pop("args", [])
    if kind is not None and kind not in _TYPES:
        raise ConfigurationError(f"MCP server {name!r}: its type is stdio or http, not {kind!r}")
    if unknown := given.keys() - _FIELDS:
        raise ConfigurationError(f"MCP server {name!r}: there is no {', '.join(sorted(unknown))}")
    if not isinstance(args, list) or (command is not None and not isinstance(command, str)):
        raise ConfigurationError(f"MCP server {name!r}: its command is a text, and its args are a list")
    whole = () if command is None else (command, *cast("list[Any]", args))
    return MCPServer(name, command=whole, **given)
