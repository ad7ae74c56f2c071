"""What goes through a run's dispatcher: a model's calls and code's, what is told of them, and what is answered."""

import asyncio
import json
import threading
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.tools.support import bench, run, until

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.messages import ToolCall
from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, ScopeClosed, StoreError, ToolDefinitionError
from netra_apex.tools import tool

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@tool
async def echo(text: str) -> str:
    """Says it again."""
    ran.append(text)
    return f"echo {text}"


@tool
def blocking(text: str) -> str:
    ran.append(threading.current_thread().name)
    return f"blocking {text}"


@tool(requires="orders:read")
async def orders(query: str) -> list[str]:
    ran.append(query)
    return [query]


def test_a_models_calls_are_answered_in_their_order() -> None:
    async def main() -> None:
        made = bench(echo, blocking)
        answers = await made.ask(("echo", '{"text":"a"}'), ("blocking", '{"text":"b"}'), ("echo", '{"text":"c"}'))
        assert answers == ["echo a", "blocking b", "echo c"]
        told = made.recorder.executing()
        assert [(event.tool, event.arguments) for event in told] == [
            ("echo", {"text": "a"}),
            ("blocking", {"text": "b"}),
            ("echo", {"text": "c"}),
        ]
        assert [made.recorder.end_of(event).result for event in told] == answers
        assert made.recorder.codes() == ["ok"] * 3
        assert all(type(event.duration_ms) is int and event.duration_ms >= 0 for event in made.recorder.completed())

    run(main())
    assert "netra-tool" in ran


def test_no_calls_tell_nothing() -> None:
    async def main() -> None:
        made = bench(echo)
        assert await made.dispatcher.answer([]) == ()
        assert not made.recorder.events

    run(main())


def test_a_models_calls_run_side_by_side() -> None:
    together = asyncio.Barrier(3)

    @tool
    async def meet() -> str:
        await together.wait()  # passes only with all three inside at once
        return "met"

    async def main() -> None:
        assert await bench(meet).ask(*[("meet", "{}")] * 3) == ["met"] * 3

    run(main())


def test_ids_on_the_wire_are_our_own_even_where_the_models_collide() -> None:
    async def main() -> None:
        made = bench(echo)
        calls = [ToolCall("1", "echo", json.dumps({"text": text})) for text in ("a", "b")]
        answers = await made.dispatcher.answer(calls)
        assert [(answer.call_id, answer.content) for answer in answers] == [("1", "echo a"), ("1", "echo b")]
        ids = {event.call_id for event in made.recorder.executing()}
        assert len(ids) == 2
        assert all(ident.startswith("call_") and len(ident) > 30 for ident in ids)

    run(main())


