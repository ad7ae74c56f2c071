import asyncio
import io
import json

import aiohttp
import pytest
from structlog.testing import capture_logs
from tests.integration.http.serving import PASSWORD, serving, talk

JSON = {"Content-Type": "application/json"}


def is_problem(answer, status, code):
    assert (answer.status, answer.json and answer.json["code"]) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json.keys() >= {"type", "title", "status", "detail", "code"}
    assert answer.json["status"] == status
    return answer.json


def test_addresses_and_methods_that_there_are_not_are_problems(tmp_path):
    async def scenario(client):
        for path in (
            "/nothing",
            "/api/nothing",
            "/api/threads/",
            "/api/admin/nothing",
            "/v2/models",
            "/api/approvals/",
        ):
            is_problem(await client.get(path), 404, "not_found")
        answer = await client.call("PUT", "/api/threads")
        is_problem(answer, 405, "invalid")
        assert answer.headers["Allow"] == "GET, POST"
        answer = await client.call("PUT", "/api/threads/thr_1")
        assert answer.headers["Allow"] == "DELETE, GET, PATCH"
        is_problem(await client.get("/api/threads"), 401, "unauthenticated")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_wrong_field_is_named_and_its_value_is_not_repeated(tmp_path):
    async def scenario(client):
        secret = "hunter2-" * 200
        for body, field in [
            ({"username": "ada"}, "password"),
            ({"username": "ada", "password": secret}, "password"),
            ({"username": ["ada"], "password": "x"}, "username"),
            ({"username": "a\x00da", "password": "hunter2-"}, "username"),
            ({"username": "ada", "password": "hunter2-", "otp": "hunter2-"}, "otp"),
        ]:
            answer = await client.post("/api/auth/login", body)
            problem = is_problem(answer, 422, "invalid")
            assert [error["field"] for error in problem["errors"]] == [field]
            assert field in problem["detail"]
            assert "hunter2" not in answer.text
        await client.login()
        thread_id = await client.thread()
        for body, field in [
            ({}, "content"),
            ({"content": ""}, "content"),
            ({"content": " \n "}, "content"),
            ({"content": "a\x00b"}, "content"),
            ({"content": "x" * 100_001}, "content"),
            ({"content": "x", "files": "fil_1"}, "files"),
            ({"content": "x", "files": [7]}, "files"),
            ({"content": "x", "files": [f"fil_{number}" for number in range(21)]}, "files"),
            ({"content": "x", "if_busy": "wait"}, "if_busy"),
            ({"content": "x", "idempotency_key": "k" * 201}, "idempotency_key"),
        ]:
            problem = is_problem(await client.post(f"/api/threads/{thread_id}/runs", body), 422, "invalid")
            assert field in problem["detail"]
        for query in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor=" + "x" * 300, "q=" + "x" * 201):
            problem = is_problem(await client.get(f"/api/threads?{query}"), 422, "invalid")
            assert query.split("=")[0] in problem["detail"]

    with serving(tmp_path) as served:
        talk(served, scenario)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"username": "\xff", "password": "x"}',
        b'{"username": "\\ud800", "password": "x"}',
        b'{"username": "ada", "password": "\\udfff"}',
        b'{"\\ud800": 1}',
        b"[" * 100_000,
        b'{"username":' * 50_000,
        b'{"username": ' + b"9" * 10_000 + b"}",
        b'{"username": NaN, "password": Infinity}',
    ],
    ids=range(14),
)
def test_a_body_that_is_no_json_of_the_contract_is_the_clients_fault(shared, body):
    async def scenario(client):
        is_problem(await client.post("/api/auth/login", data=body, headers=JSON), 422, "invalid")

    talk(shared, scenario)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
def test_a_body_of_another_content_type_is_refused(shared, kind):
    async def scenario(client):
        body = json.dumps({"username": "ada", "password": PASSWORD}).encode()
        answer = await client.post("/api/auth/login", data=body, headers={"Content-Type": kind})
        is_problem(answer, 422, "invalid")

    talk(shared, scenario)


def test_strange_ids_in_an_address_are_ids_that_do_not_exist(shared):
    async def scenario(client):
        await client.login()
        for ident in (
            "%00",
            "%FF%FE",
            "%ED%A0%80",
            "..",
            "%2E%2E",
            "x" * 5000,
            "'; drop table threads; --",
            "%F0%9F%92%A9",
        ):
            for path in (f"/api/threads/{ident}", f"/api/runs/{ident}", f"/api/runs/{ident}/events"):
                answer = await client.get(path)
                is_problem(answer, 404, "not_found")
                assert len(answer.json["detail"]) <= 500

    talk(shared, scenario)


