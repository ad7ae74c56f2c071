"""OpenAI's own client against a real server: models, chat completions, responses; and what it is refused."""

import asyncio
import socket

import openai
import pytest
from openai import AsyncOpenAI
from tests.support.bounded import passed
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run, five_in_order, words
from tests.support.waiting import serving

from netra_apex.core.ids import new_id

ASK = "where is my order? [[call=lookup chunks=40 delay=2]]"

MADE = '''
import asyncio
from netra_apex import AgentRegistry, BaseAgent, RunScope, ask_user, tool

@tool(needs_approval=True)
async def sign(text: str) -> str:
    """Sign something."""
    return f"signed {text}"

class Signer(BaseAgent):
    """Signs, once it may, and asks then."""
    name = "signer"
    async def run(self, task: str, scope: RunScope) -> str:
        signed = await scope.tools.call(sign, task)
        month = await scope.tools.call(ask_user, "Which month?")
        return f"{signed} in {month}"

class Holder(BaseAgent):
    """Goes on until it is stopped."""
    name = "holder"
    async def run(self, task: str, scope: RunScope) -> str:
        await asyncio.Event().wait()
        return task

registry = AgentRegistry([Signer, Holder])
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with Server(tmp_path_factory.mktemp("openai"), wire=wire, people=40, body_bytes=100_000) as server:
        server.wire = wire
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def made(tmp_path_factory, wire):
    with serving(tmp_path_factory.mktemp("openai-made"), wire, MADE) as server:
        yield server
        assert "Traceback" not in server.log()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client_of(server, login):
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key=login.token, max_retries=0)


def scenario(test):
    """A test of somebody whom no other test knows, with OpenAI's client."""

    def playing(server):
        async def played(client):
            login = await client.login(server.person())
            async with client_of(server, login) as theirs:
                await test(server, client, login, theirs)

        play(server, played)

    playing.__name__ = test.__name__
    return playing


@scenario
async def test_the_models_are_the_agents_that_its_caller_may_run(server, client, login, theirs):
    names = [model.id async for model in theirs.models.list()]
    agents = (await client.get("/api/agents", login)).json["items"]
    assert names == [agent["name"] for agent in agents]
    assert "guarded" not in names
    assert (await theirs.models.retrieve("greeter")).id == "greeter"
    for name in ("guarded", "nobody"):
        with pytest.raises(openai.NotFoundError) as refused:
            await theirs.models.retrieve(name)
        assert refused.value.code == "model_not_found"


@scenario
async def test_an_api_key_is_the_key_of_openais_client(server, client, login, theirs):
    made = await client.post("/api/me/keys", login, {"name": "a script"})
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=made.json["key"], max_retries=0) as script:
        assert (await script.responses.create(model="greeter", input="hi")).output_text == f"Hello {login.name}: hi"


@scenario
async def test_a_chat_completion_is_a_run_with_its_five_events(server, client, login, theirs):
    done = await theirs.chat.completions.create(model="assistant", messages=[{"role": "user", "content": ASK}])
    assert done.object == "chat.completion"
    assert (done.choices[0].message.content, done.choices[0].finish_reason) == (words(40), "stop")
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (100, 128, 228)
    events = check_run(server.events(done.id))
    five_in_order(events)
    assert answer_of(events) == words(40)


@scenario
async def test_a_chat_completion_streams_the_same_text_and_ends_with_what_was_used(server, client, login, theirs):
    stream = await theirs.chat.completions.create(
        model="assistant",
        messages=[{"role": "user", "content": ASK}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    told = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text for text in told if text) == words(40)
    assert len(told) > 4
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-2:] == [None, "stop"]
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 228)


@scenario
async def test_a_response_is_a_run_and_its_conversation_a_thread(server, client, login, theirs):
    first = await theirs.responses.create(model="assistant", input=ASK)
    assert (first.status, first.output_text, first.usage.total_tokens) == ("completed", words(40), 228)
    assert [item.type for item in first.output] == ["mcp_call", "message"]
    called = first.output[0]
    assert (called.name, called.status, called.output) == ("lookup", "completed", "one order for where is my order?")
    check_run(server.events(first.id))
    again = await theirs.responses.retrieve(first.id)
    assert again == first
    second = await theirs.responses.create(model="assistant", input="and?", previous_response_id=first.id)
    assert second.conversation.id == first.conversation.id


@scenario
async def test_a_response_streams_its_events_and_a_later_reader_is_told_the_same(server, client, login, theirs):
    stream = await theirs.responses.create(model="assistant", input=ASK, stream=True)
    live = [event async for event in stream]
    assert live[0].type == "response.created"
    assert live[-1].type == "response.completed"
    numbers = [event.sequence_number for event in live]
    assert numbers == sorted(set(numbers))
    assert "".join(e.delta for e in live if e.type == "response.output_text.delta") == words(40)
    response_id = live[0].response.id
    replayed = [event async for event in await theirs.responses.retrieve(response_id, stream=True)]
    assert replayed == live
    for place in range(0, len(live), 3):
        after = live[place].sequence_number
        rest = await theirs.responses.retrieve(response_id, stream=True, starting_after=after)
        assert [event async for event in rest] == live[place + 1 :]


@scenario
async def test_what_is_not_ones_own_is_not_there_and_nobody_is_told_to_log_in(server, client, login, theirs):
    victim = await client.login(server.person())
    async with client_of(server, victim) as own:
        done = await own.responses.create(model="greeter", input="I am the victim")
    calls = [
        lambda ident: theirs.responses.retrieve(ident),
        lambda ident: theirs.responses.retrieve(ident, stream=True, starting_after=1),
        lambda ident: theirs.responses.cancel(ident),
        lambda ident: theirs.responses.delete(ident),
        lambda ident: theirs.responses.create(model="greeter", input="x", previous_response_id=ident),
    ]
    for call in calls:
        told = []
        for ident in (done.id, f"run_{0:032x}"):
            with pytest.raises(openai.NotFoundError) as refused:
                await call(ident)
            assert refused.value.code == "not_found"
            told.append(refused.value.body["message"].replace(ident, "ID"))
        assert told[0] == told[1]
    with pytest.raises(openai.NotFoundError):
        await theirs.responses.create(model="greeter", input="x", conversation=done.conversation.id)
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="sk-none", max_retries=0) as nobody:
        for call in (nobody.models.list(), nobody.responses.retrieve(done.id)):
            with pytest.raises(openai.AuthenticationError) as refused:
                await call
            assert refused.value.code == "invalid_api_key"
    assert server.rows("select count(*) from runs where user_id = ?", login.name) == [(0,)]


@scenario
async def test_what_was_said_before_is_the_agents_history_and_in_no_thread_that_is_there(server, client, login, theirs):
    said = [
        {"role": "system", "content": "Speak like a pirate."},
        {"role": "user", "content": [{"type": "text", "text": "I am Ada."}]},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": f"who am I? {login.name}"},
    ]
    done = await theirs.chat.completions.create(model="assistant", messages=said)
    asked = next(r for r in server.wire.requests() if login.name in str(r["messages"]))
    told = [(message["role"], message["content"]) for message in asked["messages"]]
    assert told == [
        ("system", "Answer briefly."),
        ("user", "Speak like a pirate."),
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", f"who am I? {login.name}"),
    ]
    # The thread goes on with it, over the other doors too.
    thread = (await client.get(f"/api/runs/{done.id}", login)).json["thread_id"]
    with pytest.raises(openai.BadRequestError, match="has its own history"):
        await theirs.responses.create(model="assistant", conversation=thread, input=said[1:])
    more = await theirs.responses.create(model="assistant", conversation=thread, input=f"and now? {login.name}")
    assert more.conversation.id == thread
    last = [r for r in server.wire.requests() if f"and now? {login.name}" in str(r["messages"])][-1]
    assert [m["content"] for m in last["messages"]][:4] == [content for _, content in told[:4]]


@scenario
async def test_a_secret_in_what_was_said_before_is_stored_nowhere(server, client, login, theirs):
    secret = "sk-proj-" + "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg"
    mark = new_id("mark")  # names of users come again with each server, and the model is everybody's
    said = [{"role": role, "content": f"{mark} {secret}"} for role in ("system", "user", "assistant", "user")]
    await theirs.chat.completions.create(model="assistant", messages=said)
    asked = [request for request in server.wire.requests() if mark in str(request["messages"])]
    assert len(asked[0]["messages"]) == 5
    assert secret not in str(asked)
    for table in ("openings", "messages", "events", "transcripts", "steps"):
        assert secret not in str(server.rows(f"select * from {table} where user_id = ?", login.name))
    assert server.rows("select count(*) from openings where user_id = ?", login.name) == [(1,)]


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("n", 2),
        ("logprobs", True),
        ("stop", ["x"]),
        ("response_format", {"type": "json_object"}),
        ("invented", 1),
    ],
)
def test_what_would_mean_something_else_here_is_refused_by_its_name(server, param, value):
    async def played(client):
        login = await client.login(server.person())
        async with client_of(server, login) as theirs:
            hi = [{"role": "user", "content": "hi"}]
            with pytest.raises(openai.BadRequestError) as refused:
                await theirs.chat.completions.create(model="greeter", messages=hi, extra_body={param: value})
            assert (refused.value.code, refused.value.param) == ("unsupported_parameter", param)
            fine = {"temperature": 0.1, "max_tokens": 5, "n": 1, "tools": [], "metadata": {"a": "b"}, "stop": None}
            await theirs.chat.completions.create(model="greeter", messages=hi, extra_body=fine)
        assert server.rows("select count(*) from runs where user_id = ?", login.name) == [(1,)]

    play(server, played)


@scenario
async def test_messages_that_are_none_are_refused_with_their_place(server, client, login, theirs):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    for messages, param in (
        ([], "messages"),
        ([{"role": "assistant", "content": "hi"}], "messages"),
        ([{"role": "tool", "tool_call_id": "c", "content": "x"}, {"role": "user", "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": [picture]}], "messages[0].content"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            await theirs.chat.completions.create(model="greeter", messages=messages)
        assert refused.value.param == param
    for body in (b"", b"[]", b"{", b'"x"'):
        headers = login.bearer | {"Content-Type": "application/json"}
        answer = await client.call("POST", "/v1/chat/completions", None, data=body, headers=headers)
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    for method, path, status in (("GET", "/v1/nothing", 404), ("PUT", "/v1/responses", 405)):
        answer = await client.call(method, path, login)
        assert (answer.status, set(answer.json["error"])) == (status, {"message", "type", "param", "code"})


@scenario
async def test_a_run_that_fails_is_an_error_of_its_code_and_a_response_that_failed(server, client, login, theirs):
    broken = "x [[fault=500 times=0]]"
    with pytest.raises(openai.InternalServerError) as failed:
        await theirs.chat.completions.create(model="assistant", messages=[{"role": "user", "content": broken}])
    assert failed.value.code in ("model_error", "model_unavailable")
    assert failed.value.response.headers["x-should-retry"] == "false"
    stream = await theirs.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": broken}], stream=True
    )
    with pytest.raises(openai.APIError) as told:
        async for _ in stream:
            pass
    assert told.value.code == failed.value.code
    response = await theirs.responses.create(model="assistant", input=broken)
    assert (response.status, response.error.code) == ("failed", "server_error")
    assert response.error.message.startswith(f"{failed.value.code}: ")


@scenario
async def test_a_chat_completion_whose_client_goes_away_is_cancelled_and_a_response_is_not(
    server, client, login, theirs
):
    waits = {"model": "waiter", "messages": [{"role": "user", "content": "x"}]}
    stream = await theirs.chat.completions.create(**waits, stream=True)
    first = await anext(aiter(stream))
    await stream.close()
    await until(client, login, first.id, "cancelled")
    calling = asyncio.create_task(theirs.chat.completions.create(**waits, extra_headers={"X-Test": "1"}))
    second = await another(server, login, {first.id})
    calling.cancel()
    await asyncio.wait({calling})
    await until(client, login, second, "cancelled")
    live = await theirs.responses.create(model="waiter", input="x", stream=True)
    third = (await anext(aiter(live))).response.id
    await live.close()
    assert (await theirs.responses.retrieve(third)).status in ("queued", "in_progress")
    assert (await theirs.responses.cancel(third)).status == "cancelled"


@scenario
async def test_a_response_in_the_background_is_answered_at_once_and_deleted_when_it_is_over(
    server, client, login, theirs
):
    begun = await theirs.responses.create(model="waiter", input="x", background=True)
    assert begun.status in ("queued", "in_progress")
    with pytest.raises(openai.ConflictError):
        await theirs.responses.create(model="greeter", input="y", previous_response_id=begun.id)
    await theirs.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError):
        await theirs.responses.retrieve(begun.id)
    assert server.rows("select count(*) from threads where user_id = ?", login.name) == [(0,)]


@scenario
async def test_an_answer_that_is_wanted_anew_begins_a_thread_with_what_was_said_up_to_there(
    server, client, login, theirs
):
    first = await theirs.responses.create(model="assistant", input=f"one {login.name} [[chunks=1]]")
    second = await theirs.responses.create(
        model="assistant", input=f"two {login.name} [[chunks=2]]", previous_response_id=first.id
    )
    again = await theirs.responses.create(
        model="assistant", input=f"three {login.name} [[chunks=3]]", previous_response_id=first.id
    )
    assert second.conversation.id == first.conversation.id != again.conversation.id
    asked = [r for r in server.wire.requests() if f"three {login.name}" in str(r["messages"])][-1]
    assert [m["content"] for m in asked["messages"]][1:] == [
        f"one {login.name} [[chunks=1]]",
        words(1),
        f"three {login.name} [[chunks=3]]",
    ]
    on = await theirs.responses.create(model="greeter", input="four", previous_response_id=again.id)
    assert on.conversation.id == again.conversation.id


@scenario
async def test_more_than_a_user_may_have_is_429_in_openais_shape(server, client, login, theirs):
    waits = {"model": "waiter", "input": "x", "background": True}
    for _ in range(23):  # three at once, and twenty that wait
        await theirs.responses.create(**waits)
    with pytest.raises(openai.RateLimitError) as refused:
        await theirs.responses.create(**waits)
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    large = {"model": "greeter", "input": "x" * 1000, "metadata": {"more": ["x" * 1000] * 110}}
    too_large = await client.post("/v1/responses", login, large)
    assert (too_large.status, too_large.json["error"]["code"]) == (413, "too_large")


def test_what_a_response_waits_for_is_given_it_as_input_and_it_goes_on(made):
    async def played(client):
        login = await client.login(made.person())
        async with client_of(made, login) as theirs:
            first = await theirs.responses.create(model="signer", input="a letter")
            assert first.status == "in_progress"
            asked = first.output[-1]
            assert (asked.type, asked.name, asked.arguments) == (
                "mcp_approval_request", "sign", '{"text": "a letter"}',
            )  # fmt: skip
            word = {"type": "mcp_approval_response", "approval_request_id": asked.id, "approve": True}
            second = await theirs.responses.create(input=[word], previous_response_id=first.id)
            assert (second.id, second.status) == (first.id, "in_progress")
            question = second.output[-1]
            assert (question.type, question.name) == ("function_call", "ask_user")
            answer = {"type": "function_call_output", "call_id": question.call_id, "output": "May"}
            stream = await theirs.responses.create(input=[answer], previous_response_id=first.id, stream=True)
            events = [event async for event in stream]
            assert events[-1].type == "response.completed"
            assert events[-1].response.output_text == "signed a letter in May"
            with pytest.raises(openai.ConflictError):
                await theirs.responses.create(input=[word], previous_response_id=first.id)
            check_run(made.events(first.id))

    play(made, played)


def test_as_many_calls_as_have_a_turn_may_wait_for_a_person_and_his_word_comes_in(made):
    async def played(client):
        login = await client.login(made.person())
        async with client_of(made, login) as theirs:
            held = [
                asyncio.create_task(theirs.responses.create(model="holder", input=f"{number}")) for number in range(3)
            ]
            held += [asyncio.create_task(theirs.responses.create(model="holder", input=f"{n}")) for n in range(3, 8)]
            async with asyncio.timeout(15):
                while len(made.rows("select 1 from runs where user_id = ?", login.name)) < 8:
                    await passed(0.02)
                assert (await client.get("/api/threads", login)).status == 200
            for task in held:
                task.cancel()
            await asyncio.wait(held)

    play(made, played)


def test_a_chat_completion_that_waits_says_where_the_word_is_given_and_its_answer_is_a_response(made):
    async def played(client):
        login = await client.login(made.person())
        async with client_of(made, login) as theirs:
            with pytest.raises(openai.ConflictError) as waiting:
                await theirs.chat.completions.create(model="signer", messages=[{"role": "user", "content": "a letter"}])
            assert waiting.value.code == "waiting_for_person"
            (approval,) = (await client.get("/api/approvals", login)).json["items"]
            assert f"/api/approvals/{approval['approval_id']}" in waiting.value.body["message"]
            assert f"/v1/responses/{approval['run_id']}" in waiting.value.body["message"]
            assert (await theirs.responses.retrieve(approval["run_id"])).status == "in_progress"

    play(made, played)


def test_a_stream_is_gone_on_with_after_the_server_was_killed_and_lacks_nothing(tmp_path, wire):
    with Server(tmp_path, wire=wire, people=2, port=free_port()) as served:

        async def before(client):
            login = await client.login(served.person())
            events = []
            async with client_of(served, login) as theirs:
                stream = await theirs.responses.create(
                    model="assistant",
                    input="tell me [[call=lookup chunks=150 delay=30]]",
                    background=True,
                    stream=True,
                )
                async for event in stream:
                    events.append(event)
                    if sum(each.type == "response.output_text.delta" for each in events) == 8:
                        break
                await stream.close()
            served.kill()
            return login, events

        login, events = play(served, before)
        served.start()

        async def after(_):
            async with client_of(served, login) as theirs:
                response_id, last = events[0].response.id, events[-1].sequence_number
                stream = await theirs.responses.retrieve(response_id, stream=True, starting_after=last)
                events.extend([event async for event in stream])
                whole = [event async for event in await theirs.responses.retrieve(response_id, stream=True)]
                return whole, await theirs.responses.retrieve(response_id)

        whole, response = play(served, after)
        assert events == whole
        assert response.output_text == words(150)
        assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == words(150)
        check_run(served.events(response.id))


async def until(client, login, run_id, wanted):
    """Returns once the run stands so."""
    async with asyncio.timeout(15):
        while (await client.get(f"/api/runs/{run_id}", login)).json["status"] != wanted:
            await passed(0.02)


async def another(server, login, known):
    """The id of a run of this user that is under way, other than these."""
    query = "select run_id from runs where user_id = ? and last_seq > 0"
    async with asyncio.timeout(15):
        while not (found := {row[0] for row in server.rows(query, login.name)} - known):
            await passed(0.02)
    return found.pop()
