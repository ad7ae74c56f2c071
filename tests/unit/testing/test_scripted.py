"""ScriptedModel: it says what the script has, and fails where script and code disagree."""

import asyncio

import pytest
from tests.support.heard import Heard

from netra_apex.core.messages import ModelRequest, Reply, ToolCall, UserMessage
from netra_apex.errors import ModelFailed
from netra_apex.testing.scripted import ScriptedModel, calls


def request(text: str = "hi") -> ModelRequest:
    return ModelRequest(messages=(UserMessage(text),))


def test_text_is_told_in_pieces_and_comes_back_whole() -> None:
    async def main() -> None:
        heard = Heard()
        async with ScriptedModel(["hello  dear\nworld "]) as model:
            reply = await model.complete(request(), heard)
        assert reply.text == heard.shown() == "hello  dear\nworld "
        assert len(heard.log) == 3
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.requests) == (1, 3, 1)
        assert model.requests == [request()]

    asyncio.run(main())


def test_calls_come_as_tuples_toolcalls_or_several_at_once() -> None:
    async def main() -> None:
        own = ToolCall("mine", "book", "{}")
        async with ScriptedModel([("lookup", {"q": "ö"}), own, calls(("a", {}), ("b", '{"x": '))]) as model:
            first, second, third = [(await model.complete(request(), Heard())).tool_calls for _ in range(3)]
        assert first == (ToolCall("call_1", "lookup", '{"q":"ö"}'),)
        assert second == (own,)
        assert third == (ToolCall("call_2", "a", "{}"), ToolCall("call_3", "b", '{"x": '))

    asyncio.run(main())


def test_a_reply_comes_as_it_is_with_its_thought() -> None:
    async def main() -> None:
        heard = Heard()
        reply = Reply(text="done", thinking="hm")
        async with ScriptedModel([reply]) as model:
            assert await model.complete(request(), heard) is reply
        assert heard.log == [("thinking", "hm"), ("text", "done")]

    asyncio.run(main())


def test_an_exception_is_raised_and_the_script_goes_on() -> None:
    async def main() -> None:
        async with ScriptedModel([ModelFailed("busy", model="m", status=500), "now"]) as model:
            with pytest.raises(ModelFailed, match="busy"):
                await model.complete(request(), Heard())
            assert (await model.complete(request(), Heard())).text == "now"

    asyncio.run(main())


def test_a_function_sees_the_request_and_may_wait() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def later(asked: ModelRequest) -> str:
            await gate.wait()
            return f"{len(asked.messages)} message"

        async with ScriptedModel([later, lambda asked: ("f", {"n": len(asked.messages)})]) as model:
            first = asyncio.create_task(model.complete(request(), Heard()))
            await asyncio.sleep(0)
            second = await model.complete(request(), Heard())
            gate.set()
            assert (await first).text == "1 message"
            assert second.tool_calls[0].arguments == '{"n":1}'

    asyncio.run(main())


def test_a_script_for_each_question_keeps_runs_apart() -> None:
    async def main() -> None:
        async with ScriptedModel({"a": ["a1", "a2"], "b": ["b1", "b2"]}) as model:
            asked = ["b", "a", "a", "b"]
            replies = await asyncio.gather(*(model.complete(request(text), Heard()) for text in asked))
        assert [reply.text for reply in replies] == ["b1", "a1", "a2", "b2"]

    asyncio.run(main())


def test_steps_left_over_fail_and_are_named() -> None:
    async def main() -> None:
        async with ScriptedModel({"q": ["one", ("f", {})]}) as model:
            await model.complete(request("q"), Heard())

    with pytest.raises(AssertionError, match=r"1 steps were left over: \('f', \{\}\) \(for 'q'\)"):
        asyncio.run(main())


def test_a_request_beyond_the_last_step_fails_even_if_the_code_swallows_it() -> None:
    async def main() -> None:
        async with ScriptedModel(["one"]) as model:
            await model.complete(request(), Heard())
            with pytest.raises(AssertionError, match=r"request 2 \('hi'\) has no step"):
                await model.complete(request(), Heard())

    with pytest.raises(AssertionError, match="used up"):
        asyncio.run(main())


def test_a_question_without_a_script_fails() -> None:
    with pytest.raises(AssertionError, match="knows only 'a'"):
        asyncio.run(ScriptedModel({"a": ["x"]}).complete(request("b"), Heard()))


def test_the_tests_own_failure_is_not_hidden_by_steps_left_over() -> None:
    async def main() -> None:
        async with ScriptedModel(["one"]):
            raise KeyError("the test's own")

    with pytest.raises(KeyError):
        asyncio.run(main())


def test_a_string_is_no_script() -> None:
    with pytest.raises(TypeError, match="list of steps"):
        ScriptedModel("hello")


def test_it_is_always_there() -> None:
    async def main() -> None:
        model = ScriptedModel(name="test:x")
        assert (model.name, await model.check()) == ("test:x", None)
        await model.aclose()
        model.assert_done()

    asyncio.run(main())