def test_a_body_over_the_limit_is_refused_by_what_it_announces_and_by_what_arrives(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        path = f"/api/threads/{thread_id}/runs"
        for size, status in ((500, 202), (2000, 413), (3_000_000, 413)):
            body = json.dumps({"content": "x" * size}).encode()
            announced = await client.post(path, data=io.BytesIO(body), headers=JSON)
            assert announced.status == status

            async def chunks(body=body):
                for start in range(0, len(body), 65536):
                    yield body[start : start + 65536]

            arrived = await client.post(path, data=chunks(), headers=JSON)
            assert arrived.status == status
            if status == 413:
                is_problem(announced, 413, "too_large")
                is_problem(arrived, 413, "too_large")
        assert (await client.get("/api/threads")).status == 200

    with serving(tmp_path, body_bytes=1024) as served:
        talk(served, scenario)


def test_a_body_that_announces_more_than_anybody_reads_is_cut_off(tmp_path):
    with serving(tmp_path, body_bytes=1024) as served:

        async def main():
            host, port = served.url.removeprefix("http://").split(":")
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 413")
                writer.close()

        asyncio.run(main())


def test_every_answer_tells_browsers_to_be_careful(shared):
    async def scenario(client):
        await client.login()
        paths = ("/", "/setup", "/api/threads", "/api/nothing", "/healthz", "/api/openapi.json", "/metrics")
        for path in paths:
            headers = (await client.get(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert headers["Cache-Control"] == "no-store"
            assert "Server" not in headers

    talk(shared, scenario)


def test_an_error_that_nobody_foresaw_is_told_by_an_id_that_the_log_has_and_by_nothing_else(tmp_path):
    async def scenario(client):
        await client.login()
        with capture_logs() as logs:
            answer = await client.get("/api/threads")
        problem = is_problem(answer, 500, "internal")
        assert "canary" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        (entry,) = [log for log in logs if log["event"] == "internal error"]
        assert entry["id"] == problem["id"]
        assert entry["id"] in problem["detail"]
        assert entry["path"] == "/api/threads"

    with serving(tmp_path) as served:

        async def broken(*_, **__):
            raise ZeroDivisionError("canary")

        served.services().runtime.stores.conversations.threads = broken
        talk(served, scenario)


def test_a_database_that_does_not_answer_is_no_internal_error(tmp_path):
    async def scenario(client):
        await client.login()
        answer = await client.get("/api/threads")
        is_problem(answer, 503, "unavailable")
        assert "canary" not in answer.text

    with serving(tmp_path) as served:
        from netra_apex.errors import StoreError

        async def broken(*_, **__):
            raise StoreError("canary")

        served.services().runtime.stores.conversations.threads = broken
        talk(served, scenario)


def test_a_draining_server_refuses_messages_and_says_so(tmp_path):
    with serving(tmp_path) as served:
        services = served.services()

        async def scenario(client):
            await client.login()
            thread_id = await client.thread()
            assert (await client.get("/readyz")).status == 200
            served.loop.call_soon_threadsafe(services.start_draining)
            while (answer := await client.get("/readyz")).status == 200:  # noqa: ASYNC110 - a probe asks again
                await asyncio.sleep(0.01)
            assert answer.json == {"status": "not_ready", "reasons": ["draining: the server is about to stop"]}
            refused = await client.post(f"/api/threads/{thread_id}/runs", {"content": "x"})
            is_problem(refused, 503, "draining")
            assert int(refused.headers["Retry-After"]) >= 1
            assert (await client.get("/healthz")).json == {"status": "ok"}

        talk(served, scenario)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for tests that change nothing for one another."""
    with serving(tmp_path_factory.mktemp("home")) as served:
        yield served


def test_a_slow_or_half_sent_request_harms_nobody(shared):
    async def scenario(client):
        host, port = shared.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b'POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"user')
        await writer.drain()
        writer.transport.abort()
        assert (await client.get("/healthz")).status == 200

    talk(shared, scenario)


def test_no_credential_is_taken_from_the_address(shared):
    async def scenario(client):
        await client.login()
        token, client.token = client.token, None
        for name in ("token", "access_token", "authorization"):
            is_problem(await client.get(f"/api/threads?{name}={token}"), 401, "unauthenticated")
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.http.ws_connect(client.url + f"/nothing?token={token}")

    talk(shared, scenario)


def test_a_body_without_its_content_type_is_told_what_is_missing(tmp_path):
    async def scenario(client):
        for headers, says in (({"Content-Type": "text/plain"}, "not text/plain"), ({}, "application/octet-stream")):
            body = b'{"username":"ada","password":"correct horse battery"}'
            answer = await client.call("POST", "/api/auth/login", data=body, headers=headers)
            assert (answer.status, answer.json["code"]) == (422, "invalid")
            assert "Content-Type must be application/json" in answer.json["detail"]
            assert says in answer.json["detail"]

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_number_of_an_event_without_end_is_refused_and_not_read(tmp_path):
    async def scenario(client):
        await client.login()
        run_id = await client.run(await client.thread())
        for ident in ("0" * 5000, "0" * 20 + "1" * 5000, "9" * 19 + "9"):
            headers = {"Accept": "text/event-stream", "Last-Event-ID": ident}
            answer = await client.get(f"/api/runs/{run_id}/events", headers=headers)
            assert (answer.status, answer.json["code"]) == (422, "invalid")

    with serving(tmp_path) as served:
        talk(served, scenario)
