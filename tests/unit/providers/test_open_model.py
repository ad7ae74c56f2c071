"""Which model answers for which name, and other providers over a real socket."""

import asyncio
import subprocess
import sys

import pytest
from tests.support.heard import Heard
from tests.support.wire_model import WireModel

from netra_apex.core.messages import (
    AssistantMessage,
    Image,
    ModelRequest,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from netra_apex.core.voices import Model
from netra_apex.errors import ConfigurationError, ModelFailed, ModelUnavailable
from netra_apex.providers import open_model
from netra_apex.providers.demo import DemoModel
from netra_apex.providers.openai import OpenAIModel

LOOKUP = ToolSpec(
    name="lookup",
    description="find",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)


def opened(name: str | None) -> Model:
    return open_model(name, openai_api_key=None, openai_base_url="http://127.0.0.1:9/v1")


def test_without_a_name_the_demo_model_answers_and_with_one_never() -> None:
    assert isinstance(opened(None), DemoModel)
    assert isinstance(opened("openai:gpt-5"), OpenAIModel)


@pytest.mark.parametrize("name", ["", "gpt-5", "openai:", ":gpt-5"])
def test_a_name_that_is_not_provider_and_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="provider:name"):
        opened(name)


def test_an_unknown_provider_is_refused() -> None:
    pytest.importorskip("pydantic_ai")
    with pytest.raises(ConfigurationError, match="there is no provider 'nobody'"):
        opened("nobody:x")


def test_the_native_model_does_not_import_pydantic_ai() -> None:
    code = (
        "import sys; from netra_apex.providers import open_model;"
        "open_model('openai:x', openai_api_key=None, openai_base_url='http://x/v1');"
        "open_model(None, openai_api_key=None, openai_base_url='');"
        "sys.exit('pydantic_ai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_missing_package_says_how_to_install_it(tmp_path: object) -> None:
    code = (
        "import sys; sys.modules['pydantic_ai'] = None\n"
        "from netra_apex.errors import ConfigurationError\n"
        "from netra_apex.providers import open_model\n"
        "try: open_model('anthropic:x', openai_api_key=None, openai_base_url='')\n"
        "except ConfigurationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=True, capture_output=True, text=True)
    assert 'pip install "netra-apex[providers]"' in done.stdout


def test_a_provider_without_its_key_is_unavailable_and_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pydantic_ai")
    monkeypatch.delenv("GROQ_API_KEY", raising=False)

    async def main() -> None:
        model = opened("groq:llama")
        assert "GROQ_API_KEY" in (await model.check() or "")
        with pytest.raises(ModelUnavailable, match="GROQ_API_KEY"):
            await model.complete(ModelRequest(messages=(UserMessage("hi"),)), Heard())
        await model.aclose()

    asyncio.run(main())


@pytest.fixture
def ollama(wire: WireModel, monkeypatch: pytest.MonkeyPatch) -> WireModel:
    pytest.importorskip("pydantic_ai")
    monkeypatch.setenv("OLLAMA_BASE_URL", wire.url)
    return wire


def ask(text: str, heard: Heard, **more: object) -> ModelRequest:
    return ModelRequest(messages=(SystemMessage("be brief"), UserMessage(text)), tools=(LOOKUP,), **more)  # type: ignore[arg-type]


def test_another_provider_streams_text_thought_and_usage(ollama: WireModel) -> None:
    async def main() -> None:
        model = opened("ollama:mock")
        assert model.name == "ollama:mock"
        assert await model.check() is None
        heard = Heard()
        async with asyncio.timeout(20):
            reply = await model.complete(ask("hi [[chunks=3 think=1 delay=5]]", heard), heard)
        await model.aclose()
        assert reply.text == heard.shown() == "word0 word1 word2 "
        assert (reply.thinking, heard.log[0]) == ("hm0 ", ("thinking", "hm0 "))
        assert len(heard.log) == 4
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.requests) == (50, 64, 1)

    asyncio.run(main())


def test_another_provider_calls_tools_and_reads_their_results(ollama: WireModel) -> None:
    async def main() -> None:
        model = opened("ollama:mock")
        async with asyncio.timeout(20):
            reply = await model.complete(ask("find [[call=lookup]]", Heard()), Heard())
            (call,) = reply.tool_calls
            assert (call.name, call.arguments) == ("lookup", '{"query": "find"}')
            again = ModelRequest(
                messages=(
                    UserMessage("find [[call=lookup chunks=1]]"),
                    AssistantMessage("", (call, ToolCall("c2", "lookup", "broken"))),
                    ToolMessage(call.id, "found"),
                    ToolMessage("c2", "those are no arguments"),
                ),
                tools=(LOOKUP,),
            )
            assert (await model.complete(again, Heard())).text == "word0 "
        await model.aclose()

    asyncio.run(main())
    roles = [message["role"] for message in ollama.requests()[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "tool"]


def test_another_provider_is_shown_pictures(ollama: WireModel) -> None:
    async def main() -> None:
        model = opened("ollama:mock")
        seen = UserMessage("look [[chunks=1]]", (Image("image/png", b"\x89PNG"),))
        async with asyncio.timeout(20):
            await model.complete(ModelRequest(messages=(seen,)), Heard())
        await model.aclose()

    asyncio.run(main())
    (message,) = ollama.requests()[-1]["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert message["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw=="


def test_another_provider_is_asked_for_structured_output(ollama: WireModel) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    async def main() -> None:
        model = opened("ollama:mock")
        await model.complete(ask("hi [[chunks=1]]", Heard(), output_schema=schema), Heard())
        await model.aclose()

    asyncio.run(main())
    assert ollama.requests()[0]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("directives", "status", "words"),
    [
        ("fault=401", 401, "the model answers 401"),
        ("fault=500 wait=0", 500, "the model answers 500"),
        ("fault=die after=2", None, "before its answer was whole"),
        ("fault=cut after=2", None, "before its answer was whole"),
        ("fault=error after=1", 500, "overloaded"),
    ],
)
def test_another_providers_fault_is_a_sentence(
    ollama: WireModel, directives: str, status: int | None, words: str
) -> None:
    async def main() -> None:
        model = opened("ollama:mock")
        async with asyncio.timeout(20):
            with pytest.raises(ModelFailed, match=words) as caught:
                await model.complete(ask(f"hi [[{directives} times=0]]", Heard()), Heard())
        await model.aclose()
        assert caught.value.status == status
        assert not isinstance(caught.value, ModelUnavailable)

    asyncio.run(main())


def test_another_provider_that_cannot_be_reached_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pydantic_ai")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9/v1")

    async def main() -> None:
        model = opened("ollama:mock")
        async with asyncio.timeout(20):
            with pytest.raises(ModelUnavailable, match="cannot be reached"):
                await model.complete(ask("hi", Heard()), Heard())
            assert "cannot be reached" in (await model.check() or "")
        await model.aclose()

    asyncio.run(main())


def test_a_cancel_ends_another_providers_request_too(ollama: WireModel) -> None:
    async def main() -> None:
        model = opened("ollama:mock")
        task = asyncio.create_task(model.complete(ask("hi [[delay=50 chunks=1000]]", Heard()), Heard()))
        await asyncio.to_thread(ollama.until_open)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(ollama.until_idle, 1)
        await model.aclose()

    asyncio.run(main())
    assert ollama.requests()[0]["aborted"]
