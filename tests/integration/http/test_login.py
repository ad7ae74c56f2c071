import asyncio
import itertools

import aiohttp
from tests.integration.http.serving import PASSWORD, Client, serving, talk


def set_cookies(answer):
    return {line.split("=", 1)[0]: line for line in answer.headers.getall("Set-Cookie", [])}


def test_a_login_answers_with_a_token_and_two_cookies(tmp_path):
    async def scenario(client):
        answer = await client.post("/api/auth/login", {"username": "Ada", "password": PASSWORD})
        assert answer.status == 200
        assert answer.json["token_type"] == "bearer"
        assert 890 <= answer.json["expires_in"] <= 900
        user = answer.json["user"]
        assert (user["user_id"], user["username"], user["permissions"]) == ("ada", "ada", ["orders:read"])
        cookies = set_cookies(answer)
        session, refresh = cookies["netra_session"], cookies["netra_refresh"]
        assert "HttpOnly" in session
        assert "SameSite=lax" in session
        assert "Path=/;" in session + ";"
        assert "Secure" not in session
        assert "HttpOnly" in refresh
        assert "SameSite=strict" in refresh
        assert "Path=/api/auth" in refresh
        assert answer.headers["Cache-Control"] == "no-store"
        client.token = answer.json["access_token"]
        assert (await client.get("/api/auth/me")).json == user
        assert (await client.get("/api/auth/me", bearer=False, cookies=["netra_session"])).json == user

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_behind_a_trusted_proxy_cookies_are_secure_and_bound_to_its_path(tmp_path):
    async def scenario(client):
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        answer = await client.post("/api/auth/login", {"username": "ada", "password": PASSWORD}, headers=headers)
        cookies = set_cookies(answer)
        assert "Secure" in cookies["netra_session"]
        assert "Path=/netra;" in cookies["netra_session"] + ";"
        assert "Path=/netra/api/auth" in cookies["netra_refresh"]
        answer = await client.get("/netra/api/auth/me", bearer=False, cookies=["netra_session"])
        assert answer.status == 200

    with serving(tmp_path, trusted_proxies=("127.0.0.1",), root_path="/netra") as served:
        talk(served, scenario)


def test_nobody_is_believed_about_the_scheme_who_is_no_trusted_proxy(tmp_path):
    async def scenario(client):
        answer = await client.post(
            "/api/auth/login",
            {"username": "ada", "password": PASSWORD},
            headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"},
        )
        assert "Secure" not in set_cookies(answer)["netra_session"]

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(tmp_path):
    async def scenario(client):
        wrong = await client.post("/api/auth/login", {"username": "ada", "password": "not this one"})
        unknown = await client.post("/api/auth/login", {"username": "nemo", "password": "not this one"})
        impossible = await client.post("/api/auth/login", {"username": "no such name!", "password": "not this one"})
        assert wrong.status == unknown.status == impossible.status == 401
        assert wrong.text == unknown.text == impossible.text
        assert wrong.json["code"] == "unauthenticated"
        assert wrong.headers["Content-Type"] == "application/problem+json"
        assert wrong.headers["WWW-Authenticate"] == "Bearer"

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_failures_over_the_limit_are_told_when_to_come_back(tmp_path):
    async def scenario(client):
        for _ in range(10):
            assert (await client.post("/api/auth/login", {"username": "ada", "password": "wrong"})).status == 401
        answer = await client.post("/api/auth/login", {"username": "ada", "password": PASSWORD})
        assert (answer.status, answer.json["code"]) == (429, "flood")
        assert 1 <= int(answer.headers["Retry-After"]) <= 6
        await client.login("bob")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_refresh_rotates_and_the_old_token_is_good_for_a_moment_only_for_an_access_token(tmp_path):
    async def scenario(client):
        await client.login()
        before = dict(client.cookies)
        first = await client.post("/api/auth/refresh", bearer=False, cookies=["netra_refresh"])
        assert first.status == 200
        assert client.cookies["netra_refresh"] != before["netra_refresh"]
        assert client.cookies["netra_session"] == before["netra_session"]
        tab = Client(client.http, client.url, cookies=before)
        second = await tab.post("/api/auth/refresh", cookies=["netra_refresh"])
        assert second.status == 200
        assert "Set-Cookie" not in second.headers
        for answer in (first, second):
            client.token = answer.json["access_token"]
            assert (await client.get("/api/auth/me")).status == 200

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_refresh_token_goes_only_where_it_is_used(tmp_path):
    async def scenario(client):
        await client.login()
        client.token = None
        answer = await client.get("/api/auth/me", cookies=["netra_refresh"])
        assert answer.status == 401
        assert (await client.post("/api/auth/refresh", cookies=["netra_session"])).status == 401
        assert (await client.post("/api/auth/refresh")).status == 401

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_logout_voids_tokens_and_cookies_and_closes_the_logins_sockets(tmp_path):
    async def scenario(client):
        await client.login()
        other = await Client(client.http, client.url).login()
        bearer = {"Authorization": f"Bearer {client.token}"}
        async with (
            client.http.ws_connect(client.url + "/ws", headers=bearer, protocols=["netra.v1"]) as mine,
            client.http.ws_connect(
                client.url + "/ws", headers={"Authorization": f"Bearer {other.token}"}, protocols=["netra.v1"]
            ) as others,
        ):
            assert (await mine.receive_json())["type"] == "connection_established"
            assert (await others.receive_json())["type"] == "connection_established"
            old = dict(client.cookies)
            answer = await client.post("/api/auth/logout")
            assert answer.status == 204
            assert all("Max-Age=0" in line for line in set_cookies(answer).values())
            assert len(set_cookies(answer)) == 2
            message = await mine.receive(timeout=5)
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            assert mine.close_code == 4401
            client.cookies = old
            assert (await client.get("/api/auth/me")).status == 401
            assert (await client.get("/api/auth/me", bearer=False, cookies=["netra_session"])).status == 401
            assert (await client.post("/api/auth/refresh", bearer=False, cookies=["netra_refresh"])).status == 401
            assert (await other.get("/api/auth/me")).status == 200
            await others.send_json({"type": "ping"})
            assert (await others.receive_json())["type"] == "pong"

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_bad_bearer_token_never_falls_back_to_the_cookie(tmp_path):
    async def scenario(client):
        await client.login()
        client.token = "bad"
        assert (await client.get("/api/auth/me", cookies=["netra_session"])).status == 401
        basic = {"Authorization": "Basic cHJveHk6cHJveHk="}
        answer = await client.get("/api/auth/me", bearer=False, headers=basic, cookies=["netra_session"])
        assert answer.status == 200

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_user_who_is_disabled_is_out_at_once(tmp_path):
    with serving(tmp_path) as served:
        accounts = served.services().runtime.stores.accounts

        async def scenario(client):
            await client.login()
            future = asyncio.run_coroutine_threadsafe(accounts.set_disabled("ada", disabled=True), served.loop)
            await asyncio.wrap_future(future)
            assert (await client.get("/api/auth/me")).status == 401
            assert (await client.get("/api/threads", bearer=False, cookies=["netra_session"])).status == 401
            assert (await client.post("/api/auth/refresh", bearer=False, cookies=["netra_refresh"])).status == 401

        talk(served, scenario)


