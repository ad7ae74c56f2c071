"""The golden path on a real server: a message, the five events, the answer; told alike on every way to be told."""

import json

import pytest
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run, five_in_order, words

ASK = "where is my order? [[call=lookup chunks=40 delay=2]]"


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with Server(tmp_path_factory.mktemp("golden"), wire=wire, people=40, frames_burst=1000) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("how", ["bearer", "cookie", "first frame"])
def test_a_message_is_answered_in_five_events_however_the_user_proves_who_he_is(server, how):
    async def scenario(client):
        login = await client.login(server.person())
        headers = {"bearer": login.bearer, "cookie": login.cookie | {"Origin": server.url}, "first frame": {}}[how]
        socket = await client.connect(headers)
        if how == "first frame":
            await socket.send("authenticate", token=login.token)
        hello = await socket.next()
        assert socket.ws.protocol == "netra.v1"
        assert hello.keys() == {"type", "protocol", "connection_id", "user_id", "heartbeat_s", "limits"}
        assert (hello["type"], hello["protocol"]) == ("connection_established", "netra.v1")
        assert (hello["user_id"], hello["heartbeat_s"]) == (login.name, 25)

        accepted = await socket.ask(ASK)
        assert accepted.keys() == {"type", "id", "thread_id", "run_id", "message_id"}
        await socket.ended(accepted["run_id"])
        frames = socket.of(accepted["run_id"])
        assert socket.frames.index(accepted) < socket.frames.index(frames[0])
        events = check_run(frames)
        five_in_order(events)
        assert {event["thread_id"] for event in events} == {accepted["thread_id"]}
        assert {event["agent"] for event in events} == {"assistant"}
        assert [event["task"] for event in events if event["type"] == "agent_started"] == [ASK]
        called = next(event for event in events if event["type"] == "tool_executing")
        assert (called["tool"], called["arguments"]) == ("lookup", {"query": "where is my order?"})
        done = next(event for event in events if event["type"] == "tool_completed")
        assert (done["ok"], done["result"]) == (True, "one order for where is my order?")
        assert answer_of(events) == words(40)
        assert events[-1]["output"] == words(40)
        assert events[-1]["usage"] == {"input_tokens": 100, "output_tokens": 128, "requests": 2, "cost_usd": None}
        assert len([frame for frame in frames if frame["type"] == "message_delta"]) > 2
        ran = [line for line in server.tool_lines() if accepted["run_id"] in line]
        assert ran == [f"lookup {login.name} {accepted['run_id']} where is my order?"]
        for secret in (login.token, *login.cookies.values()):
            assert secret not in "".join(socket.texts)

    play(server, scenario)


