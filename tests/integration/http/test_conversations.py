import asyncio
import json
import re

from tests.integration.http.serving import Chatty, Client, serving, talk

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_threads_are_made_listed_renamed_and_deleted(tmp_path):
    async def scenario(client):
        await client.login()
        made = await client.post("/api/threads", {"title": "First"})
        assert made.status == 201
        assert made.json.keys() >= {"thread_id", "title", "created_at", "updated_at"}
        assert INSTANT.fullmatch(made.json["created_at"])
        thread_id = made.json["thread_id"]
        assert (await client.post("/api/threads")).json["title"] == ""
        assert (await client.post("/api/threads", {"title": None})).status == 201
        listed = (await client.get("/api/threads")).json
        assert (len(listed["items"]), listed["next_cursor"]) == (3, None)
        renamed = await client.call("PATCH", f"/api/threads/{thread_id}", {"title": "Other words"})
        assert renamed.json["title"] == "Other words"
        found = (await client.get("/api/threads?q=words")).json["items"]
        assert [thread["thread_id"] for thread in found] == [thread_id]
        answer = await client.call("DELETE", f"/api/threads/{thread_id}")
        assert (answer.status, answer.text) == (204, "")
        assert (await client.get(f"/api/threads/{thread_id}")).status == 404
        assert (await client.call("DELETE", f"/api/threads/{thread_id}")).status == 404

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_pages_follow_one_another_without_gap_or_double(tmp_path):
    async def scenario(client):
        await client.login()
        made = [await client.thread(f"Thread {number}") for number in range(7)]
        found, cursor = [], None
        while True:
            page = (await client.get("/api/threads?limit=3" + (f"&cursor={cursor}" if cursor else ""))).json
            found += [thread["thread_id"] for thread in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert sorted(found) == sorted(made)
        assert len(found) == len(made)

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_message_is_answered_in_a_run_whose_messages_and_events_can_be_read(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        answer = await client.post(f"/api/threads/{thread_id}/runs", {"content": "hello"})
        assert answer.status == 202
        assert answer.json.keys() == {"run_id", "thread_id", "message_id", "status"}
        run_id = answer.json["run_id"]
        run = await client.ended(run_id)
        assert run["status"] == "completed"
        assert run.keys() >= {"run_id", "thread_id", "agent", "status", "last_seq"}
        messages = (await client.get(f"/api/threads/{thread_id}/messages")).json["items"]
        assert messages[0].keys() == {"message_id", "run_id", "role", "content", "created_at", "files"}
        assert (messages[0]["role"], messages[0]["content"]) == ("user", "hello")
        assert messages[0]["message_id"] == answer.json["message_id"]
        newest_first = (await client.get(f"/api/threads/{thread_id}/messages?order=desc")).json["items"]
        assert newest_first == messages[::-1]
        assert (await client.get(f"/api/threads/{thread_id}/messages?order=sideways")).status == 422
        events = (await client.get(f"/api/runs/{run_id}/events")).json
        assert events["last_seq"] == run["last_seq"] == len(events["events"])
        assert [event["seq"] for event in events["events"]] == list(range(1, run["last_seq"] + 1))
        rest = (await client.get(f"/api/runs/{run_id}/events?after=2")).json
        assert rest == {"events": events["events"][2:], "last_seq": events["last_seq"]}

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_thread_tells_its_unfinished_runs_and_cancelling_ends_them(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        run_id = await client.run(thread_id, agent="patient")
        thread = (await client.get(f"/api/threads/{thread_id}")).json
        assert [run["run_id"] for run in thread["runs"]] == [run_id]
        assert thread["runs"][0]["last_seq"] >= 0
        busy = await client.post(f"/api/threads/{thread_id}/runs", {"content": "again", "if_busy": "reject"})
        assert (busy.status, busy.json["code"]) == (409, "busy")
        cancelled = await client.post(f"/api/runs/{run_id}/cancel")
        assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
        again = await client.post(f"/api/runs/{run_id}/cancel")
        assert again.json == cancelled.json
        assert (await client.get(f"/api/threads/{thread_id}")).json["runs"] == []

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_message_that_interrupts_ends_what_its_thread_was_doing_and_then_runs(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        other = await client.run(await client.thread(), agent="patient")
        before = [await client.run(thread_id, agent="patient") for _ in range(2)]
        answer = await client.post(f"/api/threads/{thread_id}/runs", {"content": "stop that", "if_busy": "interrupt"})
        assert (answer.status, answer.json["status"]) == (202, "queued")
        for run_id in before:
            assert (await client.ended(run_id))["status"] == "cancelled"
            events = (await client.get(f"/api/runs/{run_id}/events")).json["events"]
            assert (events[-1]["type"], events[-1]["by"]) == ("agent_cancelled", "ada")
        assert (await client.ended(answer.json["run_id"]))["status"] == "completed"
        # Where nothing is under way there is nothing to interrupt, and another thread is another matter.
        body = {"content": "and now", "if_busy": "interrupt"}
        again = await client.post(f"/api/threads/{thread_id}/runs", body)
        assert (await client.ended(again.json["run_id"]))["status"] == "completed"
        assert (await client.get(f"/api/runs/{other}")).json["status"] == "running"

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_the_same_idempotency_key_gets_the_same_answer_and_other_content_a_conflict(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        path = f"/api/threads/{thread_id}/runs"
        first = await client.post(path, {"content": "hello", "idempotency_key": "k1"})
        second = await client.post(path, {"content": "hello", "idempotency_key": "k1"})
        assert first.json["run_id"] == second.json["run_id"]
        other = await client.post(path, {"content": "something else", "idempotency_key": "k1"})
        assert (other.status, other.json["code"]) == (409, "idempotency_conflict")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_agents_that_a_user_may_not_run_are_not_listed_and_refused(tmp_path):
    async def scenario(client):
        ada = await Client(client.http, client.url).login("ada")
        bob = await Client(client.http, client.url).login("bob")
        root = await Client(client.http, client.url).login("root")
        assert [agent["name"] for agent in (await ada.get("/api/agents")).json["items"]] == [
            "echo",
            "patient",
            "guarded",
        ]
        for user in (bob, root):
            listed = (await user.get("/api/agents")).json
            assert listed["items"][0] == {"name": "echo", "description": "Says it again."}
            assert [agent["name"] for agent in listed["items"]] == ["echo", "patient"]
            path = f"/api/threads/{await user.thread()}/runs"
            refused = await user.post(path, {"content": "hi", "agent": "guarded"})
            assert (refused.status, refused.json["code"]) == (403, "forbidden")
            missing = await user.post(path, {"content": "hi", "agent": "nobody"})
            assert (missing.status, missing.json["code"]) == (404, "not_found")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_another_users_ids_answer_exactly_like_ids_that_do_not_exist(tmp_path):
    async def scenario(client):
        ada = await Client(client.http, client.url).login("ada")
        bob = await Client(client.http, client.url).login("bob")
        root = await Client(client.http, client.url).login("root")
        thread_id = await ada.thread("private words")
        run_id = await ada.run(thread_id, agent="patient")
        doors = [
            ("GET", "/api/threads/{}", None),
            ("PATCH", "/api/threads/{}", {"title": "mine now"}),
            ("DELETE", "/api/threads/{}", None),
            ("GET", "/api/threads/{}/messages", None),
            ("POST", "/api/threads/{}/runs", {"content": "hi"}),
            ("GET", "/api/runs/{}", None),
            ("POST", "/api/runs/{}/cancel", None),
            ("GET", "/api/runs/{}/events", None),
            ("GET", "/api/runs/{}/events?after=99", None),
        ]
        for user in (bob, root):
            for method, path, body in doors:
                real = thread_id if "threads" in path else run_id
                made_up = real[:-6] + "000000"
                theirs = await user.call(method, path.format(real), body)
                nobodys = await user.call(method, path.format(made_up), body)
                assert theirs.status == nobodys.status == 404, path
                assert theirs.text.replace(real, "ID") == nobodys.text.replace(made_up, "ID")
                assert theirs.json["code"] == "not_found"
            stream = {"Accept": "text/event-stream"}
            assert (await user.get(f"/api/runs/{run_id}/events", headers=stream)).status == 404
            assert (await user.get("/api/threads?q=private")).json["items"] == []
        assert (await ada.get(f"/api/runs/{run_id}")).json["status"] == "running"
        assert (await ada.get(f"/api/threads/{thread_id}")).json["title"] == "private words"

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_an_id_that_cannot_be_one_is_answered_like_one_that_does_not_exist(tmp_path):
    async def scenario(client):
        await client.login()
        for thread_id in ("default", "placeholder_1", "%C2%99", "a%20b", "%F0%9F%98%80", "x" * 190):
            answer = await client.post(f"/api/threads/{thread_id}/runs", {"content": "hello"})
            assert (answer.status, answer.json["code"]) == (404, "not_found"), thread_id

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_stream_replays_and_goes_on_live_to_the_ending_with_the_same_bytes(tmp_path):
    async def scenario(client):
        await client.login()
        run_id = await client.run(await client.thread(), agent="patient")
        told, live = [], asyncio.Event()

        async def follow():
            async for ident, data in client.sse(run_id):
                told.append((ident, data))
                if json.loads(data)["type"] == "agent_thinking":
                    live.set()

        following = asyncio.create_task(follow())
        await live.wait()
        await client.post(f"/api/runs/{run_id}/cancel")
        await following
        assert [ident for ident, _ in told if ident is not None] == list(range(1, len(told) + 1))
        assert json.loads(told[-1][1])["type"] == "agent_cancelled"
        stored = (await client.get(f"/api/runs/{run_id}/events")).text
        for _, data in told:
            assert data in stored

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_stream_goes_on_after_the_last_event_that_the_client_had(tmp_path):
    async def scenario(client):
        await client.login()
        run_id = await client.run(await client.thread())
        last = (await client.ended(run_id))["last_seq"]

        async def ids(**more):
            return [ident async for ident, _ in client.sse(run_id, **more)]

        assert await ids() == list(range(1, last + 1))
        assert await ids(query="?after=2") == list(range(3, last + 1))
        assert await ids(headers={"Last-Event-ID": "1"}, query="?after=2") == list(range(2, last + 1))
        assert await ids(headers={"Last-Event-ID": str(last)}) == []
        for headers, query in [
            ({"Last-Event-ID": "x"}, ""),
            ({"Last-Event-ID": "-1"}, ""),
            ({"Last-Event-ID": "9" * 30}, ""),
            ({}, "?after=-1"),
            ({}, "?after=x"),
            ({}, "?after=" + "9" * 30),
        ]:
            answer = await client.get(
                f"/api/runs/{run_id}/events{query}", headers={"Accept": "text/event-stream", **headers}
            )
            assert (answer.status, answer.json["code"]) == (422, "invalid"), (headers, query)
        for headers, query in [({"Last-Event-ID": str(last + 1)}, ""), ({}, f"?after={last + 1}")]:
            answer = await client.get(
                f"/api/runs/{run_id}/events{query}", headers={"Accept": "text/event-stream", **headers}
            )
            assert (answer.status, answer.json["code"]) == (422, "after_out_of_range")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_silent_stream_says_that_it_is_still_there(tmp_path):
    async def scenario(client):
        await client.login()
        run_id = await client.run(await client.thread(), agent="patient")
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {client.token}"}
        async with client.http.get(f"{client.url}/api/runs/{run_id}/events", headers=headers) as response:
            comments = 0
            async for line in response.content:
                comments += line.startswith(b":")
                if comments == 4:
                    break

    with serving(tmp_path, heartbeat_seconds=0.05) as served:
        talk(served, scenario)


def test_a_stream_ends_soon_after_its_login_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("netra_apex.server.eventstream.CHECK_SECONDS", 0.05)

    async def scenario(client):
        await client.login()
        run_id = await client.run(await client.thread(), agent="patient")
        told = []
        async for _, data in client.sse(run_id):
            told.append(json.loads(data)["type"])
            if told[-1] == "agent_thinking":
                await client.post("/api/auth/logout")
        assert told[-1] == "agent_thinking"

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_client_that_goes_leaves_nothing_that_follows(tmp_path):
    with serving(tmp_path, heartbeat_seconds=0.05) as served:
        hub = served.services().runtime.hub

        async def scenario(client):
            await client.login()
            run_id = await client.run(await client.thread(), agent="patient")
            async for _ in client.sse(run_id):
                assert hub.live("ada", run_id)._followers
                break
            while hub.live("ada", run_id)._followers:  # noqa: ASYNC110 - nothing tells when a server notices
                await asyncio.sleep(0.01)

        talk(served, scenario)


def test_a_client_that_reads_nothing_gathers_nothing_and_holds_up_no_run(tmp_path):
    with serving(tmp_path, agents=[Chatty]) as served:

        async def scenario(client):
            await client.login()
            host, port = served.url.removeprefix("http://").split(":")
            run_id = await client.run(await client.thread())
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            request = (
                f"GET /api/runs/{run_id}/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                f"Authorization: Bearer {client.token}\r\n\r\n"
            )
            writer.write(request.encode())
            assert (await client.ended(run_id))["status"] == "completed"
            waiting = [
                connection.transport.get_write_buffer_size() for connection in served.server.server_state.connections
            ]
            assert max(waiting) < 200_000  # 4 MB were told
            text = b""
            while b"agent_completed" not in text[-10_000:]:
                text += await reader.read(65536)
            assert text.count(b"\nid: ") == (await client.get(f"/api/runs/{run_id}")).json["last_seq"]
            writer.close()

        talk(served, scenario)


def test_a_user_has_so_many_event_streams_at_once_and_another_user_his_own(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        run_id = await client.run(thread_id, agent="patient")
        streams = [client.sse(run_id) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        headers = {"Accept": "text/event-stream"}
        refused = await client.get(f"/api/runs/{run_id}/events", headers=headers)
        assert (refused.status, refused.json["code"]) == (429, "flood")
        await streams.pop().aclose()
        while (await _status_of_stream(client, run_id)) != 200:  # noqa: ASYNC110 - the server sees it when it sees it
            await asyncio.sleep(0.01)
        await client.post(f"/api/runs/{run_id}/cancel")
        for stream in streams:
            await stream.aclose()

    with serving(tmp_path, connections_per_user=2) as served:
        talk(served, scenario)


async def _status_of_stream(client, run_id):
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {client.token}"}
    async with client.http.get(f"{client.url}/api/runs/{run_id}/events", headers=headers) as response:
        return response.status
