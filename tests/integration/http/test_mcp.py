"""The routes of MCP servers: a user brings a token, or authorises; nobody is told it, and nobody else has it."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from tests.integration.http.serving import client_of as client
from tests.integration.http.serving import serving
from tests.support.bounded import passed, run
from tests.support.mcp_server import Echo

from netra_apex import BaseAgent, MCPServer

COOKIES = ("netra_session",)


def agents(*servers):
    class Asker(BaseAgent):
        """Asks the first server who it is asked by."""

        name = "asker"
        mcp_servers = servers

        async def run(self, task, scope):
            told = [await scope.tools.call(servers[0].tool(name)) for name in task.split()]
            return [each.get("bearer", each.get("result")) for each in told]

    return (Asker,)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server behind OAuth, and an application that uses it."""
    folder = tmp_path_factory.mktemp("mcp")
    with Echo.over_http(folder, kind="oauth") as echo:
        servers = (
            MCPServer("echo", url=echo.url, credential="user"),
            MCPServer("open", url="http://127.0.0.1:9/mcp"),
            MCPServer("guarded", url="http://127.0.0.1:9/mcp", credential="user", requires="mcp:use"),
            MCPServer("local", command=("cat",), credential="user", credential_name="TOKEN"),
        )
        with serving(folder / "home", agents=agents(*servers)) as served:
            yield served


async def ask(served, who, task):
    """What an agent of this user is answered, or the error of its run."""
    post = {"content": task, "agent": "asker"}
    thread = (await who.post("/api/threads", {})).json["thread_id"]
    run_id = (await who.post(f"/api/threads/{thread}/runs", post)).json["run_id"]
    while True:
        events = (await who.get(f"/api/runs/{run_id}/events")).json["events"]
        if events and events[-1]["type"] in ("agent_completed", "agent_failed"):
            return events[-1].get("output") or events[-1]["message"]
        await passed(0.02)


async def sent_away(who):
    """The way back that the authorisation server gives this user's browser."""
    answer = await who.post("/api/mcp/servers/echo/authorize")
    assert answer.status == 200, answer.text
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(answer.json["authorization_url"], allow_redirects=False) as there,
    ):
        assert there.status == 302
        back = urlsplit(there.headers["location"])
    return f"{back.path}?{back.query}"


def test_a_user_sees_the_servers_that_he_may_use_and_which_want_something(place):
    async def main():
        async with client(place) as ada:
            await ada.login("ada")
            assert (await ada.get("/api/mcp/servers")).json == {
                "items": [
                    {"name": "echo", "credential": "user", "connected": False},
                    {"name": "open", "credential": "none", "connected": True},
                    {"name": "local", "credential": "user", "connected": False},
                ]
            }

    run(main())


def test_a_token_is_kept_for_its_user_and_told_to_nobody(place):
    async def main():
        async with client(place) as ada, client(place) as bob:
            await ada.login("ada")
            await bob.login("bob")
            put = await ada.call("PUT", "/api/mcp/servers/local/credential", {"token": "a-token-of-ada"})
            assert (put.status, put.text) == (204, "")
            told = await ada.get("/api/mcp/servers")
            assert "a-token-of-ada" not in told.text
            assert [each["connected"] for each in told.json["items"]] == [False, True, True]
            others = (await bob.get("/api/mcp/servers")).json["items"]
            assert [each["connected"] for each in others] == [False, True, False]
            assert (await bob.call("DELETE", "/api/mcp/servers/local/credential")).status == 404
            assert (await ada.call("DELETE", "/api/mcp/servers/local/credential")).status == 204
            assert (await ada.call("DELETE", "/api/mcp/servers/local/credential")).status == 404

    run(main())


@pytest.mark.parametrize(
    ("name", "token", "status"),
    [
        ("local", "short", 422),
        ("local", "two words of it", 422),
        ("local", "line\nX-Injected: yes", 422),
        ("local", "x" * 8193, 422),
        ("open", "a-token-of-ada", 422),
        ("guarded", "a-token-of-ada", 404),
        ("nothing", "a-token-of-ada", 404),
    ],
)
def test_what_is_no_token_or_has_no_place_is_refused(place, name, token, status):
    async def main():
        async with client(place) as ada:
            await ada.login("ada")
            answer = await ada.call("PUT", f"/api/mcp/servers/{name}/credential", {"token": token})
            assert answer.status == status
            assert token not in answer.text

    run(main())


def test_users_authorise_and_each_is_asked_for_by_his_own_grant_which_renews_itself(place):
    async def main():
        async with client(place) as ada, client(place) as bob:
            found = {}
            for name, who in (("ada", ada), ("bob", bob)):
                await who.login(name)
                assert "connect echo first" in await ask(place, who, "whoami")
                back = await sent_away(who)
                answer = await who.get(back, bearer=False, cookies=COOKIES)
                assert (answer.status, answer.text) == (200, "echo is connected. You may close this page.")
                assert (await who.get(back, bearer=False, cookies=COOKIES)).status == 404
                found[name] = (await ask(place, who, "whoami blurt"))[0]
            assert found["ada"] != found["bob"]
            await passed(2.2)  # what was granted has expired by then
            both = await asyncio.gather(ask(place, ada, "whoami"), ask(place, bob, "whoami"))
            renewed = {answer[0] for answer in both}
            assert len(renewed) == 2
            assert not renewed & set(found.values())
            assert (await ask(place, ada, "blurt")) == ["it is [redacted], indeed"]

    run(main(), limit=60)


def test_only_who_was_sent_away_may_come_back(place):
    async def main():
        async with client(place) as ada, client(place) as bob:
            await ada.login("ada")
            await bob.login("bob")
            await ada.call("DELETE", "/api/mcp/servers/echo/credential")
            await bob.call("DELETE", "/api/mcp/servers/echo/credential")
            back = await sent_away(ada)
            assert (await bob.get(back, bearer=False, cookies=COOKIES)).status == 404
            assert (await bob.get(back, bearer=False)).status == 401
            state = parse_qs(urlsplit(back).query)["state"][0]
            unknown = await ada.get(f"/api/mcp/callback?state={state}x&code=y")
            assert unknown.status == 404
            assert unknown.json["detail"] == "there is no authorisation under way with this state"
            refused = await ada.get(f"/api/mcp/callback?state={state}&error=access_denied")
            assert refused.status == 422
            assert (await ada.get(back)).status == 404
            for who in (ada, bob):
                assert (await who.get("/api/mcp/servers")).json["items"][0]["connected"] is False

    run(main())


def test_a_server_that_cannot_be_authorised_says_so(place):
    async def main():
        async with client(place) as ada:
            await ada.login("ada")
            assert (await ada.post("/api/mcp/servers/local/authorize")).status == 422
            assert (await ada.post("/api/mcp/servers/nothing/authorize")).status == 404
            assert (await ada.post("/api/mcp/servers/open/authorize")).status == 422

    run(main())
