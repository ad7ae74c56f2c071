"""Two users, two credentials, one MCP server that says by whose it was asked: never crossed (root cause 6)."""

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.mcp_server import Echo, command, digest

from netra_apex import AgentRegistry, BaseAgent, CallFailed, MCPServer, RunScope, Settings
from netra_apex.stores import open_stores
from netra_apex.testing import harness

PEOPLE = ("ada", "bob")
SECRET = "s" * 20 + "0123456789abcdefghij"
ROUNDS = 40


def token(user: str) -> str:
    """The user's credential."""
    return f"credential-of-{user}-0123456789"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    with Echo.over_http(tmp_path_factory.mktemp("echo")) as echo:
        yield echo


def registry(server: MCPServer) -> AgentRegistry:
    """Agents that ask the server who they are."""

    class Asker(BaseAgent):
        """Its task is how often to ask, and how many are to be inside of the server at once."""

        name = "asker"
        mcp_servers = (server,)

        async def run(self, task: str, scope: RunScope) -> list[Any]:
            times, together = map(int, task.split())
            found = []
            for _ in range(times):
                said = await scope.tools.call(server.tool("whoami"), together=together)
                found.append(said["bearer"])
            return found

    class Shaken(BaseAgent):
        """Asks, and gives many of its questions up."""

        name = "shaken"
        mcp_servers = (server,)

        async def run(self, task: str, scope: RunScope) -> list[Any]:
            dice = random.Random(task)

            async def ask() -> Any:
                try:
                    async with asyncio.timeout(dice.random() * 0.02):
                        return (await scope.tools.call(server.tool("whoami")))["bearer"]
                except TimeoutError:
                    return None

            return [await ask() for _ in range(60)]

    class Blurter(BaseAgent):
        """Has the server tell the credential."""

        name = "blurter"
        mcp_servers = (server,)

        async def run(self, task: str, scope: RunScope) -> Any:
            return [await scope.tools.call(server.tool("blurt")), await self.failed(scope)]

        async def failed(self, scope: RunScope) -> str:
            try:
                await scope.tools.call(server.tool("fail"), why="for")
            except CallFailed as error:
                return error.message
            raise AssertionError("it did not fail")

    return AgentRegistry([Asker, Shaken, Blurter])


def over_http(echo: Echo) -> MCPServer:
    return MCPServer("echo", url=echo.url, credential="user")


async def connect(app: Any, server: MCPServer, people: tuple[str, ...] = PEOPLE) -> None:
    for user in people:
        await app.runtime.servers.connect(user, server, token(user))


def test_two_users_side_by_side_in_one_server_are_each_themselves_in_every_call(echo: Echo) -> None:
    server = over_http(echo)

    async def main() -> None:
        async with harness(registry(server)) as app:
            await connect(app, server)
            # Each call ends once one of the other user's is inside of the server too.
            both = await asyncio.gather(*(app.ask(f"{ROUNDS} 2", user=user, agent="asker") for user in PEOPLE))
            for user, outcome in zip(PEOPLE, both, strict=True):
                assert outcome.output == [digest(token(user))] * ROUNDS

    run(main())


def test_calls_that_are_given_up_at_random_leave_no_answer_for_somebody_else(echo: Echo) -> None:
    server = over_http(echo)

    async def main() -> None:
        async with harness(registry(server)) as app:
            await connect(app, server)
            asked = [app.ask(f"{user} {number}", user=user, agent="shaken") for user in PEOPLE for number in range(3)]
            for user, outcome in zip(
                [user for user in PEOPLE for _ in range(3)], await asyncio.gather(*asked), strict=True
            ):
                assert outcome.ok
                assert set(outcome.output) <= {None, digest(token(user))}

    run(main(), limit=60)


def test_users_of_a_command_have_processes_of_their_own_also_where_it_takes_no_credential() -> None:
    server = MCPServer("echo", command=command())

    async def main() -> None:
        async with harness(registry_of_counts(server)) as app:
            both = await asyncio.gather(*(app.ask("go", user=user, agent="counter") for user in PEOPLE))
            assert [outcome.output["counts"] for outcome in both] == [[1, 2], [1, 2]]
            assert len({outcome.output["pid"] for outcome in both}) == 2

    run(main())


