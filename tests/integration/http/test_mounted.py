import asyncio

from starlette.applications import Starlette
from starlette.routing import Mount
from tests.integration.http.serving import PASSWORD, Echo, SilentModel, add_users, serving, talk

from netra_apex import AgentRegistry, Settings
from netra_apex.errors import HomeInUse
from netra_apex.server.app import create_app
from netra_apex.server.lifecycle import Lifecycle

REGISTRY = AgentRegistry([Echo])


def test_a_mounted_application_starts_with_its_first_requests_and_only_once(tmp_path):
    async def scenario(client):
        answers = await asyncio.gather(*(client.get("/netra/readyz") for _ in range(10)))
        assert {answer.status for answer in answers} == {200}
        assert (await client.get("/netra/api/nothing")).json["code"] == "not_found"
        answer = await client.post("/netra/api/auth/login", {"username": "ada", "password": PASSWORD})
        client.token = answer.json["access_token"]
        cookies = answer.headers.getall("Set-Cookie")
        assert any("Path=/netra/api/auth" in cookie for cookie in cookies)
        thread_id = (await client.post("/netra/api/threads", {})).json["thread_id"]
        accepted = await client.post(f"/netra/api/threads/{thread_id}/runs", {"content": "hi"})
        assert accepted.status == 202
        bearer = {"Authorization": f"Bearer {client.token}"}
        async with client.http.ws_connect(client.url + "/netra/ws", headers=bearer) as ws:
            assert (await ws.receive_json())["type"] == "connection_established"

    with serving(tmp_path / "unused", wrap=lambda _: outer(tmp_path)) as served:
        talk(served, scenario)


def outer(home):
    """Somebody else's application, whose lifespan does not reach ours."""
    add_users(home, ada=())
    return Starlette(routes=[Mount("/netra", create_app(REGISTRY, Settings(home=home), model=SilentModel()))])


def test_a_runtime_that_cannot_start_is_told_and_tried_again(tmp_path):
    async def main():
        async with asyncio.timeout(20):
            first = Lifecycle(REGISTRY, Settings(home=tmp_path), SilentModel())
            second = Lifecycle(REGISTRY, Settings(home=tmp_path), SilentModel())
            await first.services()
            outcomes = await asyncio.gather(*(second.services() for _ in range(3)), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [HomeInUse] * 3
            await first.stop()
            assert (await second.services()).runtime is not None
            await second.stop()
            await second.stop()

    asyncio.run(main())


def test_a_lifecycle_that_nobody_stops_ends_in_order_with_its_loop(tmp_path):
    lifecycle = Lifecycle(REGISTRY, Settings(home=tmp_path), SilentModel())

    async def main():
        async with asyncio.timeout(20):
            return (await lifecycle.services()).runtime

    first, second = asyncio.run(main()), asyncio.run(main())
    assert first is not second


def test_an_application_whose_home_is_taken_says_that_it_is_not_ready(tmp_path):
    with serving(tmp_path / "unused", wrap=lambda _: outer(tmp_path)) as served:

        async def scenario(client):
            holder = Lifecycle(REGISTRY, Settings(home=tmp_path), SilentModel())
            await holder.services()
            ready = await client.get("/netra/readyz")
            assert ready.status == 503
            assert ready.json["reasons"][0].startswith("start: another netra process")
            refused = await client.get("/netra/api/threads")
            assert (refused.status, refused.json["code"]) == (503, "unavailable")
            await holder.stop()
            assert (await client.get("/netra/readyz")).status == 200

        talk(served, scenario)
