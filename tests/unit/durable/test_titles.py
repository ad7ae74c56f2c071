"""Titles of threads: asked of a model once, after the first run that completes, and never over a person's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.bounded import run, turns, until

from netra_apex import AgentRegistry, ChatAgent
from netra_apex.core.messages import ModelRequest
from netra_apex.durable.titles import INSTRUCTIONS, TITLE_LENGTH, title_in
from netra_apex.errors import ModelFailed
from netra_apex.testing import Harness, ScriptedModel, harness


class Assistant(ChatAgent):
    """Answers."""

    name = "assistant"


QUESTION = "How do I get to the harbour from here?\nQuickly, please."
FIRST_LINE = "How do I get to the harbour from here?"


@asynccontextmanager
async def app(*steps: Any, **settings: Any) -> AsyncIterator[tuple[Harness, ScriptedModel]]:
    async with (
        ScriptedModel(steps) as model,
        harness(AgentRegistry([Assistant]), model=model, **{"titles": "model"} | settings) as running,
    ):
        yield running, model


async def title(running: Harness, thread_id: str, user: str = "ada") -> str:
    thread = await running.runtime.stores.conversations.thread(user, thread_id)
    assert thread is not None
    return thread.title


async def until_titled(running: Harness, thread_id: str, before: str = FIRST_LINE) -> str:
    while (now := await title(running, thread_id)) == before:  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0)
    return now


def test_the_first_run_that_completes_gives_its_thread_a_title() -> None:
    async def main() -> None:
        async with app("Take the tram.", "“The way to the harbour”\n") as (running, model):
            outcome = await running.ask(QUESTION)
            assert await until_titled(running, outcome.thread_id) == "The way to the harbour"
            asked = model.requests[1]
            assert asked.messages[0].content == INSTRUCTIONS
            assert QUESTION in asked.messages[1].content
            assert "Take the tram." in asked.messages[1].content
            assert not asked.tools

    run(main())


def test_a_title_is_no_part_of_its_run() -> None:
    async def main() -> None:
        async with app("Take the tram.", "The harbour") as (running, _):
            outcome = await running.ask(QUESTION)
            await until_titled(running, outcome.thread_id)
            events = await running.runtime.stores.runs.events("ada", outcome.run_id, 0)
            assert len(events) == len(outcome.events)
            assert outcome.events[-1].usage.requests == 1  # type: ignore[attr-defined]
            page = await running.runtime.stores.conversations.messages("ada", outcome.thread_id)
            assert page is not None
            assert [message.content for message in page.items] == [QUESTION, "Take the tram."]

    run(main())


def test_the_second_run_of_a_thread_asks_for_none() -> None:
    async def main() -> None:
        async with app("Take the tram.", "The harbour", "You are welcome.") as (running, model):
            outcome = await running.ask(QUESTION)
            await until_titled(running, outcome.thread_id)
            await running.ask("Thanks", thread_id=outcome.thread_id)
            await turns()
            assert len(model.requests) == 3
            assert await title(running, outcome.thread_id) == "The harbour"

    run(main())


def test_the_ending_does_not_wait_for_the_title() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def held(_: ModelRequest) -> str:
            await gate.wait()
            return "The harbour"

        async with app("Take the tram.", held) as (running, _):
            outcome = await running.ask(QUESTION)
            assert outcome.ok
            assert await title(running, outcome.thread_id) == FIRST_LINE
            gate.set()
            assert await until_titled(running, outcome.thread_id) == "The harbour"

    run(main())


@pytest.mark.parametrize("name", ["My way home", FIRST_LINE])
def test_a_person_who_renames_it_meanwhile_keeps_the_name(name: str) -> None:
    async def main() -> None:
        asked, gate = asyncio.Event(), asyncio.Event()

        async def held(_: ModelRequest) -> str:
            asked.set()
            await gate.wait()
            return "The harbour"

        async with app("Take the tram.", held) as (running, _):
            outcome = await running.ask(QUESTION)
            await asked.wait()
            threads = running.runtime.stores.conversations
            await threads.rename_thread("ada", outcome.thread_id, name)
            gate.set()
            await turns(100)
            assert await title(running, outcome.thread_id) == name
            assert not await threads.put_title("ada", outcome.thread_id, "late")

    run(main())


def test_a_thread_that_a_person_has_named_is_never_asked_about() -> None:
    async def main() -> None:
        async with app("One.", "Two.") as (running, _):
            threads = running.runtime.stores.conversations
            await threads.add_thread("ada", "thr_named", "Mine")
            await running.ask(QUESTION, thread_id="thr_named")
            await threads.add_thread("ada", "thr_later", "")
            await threads.rename_thread("ada", "thr_later", "Mine too")
            await running.ask(QUESTION, thread_id="thr_later")
            await turns()
            assert await title(running, "thr_named") == "Mine"
            assert await title(running, "thr_later") == "Mine too"

    run(main())


def test_a_run_that_fails_asks_for_none_and_the_next_one_does() -> None:
    async def main() -> None:
        failure = ModelFailed("no", model="test:scripted", status=400)
        async with app(failure, "Take the tram.", "The harbour") as (running, _):
            failed = await running.ask(QUESTION)
            assert not failed.ok
            await running.ask("again", thread_id=failed.thread_id)
            assert await until_titled(running, failed.thread_id) == "The harbour"

    run(main())


@pytest.mark.parametrize(
    "answer", [ModelFailed("no", model="test:scripted", status=500), ValueError("a broken client"), "\n \"' \n", ""]
)
def test_where_no_title_comes_the_first_line_stays_and_the_next_thread_has_its_own(answer: Any) -> None:
    async def main() -> None:
        async with app("Take the tram.", answer, "Hello.", "Greetings") as (running, model):
            outcome = await running.ask(QUESTION)
            await until(lambda: len(model.requests) == 2)
            other = await running.ask("hello you")
            assert await until_titled(running, other.thread_id, "hello you") == "Greetings"
            assert await title(running, outcome.thread_id) == FIRST_LINE

    run(main())


@pytest.mark.parametrize(
    "settings",
    [{"titles": "first-line"}, {"user_tokens_per_day": 100_000}, {"run_tokens": 90_000}],
)
def test_unless_it_is_set_or_where_there_is_a_budget_no_model_is_asked(settings: dict[str, Any]) -> None:
    async def main() -> None:
        async with app("Take the tram.", **settings) as (running, model):
            outcome = await running.ask(QUESTION)
            await turns()
            assert len(model.requests) == 1
            assert await title(running, outcome.thread_id) == FIRST_LINE

    run(main())


def test_the_offline_demo_is_asked_for_none() -> None:
    async def main() -> None:
        model = ScriptedModel(["Take the tram."], name="demo:offline")
        async with model, harness(AgentRegistry([Assistant]), model=model, titles="model") as running:
            outcome = await running.ask(QUESTION)
            await turns()
            assert await title(running, outcome.thread_id) == FIRST_LINE

    run(main())


def test_a_process_that_stops_asks_for_none_and_does_not_wait_for_one() -> None:
    async def main() -> None:
        first, gate, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def answer(_: ModelRequest) -> str:
            await first.wait()
            return "Take the tram."

        async def forever(_: ModelRequest) -> str:
            asked.set()
            await gate.wait()
            return "never"

        async with app("One.", forever, answer) as (running, model):
            await running.ask("one")
            await asked.wait()
            accepted = await running.post(QUESTION, user="bob")
            await until(lambda: len(model.requests) == 3)
            async with asyncio.TaskGroup() as group:
                group.create_task(running.runtime.drain())
                await turns()
                first.set()
            await turns()
            assert await title(running, accepted.thread_id, "bob") == FIRST_LINE
        assert len(model.requests) == 3

    run(main())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The harbour", "The harbour"),
        ('"The harbour."', "The harbour"),
        ("**Title:** The harbour", "The harbour"),
        ("# The harbour\nand more", "The harbour"),
        ("\n\n  The\tharbour  \n", "The harbour"),
        ("„Der Hafen“", "Der Hafen"),
        ("Ada’s day", "Ada’s day"),
        ("Why C++?", "Why C++?"),
        ("a\x00b\x1b[31m", "a b [31m"),
        ("---", ""),
        ("x" * 200, "x" * (TITLE_LENGTH - 1) + "…"),
    ],
)
def test_what_a_model_answers_is_made_one_short_line(answer: str, expected: str) -> None:
    assert title_in(answer) == expected
