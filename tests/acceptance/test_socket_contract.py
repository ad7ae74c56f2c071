"""The socket's contract from outside (docs/reference/socket.md): who gets in, what is refused and how, close codes."""

import asyncio
import base64
import contextlib
import json
import time

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.server import Server
from tests.support.socket_client import Client, Closed, play
from tests.support.streams import check_run

FRAME_BYTES = 65_536
NEVER_CLOSED_BY_ITSELF = 1011
TYPES = ("authenticate", "user_message", "subscribe", "unsubscribe", "cancel", "ping")
# A whole frame of each type, with ids that do not exist.
WHOLE = {
    "authenticate": {"token": "x"},
    "user_message": {"content": "hello", "thread_id": "thr_0"},
    "subscribe": {"run_id": "run_0"},
    "unsubscribe": {"run_id": "run_0"},
    "cancel": {"run_id": "run_0"},
    "ping": {},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    place = tmp_path_factory.mktemp("contract")
    with Server(place, wire=wire, people=60, frames_burst=100_000, allowed_origins="https://app.example.org") as server:
        yield server
        assert "Traceback" not in server.log()
        assert "socket broke" not in server.log()


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, wire):
    """A server whose tokens live two seconds and whose heart beats every second; frames are limited as always."""
    place = tmp_path_factory.mktemp("impatient")
    with Server(place, wire=wire, people=20, access_token_seconds=2, heartbeat_seconds=1) as server:
        yield server
        assert "Traceback" not in server.log()


def _forged(token):
    """The token with another signature, and with none."""
    head, body, signature = token.split(".")
    other = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return [f"{head}.{body}.{other}", f"{none}.{body}.", f"{head}.{body}.", body]


def test_a_token_that_is_not_valid_is_refused_with_4401_and_never_echoed(server):
    async def scenario(client):
        login = await client.login(server.person())
        for token in ["nonsense", "a.b.c", "x" * 5000, *_forged(login.token)]:
            for first_frame in (False, True):
                socket = await client.connect({} if first_frame else {"Authorization": f"Bearer {token}"})
                if first_frame:
                    await socket.send("authenticate", token=token)
                with pytest.raises(Closed) as closed:
                    await socket.next()
                assert closed.value.code == 4401
                assert token not in closed.value.reason
        # A bad token is not helped by a good cookie, nor is a good token in the address one at all.
        headers = login.cookie | {"Origin": server.url, "Authorization": "Bearer nonsense"}
        assert await (await client.connect(headers)).closed() == 4401
        bad_cookie = {"Cookie": "netra_session=nonsense", "Origin": server.url}
        assert await (await client.connect(bad_cookie)).closed() == 4401
        ws = await client.http.ws_connect(f"{server.url}/ws?token={login.token}&access_token={login.token}")
        await ws.send_str('{"type":"ping","id":1}')
        refused = await ws.receive_json(timeout=10)
        assert (refused["type"], refused["code"], refused["id"]) == ("error", "unauthenticated", 1)
        await ws.receive(timeout=10)
        assert ws.close_code == 4401
        assert login.token not in server.log()

    play(server, scenario)


def test_whatever_comes_before_authenticate_is_refused_with_4401(server):
    async def scenario(client):
        for kind, fields in WHOLE.items():
            if kind == "authenticate":
                continue
            socket = await client.connect()
            await socket.send(kind, id="first", **fields)
            error = await socket.next()
            assert (error["type"], error["id"], error["code"]) == ("error", "first", "unauthenticated")
            assert await socket.closed() == 4401
        for text in ("{", "[]", '{"type":"authenticate"}', '{"type":"authenticate","token":7}', '{"type":"hello"}'):
            socket = await client.connect()
            await socket.ws.send_str(text)
            assert (await socket.next())["type"] == "error"
            assert await socket.closed() == 4401

    play(server, scenario)


def test_a_connection_that_says_nothing_is_closed_with_4408_after_ten_seconds(server):
    async def scenario(client):
        socket = await client.connect()
        began = time.monotonic()
        assert await socket.closed(seconds=20) == 4408
        assert 9 < time.monotonic() - began < 15
        assert socket.frames == []

    play(server, scenario)