ORIGINS = [
    # (origin, allowed) as seen by a server on http://127.0.0.1:PORT with https://app.example.org set
    ("https://app.example.org", True),
    ("{url}", True),
    ("https://evil.example.org", False),
    ("http://127.0.0.1:1", False),
    ("null", False),
]


def test_an_origin_that_is_there_must_be_allowed_to_change_anything(tmp_path):
    async def scenario(client):
        await client.login()
        credentials = ({"bearer": True}, {"bearer": False, "cookies": ["netra_session"]})
        for (origin, allowed), credential in itertools.product(ORIGINS, credentials):
            headers = {"Origin": origin.format(url=client.url)}
            answer = await client.post("/api/threads", {}, headers=headers, **credential)
            assert answer.status == (201 if allowed else 403), (origin, credential)
            assert allowed or answer.json["code"] == "forbidden"
            assert (await client.get("/api/threads", headers=headers, **credential)).status == 200
            body = {"username": "ada", "password": PASSWORD}
            login = await client.post("/api/auth/login", body, headers=headers, bearer=False)
            assert login.status == (200 if allowed else 403), origin

    with serving(tmp_path, allowed_origins=("https://app.example.org",)) as served:
        talk(served, scenario)


def test_a_cookie_without_origin_is_good_unless_the_browser_says_that_another_site_asks(tmp_path):
    async def scenario(client):
        await client.login()
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 201), ("none", 201)):
            headers = {"Sec-Fetch-Site": site}
            answer = await client.post("/api/threads", {}, headers=headers, bearer=False, cookies=["netra_session"])
            assert answer.status == status, site
        assert (await client.post("/api/threads", {}, bearer=False, cookies=["netra_session"])).status == 201
        assert (await client.post("/api/threads", {}, headers={"Sec-Fetch-Site": "cross-site"})).status == 201

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_set_origin_may_read_answers_and_another_may_not(tmp_path):
    async def scenario(client):
        await client.login()
        origin = "https://app.example.org"
        answer = await client.get("/api/threads", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        answer = await client.get("/api/threads", headers={"Origin": "https://evil.example.org"})
        assert "Access-Control-Allow-Origin" not in answer.headers
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        answer = await client.call("OPTIONS", "/api/threads", headers={"Origin": origin, **asks})
        assert answer.status == 200
        answer = await client.call("OPTIONS", "/api/threads", headers={"Origin": "https://evil.example.org", **asks})
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
        assert "Access-Control-Allow-Origin" not in answer.headers
        refused = await client.get("/api/threads/none", headers={"Origin": origin})
        assert refused.headers["Access-Control-Allow-Origin"] == origin

    with serving(tmp_path, allowed_origins=("https://app.example.org",)) as served:
        talk(served, scenario)