def test_a_function_runs_only_once_its_call_is_stored() -> None:
    async def main() -> None:
        made = bench(echo)
        made.recorder.hold = asyncio.get_running_loop().create_future()
        asking = asyncio.ensure_future(made.ask(("echo", '{"text":"a"}')))
        await until(lambda: bool(made.recorder.executing()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ran
        made.recorder.hold.set_result(None)
        assert await asking == ["echo a"]

    run(main())


def test_only_the_tools_that_the_user_may_use_are_offered() -> None:
    async def main() -> None:
        assert [spec.name for spec in bench(echo, orders).dispatcher.offered()] == ["echo"]
        allowed = bench(echo, orders, permissions=["orders:read"]).dispatcher
        assert [spec.name for spec in allowed.offered()] == ["echo", "orders"]
        assert allowed.offered()[1].parameters == orders.parameters
        admin = bench(orders, permissions=["admin"]).dispatcher
        assert admin.offered() == ()

    run(main())


def test_tools_may_be_offered_later_and_are_then_the_models_to_call() -> None:
    async def main() -> None:
        made = bench()
        assert [spec.name for spec in made.dispatcher.offer([echo, orders])] == ["echo"]
        assert [spec.name for spec in made.dispatcher.offer([echo])] == ["echo"]
        assert await made.ask(("echo", '{"text":"a"}')) == ["echo a"]
        with pytest.raises(ToolDefinitionError, match="not decorated"):
            made.dispatcher.offer([nothing_ran])
        with pytest.raises(ToolDefinitionError, match="two tools"):
            made.dispatcher.offer([tool(echo.function)])
        with pytest.raises(ToolDefinitionError, match="two tools"):
            bench(echo, tool(echo.function))

    run(main())


def test_a_call_without_permission_is_told_and_never_runs() -> None:
    async def main() -> None:
        made = bench(orders, user="ada", permissions=["admin", "orders:write"])
        # Its arguments are wrong as well: who may not use a tool learns nothing of its parameters.
        with capture_logs() as logs:
            (answer,) = await made.ask(("orders", '{"wrong":1}'))
        assert answer == "Error (denied): orders needs the permission orders:read, which this user does not have"
        assert await made.ask(("orders", "{")) == [answer]
        with pytest.raises(CallFailed, match="orders:read") as caught:
            await made.dispatcher.call(orders, "a")
        assert caught.value.code == "denied"
        assert made.recorder.codes() == ["denied"] * 3
        assert [event.arguments for event in made.recorder.executing()] == [{"wrong": 1}, "{", {"query": "a"}]
        assert (logs[0]["event"], logs[0]["tool"], logs[0]["user_id"]) == ("tool denied", "orders", "ada")

    run(main())
    assert not ran


def test_an_unknown_tool_is_an_error_and_names_those_that_may_be_used() -> None:
    async def main() -> None:
        made = bench(echo, orders)
        answers = await made.ask(("nope", '{"a":1}'), ("x\ud800" * 500, "{}"))
        assert answers[0] == "Error (unknown_tool): there is no tool 'nope'; there are: echo"
        assert len(made.recorder.executing()[1].tool) == 128
        with pytest.raises(CallFailed, match="decorate it"):
            await made.dispatcher.call(nothing_ran)
        assert made.recorder.codes() == ["unknown_tool"] * 3

    run(main())


@pytest.mark.parametrize(
    ("arguments", "told", "sentence"),
    [
        ("{", "{", "the arguments are not JSON"),
        ('{"text":NaN}', '{"text":NaN}', "the arguments are not JSON"),
        ("\ud800", "?", "the arguments are not JSON"),
        ("[" * 100_000, "[" * 100_000, "the arguments are not JSON"),
        ('{"text":' + "[" * 900 + "]" * 900 + "}", None, "the arguments are not JSON"),
        ('["a"]', '["a"]', "the arguments must be a JSON object, not a list"),
        ('"a"', '"a"', "the arguments must be a JSON object, not a str"),
        ("null", "null", "the arguments must be a JSON object"),
        ("", {}, "text is missing"),
        ("{}", {}, "text is missing"),
        ('{"text":5}', {"text": 5}, "text should be a valid string"),
        ('{"text":"a","user_id":"bob"}', {"text": "a", "user_id": "bob"}, "user_id is not a parameter"),
    ],
)
def test_ill_formed_arguments_are_told_as_they_came_and_answered_with_a_sentence(
    arguments: str, told: Any, sentence: str
) -> None:
    async def main() -> None:
        made = bench(echo)
        (answer,) = await made.ask(("echo", arguments))
        assert answer.startswith(f"Error (invalid_arguments): {sentence}")
        assert made.recorder.executing()[0].arguments == (arguments if told is None else told)
        assert made.recorder.codes() == ["invalid_arguments"]

    run(main())
    assert not ran


def test_blank_arguments_call_a_tool_without_parameters() -> None:
    @tool
    async def ping() -> str:
        return "pong"

    async def main() -> None:
        made = bench(ping)
        assert await made.ask(("ping", ""), ("ping", " "), ("ping", "{}")) == ["pong"] * 3
        assert [event.arguments for event in made.recorder.executing()] == [{}] * 3

    run(main())


def test_code_gets_the_functions_own_value_and_the_event_its_json() -> None:
    @tool
    async def pair(left: int, right: int = 2) -> tuple[int, int]:
        return (left, right)

    async def main() -> None:
        made = bench(pair)
        assert await made.dispatcher.call(pair, 1, right=5) == (1, 5)
        assert made.recorder.executing()[0].arguments == {"left": 1, "right": 5}
        assert made.recorder.completed()[0].result == [1, 5]
        for args, kwargs in [((), {}), ((1, 2, 3), {}), (("x",), {}), ((1,), {"left": 2})]:
            with pytest.raises(CallFailed) as caught:
                await made.dispatcher.call(pair, *args, **kwargs)
            assert caught.value.code == "invalid_arguments"

    run(main())


def test_code_may_call_a_tool_that_its_agent_does_not_offer() -> None:
    async def main() -> None:
        made = bench()
        assert await made.dispatcher.call(blocking, "a") == "blocking a"

    run(main())


def test_a_tool_receives_its_calls_own_scope() -> None:
    @tool
    async def whoami(*, scope: RunScope) -> str:
        return f"{scope.context.user_id} {scope.context.idempotency_key}"

    async def main() -> None:
        made = bench(whoami)
        answers = await made.ask(("whoami", "{}"), ("whoami", ""))
        ids = [event.call_id for event in made.recorder.executing()]
        assert answers == [f"ada {made.context.run_id}:{ident}" for ident in ids]
        assert (await made.ask(("whoami", '{"scope":{"user_id":"bob"}}')))[0].startswith("Error (invalid_arguments)")
        with pytest.raises(CallFailed, match="scope"):
            await made.dispatcher.call(whoami, scope=None)

    run(main())


def test_the_thought_comes_before_the_first_call_also_from_an_async_teller() -> None:
    async def main() -> None:
        made = bench(echo)
        think = made.dispatcher._hooks.before_call

        async def later() -> None:
            await asyncio.sleep(0)
            think()

        made.dispatcher._hooks = replace(made.dispatcher._hooks, before_call=later)
        assert await made.ask(("echo", '{"text":"a"}'), ("nope", "{}")) != []
        kinds = [type(event).__name__ for event in made.recorder.events]
        assert kinds[0] == "AgentThinking"

    run(main())


def test_after_it_is_closed_every_use_raises() -> None:
    async def main() -> None:
        made = bench(echo)
        made.dispatcher.close()
        for use in (
            lambda: made.dispatcher.answer([ToolCall("1", "echo", "{}")]),
            lambda: made.dispatcher.call(echo, "a"),
        ):
            with pytest.raises(ScopeClosed, match="dispatcher"):
                await use()
        with pytest.raises(ScopeClosed):
            made.dispatcher.offered()
        with pytest.raises(ScopeClosed):
            made.dispatcher.offer([echo])
        assert not made.recorder.events

    run(main())


def test_a_stream_that_cannot_be_told_any_more_ends_the_calls() -> None:
    @tool
    async def breaks(*, scope: RunScope) -> str:
        broken.append(scope.context)
        return "done"

    broken: list[UserExecutionContext] = []

    async def main(count: int) -> None:
        made = bench(breaks)
        made.dispatcher._hooks = replace(made.dispatcher._hooks, scope_for=lambda context, _: _break(made, context))
        with pytest.raises(StoreError, match="disk full"):
            await made.ask(*[("breaks", "{}")] * count)
        made.recorder.broken = StoreError("disk full")
        with pytest.raises(StoreError, match="disk full"):
            await made.ask(("breaks", "{}"))

    def _break(made: Any, context: UserExecutionContext) -> Any:
        made.recorder.broken = StoreError("disk full")
        return made.contexts

    for count in (1, 3):
        with capture_logs():
            run(main(count))


def test_a_sync_function_that_hides_an_async_one_is_awaited() -> None:
    async def real(text: str) -> str:
        return f"real {text}"

    @tool
    def hidden(text: str) -> Awaitable[str]:
        return real(text)

    async def main() -> None:
        assert await bench(hidden).ask(("hidden", '{"text":"a"}')) == ["real a"]

    run(main())
