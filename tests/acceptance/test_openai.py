"""OpenAI's own client against a real server: models, chat completions, responses; and what it is refused."""

import openai
import pytest
from openai import AsyncOpenAI
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run, five_in_order, words

ASK = "where is my order? [[call=lookup chunks=40 delay=2]]"


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with Server(tmp_path_factory.mktemp("openai"), wire=wire, people=40, frames_burst=1000) as server:
        yield server
        assert "Traceback" not in server.log()


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