@pytest.mark.parametrize("how", ["bearer", "cookie", "first frame"])
def test_a_foreign_origin_is_refused_with_4403_whatever_the_credential(server, how):
    async def scenario(client):
        login = await client.login(server.person())
        headers = {"bearer": login.bearer, "cookie": login.cookie, "first frame": {}}[how]
        strangers = ["https://evil.example", "null", "http://localhost:1", "https://app.example.org.evil.example", "x"]
        for origin in strangers:
            socket = await client.connect(headers | {"Origin": origin})
            if how == "first frame":
                await socket.send("authenticate", token=login.token)
            with pytest.raises(Closed) as closed:
                await socket.next()
            assert closed.value.code == 4403, origin
        for origin in (server.url, "https://app.example.org"):
            socket = await client.connect(headers | {"Origin": origin})
            if how == "first frame":
                await socket.send("authenticate", token=login.token)
            assert (await socket.next())["type"] == "connection_established", origin

    play(server, scenario)


def test_a_cookie_without_an_origin_is_refused_with_4403_and_no_subprotocol_is_accepted(server):
    async def scenario(client):
        login = await client.login(server.person())
        assert await (await client.connect(login.cookie)).closed() == 4403
        for offered, agreed in ((), None), (("other",), None), (("other", "netra.v1"), "netra.v1"):
            socket = await client.connect(login.bearer, protocols=offered)
            assert (await socket.next())["type"] == "connection_established"
            assert socket.ws.protocol == agreed

    play(server, scenario)


def test_a_bearer_socket_closes_with_4401_when_its_token_expires(impatient):
    async def scenario(client):
        login = await client.login(impatient.person())
        by_header, by_frame = await client.socket(login), await client.connect()
        await by_frame.send("authenticate", token=login.token)
        by_cookie = await client.connect(login.cookie | {"Origin": impatient.url})
        for socket in (by_header, by_frame, by_cookie):
            await socket.frame("connection_established")
        run_id = (await by_header.ask("wait", agent="waiter"))["run_id"]
        assert [await by_header.closed(5), await by_frame.closed(5)] == [4401, 4401]
        # A cookie lives as its login; and the run does not mind who watches.
        assert (await by_cookie.answer("ping"))["type"] == "pong"
        assert await (await client.connect(login.bearer)).closed() == 4401
        assert (await client.get(f"/api/runs/{run_id}", login)).status == 401
        await by_cookie.follow(run_id=run_id)
        await by_cookie.answer("cancel", run_id=run_id)
        await by_cookie.ended(run_id)

    play(impatient, scenario)


def test_authenticating_again_before_the_token_expires_keeps_the_connection(impatient):
    async def scenario(client):
        login, stranger = await client.login(impatient.person()), await client.login(impatient.person())
        renewed, left = await client.socket(login), await client.socket(login)
        await asyncio.sleep(1.2)  # the second token is to live so much longer
        again = await client.login(login.name)
        refused = await renewed.answer("authenticate", token=stranger.token)
        assert (refused["type"], refused["code"]) == ("error", "unauthenticated")
        refused = await renewed.answer("authenticate", token="nonsense")
        assert (refused["type"], refused["code"]) == ("error", "unauthenticated")
        assert (await renewed.answer("authenticate", token=again.token))["type"] == "ok"
        assert await left.closed(5) == 4401
        assert (await renewed.answer("ping"))["type"] == "pong"
        assert await renewed.closed(5) == 4401
        assert again.token not in "".join(renewed.texts)

    play(impatient, scenario)


def test_logging_out_closes_the_sockets_of_that_login_and_no_others(server):
    async def scenario(client):
        name = server.person()
        mine, other = await client.login(name), await client.login(name)
        bearer, elsewhere = await client.socket(mine), await client.socket(other)
        cookie = await client.connect(mine.cookie | {"Origin": server.url})
        await cookie.frame("connection_established")
        assert (await client.post("/api/auth/logout", mine)).status == 204
        assert [await bearer.closed(), await cookie.closed()] == [4401, 4401]
        assert await (await client.connect(mine.bearer)).closed() == 4401
        assert await (await client.connect(mine.cookie | {"Origin": server.url})).closed() == 4401
        assert (await elsewhere.answer("ping"))["type"] == "pong"

    play(server, scenario)


def test_a_user_who_is_disabled_beside_the_server_is_out_within_two_seconds(server):
    async def scenario(client):
        login, other = await client.login(server.person()), await client.login(server.person())
        sockets = [await client.socket(login), await client.connect(login.cookie | {"Origin": server.url})]
        await sockets[1].frame("connection_established")
        theirs = await client.socket(other)
        done = await asyncio.to_thread(server.netra, "user", "disable", login.name)
        assert done.returncode == 0, done.stderr
        began = time.monotonic()
        for socket in sockets:
            assert await socket.closed(5) == 4401
        assert time.monotonic() - began < 2
        assert (await client.get("/api/auth/me", login)).status == 401
        assert (await client.post("/api/auth/refresh", headers=login.cookie)).status == 401
        assert await (await client.connect(login.bearer)).closed() == 4401
        assert (await theirs.answer("ping"))["type"] == "pong"

    play(server, scenario)