def registry_of_counts(server: MCPServer) -> AgentRegistry:
    class Counter(BaseAgent):
        """Counts in the server's process."""

        name = "counter"
        mcp_servers = (server,)

        async def run(self, task: str, scope: RunScope) -> Any:
            counts = [(await scope.tools.call(server.tool("count")))["result"] for _ in range(2)]
            return {"counts": counts, "pid": (await scope.tools.call(server.tool("whoami")))["pid"]}

    return AgentRegistry([Counter])


def test_a_commands_credential_is_in_its_own_users_process() -> None:
    server = MCPServer("echo", command=command(), credential="user", credential_name="ECHO_TOKEN")

    async def main() -> None:
        async with harness(registry(server)) as app:
            await connect(app, server)
            both = await asyncio.gather(*(app.ask("3 1", user=user, agent="asker") for user in PEOPLE))
            for user, outcome in zip(PEOPLE, both, strict=True):
                assert outcome.output == [digest(token(user))] * 3

    run(main())


def test_a_credential_that_the_server_tells_back_is_told_to_nobody(echo: Echo) -> None:
    server = over_http(echo)

    async def main() -> None:
        async with harness(registry(server)) as app:
            await connect(app, server)
            outcome = await app.ask("go", user="ada", agent="blurter")
            assert outcome.output[0]["result"] == "it is [redacted], indeed"
            assert "for [redacted]" in outcome.output[1]
            assert token("ada") not in repr(outcome.events)

    run(main())


def test_somebody_without_a_credential_has_nobody_elses(echo: Echo) -> None:
    server = over_http(echo)

    async def main() -> None:
        async with harness(registry(server)) as app:
            await connect(app, server, ("ada",))
            assert (await app.ask("1 1", user="ada", agent="asker")).ok
            outcome = await app.ask("1 1", user="bob", agent="asker")
            (error,) = outcome.errors()
            assert (
                error.message
                == "connect echo first: PUT /api/mcp/servers/echo/credential, or POST /api/mcp/servers/echo/authorize"
            )

    run(main())


def test_another_credential_of_a_user_is_another_session(echo: Echo) -> None:
    server = over_http(echo)

    async def main() -> None:
        async with harness(registry(server)) as app:
            await connect(app, server)
            assert (await app.ask("1 1", agent="asker")).output == [digest(token("ada"))]
            await app.runtime.servers.connect("ada", server, "another-credential")
            assert (await app.ask("1 1", agent="asker")).output == [digest("another-credential")]

    run(main())


def test_a_credential_at_rest_is_read_only_with_the_secret_by_its_user_for_its_server(tmp_path: Path) -> None:
    server = MCPServer("echo", url="https://example.org/mcp", credential="user")

    async def main() -> None:
        settings = Settings(home=tmp_path)
        async with open_stores(settings, secret=SECRET) as stores:
            await stores.credentials.put("ada", "echo", server.place, token("ada"))
            assert await stores.credentials.get("ada", "echo", server.place) == token("ada")
            assert await stores.credentials.get("bob", "echo", server.place) is None
            # One that was kept for another address is not sent to this one.
            assert await stores.credentials.get("ada", "echo", "elsewhere") is None
        async with open_stores(settings, secret=SECRET[::-1]) as stores:
            assert await stores.credentials.get("ada", "echo", server.place) is None

    run(main())
    with sqlite3.connect(tmp_path / "netra.db") as database:
        ((content,),) = database.execute("select content from credentials").fetchall()
        assert token("ada").encode() not in content
        database.execute("insert into credentials select 'bob', server, content, updated_at from credentials")
    assert all(token("ada").encode() not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())

    async def stolen() -> None:
        async with open_stores(Settings(home=tmp_path), secret=SECRET) as stores:
            assert await stores.credentials.get("bob", "echo", server.place) is None

    run(stolen())
