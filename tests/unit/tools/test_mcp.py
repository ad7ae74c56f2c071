"""Declaring MCP servers, in Python and in a file; and the names of their tools."""

import json
from pathlib import Path
from typing import Any

import pytest

from netra_apex import AgentRegistry, BaseAgent, ConfigurationError, MCPServer, RunScope
from netra_apex.errors import RegistryError
from netra_apex.tools.mcp import Listed, server_tools
from netra_apex.tools.mcp_file import catalogue, read_servers

URL = "https://example.org/mcp"
VARIABLES = {"WORD": "a-word-of-many"}


def written(place: Path, servers: Any, *, name: str = "mcp.json") -> Path:
    path = place / name
    path.write_text(servers if isinstance(servers, str) else json.dumps({"mcpServers": servers}))
    return path


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "Echo", "url": URL}, "its name is not"),
        ({"name": "a__b", "url": URL}, "its name is not"),
        ({"name": "x" * 33, "url": URL}, "its name is not"),
        ({"name": "echo"}, "a command or a url, and not both"),
        ({"name": "echo", "url": URL, "command": ("echo",)}, "a command or a url, and not both"),
        ({"name": "echo", "url": "ftp://example.org"}, "its url is not"),
        ({"name": "echo", "url": "https://me:word@example.org"}, "its url is not"),
        ({"name": "echo", "url": "https://[bad"}, "its url is not"),
        ({"name": "echo", "url": URL, "credential": "mine"}, "its credential is none or user"),
        ({"name": "echo", "command": ("echo",), "credential": "user"}, "its credential_name must be"),
        ({"name": "echo", "command": ("echo",), "headers": {"A": "b"}}, "a command has env"),
        ({"name": "echo", "url": URL, "env": {"A": "b"}}, "a command has env"),
        ({"name": "echo", "url": URL, "env": {"A": 1}}, "env must have texts"),
        ({"name": "echo", "url": URL, "headers": 7}, "headers must have texts"),
        ({"name": "echo", "url": URL, "tools": "search"}, "tools must be a tuple of texts"),
        ({"name": "echo", "url": URL, "needs_approval": "search"}, "needs_approval must be a tuple of texts"),
        ({"name": "echo", "url": URL, "timeout": 0}, "a time-out of 0 s"),
        ({"name": "echo", "url": URL, "requires": "no permission"}, "permission"),
    ],
)
def test_a_server_that_cannot_be_is_refused_with_the_reason(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        MCPServer(**given)


def test_what_may_be_secret_of_a_server_is_not_in_its_repr_and_is_known_for_a_secret() -> None:
    server = MCPServer("echo", url=URL, headers={"Authorization": "Bearer a-word-of-many"})
    assert "a-word-of-many" not in repr(server)
    assert set(server.secrets) == {"Bearer a-word-of-many", "a-word-of-many"}


def test_a_server_cannot_be_changed_and_so_may_stand_on_an_agent() -> None:
    class Agent(BaseAgent):
        """Uses it."""

        name = "agent"
        mcp_servers = (MCPServer("echo", command=("echo",), env={"A": "b"}, tools=["one"]), "other")  # type: ignore[arg-type]

        async def run(self, task: str, scope: RunScope) -> str:
            return task

    assert [getattr(each, "name", each) for each in AgentRegistry([Agent]).mcp_servers] == ["echo", "other"]


@pytest.mark.parametrize("servers", [["echo"], (1,), ("echo", "echo"), "echo", (MCPServer("echo", url=URL), "echo")])
def test_an_agents_servers_are_a_tuple_of_different_ones(servers: Any) -> None:
    made = type("Agent", (BaseAgent,), {"name": "agent", "mcp_servers": servers, "run": _run})
    with pytest.raises(RegistryError, match="mcp_servers"):
        AgentRegistry([made])


async def _run(self: Any, task: str, scope: RunScope) -> str:
    return task


def test_a_tools_name_is_one_that_models_take_and_no_other_tools() -> None:
    listed = [Listed(name, "", {"type": "object"}) for name in ("plain", "with.dot", "with dot", "x" * 80, "x" * 81)]
    found = [each.name for each in server_tools(MCPServer("echo", url=URL), listed)]
    assert found[0] == "echo__plain"
    assert len(set(found)) == len(listed)
    assert all(len(name) <= 64 and name.replace("-", "_").isidentifier() for name in found)


def test_approval_is_asked_for_where_it_is_declared() -> None:
    listed = [Listed(name, "", {"type": "object"}) for name in ("read", "write")]
    for asks, expected in ((False, [False, False]), (True, [True, True]), (("write",), [False, True])):
        tools = server_tools(MCPServer("echo", url=URL, needs_approval=asks), listed)
        assert [each.needs_approval for each in tools] == expected


def test_a_file_has_commands_and_urls_with_variables_filled_in(tmp_path: Path) -> None:
    servers = {
        "files": {"command": "npx", "args": ["-y", "files"], "env": {"TOKEN": "${WORD}"}, "type": "stdio"},
        "web": {"url": URL, "headers": {"X-Key": "${WORD}"}, "credential": "none", "needs_approval": ["write"]},
    }
    files, web = read_servers(written(tmp_path, servers), VARIABLES.get)
    assert files == MCPServer("files", command=("npx", "-y", "files"), env={"TOKEN": "a-word-of-many"})
    assert web == MCPServer("web", url=URL, headers={"X-Key": "a-word-of-many"}, needs_approval=("write",))


def test_a_file_may_be_toml(tmp_path: Path) -> None:
    text = f'[mcpServers.web]\nurl = "{URL}"\nrequires = "web:use"\n'
    path = written(tmp_path, text, name="mcp.toml")
    assert read_servers(path, VARIABLES.get) == (MCPServer("web", url=URL, requires="web:use"),)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no JSON or TOML"),
        ("[]", "has no mcpServers"),
        ("{}", "has no mcpServers"),
        ({"web": 1}, "'web' is no table"),
        ({"web": {"url": URL, "type": "sse"}}, "its type is stdio or http, not 'sse'"),
        ({"web": {"url": URL, "shell": True}}, "there is no shell"),
        ({"web": {"url": "${NOWHERE}"}}, "there is no environment variable NOWHERE"),
        ({"web": {"command": ["npx"]}}, "its command is a text"),
        ({"web": {"command": "npx", "args": "-y"}}, "its args are a list"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        read_servers(written(tmp_path, content), VARIABLES.get)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.json cannot be read"):
        read_servers(tmp_path / "gone.json", VARIABLES.get)


def test_two_servers_of_one_name_are_refused_as_a_credential_for_one_would_go_to_the_other() -> None:
    here, there = MCPServer("web", url=URL, credential="user"), MCPServer("web", url=f"{URL}2", credential="user")
    assert catalogue(["web", here], [MCPServer("web", url=URL, credential="user", tools=("one",))]).keys() == {"web"}
    for declared, filed in (([here, there], []), ([here], [there])):
        with pytest.raises(ConfigurationError, match="two MCP servers have the name 'web'"):
            catalogue(declared, filed)
    with pytest.raises(ConfigurationError, match="there is no MCP server 'gone'"):
        catalogue(["gone"], [here])