def test_socket_http_and_sse_tell_the_same_bytes(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        run_id = (await socket.ask(ASK))["run_id"]
        live = [frame async for frame in client.sse(login, run_id)]
        await socket.ended(run_id)
        texts = socket.durable_texts(run_id)
        check_run([json.loads(data) for _, data in live])
        assert [data for ident, data in live if ident] == texts
        assert [ident for ident, _ in live if ident] == [str(seq) for seq in range(1, len(texts) + 1)]
        again = [frame async for frame in client.sse(login, run_id)]
        assert [data for _, data in again] == texts
        answer = await client.get(f"/api/runs/{run_id}/events?after=0", login)
        assert answer.text == f'{{"events":[{",".join(texts)}],"last_seq":{len(texts)}}}'
        for after in range(len(texts) + 1):
            answer = await client.get(f"/api/runs/{run_id}/events?after={after}", login)
            assert answer.text == f'{{"events":[{",".join(texts[after:])}],"last_seq":{len(texts)}}}'
            late = [data async for _, data in client.sse(login, run_id, last_event_id=after)]
            assert late == texts[after:]
            replay = await client.socket(login)
            await replay.follow(run_id=run_id, after=after)
            await replay.settled()
            assert replay.durable_texts(run_id) == texts[after:], after
            await replay.close()
        assert [
            body for (body,) in server.rows("select body from events where run_id = ? order by seq", run_id)
        ] == texts

    play(server, scenario)


def test_a_stream_that_was_cut_goes_on_after_the_last_event_id(server):
    async def scenario(client):
        login = await client.login(server.person())
        thread_id = await client.thread(login)
        posted = await client.post(f"/api/threads/{thread_id}/runs", login, {"content": ASK + " [[delay=20]]"})
        run_id = posted.json["run_id"]
        assert posted.status == 202
        first = []
        stream = client.sse(login, run_id)
        async for ident, data in stream:
            first.append((ident, json.loads(data)))
            if json.loads(data)["type"] == "message_delta":
                break
        await stream.aclose()
        last = max(int(ident) for ident, _ in first if ident)
        rest = [(ident, json.loads(data)) async for ident, data in client.sse(login, run_id, last_event_id=last)]
        check_run([frame for ident, frame in first if ident] + [frame for ident, frame in rest if ident])
        check_run([frame for _, frame in rest], after=last)

    play(server, scenario)


def test_a_socket_that_arrives_in_mid_message_is_told_the_text_so_far_first(server):
    async def scenario(client):
        login = await client.login(server.person())
        first, second = await client.socket(login), await client.socket(login)
        run_id = (await first.ask("tell me [[chunks=80 delay=20 tag=größe]]"))["run_id"]
        await first.until(lambda frame: frame["type"] == "message_delta" and frame["offset"] > 40)
        so_far = sum(len(frame["text"]) for frame in first.of(run_id) if frame["type"] == "message_delta")
        seen = max(frame.get("seq", 0) for frame in first.of(run_id))
        await second.follow(run_id=run_id, after=seen)
        delta = await second.frame("message_delta")
        assert delta["offset"] == 0
        assert len(delta["text"]) >= so_far
        assert [frame for frame in second.of(run_id) if "seq" in frame] == []
        await second.ended(run_id)
        await first.ended(run_id)
        check_run(second.of(run_id), after=seen)
        assert answer_of(check_run(first.of(run_id))) == words(80, "größe")

    play(server, scenario)


def test_every_socket_of_a_user_that_watches_a_thread_is_told_the_same(server):
    async def scenario(client):
        login = await client.login(server.person())
        thread_id = await client.thread(login)
        watching = [await client.socket(login) for _ in range(3)]
        for socket in watching:
            await socket.follow(thread_id=thread_id)
        runs = [(await watching[0].ask(ASK, thread_id=thread_id))["run_id"]]
        posted = await client.post(f"/api/threads/{thread_id}/runs", login, {"content": "and then? [[chunks=9]]"})
        runs.append(posted.json["run_id"])
        for socket in watching:
            for run_id in runs:
                await socket.ended(run_id)
                check_run(socket.of(run_id))
        for run_id in runs:
            told = {tuple(socket.durable_texts(run_id)) for socket in watching}
            assert len(told) == 1
            # One at a time in a thread: the second begins after the first has ended.
            assert all(socket.frames.index(socket.of(runs[0])[-1]) < _start(socket, runs[1]) for socket in watching)

    play(server, scenario)


def _start(socket, run_id):
    return next(
        index
        for index, frame in enumerate(socket.frames)
        if frame.get("run_id") == run_id and frame["type"] == "agent_started"
    )


def test_a_thread_subscription_replays_unfinished_runs_and_those_that_after_names(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        done = await socket.ask("first [[chunks=3]]")
        thread_id = done["thread_id"]
        await socket.ended(done["run_id"])
        forgotten = await socket.ask("second [[chunks=3]]", thread_id=thread_id)
        await socket.ended(forgotten["run_id"])
        open_run = await socket.ask("third [[chunks=60 delay=20]]", thread_id=thread_id)
        await socket.frame("message_delta", run_id=open_run["run_id"])
        back = await client.socket(login)
        await back.follow(thread_id=thread_id, after={done["run_id"]: 2})
        await back.ended(open_run["run_id"])
        check_run(back.of(open_run["run_id"]))
        check_run(back.of(done["run_id"]), after=2)
        assert back.of(forgotten["run_id"]) == []
        coming = await client.post(f"/api/threads/{thread_id}/runs", login, {"content": "fourth [[chunks=3]]"})
        await back.ended(coming.json["run_id"])
        check_run(back.of(coming.json["run_id"]))
        assert (await back.answer("unsubscribe", thread_id=thread_id))["type"] == "ok"
        quiet = await socket.ask("fifth [[chunks=3]]", thread_id=thread_id)
        await socket.ended(quiet["run_id"])
        await back.settled()
        assert back.of(quiet["run_id"]) == []

    play(server, scenario)


def test_a_run_that_is_followed_twice_is_told_once(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask("slowly [[chunks=30 delay=20]]")
        await socket.follow(thread_id=accepted["thread_id"])
        await socket.ended(accepted["run_id"])
        await socket.settled()
        check_run(socket.of(accepted["run_id"]))

    play(server, scenario)


def test_the_conversation_so_far_reaches_the_model_and_its_reader(server, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        first = await socket.ask(f"a question of {login.name} [[call=lookup chunks=3]]")
        await socket.ended(first["run_id"])
        second = await socket.ask(f"one more of {login.name} [[chunks=2 tag=more]]", thread_id=first["thread_id"])
        await socket.ended(second["run_id"])
        prompt = next(r for r in wire.requests() if r["asked"].startswith(f"one more of {login.name} "))["messages"]
        assert [message["role"] for message in prompt] == ["system", "user", "assistant", "tool", "assistant", "user"]
        assert prompt[4]["content"] == words(3)
        page = (await client.get(f"/api/threads/{first['thread_id']}/messages", login)).json
        assert [(item["role"], item["run_id"]) for item in page["items"]] == [
            ("user", first["run_id"]),
            ("assistant", first["run_id"]),
            ("user", second["run_id"]),
            ("assistant", second["run_id"]),
        ]
        assert [item["content"] for item in page["items"]][1::2] == [words(3), words(2, "more")]
        assert page["items"][0].keys() == {"message_id", "run_id", "role", "content", "created_at", "files"}
        assert page["items"][0]["message_id"] == first["message_id"]
        half = (await client.get(f"/api/threads/{first['thread_id']}/messages?limit=2", login)).json
        rest = f"/api/threads/{first['thread_id']}/messages?limit=2&cursor={half['next_cursor']}"
        assert half["items"] + (await client.get(rest, login)).json["items"] == page["items"]
        state = (await client.get(f"/api/runs/{first['run_id']}", login)).json
        assert (state["status"], state["thread_id"]) == ("completed", first["thread_id"])
        assert state["last_seq"] == len(check_run(socket.of(first["run_id"])))
        threads = (await client.get("/api/threads", login)).json
        assert [item["thread_id"] for item in threads["items"]] == [first["thread_id"]]
        assert threads["next_cursor"] is None

    play(server, scenario)


def test_a_message_that_replaces_another_takes_its_place(server, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        kept = await socket.ask("kept [[chunks=2 tag=kept]]")
        thread_id = kept["thread_id"]
        await socket.ended(kept["run_id"])
        mistaken = await socket.ask("mistaken [[chunks=2 tag=wrong]]", thread_id=thread_id)
        await socket.ended(mistaken["run_id"])
        followed = await socket.ask("what followed [[chunks=2 tag=wrong]]", thread_id=thread_id)
        await socket.ended(followed["run_id"])
        content = f"better, says {login.name} [[chunks=2 tag=right]]"
        better = await socket.ask(content, thread_id=thread_id, replace=mistaken["message_id"])
        await socket.ended(better["run_id"])
        check_run(socket.of(better["run_id"]))
        page = (await client.get(f"/api/threads/{thread_id}/messages", login)).json
        assert [item["content"] for item in page["items"]] == [
            "kept [[chunks=2 tag=kept]]",
            words(2, "kept"),
            content,
            words(2, "right"),
        ]
        prompt = json.dumps(next(r for r in wire.requests() if r["asked"] == content)["messages"])
        assert "kept0" in prompt
        assert "mistaken" not in prompt
        assert "wrong0" not in prompt
        gone = await socket.answer("user_message", content="again", thread_id=thread_id, replace=mistaken["message_id"])
        assert (gone["type"], gone["code"]) == ("error", "not_found")

    play(server, scenario)


def test_an_idempotency_key_makes_one_run_and_its_repetition_is_told_from_the_start(server):
    async def scenario(client):
        login, other = await client.login(server.person()), await client.login(server.person())
        socket, second = await client.socket(login), await client.socket(login)
        first = await socket.ask("once [[chunks=3]]", idempotency_key="key")
        await socket.ended(first["run_id"])
        again = await second.ask("once [[chunks=3]]", idempotency_key="key")
        ids = ("run_id", "thread_id", "message_id")
        assert [again[name] for name in ids] == [first[name] for name in ids]
        await second.ended(first["run_id"])
        check_run(second.of(first["run_id"]))
        conflict = await second.answer("user_message", content="other content", idempotency_key="key")
        assert (conflict["type"], conflict["code"]) == ("error", "idempotency_conflict")
        # The key is one user's and one thread's.
        elsewhere = await second.ask("once [[chunks=3]]", idempotency_key="key", thread_id=first["thread_id"])
        theirs = await (await client.socket(other)).ask("once [[chunks=3]]", idempotency_key="key")
        assert len({first["run_id"], elsewhere["run_id"], theirs["run_id"]}) == 3

        thread_id = await client.thread(login)
        body = {"content": "by HTTP [[chunks=3]]", "idempotency_key": "key"}
        posted = [await client.post(f"/api/threads/{thread_id}/runs", login, body) for _ in range(2)]
        assert [answer.status for answer in posted] == [202, 202]
        assert posted[0].json["run_id"] == posted[1].json["run_id"]
        changed = await client.post(f"/api/threads/{thread_id}/runs", login, body | {"content": "changed"})
        assert (changed.status, changed.json["code"]) == (409, "idempotency_conflict")
        for socket in (second, another := await client.socket(login)):
            for number in range(5):
                await socket.send("user_message", id=f"at once {number}", content="x", idempotency_key="k2")
        found = [
            await socket.until(lambda frame, number=number: frame.get("id") == f"at once {number}")
            for socket in (second, another)
            for number in range(5)
        ]
        assert len({frame["run_id"] for frame in found}) == 1

    play(server, scenario)


def test_a_busy_thread_rejects_or_enqueues_as_the_message_says(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        running = await socket.ask("wait", agent="waiter")
        thread_id = running["thread_id"]
        await socket.frame("agent_thinking", run_id=running["run_id"])
        refused = await socket.answer("user_message", content="no", thread_id=thread_id, if_busy="reject")
        assert (refused["type"], refused["code"]) == ("error", "busy")
        posted = await client.post(f"/api/threads/{thread_id}/runs", login, {"content": "no", "if_busy": "reject"})
        assert (posted.status, posted.json["code"]) == (409, "busy")
        waiting = await socket.ask("next [[chunks=3]]", thread_id=thread_id)
        queued = await socket.frame("run_queued", run_id=waiting["run_id"])
        assert queued["seq"] == 1
        assert "this thread" in queued["reason"]
        opened = (await client.get(f"/api/threads/{thread_id}", login)).json
        assert [(run["run_id"], run["status"]) for run in opened["runs"]] == [
            (running["run_id"], "running"),
            (waiting["run_id"], "queued"),
        ]
        assert (await socket.answer("cancel", run_id=running["run_id"]))["type"] == "ok"
        await socket.ended(waiting["run_id"])
        events = check_run(socket.of(waiting["run_id"]))
        assert [event["type"] for event in events][:2] == ["run_queued", "agent_started"]
        check_run(socket.of(running["run_id"]), ending="agent_cancelled")
        free = await socket.ask("now [[chunks=3]]", thread_id=thread_id, if_busy="reject")
        await socket.ended(free["run_id"])

    play(server, scenario)


def test_a_user_has_so_many_runs_at_once_and_so_many_that_wait(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        hello = socket.frames[0]["limits"]
        assert (hello["runs"], hello["queued"]) == (3, 20)
        accepted = [await socket.ask("wait", agent="waiter") for _ in range(23)]
        for frame in accepted[3:]:
            await socket.frame("run_queued", run_id=frame["run_id"])
        started = {frame["run_id"] for frame in socket.frames if frame["type"] == "agent_started"}
        assert started == {frame["run_id"] for frame in accepted[:3]}
        refused = await socket.answer("user_message", content="one more", agent="waiter")
        assert (refused["type"], refused["code"]) == ("error", "queue_full")
        posted = await client.post(f"/api/threads/{accepted[0]['thread_id']}/runs", login, {"content": "one more"})
        assert (posted.status, posted.json["code"]) == (429, "queue_full")
        for frame in reversed(accepted):
            await socket.send("cancel", run_id=frame["run_id"])
        for frame in accepted:
            await socket.ended(frame["run_id"])
            check_run(socket.of(frame["run_id"]), ending="agent_cancelled")

    play(server, scenario)


def test_agents_that_a_user_may_not_run_are_neither_listed_nor_run(server):
    async def scenario(client):
        login = await client.login(server.person())
        listed = (await client.get("/api/agents", login)).json
        assert [item["name"] for item in listed["items"]] == ["assistant", "greeter", "waiter", "chronicler"]
        assert listed["items"][1] == {"name": "greeter", "description": "Greets."}
        socket = await client.socket(login)
        refused = await socket.answer("user_message", content="let me", agent="guarded")
        assert (refused["type"], refused["code"]) == ("error", "forbidden")
        greeted = await socket.ask("good morning", agent="greeter")
        ending = await socket.ended(greeted["run_id"])
        assert ending["output"] == f"Hello {login.name}: good morning"
        events = check_run(socket.of(greeted["run_id"]))
        assert [event["text"] for event in events if event["type"] == "agent_thinking"] == ["choosing a greeting"]

    play(server, scenario)


def test_a_call_that_is_denied_unknown_or_ill_formed_is_told_and_the_model_answers_on(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        for call, code in (
            ("call=destroy", "denied"),
            ("call=no_such_tool", "unknown_tool"),
            ("call=lookup args=missing", "invalid_arguments"),
            ("call=lookup args=broken", "invalid_arguments"),
        ):
            accepted = await socket.ask(f"please [[{call} chunks=3]]")
            await socket.ended(accepted["run_id"])
            events = check_run(socket.of(accepted["run_id"]))
            five_in_order(events)
            done = next(event for event in events if event["type"] == "tool_completed")
            assert (done["ok"], done["error"]["code"]) == (False, code)
            assert answer_of(events) == words(3)
            assert not [line for line in server.tool_lines() if accepted["run_id"] in line]

    play(server, scenario)