def test_a_connection_that_answers_no_ping_is_closed_with_4408_and_one_that_does_stays(impatient):
    async def scenario(client):
        login = await client.login(impatient.person())
        headers = login.cookie | {"Origin": impatient.url}
        mute, lively = await client.connect(headers, autoping=False), await client.connect(headers)
        await lively.next()
        # Reading is what answers the pings of the lively one; there is no frame for it to read.
        listening = asyncio.ensure_future(lively.next(20))
        try:
            kinds = [message.type async for message in _messages(mute)]
            assert kinds[0] is aiohttp.WSMsgType.TEXT
            assert kinds[1:] == [aiohttp.WSMsgType.PING] * len(kinds[1:]) != []
            assert mute.ws.close_code == 4408
            assert not listening.done()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        assert (await lively.answer("ping"))["type"] == "pong"

    play(impatient, scenario)


async def _messages(socket):
    """What comes, pings and all, until the server closes."""
    while True:
        message = await socket.ws.receive(timeout=10)
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING):
            return
        yield message


def test_one_connection_too_many_is_closed_with_4409_and_the_others_stay(server):
    async def scenario(client):
        login = await client.login(server.person())
        sockets = [await client.socket(login) for _ in range(10)]
        assert sockets[0].frames[0]["limits"]["connections"] == 10
        assert await (await client.connect(login.bearer)).closed() == 4409
        for socket in sockets:
            assert (await socket.answer("ping"))["type"] == "pong"
        await sockets.pop().close()
        await _until_established(client, login)

    play(server, scenario)


async def _until_established(client, login):
    """A connection, as soon as the server has seen that another one went."""
    async with asyncio.timeout(5):
        while True:
            socket = await client.connect(login.bearer)
            with contextlib.suppress(Closed):
                await socket.next()
                return socket


