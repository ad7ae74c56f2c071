"""The OpenAI client over real sockets, against a server in another process."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.support.heard import Heard
from tests.support.wire_model import WireModel

from netra_apex.core.messages import ModelRequest, Reply, SystemMessage, ToolSpec, UserMessage
from netra_apex.errors import ConfigurationError, ModelFailed, ModelUnavailable
from netra_apex.providers.openai import OpenAIModel

KEY = "sk-very-secret-key-0123456789"
LOOKUP = ToolSpec(
    name="lookup",
    description="find",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)


def with_model(url: str, use: Callable[[OpenAIModel], Awaitable[None]], *, silence: float = 5) -> None:
    async def main() -> None:
        model = OpenAIModel("openai:wire", api_key=KEY, base_url=url, backoff=0.01, silence=silence)
        try:
            async with asyncio.timeout(30):
                await use(model)
        finally:
            await model.aclose()

    asyncio.run(main())


async def ask(model: OpenAIModel, text: str, heard: Heard | None = None) -> Reply:
    request = ModelRequest(messages=(SystemMessage("be brief"), UserMessage(text)), tools=(LOOKUP,))
    return await model.complete(request, heard or Heard())


def test_an_answer_streams_and_comes_back_whole(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        heard = Heard()
        reply = await ask(model, "hi [[chunks=3 think=2 delay=20]]", heard)
        assert reply.text == heard.shown() == "word0 word1 word2 "
        assert reply.thinking == "hm0 hm1 "
        assert [kind for kind, _ in heard.log] == ["thinking"] * 2 + ["text"] * 3
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.requests) == (50, 64, 1)

    with_model(wire.url, use)
    (seen,) = wire.requests()
    assert seen["model"] == "wire"
    assert seen["tools"] == ["lookup"]
    assert [message["role"] for message in seen["messages"]] == ["system", "user"]


def test_pieces_that_come_within_the_pace_are_told_together_and_the_first_one_at_once(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        heard = Heard(pace=0.05)
        reply = await ask(model, "hi [[chunks=20 delay=10]]", heard)
        assert reply.text == heard.shown() == "".join(f"word{number} " for number in range(20))
        assert heard.log[0] == ("text", "word0 ")
        assert len(heard.log) <= 8

    with_model(wire.url, use)


def test_the_end_of_an_answer_waits_for_no_pace(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        async with asyncio.timeout(10):
            reply = await ask(model, "hi [[chunks=3 delay=5]]", Heard(pace=3600))
        assert reply.text == "word0 word1 word2 "

    with_model(wire.url, use)


def test_several_tool_calls_come_back_in_order(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        reply = await ask(model, "find it [[call=lookup,other]]")
        assert [call.name for call in reply.tool_calls] == ["lookup", "other"]
        assert json.loads(reply.tool_calls[0].arguments) == {"query": "find it"}
        assert reply.text == ""

    with_model(wire.url, use)


@pytest.mark.parametrize("fault", ["429 wait=0", "500", "503", "408"])
def test_a_passing_fault_is_asked_again(wire: WireModel, fault: str) -> None:
    async def use(model: OpenAIModel) -> None:
        heard = Heard()
        assert (await ask(model, f"hi [[fault={fault} times=2 chunks=1]]", heard)).text == "word0 "
        assert heard.resets() == 0

    with_model(wire.url, use)
    assert len(wire.requests()) == 3


@pytest.mark.parametrize("fault", ["die", "cut", "error"])
def test_an_answer_that_breaks_off_is_void_and_told_anew(wire: WireModel, fault: str) -> None:
    async def use(model: OpenAIModel) -> None:
        heard = Heard()
        reply = await ask(model, f"hi [[fault={fault} after=2 times=2 chunks=4]]", heard)
        assert reply.text == heard.shown() == "word0 word1 word2 word3 "
        assert heard.resets() == 2

    with_model(wire.url, use)


def test_a_thought_that_was_told_is_void_too(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        heard = Heard()
        reply = await ask(model, "hi [[fault=die after=1 think=2 chunks=1]]", heard)
        assert reply.thinking == "hm0 hm1 "
        assert heard.log[:2] == [("thinking", "hm0 "), ("reset", "")]

    with_model(wire.url, use)


def test_a_connection_that_dies_before_the_first_token_resets_nothing(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        heard = Heard()
        assert (await ask(model, "hi [[fault=die after=0 chunks=1]]", heard)).text == "word0 "
        assert heard.resets() == 0

    with_model(wire.url, use)


@pytest.mark.parametrize(
    ("directives", "status", "words", "attempts"),
    [
        ("fault=401", 401, "answered 401", 1),
        ("fault=404", 404, "answered 404", 1),
        ("fault=429 wait=0", 429, "answered 429", 3),
        ("fault=429 wait=600", 429, "answered 429", 1),
        ("fault=500", 500, "answered 500", 3),
        ("fault=error after=1", 529, "overloaded", 3),
        ("fault=die after=1", None, "before its answer was whole", 3),
        ("fault=cut after=1", None, "before its answer was whole", 3),
        ("fault=garbage", 200, "this is no model", 1),
        ("fault=endless", 200, "4 MiB", 1),
        ("finish=length chunks=0", 200, "length limit", 1),
    ],
)
def test_a_lasting_fault_is_a_sentence(
    wire: WireModel, directives: str, status: int | None, words: str, attempts: int
) -> None:
    async def use(model: OpenAIModel) -> None:
        with pytest.raises(ModelFailed) as caught:
            await ask(model, f"hi [[{directives} times=0]]")
        error = caught.value
        assert words in str(error)
        assert str(error).startswith("openai:wire ")
        assert (error.model, error.status) == ("openai:wire", status)
        assert not isinstance(error, ModelUnavailable)

    with_model(wire.url, use)
    assert len(wire.requests()) == attempts


def test_the_wait_that_a_provider_asks_for_is_kept(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        started = time.monotonic()
        await ask(model, "hi [[fault=429 wait=1]]")
        assert time.monotonic() - started >= 0.95

    with_model(wire.url, use)


@pytest.mark.parametrize("fault", ["hang", "silent after=1"])
def test_a_silent_provider_fails_and_is_left(wire: WireModel, fault: str) -> None:
    async def use(model: OpenAIModel) -> None:
        with pytest.raises(ModelFailed, match=r"said nothing for 0\.2 s"):
            await ask(model, f"hi [[fault={fault}]]")

    with_model(wire.url, use, silence=0.2)
    assert [request["aborted"] for request in wire.until_idle()["requests"]] == [True]


def test_a_cancel_ends_the_request_at_the_provider_at_once(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        for question in ("a [[delay=50 chunks=1000]]", "b [[fault=hang]]"):
            task = asyncio.create_task(ask(model, question))
            await asyncio.to_thread(wire.until_open)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(wire.until_idle, 1)

    with_model(wire.url, use)
    assert [(request["done"], request["aborted"]) for request in wire.requests()] == [(False, True)] * 2


def test_after_200_random_cancels_every_answer_matches_its_question(wire: WireModel) -> None:
    chance = random.Random(7)
    cancelled: list[int] = []

    async def one(model: OpenAIModel, number: int) -> None:
        heard = Heard()
        question = f"q [[tag=q{number}. chunks=6 delay={chance.choice((0, 8, 12))}]]"
        task = asyncio.create_task(ask(model, question, heard))
        if chance.random() < 0.7:
            await asyncio.sleep(chance.random() * 0.05)
            task.cancel()
        whole = "".join(f"q{number}.{i} " for i in range(6))
        try:
            assert (await task).text == whole
        except asyncio.CancelledError:
            assert whole.startswith(heard.shown())
            cancelled.append(number)

    async def use(model: OpenAIModel) -> None:
        for batch in range(0, 500, 20):
            await asyncio.gather(*(one(model, batch + i) for i in range(20)))

    with_model(wire.url, use)
    assert len(cancelled) >= 200
    assert sum(request["aborted"] for request in wire.until_idle()["requests"]) >= 100


def test_connections_are_used_again_after_whole_answers(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        for _ in range(5):
            await ask(model, "hi")
        assert len(ports(model)) == 1
        await asyncio.gather(*(ask(model, "hi [[delay=5]]") for _ in range(150)))

    with_model(wire.url, use)


def test_a_connection_is_not_used_again_after_an_answer_that_was_not_read_to_its_end(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        with pytest.raises(ModelFailed):
            await ask(model, "hi [[fault=endless]]")
        assert ports(model) == []

    with_model(wire.url, use)


def ports(model: OpenAIModel) -> list[object]:
    session = model._opened
    assert session is not None
    assert session.connector is not None
    return [connection for group in session.connector._conns.values() for connection in group]  # type: ignore[attr-defined]


def test_a_body_over_a_megabyte_is_sent_without_a_warning(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        request = ModelRequest(messages=(SystemMessage("x" * 2_000_000), UserMessage("hi [[fault=500 chunks=1]]")))
        assert (await model.complete(request, Heard())).text == "word0 "

    with_model(wire.url, use)


def test_a_refusal_of_a_structured_answer_fails(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        request = ModelRequest(messages=(UserMessage("hi [[refuse=1 chunks=1]]"),), output_schema={"type": "object"})
        with pytest.raises(ModelFailed, match="refused: word0"):
            await model.complete(request, Heard())

    with_model(wire.url, use)
    assert wire.requests()[0]["response_format"]["type"] == "json_schema"


def test_a_server_that_cannot_be_reached_is_unavailable() -> None:
    async def use(model: OpenAIModel) -> None:
        with pytest.raises(ModelUnavailable, match=r"cannot be reached at http://127\.0\.0\.1:9: Connection refused"):
            await ask(model, "hi")
        assert "cannot be reached" in (await model.check() or "")

    with_model("http://127.0.0.1:9/v1", use)


def test_openai_without_a_key_is_unavailable_and_names_the_variable() -> None:
    async def main() -> None:
        model = OpenAIModel("openai:gpt-5")
        with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY"):
            await ask(model, "hi")
        assert "OPENAI_API_KEY" in (await model.check() or "")

    asyncio.run(main())


def test_check_is_none_where_the_provider_answers_and_a_sentence_where_not(wire: WireModel) -> None:
    async def use(model: OpenAIModel) -> None:
        assert await model.check() is None

    async def misses(model: OpenAIModel) -> None:
        assert "answered 404: there is no /v2/nothing" in (await model.check() or "")

    with_model(wire.url, use)
    with_model(f"{wire.address}/v2/nothing", misses)


def test_the_key_is_in_no_error_and_no_repr() -> None:
    async def repeat_the_key(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert KEY.encode() in head
        body = json.dumps({"error": {"message": f"wrong key {KEY}"}}).encode()
        writer.write(b"HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(repeat_the_key, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        model = OpenAIModel("openai:x", api_key=KEY, base_url=f"http://ada:pw@127.0.0.1:{port}/v1")
        async with server, asyncio.timeout(10):
            with pytest.raises(ModelFailed, match="OPENAI_API_KEY") as caught:
                await ask(model, "hi")
            told = [repr(model), str(await model.check())]
            await model.aclose()
        error: BaseException | None = caught.value
        while error is not None:
            told += [repr(error), str(error), str(vars(error))]
            error = error.__cause__ or error.__context__
        assert not any(KEY in text or "ada:pw" in text for text in told)

    asyncio.run(main())


def test_no_http_error_with_headers_hangs_on_a_failure() -> None:
    async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"this is not HTTP at all\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk_nonsense, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        model = OpenAIModel("openai:x", api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", backoff=0.01)
        async with server, asyncio.timeout(10):
            with pytest.raises(ModelFailed) as caught:
                await ask(model, "hi")
            await model.aclose()
        assert caught.value.__cause__ is None
        assert KEY not in repr(caught.value.__context__)

    asyncio.run(main())


@pytest.mark.parametrize("name", ["gpt-5", "openai:", "ollama:x"])
def test_a_name_of_another_provider_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="openai:NAME"):
        OpenAIModel(name)


@pytest.mark.parametrize("address", ["", "localhost:80", "ftp://x/v1", "https://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
        OpenAIModel("openai:x", base_url=address)