def test_binary_is_1003_and_text_that_is_not_utf8_is_1007(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        await socket.ws.send_bytes(b'{"type":"ping"}')
        assert await socket.closed() == 1003
        socket = await client.socket(login)
        await socket.ws.send_frame(b'{"type":"ping","id":"\xff"}', aiohttp.WSMsgType.TEXT)
        assert await socket.closed() == 1007
        # The first frame as well.
        socket = await client.connect()
        await socket.ws.send_bytes(b"{}")
        assert await socket.closed() == 1003

    play(server, scenario)


def test_a_frame_over_the_limit_is_4413_in_bytes_and_over_sixteen_times_that_1009(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        await socket.ws.send_str('{"type":"ping"}'.ljust(FRAME_BYTES))
        assert await socket.next() == {"type": "pong"}
        await socket.ws.send_str('{"type":"ping"}'.ljust(FRAME_BYTES + 1))
        assert await socket.closed() == 4413
        socket = await client.socket(login)
        await socket.send("user_message", content="ü" * (FRAME_BYTES // 2))
        await socket.ws.send_str(json.dumps({"type": "user_message", "content": "ü" * 30_000}, ensure_ascii=False))
        assert await socket.closed() == 4413
        socket = await client.socket(login)
        await socket.ws.send_str("x" * (16 * FRAME_BYTES + 1))
        assert await socket.closed() == 1009

    play(server, scenario)


@pytest.mark.parametrize("kind", ["frames", "pings", "refused frames"])
def test_a_flood_is_4429(impatient, kind):
    async def scenario(client):
        login = await client.login(impatient.person())
        socket = await client.socket(login)
        burst = socket.frames[0]["limits"]["frames_burst"]
        assert burst == 30
        for number in range(burst + 10):
            # The server may have closed already.
            try:
                match kind:
                    case "frames":
                        await socket.send("ping", id=number)
                    case "pings":
                        await socket.ws.ping(b"x")
                    case _:
                        await socket.ws.send_str("nonsense")
            except ConnectionError:
                break
        assert await socket.closed() == 4429
        answers = len(socket.frames) - 1
        assert answers <= burst + 1

    play(impatient, scenario)


def test_frames_within_the_burst_are_all_answered(impatient):
    async def scenario(client):
        login = await client.login(impatient.person())
        socket = await client.socket(login)
        for number in range(30):
            await socket.send("ping", id=number)
        for number in range(30):
            await socket.frame("pong", id=number)

    play(impatient, scenario)


def test_every_frame_is_answered_with_its_id_or_none(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        for ident in ("a", "ü" * 100, "", 0, -7, 2**53):
            await socket.send("ping", id=ident)
            assert await socket.next() == {"type": "pong", "id": ident}
        await socket.send("ping")
        assert await socket.next() == {"type": "pong"}
        await socket.send("subscribe", run_id="run_0")
        assert (await socket.next())["id"] is None
        for ident in ([], {}, True, 1.5, 2**60, "x" * 201):
            await socket.send("ping", id=ident)
            error = await socket.next()
            assert (error["type"], error["code"], error["id"]) == ("error", "invalid", None)

    play(server, scenario)


@pytest.mark.parametrize("kind", TYPES)
def test_a_frame_with_unknown_missing_or_wrong_fields_is_refused_with_a_sentence(server, kind):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        whole = WHOLE[kind]
        broken = [whole | {"surprise": 1}, whole | {"user_id": "root"}]
        broken += [{name: value for name, value in whole.items() if name != left_out} for left_out in whole]
        broken += [whole | {name: wrong} for name in whole for wrong in (7, [], {}, True, None)]
        if kind in ("subscribe", "unsubscribe"):
            broken += [whole | {"thread_id": "thr_0"}, {"after": 3}]
        if kind == "user_message":
            broken.remove({"content": "hello"})  # a message begins a thread where it names none
            broken.remove(whole | {"thread_id": None})
            broken += [whole | {"if_busy": "never"}, whole | {"idempotency_key": ""}, {"content": " \n"}]
            broken += [{"content": "\x00"}]
        for fields in broken:
            error = await socket.answer(kind, **fields)
            assert error.keys() == {"type", "id", "code", "message"}, fields
            assert (error["type"], error["code"]) == ("error", "invalid"), (fields, error)
            assert len(error["message"]) > 10
        assert (await socket.answer("ping"))["type"] == "pong"
        assert (await client.get("/api/threads", login)).json["items"] == []

    play(server, scenario)


def test_what_is_not_there_is_not_found_by_any_frame(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        for kind, fields in (
            ("subscribe", {"run_id": "run_0"}),
            ("subscribe", {"thread_id": "thr_0"}),
            ("cancel", {"run_id": "run_0"}),
            ("user_message", {"content": "x", "thread_id": "thr_0"}),
            ("user_message", {"content": "x", "agent": "nobody"}),
        ):
            error = await socket.answer(kind, **fields)
            assert (error["type"], error["code"]) == ("error", "not_found")
            assert next(value for name, value in fields.items() if name != "content") in error["message"]
        assert (await socket.answer("frobnicate"))["code"] == "unknown_type"

    play(server, scenario)


def test_a_cursor_beyond_the_last_event_is_refused_and_changes_nothing(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        first = await socket.ask("first [[chunks=2]]")
        await socket.ended(first["run_id"])
        last = len(check_run(socket.of(first["run_id"])))
        watching = await client.socket(login)
        for after in (last + 1, 2**53):
            error = await watching.answer("subscribe", run_id=first["run_id"], after=after)
            assert (error["type"], error["code"]) == ("error", "after_out_of_range")
            error = await watching.answer("subscribe", thread_id=first["thread_id"], after={first["run_id"]: after})
            assert (error["type"], error["code"]) == ("error", "after_out_of_range")
            answer = await client.get(f"/api/runs/{first['run_id']}/events?after={after}", login)
            assert (answer.status, answer.json["code"]) == (422, "after_out_of_range")
        for after in (-1, 1.5, True, "1", 2**70, {first["run_id"]: 1}):
            error = await watching.answer("subscribe", run_id=first["run_id"], after=after)
            assert (error["type"], error["code"]) == ("error", "invalid"), after
        for after in (1, {first["run_id"]: -1}, {first["run_id"]: "1"}, [1]):
            error = await watching.answer("subscribe", thread_id=first["thread_id"], after=after)
            assert (error["type"], error["code"]) == ("error", "invalid"), after
        error = await watching.answer("subscribe", thread_id=first["thread_id"], after={"run_0": 0})
        assert (error["type"], error["code"]) == ("error", "not_found")
        await watching.settled()
        assert watching.of(first["run_id"]) == []

    play(server, scenario)


def test_a_refused_subscription_leaves_nothing_behind(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket, watching = await client.socket(login), await client.socket(login)
        thread_id = await client.thread(login)
        error = await watching.answer("subscribe", thread_id=thread_id, after={"run_0": 0})
        assert (error["type"], error["code"]) == ("error", "not_found")
        accepted = await socket.ask("who is told? [[chunks=2]]", thread_id=thread_id)
        await socket.ended(accepted["run_id"])
        await watching.settled()
        assert watching.of(accepted["run_id"]) == []

    play(server, scenario)


async def _finished(socket, *tasks):
    """Ids of finished runs of one thread, and the thread's."""
    run_ids, more = [], {}
    for task in tasks:
        accepted = await socket.ask(task, agent="chronicler", **more)
        more = {"thread_id": accepted["thread_id"]}
        await socket.ended(accepted["run_id"])
        run_ids.append(accepted["run_id"])
    return more["thread_id"], run_ids


def test_a_connection_that_follows_as_many_runs_as_it_may_gets_one_answer_to_each_frame(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        # The first is more than the way to a reader holds who reads nothing, so all the others stay to be told.
        thread_id, run_ids = await _finished(socket, "20 300000", *["1 10"] * 100)
        stalled = await client.stalled(login.bearer)

        async def answers(kind, **fields):
            """Of this frame, and of the ping after it: whatever answers the frame comes before the pong."""
            ident = f"{kind} {len(asked)}"
            asked.append(ident)
            await stalled.send({"type": kind, "id": ident} | fields)

        asked = []
        await answers("subscribe", thread_id=thread_id, after=dict.fromkeys(run_ids[:100], 0))
        await answers("subscribe", run_id=run_ids[100], after=0)
        await answers("subscribe", thread_id=thread_id, after=dict.fromkeys(run_ids, 0))
        await answers("user_message", content="1 10", agent="chronicler")
        await answers("ping")
        posted = await _posted(server, login, beyond=101)
        await socket.follow(run_id=posted)
        # Not when somebody reads: an accepted run is not to wait for that.
        await socket.ended(posted, seconds=5)
        frames = await stalled.until(lambda frame: frame.get("id") == asked[-1])
        told = {ident: [frame["type"] for frame in frames if frame.get("id") == ident] for ident in asked}
        assert told == dict(zip(asked, (["ok"], ["error"], ["error"], ["message_accepted"], ["pong"]), strict=True))

    play(server, scenario)


async def _posted(server, login, *, beyond):
    """The user's newest run, once there are more than so many."""
    query = "select run_id from runs where user_id = ? order by created_at desc, run_id desc"
    async with asyncio.timeout(10):
        while len(found := await asyncio.to_thread(server.rows, query, login.name)) <= beyond:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)
    return found[0][0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["id", "token", "content", "thread_id", "run_id", "agent", "replace", "if_busy", "idempotency_key", "after", "x"]
)
FRAMES = st.builds(
    lambda kind, fields: fields | {"type": kind},
    st.sampled_from([*TYPES, "error", "agent_started", "", 7, None]),
    st.dictionaries(NAMES, JSON | st.sampled_from(["run_0", "thr_0", "hello", "reject"]), max_size=5),
)
TEXTS = st.one_of(
    st.text(max_size=200),
    JSON.map(json.dumps),
    FRAMES.map(json.dumps),
    FRAMES.map(lambda frame: json.dumps(frame, ensure_ascii=False)).map(lambda text: text[: len(text) * 2 // 3]),
    st.integers(1, 5000).map(lambda depth: "[" * depth),
    st.integers(1, 3000).map(lambda depth: '{"type":"ping","id":' + "[" * depth + "]" * depth + "}"),
)
ANSWERS = {"error", "ok", "pong", "message_accepted"}
CODES = {"invalid", "unknown_type", "not_found", "unauthenticated", "forbidden", "queue_full", "after_out_of_range"}


@pytest.fixture(scope="module")
def line(server):
    """An open connection with a loop of its own, for many examples."""
    with asyncio.Runner() as runner:
        client = runner.run(Client(server.url).__aenter__())
        login = runner.run(client.login(server.person()))
        yield runner, runner.run(client.socket(login))
        runner.run(client.__aexit__(None, None, None))


@given(text=TEXTS)
@settings(
    max_examples=400,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_sent_gets_one_typed_answer_and_the_connection_lives_on(line, text):
    runner, socket = line

    async def example():
        socket.frames.clear()
        socket.texts.clear()
        await socket.ws.send_str(text.encode("utf-8", "replace").decode())
        await socket.send("ping", id="the fence")
        await socket.frame("pong", id="the fence")
        answers = [frame for frame in socket.frames[:-1] if frame["type"] in ANSWERS]
        assert len(answers) == 1, socket.frames
        if answers[0]["type"] == "error":
            assert answers[0].keys() == {"type", "id", "code", "message"}
            assert answers[0]["code"] in CODES
            assert 5 < len(answers[0]["message"]) < 1000

    runner.run(example())


def test_nothing_has_closed_a_connection_as_a_bug(server):
    assert "bug_" not in server.log()
    assert str(NEVER_CLOSED_BY_ITSELF) not in server.log()
